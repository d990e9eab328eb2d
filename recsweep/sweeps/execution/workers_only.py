"""`sweep.workers_only=true`: workers for a study that another command finishes.

With a database the study is created if it does not exist, since any host's command says everything
that a study consists of: then pods and nodes may start in any order, also without a parent. A
journal is waited for: one that this host created could be another one than that of the others.
"""

import shlex
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from recsweep.errors import InputError
from recsweep.messages import print_to_stderr
from recsweep.run_files import JOURNAL
from recsweep.sweeps.execution.coordinator import SweepCoordinator
from recsweep.sweeps.execution.interrupt import StopRequest
from recsweep.sweeps.execution.stop_relay import StopRelay
from recsweep.sweeps.reporting.tables import counts_line
from recsweep.sweeps.storage.errors import StorageError
from recsweep.sweeps.study.shared_study import PARENT_RUN, Plan, SharedStudy
from recsweep.sweeps.study.stop_requests import STOP, StopListener
from recsweep.tracking.nested_runs import COMMAND

PATIENCE_S = 300.0
"""How long the journal of another command's study is waited for."""
POLL_S = 0.5


@dataclass
class WorkersOnly(SweepCoordinator):
    """Runs the workers of one study until it is complete or stopped, and nothing else.

    Args:
        spec: The study.
    """

    def _opened(self, plan: Plan) -> SharedStudy:
        journal = Path(plan.folder) / JOURNAL
        if plan.storage is None and not journal.exists():
            print_to_stderr(
                f"waiting up to {PATIENCE_S:.0f} s for {journal}, which another command creates"
            )
            end = time.monotonic() + PATIENCE_S
            while not journal.exists() and time.monotonic() < end:
                time.sleep(POLL_S)
            if not journal.exists():
                raise InputError(
                    "sweep.workers_only=true needs a study that exists, but there is no "
                    f"{journal}; start the same command without it, or set "
                    "sweep.storage to a database"
                )
        return SharedStudy(plan)

    def _agree_on_n_trials(self, noted: int | None) -> None:
        """The study's number of trials counts, not that of this command."""
        if noted is None:
            super()._agree_on_n_trials(noted)
        else:
            self.study.plan = replace(self.study.plan, n_trials=noted)

    def help_out(self) -> None:
        """Run workers until no trial is left or the sweep was stopped.

        Raises:
            InputError: Workers cannot run here.
            KeyboardInterrupt: This command was asked to stop; the sweep continues.
        """
        folder = Path(self.study.plan.folder)
        print_to_stderr(f"study     {self.study.plan.study} in {folder}; workers only")
        if not self.study.is_finished():
            self._run_workers(folder)
        print_to_stderr(counts_line(self._status()))

    def _run_workers(self, folder: Path) -> None:
        self._join_run(folder)
        with StopRequest(folder) as stop:
            plan = self._plan(stop)
            try:
                with StopRelay(stop, self.study.study, plan) as relay:
                    self._search(plan, stop, relay)
                is_others = StopListener(self.study.study, plan.stops).reason(STOP)
                if stop.reason is not None and not is_others:
                    raise KeyboardInterrupt(stop.reason)  # noqa: TRY301 - as the second one does
            except KeyboardInterrupt:
                self.study.interrupt()
                print_to_stderr("workers elsewhere continue; the same command joins them again")
                raise
            finally:
                with suppress(StorageError):  # which may be the error
                    self._tidy()

    def _join_run(self, folder: Path) -> None:
        """Find the run of the whole sweep, or create it for a parent that comes later."""
        spec, study, tracker = self.spec, self.study.study, self.spec.tracker
        tracker.kept_in(folder)
        tracker.waits(spec.sweep.outage_timeout_s)
        words = shlex.split(spec.command)[2:]  # without python -m
        tags = {**spec.tags, COMMAND: shlex.join(words)}

        def find_or_create() -> None:
            known = study.user_attrs.get(PARENT_RUN)
            tracker.join_sweep(spec.name, f"sweep {spec.name}", tags, known)
            if tracker.run_id is not None and known is None:
                study.set_user_attr(PARENT_RUN, tracker.run_id)

        self.study.alone(find_or_create)

    def _report_failures(self) -> None:
        """Nothing: the command that finishes the sweep reports them."""
