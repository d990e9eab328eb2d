"""From the configuration of a sweep to the specification of a study: all checks are here."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass as checked_dataclass
from sqlalchemy.engine import make_url

from recsweep import app, environment, source_code
from recsweep.build import validate
from recsweep.errors import InputError
from recsweep.files import refuse_folder
from recsweep.interfaces import STRICT, HomePath, SweepTracker
from recsweep.sweeps.execution.watchdog import Process
from recsweep.sweeps.sampling.pruners import NoPruner
from recsweep.sweeps.storage import database
from recsweep.sweeps.study.catalog import StudyCatalog
from recsweep.sweeps.study.identity import of_config
from recsweep.sweeps.study.shared_study import Plan

Launch = Callable[[Any, int, str], list[dict[str, Any]]]
"""Runs a task in so many processes, with a folder for what they write; what each returned."""


@checked_dataclass(kw_only=True, config=STRICT)
class SweepSettings:
    """The group `sweep` of the configuration.

    Args:
        n_trials: That are to be finished: complete, pruned or failed.
        n_workers: Processes that search together.
        timeout: Seconds after which no trial is begun; None = none.
        seed: Of the sampler.
        objectives: None = the evaluator's objective.
        try_defaults: Trial 0 is the configuration as it stands.
        max_retries: How often a trial begins again after its process died.
        max_failures: More failed trials than this end the sweep.
        retry_failed: Run those again that failed in earlier commands.
        final_seeds: How often the winner is trained again and scored on test; 0 = not at all.
        score_another: Score test also when it was scored for another trial of the study.
        register: Name of a model in the tracker's registry that the winner becomes a version of.
        storage: URL; None = a journal in the sweep's folder.
        folder: Each study gets a folder in here.
    """

    n_trials: Annotated[int, Field(ge=1)]
    n_workers: Annotated[int, Field(ge=1, le=1024)]
    timeout: Annotated[float, Field(gt=0, strict=False)] | None
    seed: Annotated[int, Field(ge=0)]
    objectives: Annotated[list[str], Field(min_length=1)] | None
    try_defaults: bool
    max_retries: Annotated[int, Field(ge=0)]
    max_failures: Annotated[int, Field(ge=0)]
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
        name: The study's.
        config: Configuration of the combination, resolved, with a worker's threads.
        fixed: Overrides that all trials share and that a single run understands.
        make_space: Reads and checks the search space.
        launch: Runs workers.
        command: What to type to resume it.
    """

    name: str
    config: dict[str, Any]
    fixed: list[str]
    make_space: Callable[[], Any]
    launch: Launch
    command: str

    def check(self) -> "StudySpec":
        """Check settings, space, data and tracking store; nothing is run yet.

        Raises:
            InputError: Something cannot be searched.
        """
        settings = validate(app.Settings, self.config, "")
        environment.choose_for_children(settings.backend, settings.threads)
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
        if len(objectives) > 1 and not isinstance(pruner, NoPruner):
            raise InputError(
                f"trials of several objectives cannot be pruned, but sweep.objectives is "
                f"{objectives}; set pruner=none"
            )
        tracker = app.build_group(settings, "tracking", "log_metrics")
        _refuse_registering(sweep, tracker)
        space = self.make_space()
        sampler.refuse(space, len(objectives))
        tracker.refuse_unusable()
        _refuse_shared_database(sweep.storage, tracker)
        split = app.load_split(settings)
        evaluator.refuse_large_k(split.train.shape[1])
        identity = {
            "fixed": self.fixed,
            "config": _of_branches(space),
            "space": space.described(),
            "objectives": objectives,
            "sampler": settings.sampler,
            "pruner": settings.pruner,
            "fingerprint": {"data": split.data_fingerprint, "split": split.fingerprint},
            "versions": environment.versions(),
            "code": source_code.of_config(settings.sampler, settings.pruner, _classes(space)),
        }
        identity = json.loads(json.dumps(identity))  # as it will be read again
        return StudySpec(
            self._name_at_start(settings, identity), self.command, self.launch, settings, sweep,
            objectives, space.plain(), identity, tracker,
        )  # fmt: skip

    def _name_at_start(self, settings: app.Settings, identity: dict[str, Any]) -> str:
        """The study's name, or the one that it had when its files lay elsewhere."""
        keys = {line.lstrip("+").partition("=")[0] for line in self.fixed}
        if settings.study is not None or keys.isdisjoint(app.FILES):
            return self.name
        return StudyCatalog.of(settings.sweep).find_moved(self.name, identity)


