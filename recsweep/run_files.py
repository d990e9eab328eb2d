"""Files that runs and studies write: their names, defined only here, and typed readers.

RESULTS/  config.yaml, overrides.yaml, environment.yaml, split.yaml, metrics.json,
          metric_definitions.yaml, {valid,test}_metrics_per_user.parquet, test_groups.csv,
          test_groups_per_user.parquet, curves.csv, curves.png and model/, see
          `recsweep.persistence`
TRIAL/    config.yaml, environment.yaml, split.yaml, curves.csv, log.txt; with several replicates
          those after the first have replicate-1/curves.csv and so on
STUDY/    journal.log, trials/0007/ (a TRIAL), winner/0007/replicate-0/ (log.txt, stdout.txt and
          results/, a RESULTS) and results/: optimization_results.yaml, trials.csv, plots/
          (sweep.html and a PNG per plot), note.md
COMPARISON-…/ beside the studies: comparison.{html,md,tex,csv}, pairs.csv, groups.csv and
          studies.yaml, the names of its studies
RESULTS/ of `task=reproduce`: reproduction.yaml
"""

import csv
import io
from collections.abc import Callable, Mapping
from os.path import exists, isfile  # which raise no error
from pathlib import Path
from typing import Any, TypeVar

import yaml

from recsweep import documents
from recsweep.errors import InputError
from recsweep.messages import one_line
from recsweep.trust import plain_name

CONFIG, OVERRIDES = "config.yaml", "overrides.yaml"
ENVIRONMENT, SPLIT = "environment.yaml", "split.yaml"
METRICS, DEFINITIONS = "metrics.json", "metric_definitions.yaml"
GROUPS, GROUPS_PER_USER = "test_groups.csv", "test_groups_per_user.parquet"
CURVES, CURVES_PLOT = "curves.csv", "curves.png"
MODEL, LOG, STDOUT = "model", "log.txt", "stdout.txt"
JOURNAL, RESULTS, TRIALS, WINNER = "journal.log", "results", "trials", "winner"
SUMMARY, TRIALS_TABLE, PLOTS = "optimization_results.yaml", "trials.csv", "plots"
SWEEP_PAGE, OVERVIEW = "sweep.html", "overview.png"
FAILURES = ".failures"
REPRODUCTION = "reproduction.yaml"
NOTE, COMPARISON, STUDIES, COMPARED = "note.md", "comparison", "studies.yaml", "studies"
COMPARISON_PAGE, PAIRS, GROUPS_COMPARED = "comparison.html", "pairs.csv", "groups.csv"
OF_LAUNCHERS = (".submitit",)
"""What launchers keep in a study's folder, with a link to each job's script."""
REPLICATE = "replicate-"
"""With its index, the folder of a replicate."""
FOLDS = ("valid", "test")

MAPPINGS = (
    "task", "data", "transform", "split", "optimizer", "model", "tracking", "sweep", "sampler",
    "pruner", "search",
)  # fmt: skip
"""Parts of a configuration that are mappings, if it has them; `metrics` may be a list, too."""
MAX_TABLE_BYTES = 1 << 26
"""Size of a run's table that is text: a million epochs need less."""

DAMAGE = (
    OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError,
    MemoryError, yaml.YAMLError, csv.Error,
)  # fmt: skip
"""What reading a damaged file may raise."""

Content = TypeVar("Content")


# --- folders --------------------------------------------------------------------------------------


def trial_folder(study: str | Path, number: int) -> Path:
    """The folder of a trial's log, configuration and curves."""
    return Path(study) / TRIALS / f"{number:04d}"


def replicate_folder(study: str | Path, number: int, index: int) -> Path:
    """The folder of the curves of one of a trial's replicates; the first is the trial's own.

    Args:
        study: The study's folder.
        number: The trial's number.
        index: The replicate's index, from 0.
    """
    folder = trial_folder(study, number)
    return folder / f"{REPLICATE}{index}" if index else folder


def training_folder(study: str | Path, number: int, index: int) -> Path:
    """The folder of one of the winner's final trainings; its run is in `RESULTS` there.

    Args:
        study: The study's folder.
        number: The winner's trial number.
        index: The training's index, from 0.
    """
    return Path(study) / WINNER / f"{number:04d}" / f"{REPLICATE}{index}"


def summary_file(study: str | Path) -> Path:
    """The summary file that a sweep writes at its end."""
    return Path(study) / RESULTS / SUMMARY


def newest_comparison(study: Path) -> Path | None:
    """The newest comparison that a study is part of; None if there is none."""
    found = study.absolute().parent.glob(f"{COMPARISON}-*/{STUDIES}")
    own = [file for file in found if study.name in read_compared(file.parent)]
    return max(own, key=lambda file: file.stat().st_mtime).parent if own else None


def read_compared(comparison: Path) -> list[str]:
    """Names of the studies of a comparison, whose folders are beside its own."""

    def parse(file: Path) -> list[str]:
        return [plain_name(name, f"a study in {file}") for name in parse_yaml(file)[COMPARED]]

    return read(comparison / STUDIES, parse, list)


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's results folder."""
    return isfile(folder / METRICS)  # noqa: PTH113


