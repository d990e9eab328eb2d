"""`python -m recsweep -m …`: one study per combination of model, data and backend, in turn."""

import hashlib
import itertools
import re
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, Sweep
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from recsweep import app, environment, shell
from recsweep.build import validate
from recsweep.comparison.statistics import Statistics
from recsweep.credentials import without_credentials
from recsweep.defaults import resolve
from recsweep.errors import InputError
from recsweep.messages import align_columns, print_to_stderr, print_to_stdout
from recsweep.run_files import COMPARISON_PAGE
from recsweep.sweeps.execution.coordinator import SweepCoordinator
from recsweep.sweeps.execution.setup import StudyRequest, StudySpec, SweepSettings
from recsweep.sweeps.execution.workers_only import WorkersOnly
from recsweep.sweeps.launching import (
    current_pool,
    default_threads,
    end_processes,
    launch,
    launches_with,
)
from recsweep.sweeps.reporting.result import StudyOutcome
from recsweep.sweeps.sampling.samplers import Grid
from recsweep.sweeps.space.model_overrides import (
    of_some_models,
    only_model,
    overrides_by_model,
)
from recsweep.sweeps.space.space import make_space, setting_names
from recsweep.sweeps.study.shared_study import SharedStudy
from recsweep.sweeps.study_comparison import compare_studies

COMBINED = ("model", "data", "transform", "split", "backend", "experiment")
"""Settings that give one study per value, all with the same budget."""
COMBINED_BELOW = ("data.", "transform.", "split.")
"""Groups whose settings do so too, if they are given as a list."""
NOT_IN_THE_NAME = (
    "study", "tracking", "cache_dir", "debug", "sweep", *app.OF_STORED, *app.LIMITS,
)  # fmt: skip
"""Settings that may change when a study is resumed."""
NOT_IN_THE_RUN = (*NOT_IN_THE_NAME, "search", "sampler", "pruner")
"""Settings that do not affect a single run."""
IN_THE_NAME = (
    "sweep.seed", "sweep.objectives", "sweep.try_defaults", "sweep.folds", "sweep.seeds_per_trial",
)  # fmt: skip

T = TypeVar("T")


class Swept(NamedTuple):
    """The studies of one command.

    Args:
        studies: Study name -> the `sweep` group that it was searched with.
        comparisons: Folders with the comparisons of their winners.
    """

    studies: dict[str, dict[str, Any]]
    comparisons: list[Path]


def sweep(context: HydraContext, config: DictConfig, arguments: list[str]) -> Swept:
    """Run the sweep of a command line, print its results and write them to files.

    Args:
        context: Hydra's context.
        config: Configuration composed by Hydra without the sweep's overrides.
        arguments: Overrides of the command line, without those of Hydra itself and without
            `of_some_models`.

    Returns:
        The studies and the folders of the comparisons of their winners.

    Raises:
        InputError: Something cannot be searched, or a study cannot be resumed or has no result.
        KeyboardInterrupt: The sweep was asked to stop; the same command resumes it.
    """
    aside = [
        each for each in of_some_models(shell.command_line_arguments()) if each not in arguments
    ]
    overrides = OverridesParser.create().parse_overrides([*arguments, *aside])
    _refuse_duplicates(overrides)
    chosen = _combinations(overrides)
    models = [each.get("model") for each in chosen]
    own, remarks = overrides_by_model(overrides, models, partial(_model_keys, context, config))
    for remark in remarks:
        print_to_stderr(remark)
    parts = [_Combination.of(*pair) for pair in zip(chosen, own, strict=True)]
    is_alone = len(parts) == 1
    names = ["" if is_alone else " ".join(part.fixed[: len(part.choices)]) for part in parts]
    requests = _each(names, lambda part: _search(context, config, part, is_alone), parts)
    _refuse_same_names(names, requests)
    _refuse_backends_in_one_process(config, requests)
    specs = _each(names, StudyRequest.check, requests)  # check all, then run any
    coordinators = _each(names, _coordinator, specs)  # refuses changed studies
    begins = [name and f"{f'{n} of {len(names)}':<10}{name}" for n, name in enumerate(names, 1)]
    outcomes, errors = _run_all(names, coordinators, begins)
    comparisons = []
    if len(outcomes) > 1:
        print_to_stdout(*_summary(list(outcomes.values())))
        statistics = _statistics(context, config)
        done = [coordinators[place] for place in outcomes]
        for written in compare_studies(done, list(outcomes.values()), statistics):
            page = f"page      {written.folder / COMPARISON_PAGE}"
            print_to_stdout("", *written.text.split("\n"), "", page)
            comparisons.append(written.folder)
    _raise_one(errors, len(coordinators))
    studies = {coordinators[n].spec.name: coordinators[n].spec.settings.sweep for n in outcomes}
    return Swept(studies, comparisons)


def _coordinator(spec: StudySpec) -> SweepCoordinator:
    return WorkersOnly(spec) if spec.sweep.workers_only else SweepCoordinator(spec)


