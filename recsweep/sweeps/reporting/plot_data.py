"""A readable copy of a study for Optuna's plots: short names, plain choices, named objectives."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from recsweep.sweeps.reporting.importance import (
    importances,
    missing_importances,
    missing_pair,
    shared_params,
)
from recsweep.sweeps.reporting.tables import short_names
from recsweep.sweeps.space.dimension import encode
from recsweep.sweeps.storage.attempts import latest_attempts
from recsweep.sweeps.study.status import FINISHED, StudyStatus, TrialRow

COLORS = {
    "best": "#c2185b", "complete": "#1f77b4", "pruned": "#ff7f0e", "failed": "#d62728",
    "running": "#2ca02c", "to be restarted": "#7f7f7f",
}  # fmt: skip
"""Colors of trials by how they ended, visible on black and on white."""
STATES = {
    "complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL,
    "running": TrialState.RUNNING,
}  # fmt: skip
"""Optuna's states of trials that are not to be restarted."""
SECONDS = {"train_s": "training time (s)", "wall_s": "wall time (s)"}


class Choice(str):
    """An option that Optuna's plots, which show its `repr`, display without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


@dataclass(frozen=True)
class LegibleStudy:
    """An in-memory copy of some objectives of a study.

    Args:
        study: The copy, with the same trial numbers. A trial to be restarted is waiting here; a
            restarted one starts with its last run.
        status: Status of the original.
        objectives: The copied objectives.
        params: Axis names of the hyperparameters, such as `beta`; those with only one value are
            omitted.
    """

    study: optuna.Study
    status: StudyStatus
    objectives: tuple[str, ...]
    params: tuple[str, ...]

    @classmethod
    def of(
        cls, study: optuna.Study, status: StudyStatus, objectives: Sequence[str]
    ) -> "LegibleStudy":
        """Copy a study.

        Args:
            study: The original.
            status: Its status.
            objectives: Objectives to copy.
        """
        places = [status.objectives.index(name) for name in objectives]
        trials = latest_attempts(study.get_trials(deepcopy=False))
        names = _names(trials)
        copy = optuna.create_study(directions=[study.directions[place] for place in places])
        for trial, row in zip(trials, status.rows, strict=False):  # more may be added meanwhile
            copy.add_trial(_legible(trial, row, names, places))
        if len(objectives) > 1:
            copy.set_metric_names([label(name) for name in objectives])
        return cls(copy, status, tuple(objectives), tuple(names.values()))

    @property
    def label(self) -> str:
        """Axis label of the (first) objective."""
        return label(self.objectives[0])

    @property
    def values(self) -> list[float]:
        """Values of the (first) objective over all complete trials."""
        place = self.status.objectives.index(self.objectives[0])
        return [row.values[place] for row in self.status.rows if row.state == "complete"]

    def state(self, number: int) -> str:
        """Which of `COLORS` a trial has, ignoring whether it is the best one."""
        state = self.status.rows[number].state
        return state if state in COLORS else "to be restarted"

    def kind(self, number: int) -> str:
        """The same, but `best` for the best trial by a single objective."""
        best = self.status.best
        return "best" if best and best.number == number else self.state(number)

    @property
    def kinds(self) -> list[str]:
        """The kinds that occur."""
        there = {self.kind(row.number) for row in self.status.rows}
        return [kind for kind in COLORS if kind in there]

    @property
    def workers(self) -> dict[str, int]:
        """Worker -> position, in the order of their first trials."""
        rows = sorted(self.status.rows, key=lambda row: row.began or 0.0)
        return {name: i for i, name in enumerate(dict.fromkeys(map(worker, rows)))}

    def speeds(self, kind: str) -> list[tuple[float, float, int]]:
        """Training seconds, objective at the best epoch and trial number, for trials of a kind."""
        rows = [row for row in self.status.rows if self.kind(row.number) == kind]
        values = {row.number: row.metrics.get(self.objectives[0]) for row in rows}
        return [
            (row.train_s, value, row.number)
            for row in rows
            if row.train_s is not None and (value := values[row.number]) is not None
        ]

    @property
    def outside(self) -> str:
        """A sentence about the default configuration if it is outside the space."""
        row = self.status.default
        if row is None:
            return ""
        own = {name: row.settings.get(name.partition("[")[0]) for name in row.params}
        beyond = [
            f"{name.rpartition('.')[2]} ({own[name]:g})"
            for name, value in row.params.items()
            if isinstance(value, int | float) and own[name] not in (None, value)
        ]
        if not beyond:
            return ""
        return (
            f"Trial {row.number}, the default configuration, is outside of the space in "
            f"{', '.join(beyond)} and drawn at the nearest end."
        )

    @cached_property
    def importances(self) -> dict[str, float]:
        """Importance of each hyperparameter that all complete trials have."""
        return importances(self.study)

    @property
    def missing_params(self) -> str:
        """Why there is nothing to draw over hyperparameters; empty if there is."""
        return "" if self.params else "no hyperparameter has more than one value"

    @property
    def missing_pair(self) -> str:
        """Why no trial can be compared with another; empty if two are complete."""
        return missing_pair(self.study)

    @property
    def missing_importance(self) -> str:
        """Why there are no `importances`; empty if there are."""
        return missing_importances(self.study)

    @property
    def shared(self) -> list[str]:
        """Hyperparameters of all complete trials; the others belong to a branch of the space."""
        return shared_params(self.study)


def worker(row: TrialRow) -> str:
    """The worker that ran a trial."""
    return row.worker or "unknown"


def label(objective: str) -> str:
    """Axis label of an objective."""
    return SECONDS.get(objective, f"validation {objective}")


def _names(trials: Sequence[FrozenTrial]) -> dict[str, str]:
    """Optuna's names of the varied hyperparameters -> short names."""
    searched = dict.fromkeys(
        name
        for trial in trials
        for name, distribution in trial.distributions.items()
        if not distribution.single()
    )
    return dict(zip(searched, short_names(list(searched)), strict=True))


