"""The Python API: one call per step of an experiment; `recsweep.NAME` loads it on first use.

Overrides are those of the command line: each argument of `python -m recsweep` is one string here.
Mistakes raise `InputError`, a `ValueError` with a one-line message.
"""

import io
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from hydra.core.global_hydra import GlobalHydra

from recsweep import app, environment, shell
from recsweep.build import validate
from recsweep.command_line import compose_config, groups, own_hydra
from recsweep.comparison.contenders import group_runs
from recsweep.comparison.rendering import comparison_text, pair_records, score_records
from recsweep.comparison.statistics import Statistics
from recsweep.comparison.statistics import compare as compare_contenders
from recsweep.data.interactions import Interactions
from recsweep.data.split import Fold, Split
from recsweep.errors import InputError
from recsweep.evaluation import Evaluation, training_popularity
from recsweep.experiment import Experiment
from recsweep.files import expand_user, read_errors_in_one_line
from recsweep.interfaces import Recommender
from recsweep.metrics.ranked_lists import TrainingCounts
from recsweep.mistakes import explain, refuse_mistyped
from recsweep.recommendations.fitted_model import FittedModel
from recsweep.recommendations.tables import recommend_to
from recsweep.run_files import is_study, read_summary
from recsweep.runs.scored_run import ScoredRun, read_run, read_study, replicates_of
from recsweep.sweeps.space.model_overrides import of_some_models
from recsweep.tasks.evaluate import measure_file
from recsweep.tracking import NullTracker

if TYPE_CHECKING:
    import optuna

Config = dict[str, Any]
QUIETED = ("alembic", "matplotlib", "mlflow", "optuna", "urllib3")
"""Packages whose logs a sweep silences."""


# --- one run --------------------------------------------------------------------------------------


def load_config(*overrides: str, config_dir: str | Path | None = None) -> Config:
    """The resolved configuration of `python -m recsweep OVERRIDES`.

    Args:
        overrides: Overrides such as `model=multivae` or `model.beta=0.2`.
        config_dir: A folder with your own YAML files, as for `--config-dir`.

    Returns:
        Nested dicts, as printed by `--cfg job --resolve`.

    Raises:
        InputError: A key, a choice or a value is wrong.
    """
    with _explained(overrides):
        return compose_config(*overrides, *_search_path(config_dir))


def load_split(config: Config) -> Split:
    """Prepare the split that a configuration describes, or read it from the cache.

    Args:
        config: See `load_config`.

    Returns:
        Training data (users × items, sparse) and the folds `valid` and `test`.

    Raises:
        InputError: The data cannot be read or split.
    """
    settings = _settings(config)
    environment.use_cache(settings.cache)
    return app.load_split(settings)


def load_interactions(config: Config) -> pd.DataFrame:
    """Read a data set before it is split: the interactions that pass its filters.

    Args:
        config: See `load_config`; `data.min_rating=null` keeps every positive value.

    Returns:
        A row per interaction: `user`, `item` (original ids) and `value`, before the transform.

    Raises:
        InputError: The data cannot be read, or is already split.
    """
    settings = _settings(config)
    environment.use_cache(settings.cache)
    source = app.build_group(settings, "data", "load")
    with read_errors_in_one_line(source.path or settings.cache):
        found = source.load(source.files(settings.cache))
    if not isinstance(found, Interactions):
        raise InputError(
            f"data={source.name} comes already split; see its parts with recsweep.load_split"
        )
    pairs = found.matrix.tocoo()
    users, items = found.user_ids[pairs.row], found.item_ids[pairs.col]
    return pd.DataFrame({"user": users, "item": items, "value": pairs.data})


@dataclass(frozen=True)
class Fit:
    """A fitted model and how it was trained.

    Args:
        config: The configuration it was trained with.
        fitted: The model with its catalogue.
        best_epoch: The epoch of its weights, from 1.
        curves: A column per curve, such as `train/loss`; index: epoch, from 1.
        valid: Validation metrics of the best epoch.
        popularity: Training interactions of each item, and the number of training users.
    """

    config: Config
    fitted: FittedModel = field(repr=False)
    best_epoch: int
    curves: pd.DataFrame = field(repr=False)
    valid: Evaluation = field(repr=False)
    popularity: TrainingCounts = field(repr=False)

    @property
    def model(self) -> Recommender:
        """The recommender itself: `score(history)` gives scores, users × items."""
        return self.fitted.model


