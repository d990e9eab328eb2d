"""What a launcher is given: a worker that runs trials until none is left. Only plain values cross.

Nothing here imports NumPy or Optuna at the top: a new process must fix its threads first.
"""

import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

from recsweep import environment, source_code
from recsweep.errors import InputError
from recsweep.messages import named_error, one_line
from recsweep.run_files import LOG, STDOUT
from recsweep.sweeps.execution import watchdog
from recsweep.sweeps.study.final_scores import TEST_SCORED

FINAL = 1 << 30
"""The number from which on the winner's last trainings are leased."""


@dataclass(frozen=True)
class Worker:
    """Claims and runs trials; callable as Hydra's task function, in any process.

    Args:
        plan: See `recsweep.sweeps.study.shared_study.Plan.plain`.
    """

    plan: dict[str, Any]

    def __call__(self, _config: object) -> dict[str, Any]:
        """Run trials until none is left.

        Returns:
            `error`, the line that stopped this worker, or None and `n_trials` that it ended.
        """
        try:
            self.prepare_process()
            self.refuse_changed_code()
            with watchdog.task():
                return {"error": None, "n_trials": self._run_trials()}
        except Exception as error:  # noqa: BLE001 - one that cannot be pickled breaks the pool
            return {"error": _line(error)}

    def _run_trials(self) -> int:
        """Claim and run trials; how many this worker ended."""
        from recsweep.sweeps.execution.trial_runner import Interrupted, TrialRunner
        from recsweep.sweeps.study.shared_study import Plan, SharedStudy

        runner, n_trials = TrialRunner(SharedStudy(Plan(**self.plan))), 0
        with suppress(Interrupted):
            while not watchdog.is_orphan() and (claim := runner.study.claim()) is not None:
                with claim.lease:
                    runner.run(claim)
                n_trials += 1
        return n_trials

    def prepare_process(self) -> None:
        """Fix backend and threads; in a process of its own watch the parent, which has signals."""
        environment.choose_backend(self.plan["backend"], self.plan["threads"])
        parent = watchdog.Process.of(self.plan["parent_process"])
        if not parent.is_current:
            watchdog.watch(parent)
            watchdog.leave_signals_to_parent()

    def refuse_changed_code(self) -> None:
        """Do not run other code than the study began with.

        Raises:
            InputError: Some has changed.
        """
        before = self.plan["code"]
        now = source_code.of_names(before)
        changed = [name for name in before if now.get(name) != before[name]]
        if changed:
            raise InputError(
                f"a study must keep its code, but the code of {' and '.join(changed)} has changed "
                "since this command started; put it back, or start another study with study=NAME"
            )


@dataclass(frozen=True)
class FinalWorker:
    """Trains the winner again, each seed as a run of its own, and scores it on test.

    Args:
        worker: Of the same sweep.
        trainings: Each as `final_evaluation.FinalEvaluation` describes it: `trial`, `index`,
            `config`, `overrides`, `folder`, `name`.
    """

    worker: Worker
    trainings: list[dict[str, Any]]

    def __call__(self, _config: object) -> dict[str, Any]:
        """Do those that nobody else does.

        Returns:
            `error`, the line that stopped it, or None.
        """
        try:
            self.worker.prepare_process()
            self.worker.refuse_changed_code()
            with watchdog.task():
                self._train_all()
        except KeyboardInterrupt:  # of the parent, or of an orphan
            pass
        except Exception as error:  # noqa: BLE001 - one that cannot be pickled breaks the pool
            return {"error": _line(error)}
        return {"error": None}

    def _train_all(self) -> None:
        from recsweep.sweeps.study.shared_study import Plan, SharedStudy

        study = SharedStudy(Plan(**self.worker.plan))
        for training in self.trainings:
            if watchdog.is_orphan():
                return
            lease = study.locks.lease(FINAL + training["index"])
            if lease is not None:
                with lease:
                    self._train(study, training)

    def _train(self, study: Any, training: dict[str, Any]) -> None:
        """The run, and what it says to a file, which comes last."""
        folder = Path(training["folder"])
        if (folder / STDOUT).exists() or study.plan.is_stopped:
            return
        shutil.rmtree(folder, ignore_errors=True)  # of one that died before all was tracked
        folder.mkdir(parents=True)
        from recsweep import app
        from recsweep.build import validate
        from recsweep.interfaces import Part

        plan, config, said = study.plan, training["config"], StringIO()
        settings = validate(app.Settings, config, "")
        part = Part(training["trial"], training["index"])
        tracking = app.build_group(settings, "tracking", "log_metrics")
        tracking.kept_in(Path(plan.folder))
        tracker = tracking.nested(plan.parent_run, plan.study, part, training["name"])
        _note_look(study, training)
        log = (folder / LOG).open("w", encoding="utf-8")
        with log, redirect_stderr(log), redirect_stdout(said):
            app.run(config, folder, training["overrides"], tracker, [partial(_stops, plan)])
        (folder / STDOUT).write_text(said.getvalue(), encoding="utf-8")
        print(f"{training['name']}: done", file=sys.stderr, flush=True)  # noqa: T201


def _stops(plan: Any, _epoch: int, _metrics: object) -> bool:
    """A listener that breaks off; the training begins again with the next command."""
    if plan.is_stopped:
        raise KeyboardInterrupt("request; the training begins again in another run")
    return True


def _note_look(study: Any, training: dict[str, Any]) -> None:
    """Count a look at test, once per training, before it happens."""
    look = {"trial": training["trial"], "seed": training["config"]["seed"]}
    with study.locks.mutex():
        looks = study.study.user_attrs.get(TEST_SCORED, [])
        if look not in looks:
            study.study.set_user_attr(TEST_SCORED, [*looks, look])


def _line(error: Exception) -> str:
    return one_line(error) if isinstance(error, InputError) else named_error(error)
