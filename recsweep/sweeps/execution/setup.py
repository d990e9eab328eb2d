"""From the configuration of a sweep to the specification of a study, with all checks."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass as checked_dataclass
from sqlalchemy.engine import make_url

from recsweep import app, environment, source_code
from recsweep.build import validate
from recsweep.credentials import without_credentials
from recsweep.errors import InputError
from recsweep.files import refuse_folder
from recsweep.interfaces import STRICT, HomePath, SweepTracker
from recsweep.sweeps.execution.replicates import Replicates, tuning_folds
from recsweep.sweeps.execution.watchdog import Process
from recsweep.sweeps.execution.worker import FinalWorker, Worker
from recsweep.sweeps.sampling.pruners import NoPruner
from recsweep.sweeps.space.space import Space
from recsweep.sweeps.storage import database
from recsweep.sweeps.study.catalog import StudyCatalog
from recsweep.sweeps.study.identity import of_config
from recsweep.sweeps.study.shared_study import Plan

SLOTS_LIMIT = 1024
Launch = Callable[[Worker | FinalWorker, int, str], list[dict[str, Any]]]
"""(task, number of processes, folder for their output) -> what each process returned."""


def _as_slots(slots: Any) -> int | Literal["auto"]:
    if slots != "auto" and (type(slots) is not int or not 1 <= slots <= SLOTS_LIMIT):
        raise ValueError(
            f"sweep.slots must be auto or a whole number from 1 to {SLOTS_LIMIT}, but is "
            f"{slots!r}; change sweep.slots"
        )
    return cast('int | Literal["auto"]', slots)


@checked_dataclass(kw_only=True, config=STRICT)
class SweepSettings:
    """The group `sweep` of the configuration.

    Args:
        n_trials: Number of trials to finish: complete, pruned or failed.
        n_workers: Number of parallel processes.
        workers_only: Run workers until the study is complete or stopped, and nothing else.
        require_same_cpu: Refuse hosts of another CPU type than the first worker's.
        slots: Trials that a process trains at the same time; `auto` = one on a CPU, as many as are
            useful and fit on an accelerator.
        timeout: Seconds after which no new trial is started; None = no limit.
        seed: The sampler's seed.
        objectives: Objectives of the search; None = the evaluator's objective.
        folds: Trainings of each trial, one per fold of the training and validation users; None =
            one on the split as it is.
        seeds_per_trial: Trainings of each trial, one per seed.
        try_defaults: Trial 0 is the default configuration.
        max_retries: How often a trial is restarted after its process died.
        max_failures: More failed trials than this end the sweep.
        outage_timeout_s: How long a database or tracking server that is away is waited for.
        retry_failed: Retry trials that failed in earlier commands.
        final_seeds: How often the winner is retrained and scored on test; 0 = never.
        score_another: Score test even if it was scored for another trial of the study.
        register: Registered model that the winner becomes a version of.
        storage: Storage URL; None = a journal in the sweep's folder.
        folder: Parent of the studies' folders.
    """

    n_trials: Annotated[int, Field(ge=1)]
    n_workers: Annotated[int, Field(ge=1, le=1024)]
    workers_only: bool
    require_same_cpu: bool
    slots: Annotated[Any, AfterValidator(_as_slots)]
    timeout: Annotated[float, Field(gt=0, strict=False)] | None
    seed: Annotated[int, Field(ge=0)]
    objectives: Annotated[list[str], Field(min_length=1)] | None
    folds: Annotated[int, Field(ge=2)] | None
    seeds_per_trial: Annotated[int, Field(ge=1)]
    try_defaults: bool
    max_retries: Annotated[int, Field(ge=0)]
    max_failures: Annotated[int, Field(ge=0)]
    outage_timeout_s: Annotated[float, Field(ge=0, strict=False)]
    retry_failed: bool
    final_seeds: Annotated[int, Field(ge=0)]
    score_another: bool
    register: Annotated[str, Field(min_length=1)] | None
    storage: str | None
    folder: HomePath


@dataclass(frozen=True)
class StudyRequest:
    """One study of a command line, not yet checked.

    Args:
        name: The study's name.
        config: Resolved configuration of the combination, with a worker's threads.
        fixed: Overrides shared by all trials that are also valid for a single run.
        make_space: Reads and checks the search space.
        launch: Runs workers.
        command: The command that resumes it.
        typed: Keys that the command line searches.
    """

    name: str
    config: dict[str, Any]
    fixed: list[str]
    make_space: Callable[[], Space]
    launch: Launch
    command: str
    typed: frozenset[str] = frozenset()

    def check(self) -> "StudySpec":
        """Check settings, search space, data and tracking store, without running anything.

        Raises:
            InputError: Something cannot be searched.
        """
        settings = validate(app.Settings, self.config, "")
        environment.choose_for_children(
            settings.backend, settings.threads, settings.device, settings.precision
        )
        environment.use_cache(settings.cache)
        sweep = validate(SweepSettings, settings.sweep, "sweep")
        _refuse_other_tasks(settings)
        _refuse_path(self.name)
        if not (folder := sweep.folder / self.name).exists():
            refuse_folder(folder, "sweep.folder")
        evaluator = app.make_evaluator(settings)
        objectives = _objectives(sweep, evaluator)
        pruner, sampler = (
            app.build_group(settings, group, "make") for group in ("pruner", "sampler")
        )
        _refuse_pruning(objectives, pruner)
        _refuse_slots(sweep, settings.backend, objectives)
        _refuse_folds_of_seeds(sweep)
        tracker = app.build_group(settings, "tracking", "log_metrics")
        _refuse_registering(sweep, tracker)
        space = self.make_space()
        sampler.refuse(space, len(objectives))
        tracker.refuse_unusable()
        _refuse_shared_database(sweep.storage, tracker)
        if sweep.storage is not None:  # later, outages of a database are waited for
            database.has_tables(database.parse_address(sweep.storage))
        split = app.load_split(settings)
        evaluator.refuse_large_k(split.train.shape[1])
        evaluator.warn_of_full_lists(split.train.shape[1])
        if sweep.folds:
            tuning_folds(settings, split, sweep.folds).refuse()
        identity = {
            "fixed": self.fixed,
            "config": _of_branches(space),
            "space": space.describe(),
            "objectives": objectives,
            "sampler": settings.sampler,
            "pruner": settings.pruner,
            "fingerprint": {"data": split.data_fingerprint, "split": split.fingerprint},
            "versions": environment.versions(),
            "code": source_code.of_config(settings.sampler, settings.pruner, _classes(space)),
        }
        # as the storage will return it
        identity = json.loads(json.dumps(without_credentials(identity)))
        return StudySpec(
            self._name_at_start(settings, identity), self.command, self.launch, self.typed,
            settings, sweep, objectives, space.plain(), identity, tracker,
            app.describe_sizes(settings, split),
        )  # fmt: skip

    def _name_at_start(self, settings: app.Settings, identity: dict[str, Any]) -> str:
        """The study's name, or its old name if its data files were moved since."""
        keys = {line.lstrip("+").partition("=")[0] for line in self.fixed}
        if settings.study is not None or keys.isdisjoint(app.FILES):
            return self.name
        return StudyCatalog.of(settings.sweep).find_moved(self.name, identity)