def fit(config: Config, split: Split | None = None, *, progress: bool = True) -> Fit:
    """Train a model and keep the epoch that is best on validation. Test data is not used.

    With `refit=true` it is then retrained for as many epochs on training and validation data.

    Args:
        config: See `load_config`; the group `tracking` is ignored and nothing is tracked.
        split: See `load_split`; None = load it.
        progress: Whether to show progress on stderr.

    Returns:
        The fitted model.

    Raises:
        InputError: The configuration or the data cannot be used, or another backend is loaded.
    """
    with nullcontext() if progress else redirect_stderr(io.StringIO()):
        run = Experiment.prepare(_settings(config), NullTracker(), split)
        result = run.refit(run.fit())
    fitted = FittedModel(run.settings, run.split.fingerprint, run.model, run.split.item_ids)
    popularity = training_popularity(run.split.train)
    curves = result.curves_table()
    return Fit(config, fitted, result.best_epoch + 1, curves, result.valid, popularity)


def evaluate(fit: Fit, fold: Fold) -> Evaluation:
    """Rank every unseen item for each user of a fold, and compute the metrics.

    Args:
        fit: See `fit`; its configuration defines `k` and `metrics`.
        fold: `split.test` or `split.valid`.

    Returns:
        `means` and `standard_errors`, dicts by metric such as `ndcg@10`, `per_user`, a DataFrame,
        and `groups.table`, the accuracy by popularity of items and by length of histories.
    """
    evaluator = app.make_evaluator(fit.fitted.settings)
    return evaluator.evaluate(fit.model.score, fold, fit.popularity, by_group=True)


def evaluate_file(config: Config, recommendations: str | Path, truth: str | Path) -> Evaluation:
    """Evaluate a file of recommendations from any source, as `task=evaluate` does.

    Args:
        config: See `load_config`; its `k` and `metrics` are used, except metrics that need the
            catalogue.
        recommendations: `user item item …` lines, CSV or JSON lines, best item first.
        truth: `user item [value]` lines; items with value 0 are not relevant.

    Returns:
        As for `evaluate`; a user of the truth without a list scores 0.

    Raises:
        InputError: A file cannot be read, or the two have no user or no item in common.
    """
    return measure_file(_settings(config), Path(recommendations), Path(truth)).evaluation


def recommend(fit: Fit, histories: pd.DataFrame, k: int = 10) -> pd.DataFrame:
    """Recommend unseen items to users.

    Args:
        fit: See `fit`.
        histories: A row per interaction: `user`, `item` and optionally `value`.
        k: Items per user.

    Returns:
        `user`, `rank` (1 = best), `item`, `score`.

    Raises:
        InputError: The table or `k` cannot be used.
    """
    return recommend_to(fit.fitted, histories, k)


# --- sweeps ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StudyResult:
    """One study: its trials, the best one, and its winner's scores on test.

    Args:
        name: The study's name.
        folder: The folder with `results`, `trials` and `winner`.
        objectives: The objectives of the search, such as `ndcg@100`.
        trials: A row per trial, as in `trials.csv`.
        best: Searched key -> value of the best trial; empty without a complete trial or with
            several objectives.
        best_overrides: Overrides to train the best trial as a single run.
        test: A row per metric: `mean` over the winner's trainings, `standard_error` over users,
            `standard_deviation` over the trainings; None = not scored.
        runs: Results folders of the winner's trainings.
        text: The table for a terminal.
        storage: Where its trials are stored, see `sweep.storage`; None = in the folder.
    """

    name: str
    folder: Path
    objectives: list[str]
    trials: pd.DataFrame = field(repr=False)
    best: dict[str, Any]
    best_overrides: list[str] = field(repr=False)
    test: pd.DataFrame | None = field(repr=False)
    runs: list[Path] = field(repr=False)
    text: str = field(repr=False)
    storage: str | None = field(repr=False)

    def __str__(self) -> str:
        return self.text

    def optuna_study(self) -> "optuna.Study":
        """The study as an Optuna object."""
        from recsweep.sweeps.study.catalog import StudyCatalog

        settings = {"folder": str(self.folder.parent), "storage": self.storage}
        return StudyCatalog.of(settings).load(self.name)[0]