def _each(names: Sequence[str], act: Callable[..., T], *things: Sequence[Any]) -> list[T]:
    """Call `act` for each study; with several studies, an error names the one that failed."""
    made = []
    for name, *own in zip(names, *things, strict=True):
        try:
            made.append(act(*own))
        except Exception as error:
            if name:
                error.add_note(name)
            raise
    return made


def _run_all(
    names: Sequence[str], coordinators: Sequence[SweepCoordinator], begins: Sequence[str]
) -> tuple[dict[int, StudyOutcome], list[InputError]]:
    """Run one study after the other; an error in one does not stop the others.

    Returns:
        Outcomes by the study's position, none from workers only, and errors of the failed ones.
    """
    outcomes: dict[int, StudyOutcome] = {}
    errors: list[InputError] = []
    for place, (name, coordinator, begin) in enumerate(
        zip(names, coordinators, begins, strict=True)
    ):
        try:
            (outcome,) = _each([name], _run, [coordinator], [begin])
            if outcome is not None:
                outcomes[place] = outcome
        except InputError as error:
            errors.append(error)
            if name:
                print_to_stderr(f"failed    {error}")
    return outcomes, errors


def _raise_one(errors: Sequence[InputError], n_studies: int) -> None:
    """Raise all errors as one line."""
    if len(errors) > 1:
        lines = (": ".join([*error.__notes__, str(error)]) for error in errors)
        raise InputError(f"{len(errors)} of {n_studies} studies failed: {' | '.join(lines)}")
    for error in errors:
        raise error


def _statistics(context: HydraContext, config: DictConfig) -> Statistics:
    """The settings of `task=compare`, which also apply to winners."""
    composed = context.config_loader.load_sweep_config(config, ["task=compare"])
    task = cast("dict[str, Any]", OmegaConf.to_container(composed.task))
    return Statistics(**{name: task[name] for name in Statistics.__dataclass_fields__})


class _Combination(NamedTuple):
    """One study of a command line.

    Args:
        choices: The values of `COMBINED` and below that distinguish it from the others.
        fixed: Overrides shared by all its trials.
        swept: Overrides searched by its trials.
    """

    choices: dict[str, str]
    fixed: list[str]
    swept: list[str]

    @classmethod
    def of(cls, choices: dict[str, str], overrides: Sequence[Override]) -> "_Combination":
        own = [each for each in overrides if _key(each) not in choices]
        return cls(
            choices,
            [f"{key}={value}" for key, value in choices.items()]
            + [_line(each) for each in own if not each.is_sweep_override()],
            [_line(each) for each in own if each.is_sweep_override()],
        )

    @property
    def typed(self) -> frozenset[str]:
        """The keys that are searched because the command line says so."""
        return frozenset(line.lstrip("+").partition("=")[0] for line in self.swept)


def _combinations(overrides: Sequence[Override]) -> list[dict[str, str]]:
    """All combinations of the values of `COMBINED` and below: one study each."""
    axes: dict[str, list[str]] = {}
    for override in overrides:
        key = _key(override)
        if not override.is_sweep_override():
            continue
        sweep = override.value()
        is_below = key.startswith(COMBINED_BELOW) and isinstance(sweep, ChoiceSweep)
        if key in COMBINED or is_below:
            if not isinstance(sweep, ChoiceSweep) or any(
                isinstance(value, Sweep | list | dict) for value in sweep.list
            ):
                raise InputError(
                    f"{key} must be given as names, such as {key}=a,b, but is {_line(override)}"
                )
            axes[key] = [str(value) for value in override.sweep_string_iterator()]
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _refuse_duplicates(overrides: Sequence[Override]) -> None:
    keys = [f"{_key(each)}@{only_model(each)}".rstrip("@") for each in overrides]
    for key in keys:
        if keys.count(key) > 1:
            raise InputError(
                f"a setting must be given once, but {key} is given {keys.count(key)} times; give "
                "it once"
            )


def _key(override: Override) -> str:
    return str(override.key_or_group)


def _line(override: Override) -> str:
    """An override as typed, without the model that it is for."""
    line, model = str(override.input_line), only_model(override)
    return line.replace(f"@{model}", "", 1) if model else line


def _model_keys(context: HydraContext, config: DictConfig, model: str) -> set[str]:
    """All settings of a model, such as `model.l2`; empty if there is no such model."""
    try:
        composed = context.config_loader.load_sweep_config(config, [f"model={model}"])
    except HydraException:
        return set()  # which is explained when its study is composed
    return setting_names({"model": OmegaConf.to_container(composed.model, resolve=False)})


