"""What a launcher is given: a worker that runs trials until none is left. Only plain values cross.

Nothing here imports NumPy or Optuna at the top: a new process must fix its threads first.
"""

import os
import shutil
import signal
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from recsweep import environment
from recsweep.errors import InputError

SAID = "said.txt"
"""What the winner's last training said, in its folder."""

FINAL = 1 << 30
"""The number under which the winner's last training is leased."""


@dataclass(frozen=True)
class Worker:
    """Claims and runs trials; callable as Hydra's task function, in any process.

    Args:
        plan: See `recsweep.sweep.study.Plan.plain`.
    """

    plan: dict[str, Any]

    def __call__(self, _config: object) -> dict[str, Any]:
        """Run trials until none is left.

        Returns:
            `error`, the line that stopped this worker, or None and `n_trials` that it ended.
        """
        try:
            self.prepare_process()
            self._refuse_changed_code()
            return {"error": None, "n_trials": self._run_trials()}
        except Exception as error:  # noqa: BLE001 - one that cannot be pickled breaks the pool
            return {"error": _line(error)}

    def _run_trials(self) -> int:
        """Claim and run trials; how many this worker ended."""
        from recsweep.sweep.study import Plan, SharedStudy
        from recsweep.sweep.trial import Interrupted, TrialRunner

        runner, n_trials = TrialRunner(SharedStudy(Plan(**self.plan))), 0
        with suppress(Interrupted):
            while (claim := runner.study.claim()) is not None:
                with claim.lease:
                    runner.run(claim)
                n_trials += 1
        return n_trials

    def prepare_process(self) -> None:
        """Fix backend and threads; in a process of its own leave Ctrl-C to the parent."""
        environment.choose_backend(self.plan["backend"], self.plan["threads"])
        if os.getpid() != self.plan["parent_process"]:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _refuse_changed_code(self) -> None:
        if self.plan["code"] != environment.code_fingerprint():
            raise InputError(
                "the code of a sweep must stay as it was, but recsweep's source has changed since "
                "it began; put it back, or begin another sweep with study=NAME"
            )


@dataclass(frozen=True)
class Finalist:
    """Trains the winner again, as a run of its own, and scores it on test.

    Args:
        worker: Of the same sweep.
        config: The winner's, resolved.
        overrides: That reproduce it.
        folder: For its results, and for `SAID`.
        name: Of its run.
    """

    worker: Worker
    config: dict[str, Any]
    overrides: list[str]
    folder: str
    name: str

    def __call__(self, _config: object) -> dict[str, Any]:
        """Do it.

        Returns:
            `error`, the line that stopped it, or None.
        """
        try:
            self.worker.prepare_process()
            from recsweep.sweep.locks import make_locks

            plan = self.worker.plan
            locks = make_locks(plan["storage"], Path(plan["folder"]), plan["study"])
            lease = locks.lease(FINAL)
            if lease is not None:
                with lease:
                    self._train()
        except Exception as error:  # noqa: BLE001 - one that cannot be pickled breaks the pool
            return {"error": _line(error)}
        return {"error": None}

    def _train(self) -> None:
        """The run, and what it says to a file, which comes last."""
        if (Path(self.folder) / SAID).exists():
            return
        shutil.rmtree(self.folder, ignore_errors=True)  # of one that died before all was tracked
        from recsweep import app
        from recsweep.build import validated

        plan, said = self.worker.plan, StringIO()
        settings = validated(app.Settings, self.config, "")
        tracking = app.made(settings, "tracking", "log_metrics")
        tracker = tracking.nested(plan["parent_run"], plan["study"], None, self.name)
        with redirect_stdout(said):
            app.run(self.config, Path(self.folder), self.overrides, tracker)
        (Path(self.folder) / SAID).write_text(said.getvalue(), encoding="utf-8")


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"