@dataclass(frozen=True)
class SweepResult:
    """The results of a sweep.

    Args:
        studies: Studies by name, in the order of the command: one per model, data set and backend.
        comparisons: Folders with comparisons of several winners.
    """

    studies: dict[str, StudyResult]
    comparisons: list[Path]

    def __str__(self) -> str:
        """The table of the best trials of each study, below its name."""
        return "\n\n".join(f"{name}\n{study}" for name, study in self.studies.items())

    @property
    def only(self) -> StudyResult:
        """The study of a sweep with a single study.

        Raises:
            InputError: There are several.
        """
        if len(self.studies) > 1:
            raise InputError(
                f"the sweep must have one study, but has {', '.join(self.studies)}; choose one of "
                "result.studies"
            )
        return next(iter(self.studies.values()))

    @property
    def trials(self) -> pd.DataFrame:
        """The trials of all studies; the first column is `study`."""
        tables = {name: study.trials for name, study in self.studies.items()}
        return pd.concat(tables, names=["study"]).reset_index("study").reset_index(drop=True)

    @property
    def best(self) -> dict[str, Any]:
        """See `StudyResult`; only for a single study."""
        return self.only.best

    @property
    def test(self) -> pd.DataFrame | None:
        """See `StudyResult`; only for a single study."""
        return self.only.test


def sweep(
    *overrides: str, config_dir: str | Path | None = None, progress: bool = True
) -> SweepResult:
    """Search hyperparameters, as `python -m recsweep -m OVERRIDES` does, and score the winner.

    The same call resumes a sweep that was interrupted.

    Args:
        overrides: For example `model=ease,item_knn` and `model.l2=interval(1,1000)`.
        config_dir: A folder with your own YAML files, as for `--config-dir`.
        progress: Whether to show progress on stderr and the result tables on stdout.

    Returns:
        Trials, winners and their test scores.

    Raises:
        InputError: The search space or another setting cannot be used, or trials failed.
        KeyboardInterrupt: Ctrl-C; the same call resumes the sweep.
    """
    own = [] if config_dir is None else [f"--config-dir={Path(config_dir).absolute()}"]
    with (
        nullcontext() if progress else _silence(),
        _explained(overrides),
        _process_restored(),
        shell.use_arguments(["-m", *own, *overrides]),
        own_hydra(),
    ):
        if not progress:
            os.environ[environment.QUIET] = "1"
        refuse_mistyped(overrides, groups())
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None  # noqa: S101 - just initialised
        aside = of_some_models(overrides)
        lines = [*(each for each in overrides if each not in aside), *_search_path(config_dir)]
        swept = hydra.multirun("config", _no_task, lines, with_log_configuration=False)
    studies = {name: _study(name, settings) for name, settings in swept.studies.items()}
    return SweepResult(studies, swept.comparisons)


def load_study(name: str, folder: str | Path = "sweeps", storage: str | None = None) -> StudyResult:
    """Read a study, finished or not.

    Args:
        name: The study's name.
        folder: The folder of all studies, `sweep.folder`.
        storage: See `sweep.storage`; None = the journal in the study's folder.

    Raises:
        InputError: The study does not exist or cannot be read.
    """
    from recsweep.sweeps.study.catalog import StudyCatalog
    from recsweep.tasks.best import choose_study

    settings = {"folder": str(folder), "storage": storage}
    return _study(choose_study(name, StudyCatalog.of(settings)), settings)


@dataclass(frozen=True)
class ComparisonResult:
    """Several models side by side.

    Args:
        scores: A row per metric, model and training, as in `comparison.csv`.
        pairs: A row per metric and pair of models, as in `pairs.csv`.
        text: The table for a terminal.
    """

    scores: pd.DataFrame = field(repr=False)
    pairs: pd.DataFrame = field(repr=False)
    text: str = field(repr=False)

    def __str__(self) -> str:
        return self.text