@dataclass(frozen=True)
class StudySpec:
    """One study that has passed all checks.

    Args:
        name: The study's name.
        command: The command that resumes it.
        launch: Runs workers.
        typed: Keys that the command line searches.
        settings: The validated top level of the configuration.
        sweep: The group `sweep`.
        objectives: Metrics and times.
        space: See `Space.plain`.
        identity: Everything that trials depend on.
        tracker: The tracker, not yet opened.
        sizes: A line about the size of the data.
    """

    name: str
    command: str
    launch: Launch
    typed: frozenset[str]
    settings: app.Settings
    sweep: SweepSettings
    objectives: list[str]
    space: dict[str, Any]
    identity: dict[str, Any]
    tracker: SweepTracker
    sizes: str

    @property
    def n_replicates(self) -> int:
        """Trainings of a trial that is not pruned."""
        return Replicates(self.sweep.folds, self.sweep.seeds_per_trial).count(self.settings.model)

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the run of the whole sweep."""
        identity = self.identity
        return {
            **environment.git_state(),
            **{f"version.{name}": text for name, text in identity["versions"].items()},
            **app.code_tags(identity["code"]),
            "backend": self.settings.backend,
            "threads": str(self.settings.threads),
            "data": app.data_name(self.settings),
            "data.fingerprint": identity["fingerprint"]["data"],
            "split.fingerprint": identity["fingerprint"]["split"],
        }

    def plan(self, **more: Any) -> Plan:
        """The plan that is passed to workers.

        Args:
            more: `deadline`, `parent_run`, `stop_file`, `retry` and `stops` of this command.
        """
        sweep, settings = self.sweep, self.settings
        shared = (
            "n_trials", "seed", "folds", "seeds_per_trial", "try_defaults", "max_retries",
            "max_failures", "storage", "outage_timeout_s", "workers_only", "require_same_cpu",
        )  # fmt: skip
        return Plan(
            study=self.name,
            folder=str(sweep.folder.absolute() / self.name),
            sampler=settings.sampler,
            pruner=settings.pruner,
            objectives=self.objectives,
            space=self.space,
            backend=settings.backend,
            threads=settings.threads or environment.n_cores(),
            device=settings.device,
            precision=settings.precision,
            n_workers=sweep.n_workers,
            slots=self._slots(),
            code=self.identity["code"],
            parent_process=asdict(Process.current()),
            **{name: getattr(sweep, name) for name in shared},
            **more,
        )

    def _slots(self) -> int | None:
        """One where a trial's time counts or the backend has no more; None = the worker chooses."""
        if self.sweep.slots != "auto":
            return self.sweep.slots
        is_timed = any(name.endswith("_s") for name in self.objectives)
        return 1 if is_timed or self.settings.backend != "jax" else None


