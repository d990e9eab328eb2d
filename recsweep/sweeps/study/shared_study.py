"""A study shared by workers: its trials, and how one of them is finished.

Trials are begun and taken over in `claims`.
"""

import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import optuna
from optuna.trial import FrozenTrial, TrialState

from recsweep.build import build
from recsweep.errors import InputError, UnfitHostError
from recsweep.files import refuse_links
from recsweep.run_files import JOURNAL, LOG, OF_LAUNCHERS, trial_folder
from recsweep.sweeps.sampling.pruners import REPLICATES, Pruner, falls_behind
from recsweep.sweeps.space.space import Space
from recsweep.sweeps.storage.attempts import RETRIES, latest_attempts, renumber
from recsweep.sweeps.storage.backends import make_locks, open_storage
from recsweep.sweeps.storage.database import redact_address
from recsweep.sweeps.storage.database_storage import CachedTrials, DatabaseStorage
from recsweep.sweeps.storage.outages import Outages
from recsweep.sweeps.study.leftovers import has_trainings, refuse_leftovers

if TYPE_CHECKING:
    from recsweep.data.split import Split

T = TypeVar("T")

SLOTS = "slots"
"""The study's attribute with the number of trials that a worker trains at the same time."""
DEVICE = "device"
"""The study's attribute with the device and precision that all its trials run on."""
CPUS = "cpus"
"""The study's attribute with the CPU types of its workers, the first one's first."""

FLAGS = "flags"
"""The attribute with the command's options that its trials need, such as --config-dir."""
RESUME = "command"
"""The attribute with the command that started the study."""
PARENT_RUN = "parent_run"
"""The attribute with the id of the study's run in the tracking store."""