def _search(
    context: HydraContext, config: DictConfig, combination: _Combination, is_alone: bool
) -> StudyRequest:
    """The study for one combination."""

    def compose(overrides: list[str]) -> dict[str, Any]:
        composed = context.config_loader.load_sweep_config(config, overrides)
        container = cast("dict[str, Any]", OmegaConf.to_container(composed, resolve=False))
        choices = container.pop("hydra")["runtime"]["choices"]
        return app.with_model_name(container, choices)

    def settled(overrides: list[str]) -> dict[str, Any]:
        return resolve(OmegaConf.create(compose(overrides)))

    settings = validate(app.Settings, settled(combination.fixed), "")
    wanted = validate(SweepSettings, settings.sweep, "sweep")
    fixed = [line for line in combination.fixed if not _is_of(line, NOT_IN_THE_RUN)]
    if settings.threads is None:  # each worker gets an equal share of the cores
        fixed.append(f"threads={default_threads(config, wanted.n_workers)}")
    if settings.objective is None and wanted.objectives:
        fixed.append(f"objective={wanted.objectives[0]}")
    changed = [line for line in combination.fixed if _is_of(line, NOT_IN_THE_RUN)]
    return StudyRequest(
        name=_name(settings, combination, is_alone),
        config=settled([*fixed, *changed]),
        fixed=sorted(fixed),
        typed=combination.typed,
        make_space=lambda: make_space(compose, [*fixed, *changed], combination.swept),
        launch=partial(launch, context, config),
        command=shlex.join(["python", "-m", "recsweep", *without_credentials(_resuming())]),
    )


def _resuming() -> list[str]:
    """The arguments of the command that finishes the sweep."""
    return [
        each for each in shell.command_line_arguments() if not _is_of(each, ("sweep.workers_only",))
    ]


def _refuse_same_names(parts: Sequence[str], requests: Sequence[StudyRequest]) -> None:
    """Two studies with the same name would share a folder and, worse, their trials."""
    first: dict[str, str] = {}
    for part, search in zip(parts, requests, strict=True):
        if search.name in first:
            raise InputError(
                f"studies of one command must have different names, but {first[search.name]} and "
                f"{part} are both called {search.name}; give each value once, or type a command "
                "for each"
            )
        first[search.name] = part


def _refuse_backends_in_one_process(config: DictConfig, requests: Sequence[StudyRequest]) -> None:
    backends = sorted({str(search.config["backend"]) for search in requests})
    if len(backends) > 1 and launches_with(config, "BasicLauncher"):
        raise InputError(
            f"a process can have only one backend, but hydra/launcher=basic runs backend="
            f"{','.join(backends)} in one process; set hydra/launcher=joblib"
        )


def _run(coordinator: SweepCoordinator, begin: str) -> StudyOutcome | None:
    """Run one study, after printing its header and remarks; workers only have no outcome.

    Args:
        coordinator: The study.
        begin: Header line that says which of several it is.
    """
    for line in filter(None, (begin, _remark(coordinator.study))):
        print_to_stderr(line)
    settings = coordinator.spec.settings
    environment.choose_for_children(
        settings.backend, settings.threads, settings.device, settings.precision
    )
    before = current_pool()
    try:
        if isinstance(coordinator, WorkersOnly):
            coordinator.help_out()
            return None
        return coordinator.run()
    finally:
        if (executor := current_pool()) is not before:
            end_processes(executor)


def _remark(study: SharedStudy) -> str | None:
    """A note about trials of a new study that may surprise the user."""
    space, outside = study.space, " and ".join(study.space.default_outside())
    if study.trials():
        return None
    if not space.describe():
        return "nothing is searched: one trial"
    if not (study.plan.try_defaults and outside) or isinstance(study.sampler, Grid):
        return None
    if space.default_params() is None:
        return f"trial 0 is not the default configuration: {outside}"
    return (
        f"trial 0 is the default configuration, where {outside}; sweep.try_defaults=false skips it"
    )


def _name(settings: app.Settings, combination: _Combination, is_alone: bool) -> str:
    """The study's name: the same for the same command, regardless of its budget."""
    own = {"model": settings.called, "data": app.data_name(settings)}
    parts = own | combination.choices
    told = [parts[key].replace("/", "-") for key in COMBINED if key in parts]
    below = [f"{key.rpartition('.')[2]}-{parts[key]}" for key in parts if "." in key]
    told += [re.sub(r"[^\w.+-]+", "-", each) for each in below]
    readable = "-".join(told)
    if settings.study is not None:
        return settings.study if is_alone else f"{settings.study}-{readable}"
    lines = sorted(
        line
        for line in (*combination.fixed, *combination.swept)
        if _is_of(line, IN_THE_NAME) or not _is_of(line, NOT_IN_THE_NAME)
    )
    return f"{readable}-{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:8]}"


def _is_of(line: str, keys: Sequence[str]) -> bool:
    """Whether an override sets one of these keys or a key below one of them."""
    key = line.lstrip("+~").partition("=")[0]
    return any(key == each or key.startswith(f"{each}.") for each in keys)


def _summary(outcomes: Sequence[StudyOutcome]) -> list[str]:
    """A table with one line per study."""
    head = ["study", "trials", "objective", "validation", "default", "test ± standard error"]
    return ["", *align_columns(head, [outcome.cells() for outcome in outcomes])]
