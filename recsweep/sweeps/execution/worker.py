"""The task given to a launcher: a worker, pickled as plain values, that runs trials until done.

Nothing here imports NumPy or Optuna at the top: a new process must set its threads first.
"""

import os
import shutil
import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsweep import environment, source_code
from recsweep.credentials import seal, unseal
from recsweep.errors import InputError, UnfitHostError
from recsweep.messages import describe_error, one_line, print_to_stderr
from recsweep.run_files import FAILURES, JOURNAL, LOG, STDOUT
from recsweep.sweeps.execution import watchdog
from recsweep.sweeps.execution.crew import Crew, Gate, output_to
from recsweep.sweeps.execution.device_errors import (
    DeviceLostError,
    device_errors,
    refuse_lost_device,
)
from recsweep.sweeps.execution.gpu_lease import has_gpu, mark_lost, take_gpu

if TYPE_CHECKING:
    from recsweep.data.split import Split
    from recsweep.interfaces import RunTracker
    from recsweep.sweeps.execution.trial_runner import TrialRunner
    from recsweep.sweeps.study.final_claims import FinalClaim
    from recsweep.sweeps.study.shared_study import Plan, SharedStudy
    from recsweep.sweeps.study.stop_requests import StopListener
    from recsweep.training.layout import Layout


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
            `error`, the error that stopped this worker, or None and `n_trials`, which it finished;
            `is_device_lost` if its device is to blame, `is_unfit` if its host may not work on
            the study, `has_gpu` if its process keeps a GPU.
        """
        if (opened := self.unseal()) != self:
            return opened(_config)
        try:
            self.prepare_process()
            self.refuse_changed_code()
            with watchdog.task():
                return {"error": None, "n_trials": self._run_trials(), **_kept()}
        except Exception as error:  # noqa: BLE001 - one that cannot be pickled breaks the pool
            return _failure(error, self.plan)

    def seal(self) -> "Worker":
        """The same without credentials, for a file."""
        return Worker(seal(self.plan))

    def unseal(self) -> "Worker":
        """The inverse of `seal`."""
        return Worker(unseal(self.plan))

    def _run_trials(self) -> int:
        """Claim and run trials; return how many this worker finished."""
        from recsweep.sweeps.study.shared_study import Plan, SharedStudy

        with closing(SharedStudy(Plan(**self.plan))) as study:
            return self._run_trials_of(study)

    def _run_trials_of(self, study: "SharedStudy") -> int:
        from recsweep.sweeps.execution import slot_plan
        from recsweep.sweeps.execution.trial_runner import TrialRunner
        from recsweep.sweeps.study.stop_requests import STOP, StopListener
        from recsweep.training import layout

        self.prepare_device(study)
        runner = TrialRunner(study)
        study.refuse_other_data(runner.load())

        def choose() -> int:
            if not layout.is_dense():  # on a CPU trials gain nothing from each other
                return 1
            n_trials = -(-study.plan.n_trials // study.plan.n_workers)
            n_items = runner.load().train.shape[1]
            memory = environment.device_memory() or environment.ASSUMED_MEMORY
            n_folds = study.plan.folds or 1  # each has slots of its own: trials may be apart
            return slot_plan.most_slots(study.space, n_items, n_trials, memory // n_folds)

        n_slots = study.agree_on_slots(choose)
        widest = slot_plan.widest(study.space) if n_slots > 1 else {}
        crew, gate = Crew(n_slots), Gate()
        stops = StopListener(study.study, study.plan.stops)
        runner.is_halted = lambda: crew.is_halted or stops.reason(STOP) is not None
        may_begin = partial(_may_begin, study.plan, stops)
        with _in_slots(layout.Layout(n_slots, widest)):
            return crew.run(lambda: _run_some(runner, gate, may_begin))

    def prepare_process(self) -> None:
        """Set backend, threads and device; a child watches its parent and leaves signals to it."""
        plan = self.plan
        _refuse_unshared(plan)
        refuse_lost_device()
        environment.choose_backend(
            plan["backend"], plan["threads"], plan["device"], plan["precision"]
        )
        environment.share_device(take_gpu(plan))
        parent = watchdog.Process.of(self.plan["parent_process"])
        watchdog.attend(parent)
        if not parent.is_current:  # else it may outlive the sweep, and its code change
            environment.keep_git_state()
            environment.settle_own_process()
            source_code.keep_package_hash()

    def prepare_device(self, study: "SharedStudy") -> None:
        """Load the backend before any trial is claimed: a missing device is not a trial's fault.

        Raises:
            InputError: The device is missing or not the study's, or the CPU is of another type.
        """
        environment.load_backend()
        study.refuse_other_device(environment.device(), environment.precision())
        cpu = environment.machine()
        if study.note_cpu(cpu):
            line = f"{socket.gethostname()} has another CPU type than the study started on, {cpu}"
            print_to_stderr(f"warning: {line}: last digits may differ")

    def refuse_changed_code(self) -> None:
        """Refuse to run other code than the study started with.

        Raises:
            InputError: The code has changed.
        """
        before = self.plan["code"]
        now = source_code.of_names(before)
        changed = [name for name in before if now.get(name) != before[name]]
        if changed:
            raise InputError(
                f"a study's code must not change, but that of {' and '.join(changed)} has changed "
                "since this command started; revert it, or start a new study with study=NAME"
            )


def _refuse_unshared(plan: dict[str, Any]) -> None:
    """Raise InputError on a host without the journal: it would run the study a second time."""
    journal, parent = Path(plan["folder"]) / JOURNAL, watchdog.Process.of(plan["parent_process"])
    is_elsewhere = parent.place != watchdog.Process.current().place
    if plan["storage"] is None and is_elsewhere and not journal.exists():
        raise InputError(
            f"all hosts must share the study's journal, but {socket.gethostname()} has no "
            f"{journal}; set sweep.folder to a folder that they share, or "
            "sweep.storage=postgresql+psycopg://…"
        )


def _may_begin(plan: "Plan", stops: "StopListener") -> bool:
    """Whether the workers of this command may still start trials."""
    from recsweep.sweeps.study.stop_requests import NO_MORE

    return not (plan.workers_only and stops.reason(NO_MORE))


def _run_some(runner: "TrialRunner", gate: Gate, may_begin: Callable[[], bool]) -> int:
    """Claim and run trials until none is left; return how many were finished."""
    from recsweep.sweeps.execution.trial_runner import Interrupted
    from recsweep.sweeps.study.claim import ALONE, TrialLostError
    from recsweep.sweeps.study.claims import next_claim

    n_trials = 0
    with suppress(Interrupted):
        while may_begin() and not (watchdog.is_orphan() or runner.is_halted()):
            with gate.share() as be_alone:
                claim = next_claim(runner.study)
                if claim is None:
                    break
                with claim.lease, suppress(TrialLostError):
                    if claim.is_alone:
                        be_alone()
                        runner.study.set_attrs(claim.frozen, {ALONE: True})
                    runner.run(claim)
                    n_trials += 1
    return n_trials


@dataclass(frozen=True)
class FinalWorker:
    """Retrains the winner, each seed as a separate run, and scores it on test.

    Args:
        worker: A worker of the same sweep.
        trainings: The trainings, see `final_evaluation.FinalEvaluation`: `trial`, `index`,
            `config`, `overrides`, `folder`, `name`.
        n_seeds: Number of the winner's trainings, those that are done included.
    """

    worker: Worker
    trainings: list[dict[str, Any]]
    n_seeds: int

    def __call__(self, _config: object) -> dict[str, Any]:
        """Run the trainings that no other process runs.

        Returns:
            `error`, the error that stopped it, or None; the rest as a `Worker` does.
        """
        if (opened := replace(
            self, worker=self.worker.unseal(), trainings=unseal(self.trainings)
        )) != self:  # fmt: skip
            return opened(_config)
        try:
            self.worker.prepare_process()
            self.worker.refuse_changed_code()
            with watchdog.task(), device_errors():
                self._train_all()
        except KeyboardInterrupt:  # the parent's, or an orphan's own
            pass
        except Exception as error:  # noqa: BLE001 - one that cannot be pickled breaks the pool
            return _failure(error, self.worker.plan)
        return {"error": None, **_kept()}

    def seal(self) -> "FinalWorker":
        """The same without credentials, for a file."""
        return replace(self, worker=self.worker.seal(), trainings=seal(self.trainings))

    def _train_all(self) -> None:
        from recsweep.sweeps.study.shared_study import Plan, SharedStudy

        with closing(SharedStudy(Plan(**self.worker.plan))) as study:
            self._train_all_of(study)

    def _train_all_of(self, study: "SharedStudy") -> None:
        from recsweep.sweeps.execution.trial_runner import TrialRunner
        from recsweep.sweeps.study.claim import TrialLostError
        from recsweep.sweeps.study.final_claims import claim_training
        from recsweep.sweeps.study.stop_requests import STOP, StopListener
        from recsweep.training import layout

        self.worker.prepare_device(study)
        split = TrialRunner(study).load()  # trainings share a program only with the same matrices
        study.refuse_other_data(split)
        left, agreed = deque(self.trainings), study.agreed_slots or 1
        n_slots = max(1, min(agreed, self.n_seeds))  # the same in a command that trains the rest
        crew, stops = Crew(n_slots), StopListener(study.study, study.plan.stops)

        def is_halted() -> bool:
            return study.plan.is_stopped or crew.is_halted or stops.reason(STOP) is not None

        def train_some() -> int:
            while not (watchdog.is_orphan() or is_halted()):
                try:
                    training = left.popleft()
                except IndexError:
                    break
                claim = claim_training(study, training)
                if claim is not None:
                    with claim.lease, suppress(TrialLostError):
                        _train(claim, training, split, is_halted)
            return 0

        with _in_slots(layout.Layout(n_slots, is_dense=agreed > 1)):
            crew.run(train_some)


def _train(
    claim: "FinalClaim", training: dict[str, Any], split: "Split", is_halted: Callable[[], bool]
) -> None:
    """Do one run; its output is written to a file last, then the study marks it as done."""
    from recsweep import app
    from recsweep.interfaces import Part

    folder, plan, said = Path(training["folder"]), claim.study.plan, StringIO()
    shutil.rmtree(folder, ignore_errors=True)  # left by one that died before all was tracked
    folder.mkdir(parents=True)
    job = app.make_job(training["config"], folder, training["overrides"])
    tracking = app.build_group(job.settings, "tracking", "log_metrics")
    tracking.kept_in(Path(plan.folder))
    tracking.waits(plan.outage_timeout_s)
    part = Part(claim.trial, claim.index)
    tracker = tracking.nested(plan.parent_run, plan.study, part, training["name"])
    stops = partial(_stops, is_halted, _ending_the_run_when_lost(claim.refuse_gap, tracker))
    confirm = _ending_the_run_when_lost(claim.refuse_lost, tracker)
    job = job._replace(tracker=tracker, listeners=[stops], split=split, confirm=confirm)
    log = (folder / LOG).open("w", encoding="utf-8")
    with log, output_to(said, log):
        app.run_job(job)
    claim.record(lambda: (folder / STDOUT).write_text(said.getvalue(), encoding="utf-8"))
    if environment.QUIET not in os.environ:
        print_to_stderr(f"{training['name']}: done")


def plan_of(task: Worker | FinalWorker) -> dict[str, Any]:
    """The plan of a task.

    Args:
        task: The task.
    """
    return task.plan if isinstance(task, Worker) else task.worker.plan


def _stops(
    is_halted: Callable[[], bool], refuse_lost: Callable[[], object], *_epoch: object
) -> bool:
    """A listener that interrupts the training, which restarts with the next command."""
    refuse_lost()
    if is_halted():
        raise KeyboardInterrupt("request; the training will restart in another run")
    return True


def _ending_the_run_when_lost(
    refuse_lost: Callable[[], object], tracker: "RunTracker"
) -> Callable[[], None]:
    """A check that marks the run as killed, not failed: another process trains this seed again."""
    from recsweep.sweeps.study.claim import TrialLostError

    def check() -> None:
        try:
            refuse_lost()
        except TrialLostError as lost:
            tracker.end("KILLED", str(lost))
            raise

    return check


@contextmanager
def _in_slots(own: "Layout") -> Iterator[None]:
    """Train in this layout; then free the device's memory, as this process may continue."""
    from recsweep.training import layout

    with layout.use(own):
        try:
            yield
        finally:
            if layout.is_dense():
                from recsweep.training import slots  # imports JAX

                slots.free()


def _failure(error: Exception, plan: dict[str, Any]) -> dict[str, Any]:
    """What a worker returns after an error, which is printed at once, as others continue."""
    if isinstance(error, DeviceLostError):
        mark_lost()
        print_to_stderr(f"warning: a worker ended: {error}")
        return {"error": str(error), "is_device_lost": True, **_kept()}
    line = one_line(error) if isinstance(error, InputError) else describe_error(error)
    if not watchdog.Process.of(plan["parent_process"]).is_current:
        with suppress(OSError):
            (folder := failures_folder(plan)).mkdir(exist_ok=True)
            (folder / f"{socket.gethostname()}-{os.getpid()}").write_text(line, encoding="utf-8")
    unfit = {"is_unfit": True} if isinstance(error, UnfitHostError) else {}
    return {"error": line, **unfit, **_kept()}


def failures_folder(plan: dict[str, Any]) -> Path:
    """Where workers leave the errors that ended them, for the process that launched them."""
    return Path(plan["folder"]) / f"{FAILURES}-{plan['parent_process']['pid']}"


def _kept() -> dict[str, Any]:
    return {"has_gpu": True} if has_gpu() else {}