def compare(
    *of: StudyResult | str | Path, trust: Sequence[str] = (), **statistics: Any
) -> ComparisonResult:
    """Compare finished runs and the winners of sweeps, with intervals and corrected paired tests.

    Args:
        of: Studies, folders of studies, or results folders of runs; at least two.
        trust: Modules of yours whose classes the runs may name, see the setting `trust`.
        statistics: Settings such as `metrics=["ndcg@100"]`, `unit`, `test`, `confidence`; the
            defaults are those of `task=compare`.

    Raises:
        InputError: They cannot be compared.
    """
    usual = load_config("task=compare")["task"]
    known = {name: usual[name] for name in Statistics.__dataclass_fields__}
    how = validate(Statistics, {**known, **statistics}, "task")
    runs = [run for each in of for run in _runs(each)]
    found = compare_contenders(group_runs(runs, trust), how)
    return ComparisonResult(
        pd.DataFrame(score_records(found)),
        pd.DataFrame(pair_records(found)),
        comparison_text(found),
    )


# --- helpers --------------------------------------------------------------------------------------


def _settings(config: Mapping[str, Any]) -> app.Settings:
    return app.check_settings(dict(config))


def _search_path(config_dir: str | Path | None) -> list[str]:
    if config_dir is None:
        return []
    folder = Path(config_dir).absolute()
    if not folder.is_dir():
        raise InputError(f"config_dir must be a folder, but {folder} is not one; give another path")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))  # like the current folder on the command line
    quoted = shell.setting("path", f"file://{folder}").partition("=")[2]
    return [f"hydra.searchpath=[{quoted}]"]


@contextmanager
def _silence() -> Iterator[None]:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield


@contextmanager
def _process_restored() -> Iterator[None]:
    """Restore what a sweep changes: environment, BLAS threads, levels of other packages' logs."""
    before = dict(os.environ)
    levels = {log: log.level for log in map(logging.getLogger, QUIETED)}
    with environment.blas_restored():
        try:
            yield
        finally:
            for name in os.environ.keys() - before.keys():
                del os.environ[name]
            os.environ.update(before)
            for log, level in levels.items():
                log.setLevel(level)


@contextmanager
def _explained(overrides: Sequence[str]) -> Iterator[None]:
    """Turn Hydra's errors into the one-line errors of the command line."""
    try:
        yield
    except InputError as error:
        if names := getattr(error, "__notes__", []):  # from one of several studies
            raise InputError(": ".join([*names, str(error)])) from None
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in {"hydra", "omegaconf"}:
            raise
        raise InputError(explain(error, overrides, groups())) from None


def _no_task(_config: object) -> None:
    """A placeholder for Hydra; the sweeper runs workers instead."""


def _study(name: str, settings: Mapping[str, Any]) -> StudyResult:
    from recsweep.sweeps.reporting.result_files import trial_overrides, trial_records
    from recsweep.sweeps.reporting.tables import best_table
    from recsweep.sweeps.study.catalog import StudyCatalog

    studies = StudyCatalog.of(settings)
    study, status = studies.load(name)
    folder, best = studies.folder.absolute() / name, status.best
    columns, rows = trial_records(status)
    test = read_summary(folder).get("test")
    return StudyResult(
        name=name,
        folder=folder,
        objectives=list(status.objectives),
        trials=pd.DataFrame(rows, columns=columns),
        best=dict(best.settings) if best else {},
        best_overrides=trial_overrides(study, best) if best else [],
        test=_scores(test) if test else None,
        runs=replicates_of(folder) if test else [],
        text=best_table(status),
        storage=settings["storage"],
    )


def _scores(test: Mapping[str, Any]) -> pd.DataFrame:
    """The winner's test scores in `optimization_results.yaml`."""
    columns = {
        "mean": test["mean"],
        "standard_error": test["standard_error"],
        "standard_deviation": test["standard_deviation_over_replicates"],
    }
    return pd.DataFrame(columns, index=list(test["mean"])).rename_axis("metric")


def _runs(of: StudyResult | str | Path) -> list[ScoredRun]:
    folder = of.folder if isinstance(of, StudyResult) else expand_user(of)
    if not folder.is_dir():
        raise InputError(f"{of} must be a folder of a study or of a run's results, but is neither")
    return read_study(folder) if is_study(folder) else [read_run(folder, str(folder))]