def _legible(
    trial: FrozenTrial, row: TrialRow, names: dict[str, str], places: Sequence[int]
) -> FrozenTrial:
    known = {name: short for name, short in names.items() if name in trial.params}
    copy = optuna.create_trial(
        state=STATES.get(row.state, TrialState.WAITING),
        values=[trial.values[place] for place in places] if row.state == "complete" else None,
        params={s: _choice(trial.distributions[n], trial.params[n]) for n, s in known.items()},
        distributions={short: _distribution(trial.distributions[n]) for n, short in known.items()},
        user_attrs={"state": row.state, "worker": worker(row)},
        intermediate_values=trial.intermediate_values if len(places) == 1 else {},
    )
    if copy.state != TrialState.WAITING:
        began, ended = _span(trial, row)
        copy.datetime_start, copy.datetime_complete = (
            began,
            ended if row.state in FINISHED else None,
        )
    return copy


def _span(trial: FrozenTrial, row: TrialRow) -> tuple[datetime | None, datetime | None]:
    """Start and end of a trial, by the clock of this machine."""
    began = datetime.fromtimestamp(row.began) if row.began else trial.datetime_start
    wall_s = trial.user_attrs.get("wall_s")
    if began is None or wall_s is None:
        return began, trial.datetime_complete
    return began, began + timedelta(seconds=wall_s)


def _distribution(distribution: BaseDistribution) -> BaseDistribution:
    if not isinstance(distribution, CategoricalDistribution):
        return distribution
    return CategoricalDistribution([_choice(distribution, each) for each in distribution.choices])


def _choice(distribution: BaseDistribution, value: Any) -> Any:
    """Numbers stay numbers, so that plots keep their order."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number or not isinstance(distribution, CategoricalDistribution):
        return value
    return Choice(value if isinstance(value, str) else encode(value))