@dataclass(frozen=True)
class Plan:
    """Everything that a worker needs to know, as plain values.

    Args:
        study: The study's name.
        folder: The sweep's folder.
        storage: URL of the storage; None = a journal in the folder.
        n_trials: Number of trials to finish.
        deadline: Unix time after which no new trial is started; None = no limit.
        seed: The sampler's seed.
        folds: Trainings of each trial, one per fold; None = one on the split as it is.
        seeds_per_trial: Trainings of each trial, one per seed.
        try_defaults: Trial 0 is the default configuration.
        max_retries: How often a trial is restarted after its process died.
        max_failures: More failed trials than this end the sweep.
        outage_timeout_s: How long a database or a tracking server that is away is waited for.
        sampler: Configuration of the sampler.
        pruner: Configuration of the pruner.
        objectives: Metrics and times, such as `ndcg@100`, `train_s`.
        space: See `Space.plain`.
        backend: `jax` or `tensorflow`.
        threads: CPU threads per worker.
        device: `auto`, `cpu` or `gpu`.
        precision: `tf32` or `float32`, on a GPU.
        n_workers: Workers of this command, which share a GPU's memory.
        slots: Trials that a worker trains at the same time; None = as many as are useful.
        code: Hashes of the code that the sweep started with, see `recsweep.source_code.of_config`.
        parent_run: Id of the tracked run of the whole sweep; None = not tracked.
        parent_process: The process that launches the workers, see `watchdog.Process`.
        stop_file: Workers stop after their epoch once this file exists; None = never.
        retry: Optuna's ids of the failed trials to retry.
        workers_only: Whether the command only runs workers of a sweep that others finish.
        require_same_cpu: Whether to refuse hosts of another CPU type than the first worker's.
        stops: Requests to stop from before this command, see `stop_requests.counts`.
    """

    study: str
    folder: str
    storage: str | None
    n_trials: int
    deadline: float | None
    seed: int
    folds: int | None
    seeds_per_trial: int
    try_defaults: bool
    max_retries: int
    max_failures: int
    outage_timeout_s: float
    sampler: dict[str, Any]
    pruner: dict[str, Any]
    objectives: list[str]
    space: dict[str, Any]
    backend: str
    threads: int
    device: str
    precision: str
    n_workers: int
    slots: int | None
    code: dict[str, str]
    parent_run: str | None
    parent_process: dict[str, Any]
    stop_file: str | None
    retry: list[int]
    workers_only: bool = False
    require_same_cpu: bool = False
    stops: dict[str, int] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As a dict, for another process."""
        return asdict(self)

    @property
    def is_stopped(self) -> bool:
        """Whether the workers were asked to stop."""
        return self.stop_file is not None and Path(self.stop_file).exists()

    @property
    def is_late(self) -> bool:
        """Whether no new trial may start any more."""
        return self.deadline is not None and time.time() > self.deadline


def directions(objectives: list[str]) -> list[Literal["maximize", "minimize"]]:
    """Times are minimized, metrics maximized."""
    return ["minimize" if name.endswith("_s") else "maximize" for name in objectives]


class SharedStudy:
    """One Optuna study as all processes of a sweep see it.

    Args:
        plan: The sweep's plan.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.n_slots = 1
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        folder = Path(plan.folder)
        is_parent = plan.parent_process["pid"] == os.getpid()
        if is_parent:  # once: trials are many
            refuse_links(folder, OF_LAUNCHERS)
        self.space = Space.of(plan.space)
        self.sampler = build(plan.sampler, "sampler")
        self.pruner: Pruner = build(plan.pruner, "pruner")
        self._has_trainings = has_trainings(folder)  # first: a study exists before its files
        if self._has_trainings and plan.storage is None and not (folder / JOURNAL).exists():
            refuse_leftovers(plan.study, folder)
        self._outages = Outages(redact_address(plan.storage), plan.outage_timeout_s, is_parent)
        self.storage = self._outages.wait(lambda: open_storage(plan.storage, folder, self._outages))
        self.locks = make_locks(plan.storage, folder, plan.study, self.storage)
        cached = CachedTrials(self.storage) if isinstance(self.storage, DatabaseStorage) else None
        self.study = self._opened(cached or self.storage)
        self._ids: dict[int, int] = {}

    def _opened(self, storage: optuna.storages.BaseStorage) -> optuna.Study:
        """Optuna's study; an existing one is only read."""
        plan, pruner = self.plan, self.pruner.make(self._n_epochs())
        try:
            return optuna.load_study(study_name=plan.study, storage=storage, pruner=pruner)
        except KeyError:
            if self._has_trainings:
                refuse_leftovers(plan.study, Path(plan.folder))
            study = optuna.create_study(
                study_name=plan.study, storage=storage, pruner=pruner,
                directions=directions(plan.objectives), load_if_exists=True,
            )  # fmt: skip
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names(list(plan.objectives))  # what dashboards show
            return study

    def close(self) -> None:
        """Close the connection to a database, which an idle process would keep."""
        if isinstance(self.storage, DatabaseStorage):
            self.storage.engine.dispose()

    def alone(self, action: Callable[[], T]) -> T:
        """Run an action while no other process runs one.

        In PostgreSQL all that it stores is one transaction.

        Args:
            action: Called again if an outage has interrupted it, or may have.
        """

        def act() -> T:
            with self.locks.mutex():
                return action()

        return self._outages.wait(act)

    def at_once(self, action: Callable[[], T]) -> T:
        """The same in the presence of others; in a database all that it stores is one transaction.

        Args:
            action: Called again if an outage has interrupted it, or may have.
        """
        storage = self.storage
        if not isinstance(storage, DatabaseStorage) or storage.connection.is_in_transaction:
            return action()

        def act() -> T:
            with storage.connection.transaction():
                return action()

        return self._outages.wait(act)

    def _n_epochs(self) -> int:
        """Maximum number of epochs of a trial."""
        return max(int(branch.config["model"].get("n_epochs", 1)) for branch in self.space.branches)

    def refuse_other_device(self, kind: str, precision: str) -> None:
        """Note the first worker's device, and refuse any other one.

        Args:
            kind: Device of this process, such as `cpu` or `NVIDIA H100`.
            precision: `tf32` or `float32`.

        Raises:
            InputError: Trials of this study have run on another kind of device.
        """
        own = f"{kind} ({precision})"

        def note() -> Any:
            known = self.study.user_attrs.get(DEVICE)
            if known is None:
                self.study.set_user_attr(DEVICE, own)
            return known

        known = self.alone(note)
        if known not in (None, own):
            raise UnfitHostError(
                f"all trials of a study must run on one kind of device, but {self.plan.study} runs "
                f"on {known} and this worker on {own}; set device and precision as before, or "
                "start another study with study=NAME"
            )

    def note_cpu(self, cpu: str) -> bool:
        """Note this host's CPU type.

        Args:
            cpu: See `environment.machine`.

        Returns:
            Whether it is the first of a type that is not the study's.

        Raises:
            UnfitHostError: It is of another type, and the plan requires the same one.
        """

        def note() -> list[str]:
            known: list[str] = self.study.user_attrs.get(CPUS, [])
            is_refused = self.plan.require_same_cpu and known and known[0] != cpu
            if cpu not in known and not is_refused:
                self.study.set_user_attr(CPUS, [*known, cpu])
            return known

        known = self.alone(note)
        is_other = bool(known) and known[0] != cpu
        if is_other and self.plan.require_same_cpu:
            raise UnfitHostError(
                f"sweep.require_same_cpu=true needs the CPU type that {self.plan.study} "
                f"started on, {known[0]}, but this host is {cpu}; run workers elsewhere, or "
                "leave sweep.require_same_cpu=true out"
            )
        return is_other and cpu not in known

    def refuse_other_data(self, split: "Split") -> None:
        """Check this host's data, as prepared in its cache, against the study's.

        Args:
            split: The data of this process.

        Raises:
            UnfitHostError: They are not what the study started with.
        """
        known = self.study.user_attrs.get("identity", {}).get("fingerprint", {})
        own = {"data": split.data_fingerprint, "split": split.fingerprint}
        for part, digest in own.items():
            if known.get(part, digest) != digest:
                raise UnfitHostError(
                    f"all hosts must have the {part} that {self.plan.study} started with, but "
                    f"its fingerprint is {known[part][:12]} there and {digest[:12]} on this host; "
                    "copy the files again, or name another cache_dir"
                )

    @property
    def agreed_slots(self) -> int | None:
        """The slots of each worker; None = no worker has run yet."""
        slots = self.study.user_attrs.get(SLOTS)
        return None if slots is None else int(slots)

    def agree_on_slots(self, choose: Callable[[], int]) -> int:
        """The slots of all workers of this study: the first one's choice.

        Args:
            choose: Returns a number that suits this process; called without the plan's own only.

        Raises:
            InputError: The plan asks for another number than the study runs with.
        """
        if (agreed := self.agreed_slots) is None:
            chosen = self.plan.slots or choose()

            def agree() -> int:
                if (known := self.agreed_slots) is None:
                    self.study.set_user_attr(SLOTS, chosen)
                return known or chosen

            agreed = self.alone(agree)
        self.refuse_other_slots()
        self.n_slots = agreed
        return agreed

    def refuse_other_slots(self) -> None:
        """Raise InputError if the plan asks for another number than the study runs with."""
        wanted, agreed = self.plan.slots, self.agreed_slots
        if None not in (wanted, agreed) and wanted != agreed:
            raise InputError(
                "sweep.slots must not change within a study, because results depend on it, but "
                f"{self.plan.study} runs with {agreed} and sweep.slots is {wanted}; set "
                f"sweep.slots={agreed}, or start another study with study=NAME"
            )

    def is_on_gpu(self) -> bool | None:
        """Whether the study's device is no CPU; None before its first worker has noted it."""
        device = self.study.user_attrs.get(DEVICE)
        return None if device is None else not device.startswith("cpu ")

    def trials(self) -> list[FrozenTrial]:
        """All trials by number; for a retried one, the latest attempt."""
        return self.latest(self.attempts())

    def attempts(self) -> list[FrozenTrial]:
        """All trials as Optuna has them."""
        return self.study.get_trials(deepcopy=False)

    def latest(self, attempts: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """The trials by number among all attempts."""
        trials = latest_attempts(attempts)
        self._ids = {trial.number: trial._trial_id for trial in trials}
        return trials

    def add(self, template: FrozenTrial) -> FrozenTrial:
        """Add a trial and return it as stored; an attempt has the number that it retries."""
        if isinstance(self.storage, DatabaseStorage):
            frozen = self.storage._create_new_trial(self.study._study_id, template)
        else:
            self.study.add_trial(template)
            frozen = self.attempts()[-1]
        number = frozen.user_attrs.get(RETRIES, template.number)
        self._ids = {**self._ids, number: frozen._trial_id}
        return renumber(frozen, number)

    @property
    def n_attempts(self) -> int:
        """Their number, in one statement."""
        if isinstance(self.storage, DatabaseStorage):
            return self.storage.n_attempts(self.study._study_id)
        return len(self.attempts())

    def unfinished_numbers(self) -> list[int]:
        """Numbers of the trials that were started but not finished."""
        return [trial.number for trial in self.trials() if not trial.state.is_finished()]

    def failed_trials(self, trials: Sequence[FrozenTrial] | None = None) -> list[FrozenTrial]:
        """Failed trials, except those to retry.

        Args:
            trials: The trials, if they were just read.
        """
        trials = self.trials() if trials is None else trials
        failed = (trial for trial in trials if trial.state == TrialState.FAIL)
        return [trial for trial in failed if trial._trial_id not in self.plan.retry]

    def to_retry(self, trials: Sequence[FrozenTrial] | None = None) -> list[FrozenTrial]:
        """Failed trials to retry.

        Args:
            trials: The trials, if they were just read.
        """
        trials = self.trials() if trials is None else trials
        return [trial for trial in trials if trial._trial_id in self.plan.retry]

    def last_failure(self) -> str:
        """The reason of the most recent failure, and the path of its log."""
        failed = [trial for trial in self.trials() if trial.state == TrialState.FAIL]
        last = max(failed, key=lambda trial: trial.datetime_complete or datetime.min)
        log = trial_folder(self.plan.folder, last.number) / LOG
        return f"the last one because {last.user_attrs['reason']} (see {log})"

    def is_alive(self, number: int) -> bool:
        """Whether a process is running this trial, or may be: it has just lost its session."""
        return self.locks.is_leased(number) or not self.locks.is_settled()

    def is_finished(self) -> bool:
        """Whether no trial is left to run."""
        is_whole = len(self.trials()) >= self.plan.n_trials or self.is_exhausted()
        return is_whole and not self.unfinished_numbers() and not self.to_retry()

    @property
    def n_planned(self) -> int:
        """Number of trials to finish, no more than the space has points for the sampler."""
        return int(min(self.plan.n_trials, self.sampler.n_points(self.space)))

    def is_exhausted(self) -> bool:
        """Whether every point of the space has been tried."""
        return bool(self.study.user_attrs.get("exhausted"))

    def add_replicate(self, frozen: FrozenTrial, values: list[float], n_replicates: int) -> bool:
        """Record the objective of a trial's replicates so far; returns whether to prune it.

        A restarted trial is not pruned before the replicate at which its process died.

        Args:
            frozen: The trial as it was claimed.
            values: Its values, in order.
            n_replicates: Their number if it is not pruned.
        """
        n_done, n_before = len(values), len(frozen.user_attrs.get(REPLICATES, []))
        if n_done > n_before:
            self.set_attrs(frozen, {REPLICATES: values})
        is_asked = n_before <= n_done < n_replicates
        return is_asked and falls_behind(self.pruner, n_replicates, self.study, frozen.number)

    def set_attrs(self, frozen: FrozenTrial, attrs: Mapping[str, Any]) -> None:
        """Set user attributes of an unfinished trial."""
        if isinstance(self.storage, DatabaseStorage):
            self.storage.set_trial_attrs(frozen._trial_id, attrs)
            return
        for name, value in attrs.items():
            self.storage.set_trial_user_attr(frozen._trial_id, name, value)

    def finish(
        self, number: int, state: TrialState, values: list[float] | None, attrs: Mapping[str, Any]
    ) -> None:
        """Record how a trial ended: attributes first, then the state, which commits them.

        Args:
            number: The trial's number.
            state: Complete, pruned or failed.
            values: Values of the objectives, if complete.
            attrs: Other user attributes.
        """
        storage = self.storage
        if isinstance(storage, DatabaseStorage):
            trial_id = self._ids[number] if number in self._ids else self.trials()[number]._trial_id
            self.at_once(lambda: storage.finish_trial(trial_id, state, values, attrs))
            return
        frozen = self.trials()[number]
        self.set_attrs(frozen, attrs)
        of_optuna = storage.get_trial_number_from_id(frozen._trial_id)
        self.study.tell(of_optuna, values, state=state)

    def state_and_start(self, frozen: FrozenTrial) -> tuple[TrialState, Any]:
        """A trial's state, and when the process that runs it has begun it."""
        if isinstance(self.storage, DatabaseStorage):
            return self.storage.state_and_start(frozen._trial_id)
        found = self.storage.get_trial(frozen._trial_id)
        return found.state, found.user_attrs.get("began")

    def interrupt(self) -> None:
        """Mark trials that this command's workers are running as interrupted."""
        for trial in self.trials():
            is_ours = trial.user_attrs.get("parent") == self.plan.parent_process
            if is_ours and not trial.state.is_finished() and self.is_alive(trial.number):
                self.set_attrs(trial, {"is_interrupted": True})


def is_untracked(trial: FrozenTrial) -> bool:
    """Whether the tracker lost its store before it had all of the trial."""
    return bool(trial.user_attrs.get("is_untracked"))
