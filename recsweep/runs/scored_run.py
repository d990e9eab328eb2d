"""Runs that were scored on test, read from their folders: single ones, or a study's winner."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from recsweep.app import model_name
from recsweep.errors import InputError
from recsweep.evaluation import objective_of
from recsweep.runs.consistency import METRICS, metrics_per_user
from recsweep.runs.locate import read_yaml

PER_USER = "test_metrics_per_user.parquet"
NEEDED = (
    METRICS, PER_USER, "config.yaml", "split.yaml", "metric_definitions.yaml", "environment.yaml",
)  # fmt: skip
"""Files of a run that a comparison reads; only runs of today write the last one."""
SUMMARY = "results/optimization_results.yaml"
"""What a sweep that has ended wrote."""


@dataclass(frozen=True)
class ScoredRun:
    """One run that was scored on test.

    Args:
        place: What the user knows it by: its folder, or its id in the tracking store.
        config: Resolved.
        split: Fingerprint of the data and how they were split.
        definitions: What each metric means.
        per_user: Test metrics: a column per metric and cut-off; index: user ids, sorted.
        environment: Commit, versions, machine; what an older run did not note is missing.
        study: The sweep whose winner it is; None = a single run.
        n_configurations: For how many configurations that study has scored test.
    """

    place: str
    config: Mapping[str, Any]
    split: str
    definitions: Mapping[str, str]
    per_user: pd.DataFrame
    environment: Mapping[str, str]
    study: str | None = None
    n_configurations: int = 1

    @property
    def model(self) -> str:
        """What the user types to choose the model."""
        return model_name(dict(self.config))

    @property
    def objective(self) -> str | None:
        """What validation chose its epoch by; None where the run does not say."""
        return objective_of(self.config)

    @property
    def seed(self) -> int:
        """Of weights, order of users and noise."""
        return int(self.config["seed"])


def is_run(folder: Path) -> bool:
    """Whether a folder is the results of a run."""
    return (folder / METRICS).is_file()


def is_study(folder: Path) -> bool:
    """Whether a folder is that of a sweep."""
    return any((folder / name).exists() for name in (SUMMARY, "journal.log", "winner", "trials"))


def read_run(
    folder: Path, place: str, study: str | None = None, n_configurations: int = 1
) -> ScoredRun:
    """Read a results folder.

    Args:
        folder: With the files that `recsweep.report.write_results` writes, and `split.yaml`.
        place: What the user knows it by.
        study: The sweep whose winner it is.
        n_configurations: For how many configurations that study has scored test.

    Raises:
        InputError: A file is missing or damaged, or two are not of the same run.
    """
    if not (folder / PER_USER).is_file():
        raise InputError(
            f"a run must have test metrics per user, but {place} has no {PER_USER}; leave it out, "
            "or train it again"
        )
    environment = folder / "environment.yaml"
    return ScoredRun(
        place=place,
        config=read_yaml(folder / "config.yaml"),
        split=str(read_yaml(folder / "split.yaml")["fingerprint"]),
        definitions=read_yaml(folder / "metric_definitions.yaml"),
        per_user=metrics_per_user(folder, "test", place).sort_index(),
        environment=read_yaml(environment) if environment.is_file() else {},
        study=study,
        n_configurations=n_configurations,
    )


def replicates_of(folder: Path) -> list[Path]:
    """Results folders of the trainings of a study's winner.

    Args:
        folder: The study's, such as `sweeps/NAME`.

    Raises:
        InputError: It has no winner that was scored on test, or a file is damaged.
    """
    summary = _summary(folder)
    replicates = (summary.get("test") or {}).get("replicates", [])
    if not replicates:
        raise InputError(
            f"study {folder.name} must have a winner that was scored on test, but has none: "
            f"{_how_far(summary)}; resume it with "
            f"{summary.get('resume', 'the command that started it')}"
        )
    return [folder / each["results"] for each in replicates]


def read_study(folder: Path) -> list[ScoredRun]:
    """Read the replicates of a study's winner.

    Args:
        folder: The study's, such as `sweeps/NAME`.

    Raises:
        InputError: It has no winner that was scored on test, or a file is damaged.
    """
    found = replicates_of(folder)
    n_configurations = (_summary(folder).get("test_scored") or {}).get("n_configurations", 1)
    return [read_run(one, str(one), folder.name, n_configurations) for one in found]


def _summary(folder: Path) -> Mapping[str, Any]:
    return read_yaml(folder / SUMMARY) if (folder / SUMMARY).is_file() else {}


def _how_far(summary: Mapping[str, Any]) -> str:
    if "pareto_front" in summary:
        return "it has several objectives, and so a front of trials"
    trials = summary.get("trials")
    return f"{trials['finished']} of {trials['asked']} trials done" if trials else "no trial done"