def is_study(folder: Path) -> bool:
    """Whether a folder is a study's folder."""
    files = (summary_file(folder), *(folder / name for name in (JOURNAL, WINNER, TRIALS)))
    return any(map(exists, files))


# --- files of a run -------------------------------------------------------------------------------


def read_config(folder: Path) -> dict[str, Any]:
    """A run's configuration, resolved, without passwords: each group has the type of a group."""
    return read(folder / CONFIG, _parse_config, dict)


def _parse_config(file: Path) -> dict[str, Any]:
    config = _parse_mapping(file)
    metrics = config.get("metrics") or []
    groups = {**{name: config[name] for name in MAPPINGS if name in config}, "metrics": metrics}
    for name, group in groups.items():
        if not isinstance(group, list | dict if name == "metrics" else dict):
            raise TypeError(f"{name} must be a group of settings, but is {group!r:.60}")
    return config


def read_overrides(folder: Path) -> list[str]:
    """The overrides of a run's command line."""
    return read(folder / OVERRIDES, _parse_texts, list)


def _parse_texts(file: Path) -> list[str]:
    texts = parse_yaml(file)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("not all are text")
    return list(texts)


def read_tags(folder: Path) -> dict[str, str]:
    """A run's environment: commit, code, versions, machine, fingerprints of its data."""
    noted = read_yaml(folder / ENVIRONMENT)
    return {name: str(value) for name, value in noted.items() if name != "run_id"}


def read_run_id(folder: Path) -> str | None:
    """A run's id in the tracking store; None = not tracked."""
    if (run_id := read_yaml(folder / ENVIRONMENT).get("run_id")) is None:
        return None
    return read(folder / ENVIRONMENT, lambda _: run_id, str)


def read_split(folder: Path) -> tuple[str, dict[str, int]]:
    """A split's fingerprint and sizes."""
    return read(folder / SPLIT, _parse_split, tuple)


def _parse_split(file: Path) -> tuple[str, dict[str, int]]:
    profile = dict(parse_yaml(file))
    return str(profile.pop("fingerprint")), profile


def read_metrics(folder: Path) -> dict[str, Any]:
    """A run's metrics: `best_epoch`, seconds, and `valid` and `test` with their means."""
    return read(folder / METRICS, documents.read_json, dict)


def read_curves(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """The curves of a run or a trial: epoch, from 1, and values by name, as far as it has them."""
    return read(folder / CURVES, _parse_curves, list)


def _parse_curves(file: Path) -> list[tuple[int, dict[str, float]]]:
    text = documents.read_bytes(file, MAX_TABLE_BYTES).decode("utf-8")
    return [
        (int(row.pop("epoch")), {name: float(value) for name, value in row.items() if value})
        for row in csv.DictReader(io.StringIO(text, newline=""))
    ]


def per_user_file(folder: Path, fold: str) -> Path:
    """Metrics of each user of a fold: a column per metric and cut-off; index: user ids."""
    return folder / f"{fold}_metrics_per_user.parquet"


# --- files of a study -----------------------------------------------------------------------------


def read_summary(study: Path) -> dict[str, Any]:
    """The summary of a sweep; empty before its end."""
    file = summary_file(study)
    return read_yaml(file) if file.is_file() else {}


# --- any file -------------------------------------------------------------------------------------


def write_yaml(file: Path, content: Mapping[str, Any] | list[str]) -> None:
    """Write mappings and lists, in their order."""
    file.write_text(yaml_text(content), encoding="utf-8")


def yaml_text(content: Mapping[str, Any] | list[str]) -> str:
    """Mappings and lists as YAML, in their order."""
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100))


def read_yaml(file: Path) -> dict[str, Any]:
    """A mapping that a run wrote as YAML, with names as its keys."""
    return read(file, _parse_mapping, dict)


def _parse_mapping(file: Path) -> Any:
    content = parse_yaml(file)
    if other := [key for key in dict(content) if not isinstance(key, str)]:
        raise TypeError(f"every key must be a name, but one is {other[0]!r:.60}")
    return content


def parse_yaml(file: Path) -> Any:
    """The content of a YAML file, see `recsweep.documents` for its limits."""
    return documents.read_yaml(file)


def read(file: Path, parse: Callable[[Path], object], kind: type[Content]) -> Content:
    """Read a file of a run.

    Args:
        file: A file that every run has.
        parse: Reads the file.
        kind: The required type of the result.

    Raises:
        InputError: The file is missing or damaged.
    """
    try:
        documents.refuse_no_file(file)
        content = parse(file)
    except InputError:
        raise
    except DAMAGE as error:
        content = error
    if not isinstance(content, kind):
        raise InputError(
            f"a run must have a readable {file.name}, but {file} is not "
            f"({one_line(content)}); copy the run's whole folder again, or train again"
        )
    return content
