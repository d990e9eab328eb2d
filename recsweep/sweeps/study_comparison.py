"""After several studies: their winners side by side, and how evenly they were tuned."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from recsweep.comparison.contenders import group_runs
from recsweep.comparison.fairness import (
    Tuning,
    draw_expected_best,
    fairness_markdown,
    unevenness,
)
from recsweep.comparison.rendering import write_comparison
from recsweep.comparison.statistics import Statistics
from recsweep.files import whole_folder
from recsweep.messages import print_to_stderr
from recsweep.run_files import COMPARED, COMPARISON, STUDIES, is_run, write_yaml
from recsweep.runs.scored_run import read_run
from recsweep.sweeps.execution.coordinator import SweepCoordinator
from recsweep.sweeps.reporting.result import StudyOutcome
from recsweep.sweeps.study.final_scores import FinalScores
from recsweep.sweeps.study.status import TrialRow


class Written(NamedTuple):
    """A comparison.

    Args:
        folder: Folder of its files.
        text: Summary for the terminal.
        studies: Names of the compared studies.
    """

    folder: Path
    text: str
    studies: list[str]


def compare_studies(
    coordinators: Sequence[SweepCoordinator],
    outcomes: Sequence[StudyOutcome],
    statistics: Statistics,
) -> list[Written]:
    """Compare the winners of the studies that share a split and an objective.

    Args:
        coordinators: The studies.
        outcomes: Outcome of each study.
        statistics: How they are compared.
    """
    pairs: dict[str, list[tuple[SweepCoordinator, StudyOutcome]]] = {}
    for coordinator, outcome in zip(coordinators, outcomes, strict=True):
        if outcome.test is not None and _has_files(coordinator, outcome.test):
            shared = (coordinator.spec.identity["fingerprint"], coordinator.spec.objectives)
            pairs.setdefault(str(shared), []).append((coordinator, outcome))
    return [
        _written(group, statistics)
        for group in pairs.values()
        if len(group) > 1 and _has_users(group)
    ]


def _has_users(group: Sequence[tuple[SweepCoordinator, StudyOutcome]]) -> bool:
    """Whether winners have the two test users that an interval over users needs."""
    name, test = group[0][0].spec.name, group[0][1].test
    n_users = 0 if test is None else len(test.test.per_user)
    if n_users < 2:
        line = f"a comparison needs two test users, but there is {n_users}; hold out more users"
        print_to_stderr(f"warning: {name} and others are not compared: {line}")
    return n_users > 1


def _has_files(coordinator: SweepCoordinator, test: FinalScores) -> bool:
    """Whether a winner can be compared user by user; another host may have its files."""
    folder = Path(coordinator.study.plan.folder)
    has_all = all(is_run(folder / replicate["results"]) for replicate in test.replicates)
    if not has_all:
        line = f"{coordinator.spec.name} is not compared: its winner's files are on another host"
        print_to_stderr(f"warning: {line}")
    return has_all


def _written(
    group: Sequence[tuple[SweepCoordinator, StudyOutcome]], statistics: Statistics
) -> Written:
    names = [coordinator.study.plan.study for coordinator, _ in group]
    mark = hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]
    folder = Path(group[0][0].study.plan.folder).parent / f"{COMPARISON}-{mark}"
    tunings = [tuning(coordinator, outcome) for coordinator, outcome in group]
    runs = [
        read_run(
            Path(coordinator.study.plan.folder) / replicate["results"],
            os.path.relpath(Path(coordinator.study.plan.folder) / replicate["results"]),
            coordinator.study.plan.study,
            len(outcome.looks.trials),
        )
        for coordinator, outcome in group
        if outcome.test
        for replicate in outcome.test.replicates
    ]
    fairness = {"Fairness of the tuning": (fairness_markdown(tunings), draw_expected_best(tunings))}
    shutil.rmtree(folder, ignore_errors=True)  # of the same studies, with fewer trials
    with whole_folder(folder, "sweep.folder") as unfinished:
        own = [name for coordinator, _ in group for name in coordinator.spec.identity["code"]]
        text = write_comparison(group_runs(runs, own), unfinished, statistics, fairness)
        write_yaml(unfinished / STUDIES, {COMPARED: names})
    if any(coordinator.spec.tracker.run_id for coordinator, _ in group):  # one of them ran
        for coordinator, _ in group:
            coordinator.spec.tracker.log_comparison(coordinator.spec.name, folder)
    return Written(folder, "\n".join([text, "", *unevenness(tunings)]).rstrip(), names)


def tuning(coordinator: SweepCoordinator, outcome: StudyOutcome) -> Tuning:
    """The cost of a study and its result.

    Args:
        coordinator: The study.
        outcome: Its outcome.
    """
    status, rows = outcome.status, outcome.status.rows
    cpu_s = [row.cpu_s for row in rows if row.cpu_s is not None]
    peaks = [row.peak_bytes for row in rows if row.peak_bytes is not None]
    default = status.default
    return Tuning(
        study=status.study,
        objective=status.objectives[0],
        n_asked=coordinator.spec.sweep.n_trials,
        values=[row.values[0] for row in rows if row.state == "complete"],
        n_complete=status.count("complete"),
        n_pruned=status.count("pruned"),
        n_failed=status.count("failed"),
        wall_s=sum(row.wall_s or 0.0 for row in rows),
        cpu_s=sum(cpu_s) if cpu_s else None,
        peak_bytes=max(peaks, default=None),
        space=coordinator.study.space.describe(),
        default=default.values[0] if default and default.state == "complete" else None,
        tuned=status.best.values[0] if status.best else None,
        pruned_values=[
            row.last_value for row in rows if row.state == "pruned" and row.last_value is not None
        ],
        n_replicates=coordinator.spec.n_replicates,
        n_trainings=sum(_n_begun(row, coordinator.spec.n_replicates) for row in rows),
    )


def _n_begun(row: TrialRow, n_replicates: int) -> int:
    """Trainings that a trial began: one more than are done, unless it was stopped in between."""
    is_between = row.state == "pruned" and bool(row.replicates)
    return min(len(row.replicates) + (not is_between), n_replicates)
