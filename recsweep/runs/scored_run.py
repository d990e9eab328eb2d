"""Reads runs that were scored on test from their folders: single runs, or a study's winner."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from recsweep.app import model_name
from recsweep.errors import InputError
from recsweep.evaluation import objective_of
from recsweep.metrics.groups import Groups
from recsweep.run_files import (
    CONFIG,
    DEFINITIONS,
    ENVIRONMENT,
    GROUPS,
    GROUPS_PER_USER,
    METRICS,
    SPLIT,
    per_user_file,
    read,
    read_config,
    read_split,
    read_summary,
    read_tags,
    read_yaml,
    summary_file,
)
from recsweep.runs.consistency import metrics_by_group, metrics_per_user
from recsweep.trust import path_below

NEEDED = (
    METRICS, per_user_file(Path(), "test").name, CONFIG, SPLIT, DEFINITIONS, ENVIRONMENT,
    GROUPS, GROUPS_PER_USER,
)  # fmt: skip
"""Files of a run that a comparison reads; older runs do not have the last three."""


@dataclass(frozen=True)
class ScoredRun:
    """One run that was scored on test.

    Args:
        place: Its folder, or its id in the tracking store.
        config: The resolved configuration.
        split: Fingerprint of the split data.
        definitions: Definition of each metric.
        per_user: Test metrics: a column per metric and cut-off; index: user ids, sorted.
        environment: Commit, versions, machine; older runs may lack some fields.
        study: The sweep whose winner it is; None = a single run.
        n_configurations: Number of configurations that the study has scored on test.
        groups: Test metrics by group; None = an older run, or one without metrics of hits.
    """

    place: str
    config: Mapping[str, Any]
    split: str
    definitions: Mapping[str, str]
    per_user: pd.DataFrame
    environment: Mapping[str, str]
    study: str | None = None
    n_configurations: int = 1
    groups: Groups | None = None

    @property
    def model(self) -> str:
        """The model's name on the command line."""
        return model_name(dict(self.config))

    @property
    def objective(self) -> str | None:
        """The metric that its epoch was chosen by; None if not recorded."""
        return objective_of(self.config)

    @property
    def seed(self) -> int:
        """Seed of the weights, the user order and the noise."""
        return int(self.config["seed"])


def read_run(
    folder: Path, place: str, study: str | None = None, n_configurations: int = 1
) -> ScoredRun:
    """Read a results folder.

    Args:
        folder: The run's folder.
        place: Its folder or id, for messages.
        study: The sweep whose winner it is.
        n_configurations: Number of configurations that the study has scored on test.

    Raises:
        InputError: A file is missing or damaged, or two files are not from the same run.
    """
    per_user = per_user_file(folder, "test")
    if not per_user.is_file():
        raise InputError(
            f"a run must have test metrics per user, but {place} has no {per_user.name}; leave it "
            "out, or train it again"
        )
    values = metrics_per_user(folder, "test", place).sort_index()
    has_environment = (folder / ENVIRONMENT).is_file()
    return ScoredRun(
        place=place,
        config=read(folder / CONFIG, lambda _: _comparable(read_config(folder)), dict),
        split=read_split(folder)[0],
        definitions=read_yaml(folder / DEFINITIONS),
        per_user=values,
        environment=read_tags(folder) if has_environment else {},
        study=study,
        n_configurations=n_configurations,
        groups=metrics_by_group(folder, values.index, place),
    )


def _comparable(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration that has a seed, and all that a comparison reads by name."""
    int(config["seed"])
    model_name(config)
    objective_of(config)
    return config


def replicates_of(folder: Path) -> list[Path]:
    """Results folders of the trainings of a study's winner.

    Args:
        folder: The study's folder, such as `sweeps/NAME`.

    Raises:
        InputError: It has no winner that was scored on test, or a file is damaged.
    """
    return read(summary_file(folder), lambda _: _replicates(folder), list)


def _replicates(folder: Path) -> list[Path]:
    summary = read_summary(folder)
    replicates = (summary.get("test") or {}).get("replicates", [])
    if not replicates:
        command = str(summary.get("resume", "the command that started it"))
        told = command.replace(" sweep.final_seeds=0", "")
        seeds = " without sweep.final_seeds=0" if told != command else ""
        raise InputError(
            f"study {folder.name} must have a winner that was scored on test, but has none: "
            f"{_how_far(summary)}; resume it{seeds} with {told}"
        )
    return [folder / path_below(Path(each["results"]).as_posix()) for each in replicates]


def read_study(folder: Path) -> list[ScoredRun]:
    """Read the replicates of a study's winner.

    Args:
        folder: The study's folder, such as `sweeps/NAME`.

    Raises:
        InputError: It has no winner that was scored on test, or a file is damaged.
    """
    found = replicates_of(folder)
    n_configurations = read(summary_file(folder), lambda _: _n_configurations(folder), int)
    return [read_run(one, str(one), folder.name, n_configurations) for one in found]


def _n_configurations(folder: Path) -> int:
    return int((read_summary(folder).get("test_scored") or {}).get("n_configurations", 1))


def _how_far(summary: Mapping[str, Any]) -> str:
    if "pareto_front" in summary:
        return "it has several objectives, and so a front of trials"
    trials = summary.get("trials")
    return f"{trials['finished']} of {trials['asked']} trials done" if trials else "no trial done"