def _refuse_pruning(objectives: list[str], pruner: object) -> None:
    if len(objectives) > 1 and not isinstance(pruner, NoPruner):
        raise InputError(
            f"multi-objective trials cannot be pruned, but sweep.objectives is {objectives}; "
            "set pruner=none"
        )


def _refuse_slots(sweep: SweepSettings, backend: str, objectives: list[str]) -> None:
    """Raise InputError if trials cannot be trained side by side."""
    if sweep.slots in (1, "auto"):
        return
    if backend != "jax":
        raise InputError(
            f"trials can be trained side by side only with backend=jax, but sweep.slots is "
            f"{sweep.slots} with backend={backend}; set sweep.slots=1"
        )
    if timed := [name for name in objectives if name.endswith("_s")]:
        raise InputError(
            f"a trial's time can be an objective only where it trains alone, but sweep.objectives "
            f"has {timed[0]} and sweep.slots is {sweep.slots}; set sweep.slots=1"
        )


def _refuse_folds_of_seeds(sweep: SweepSettings) -> None:
    if sweep.folds and sweep.seeds_per_trial > 1:
        raise InputError(
            f"a trial is trained once per fold or once per seed, but sweep.folds is {sweep.folds} "
            f"and sweep.seeds_per_trial is {sweep.seeds_per_trial}; set one of them"
        )


def _refuse_registering(sweep: SweepSettings, tracker: SweepTracker) -> None:
    """Raise InputError, before any long work, if the winner cannot be registered."""
    if sweep.register is None:
        return
    if tracker.store is None or not sweep.final_seeds:
        raise InputError(
            f"sweep.register={sweep.register} needs a winner that is retrained as a tracked run; "
            "set tracking=mlflow and sweep.final_seeds=1 or more"
        )
    from recsweep.tracking.registry import refuse_name

    refuse_name(sweep.register, "sweep.register")


def _refuse_other_tasks(settings: app.Settings) -> None:
    target = str(settings.task.get("_target_"))
    if not target.endswith(".Train"):
        named = target.rpartition(".")[0].rpartition(".")[2]
        raise InputError(f"-m needs task=train, but the task is {named}; drop -m or task={named}")


def _refuse_path(study: str) -> None:
    """The study's name is also the name of a folder below `sweep.folder`."""
    if re.fullmatch(r"\w[\w .,=+-]*", study) is None:
        raise InputError(
            "a study's name must start with a letter or digit and contain only letters, digits, "
            f"spaces and -_.,=+, but is {study!r}; set study=NAME"
        )


def _refuse_shared_database(storage: str | None, tracker: SweepTracker) -> None:
    """In a new database, Optuna's tables would keep MLflow from creating its own."""
    uri = tracker.store.uri if tracker.store else ""
    if storage is None or not uri.startswith(("sqlite", "postgresql")):
        return
    ours, theirs = (
        (url.get_backend_name(), url.host, url.port, url.database)
        for url in (database.parse_address(storage), make_url(uri))
    )
    if ours == theirs:
        raise InputError(
            "sweep.storage must be a database of its own, but MLflow uses the same one; "
            "use another one, or set sweep.storage=null for a journal"
        )


def _objectives(sweep: SweepSettings, evaluator: Any) -> list[str]:
    """The objectives: validation metrics and times, the metric that selects epochs first.

    Raises:
        InputError: One is neither, or the first does not select epochs.
    """
    wanted = sweep.objectives or [evaluator.objective]
    known = [f"{metric}@{k}" for metric in evaluator.metrics for k in evaluator.k]
    known += ["train_s", "wall_s"]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise InputError(
            f"sweep.objectives must be among {', '.join(known)}, but has {unknown[0]}; change "
            "sweep.objectives, or k=… and metrics=…"
        )
    if wanted[0] != evaluator.objective or len(set(wanted)) < len(wanted):
        raise InputError(
            "sweep.objectives must be distinct and start with the metric that selects epochs "
            f"({evaluator.objective}), but is {wanted}; change objective or sweep.objectives"
        )
    evaluator.refuse_objective()
    for name in wanted:
        if not name.endswith("_s") and not evaluator.may_choose_by(name):
            raise InputError(
                "sweep.objectives must be metrics that are better if they are larger, or times, "
                f"but {name} is not; remove it"
            )
    return list(wanted)


def _of_branches(space: Space) -> dict[str, Any]:
    """The configuration that trials depend on, once per branch of the space."""
    if len(space.branches) == 1:
        return of_config(space.branches[0].config)
    return {
        ",".join(f"{group}={option}" for group, option in branch.choices.items()): of_config(
            branch.config
        )
        for branch in space.branches
    }


def _classes(space: Space) -> list[Any]:
    """Parts of the configuration that name the classes used by trials and final trainings."""
    configs = [branch.at(branch.own_settings()) for branch in space.branches]
    fixed = [config[group] for config in configs for group in app.WITH_CODE]
    searched = [
        {"_target_": name}
        for branch in space.branches
        for key, dimension in branch.dimensions.items()
        if key.endswith("_target_")
        for name in dimension.edges
    ]
    return fixed + searched