@dataclass(frozen=True)
class StudySpec:
    """One study in which nothing is wrong.

    Args:
        name: The study's.
        command: What to type to resume it.
        launch: Runs workers.
        settings: The checked top of the configuration.
        sweep: The group `sweep`.
        objectives: Metrics and times.
        space: See `Space.plain`.
        identity: Everything that trials depend on.
        tracker: Unopened.
    """

    name: str
    command: str
    launch: Launch
    settings: app.Settings
    sweep: SweepSettings
    objectives: list[str]
    space: dict[str, Any]
    identity: dict[str, Any]
    tracker: SweepTracker

    def plan(self, **more: Any) -> Plan:
        """What workers are told.

        Args:
            more: `deadline`, `parent_run`, `stop_file` and `retry` of this command.
        """
        sweep, settings = self.sweep, self.settings
        shared = ("n_trials", "seed", "try_defaults", "max_retries", "max_failures", "storage")
        return Plan(
            study=self.name,
            folder=str(sweep.folder.absolute() / self.name),
            sampler=settings.sampler,
            pruner=settings.pruner,
            objectives=self.objectives,
            space=self.space,
            backend=settings.backend,
            threads=settings.threads or environment.n_cores(),
            code=self.identity["code"],
            parent_process=asdict(Process.current()),
            **{name: getattr(sweep, name) for name in shared},
            **more,
        )


def _refuse_registering(sweep: SweepSettings, tracker: SweepTracker) -> None:
    """Find out before long work whether the winner could be registered."""
    if sweep.register is None:
        return
    if tracker.store is None or not sweep.final_seeds:
        raise InputError(
            f"sweep.register={sweep.register} needs a winner that is trained again as a tracked "
            "run; set tracking=mlflow and sweep.final_seeds=1 or more"
        )
    from recsweep.tracking.registry import refuse_name

    refuse_name(sweep.register, "sweep.register")


def _refuse_other_tasks(settings: app.Settings) -> None:
    target = str(settings.task.get("_target_"))
    if not target.endswith(".Train"):
        raise InputError(
            f"-m searches with task=train, but the task is {target}; leave out -m or task="
        )


def _refuse_path(study: str) -> None:
    """The study's name is a folder's, below `sweep.folder`."""
    if re.fullmatch(r"\w[\w .,=+-]*", study) is None:
        raise InputError(
            "a study's name must be of letters, digits and -_.,=+ and begin with one of the first "
            f"two, but is {study!r}; set study=NAME"
        )


def _refuse_shared_database(storage: str | None, tracker: SweepTracker) -> None:
    """One that has no tables yet would get Optuna's, and then MLflow could not make its own."""
    uri = tracker.store.uri if tracker.store else ""
    if storage is None or not uri.startswith(("sqlite", "postgresql")):
        return
    ours, theirs = (
        (url.get_backend_name(), url.host, url.port, url.database)
        for url in (database.parse_address(storage), make_url(uri))
    )
    if ours == theirs:
        raise InputError(
            "sweep.storage must be a database of its own, but is also the one that MLflow uses; "
            "name another one, or set sweep.storage=null for a journal"
        )


def _objectives(sweep: SweepSettings, evaluator: Any) -> list[str]:
    """What is searched for: validation metrics and times, first what epochs are chosen by.

    Raises:
        InputError: One is neither, or the first is not the one that epochs are chosen by.
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
            "sweep.objectives must name different ones, first the metric that epochs are chosen "
            f"by ({evaluator.objective}), but is {wanted}; change objective or sweep.objectives"
        )
    return list(wanted)


def _of_branches(space: Any) -> dict[str, Any]:
    """What trials depend on, once per branch of the space."""
    if len(space.branches) == 1:
        return of_config(space.branches[0].config)
    return {
        ",".join(f"{group}={option}" for group, option in branch.choices.items()): of_config(
            branch.config
        )
        for branch in space.branches
    }


def _classes(space: Any) -> list[Any]:
    """Parts of the configuration that name the classes which trials and the last trainings run."""
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
