"""The progress of a study: a row per trial, counts, the best trial, the time left."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Self

import optuna
from optuna.trial import FrozenTrial, TrialState

from recsweep.sweeps.sampling.pruners import REPLICATES
from recsweep.sweeps.storage.attempts import latest_attempts

FINISHED = ("complete", "pruned", "failed")
STATES = (*FINISHED, "running", "interrupted", "lost")
"""The last two are `running` in the storage, but no process runs them: they were interrupted by
Ctrl-C or their process died. Both will be restarted."""
_NAMES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


@dataclasses.dataclass(frozen=True)
class TrialRow:
    """One trial.

    Args:
        number: From 0.
        state: One of `STATES`.
        values: One per objective, at the best epoch, even if the trial was pruned later; empty for
            failed and unfinished trials.
        last_value: The single objective after the last epoch before pruning; None = nothing was
            reported. With several replicates the last epoch of the first one, or their mean if
            it was pruned after one.
        replicates: The first objective of each replicate that is done; empty if a trial has one.
        params: Optuna's parameters.
        settings: Searched key or group -> value.
        n_epochs: Number of trained epochs, of all replicates.
        best_epoch: Best epoch of a complete or pruned trial, from 1; the mean over replicates,
            rounded.
        train_s: Seconds of training; the mean over replicates.
        wall_s: Seconds from claim to end.
        cpu_s: CPU seconds of its process, all threads together.
        peak_bytes: Peak memory of its process until the trial's end.
        reason: Why it was pruned or failed.
        metrics: Validation means at the best epoch, over all replicates.
        is_default: Whether it has the configuration's own values.
        worker: The process that runs or ran it.
        began: Start time in Unix seconds.
        changed: When it was created or ended.
    """

    number: int
    state: str
    values: tuple[float, ...]
    last_value: float | None
    replicates: tuple[float, ...]
    params: Mapping[str, Any]
    settings: Mapping[str, Any]
    n_epochs: int
    best_epoch: int | None
    train_s: float | None
    wall_s: float | None
    cpu_s: float | None
    peak_bytes: int | None
    reason: str | None
    metrics: Mapping[str, float]
    is_default: bool
    worker: str | None
    began: float | None
    changed: datetime | None

    @classmethod
    def of(cls, trial: FrozenTrial, state: str, objectives: Sequence[str]) -> Self:
        """Read a trial of Optuna's.

        For a pruned trial, Optuna stores the value of the last epoch; the trial's own attributes
        hold those of the best epoch.
        """
        noted, duration = trial.user_attrs, trial.duration
        wall_s = noted.get("wall_s", duration.total_seconds() if duration else None)
        is_scored = state in ("complete", "pruned")
        metrics = (noted.get("metrics") or {}) if is_scored else {}
        values = tuple(trial.values or ())
        last = trial.intermediate_values.get(max(trial.intermediate_values, default=0))
        replicates = tuple(noted.get(REPLICATES, ()))
        if state == "pruned":
            last = statistics.fmean(replicates) if replicates else next(iter(values), last)
            values = tuple(map(metrics.get, objectives, values))
        return cls(
            number=trial.number,
            state=state,
            values=values,
            last_value=last,
            replicates=replicates,
            params=trial.params,
            settings=noted.get("settings", {}),
            n_epochs=noted.get("n_epochs", len(trial.intermediate_values)),
            best_epoch=noted.get("best_epoch") if is_scored else None,
            train_s=noted.get("train_s"),
            wall_s=wall_s if state in FINISHED else None,
            cpu_s=noted.get("cpu_s"),
            peak_bytes=noted.get("peak_bytes"),
            reason=noted.get("reason"),
            metrics=metrics,
            is_default=noted.get("is_default") is True,
            worker=noted.get("worker"),
            began=noted.get("began"),
            changed=trial.datetime_complete or trial.datetime_start,
        )

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the first objective over replicates; None for fewer than two."""
        is_spread = self.state in ("complete", "pruned") and len(self.replicates) > 1
        return statistics.stdev(self.replicates) if is_spread else None

    def format_values(self, objectives: Sequence[str]) -> list[str]:
        """Its values as text, the first with its standard deviation over replicates.

        Args:
            objectives: Their names.
        """
        shown = [
            format_value(name, value) for name, value in zip(objectives, self.values, strict=False)
        ]
        if shown and self.deviation is not None:
            shown[0] += f" ± {format_value(objectives[0], self.deviation)}"
        return shown


@dataclasses.dataclass(frozen=True)
class StudyStatus:
    """The progress of a study.

    Args:
        study: Its name.
        objectives: Names such as `ndcg@100`.
        directions: `maximize` or `minimize`, one per objective.
        n_trials: Requested number of trials; fewer if the space is exhausted.
        rows: All trials, by number.
        front: The Pareto front of complete trials, best in the first objective first; with a single
            objective only the best trial, the first one in case of ties.
        seconds_left: Until all trials are finished; None until every worker has finished two.
        best_so_far: Running best of the first objective over complete trials, by the number of
            trials that had ended before, attempts that were retried included: what was so once
            stays so.
    """

    study: str
    objectives: tuple[str, ...]
    directions: tuple[str, ...]
    n_trials: int
    rows: tuple[TrialRow, ...]
    front: tuple[TrialRow, ...]
    seconds_left: float | None
    best_so_far: Mapping[int, float]

    @classmethod
    def of(
        cls, study: optuna.Study, n_trials: int, is_alive: Callable[[int], bool] | None = None
    ) -> Self:
        """Read a study.

        Args:
            study: Has the user attributes `objectives` and, if it is, `exhausted`.
            n_trials: Requested number of trials.
            is_alive: Whether a process runs this trial; None = assume that all running ones are.
        """
        directions = tuple(direction.name.lower() for direction in study.directions)
        objectives = tuple(study.user_attrs["objectives"])
        rows = _rows(study, objectives, is_alive)
        if study.user_attrs.get("exhausted"):
            n_trials = min(n_trials, len(rows))
        ranked = _ranked(rows, directions[0])
        if len(directions) > 1:
            best = {trial._trial_id for trial in study.best_trials}
            trials = latest_attempts(study.get_trials(deepcopy=False))
            numbers = {trial.number for trial in trials if trial._trial_id in best}
            front = tuple(row for row in ranked if row.number in numbers)
        else:
            front = tuple(ranked[:1])
        seconds_left = _seconds_left(rows, n_trials)
        return cls(
            study.study_name, objectives, directions, n_trials, rows, front, seconds_left,
            _best_so_far(study, directions[0]),
        )  # fmt: skip

    def count(self, state: str) -> int:
        """Number of trials in one of `STATES`."""
        return sum(row.state == state for row in self.rows)

    @property
    def n_finished(self) -> int:
        """Number of complete, pruned and failed trials."""
        return sum(row.state in FINISHED for row in self.rows)

    @property
    def best(self) -> TrialRow | None:
        """The best trial; None before one is complete, or if there are several objectives."""
        return self.front[0] if self.front and len(self.objectives) == 1 else None

    @property
    def default(self) -> TrialRow | None:
        """The trial with the configuration's own values."""
        return next((row for row in self.rows if row.is_default), None)

    @property
    def last_change(self) -> datetime | None:
        """When a trial last started or ended."""
        return max((row.changed for row in self.rows if row.changed), default=None)

    @property
    def ranking(self) -> tuple[TrialRow, ...]:
        """Complete trials, best first by the first objective."""
        return tuple(_ranked(self.rows, self.directions[0]))

    @property
    def leaderboard(self) -> tuple[TrialRow, ...]:
        """Complete and pruned trials, best first by the first objective at their best epoch.

        Only complete ones compete: see `ranking` and `best`. Where trials have several replicates
        they come first, since a pruned one is the mean of fewer.
        """
        rows = _ranked(self.rows, self.directions[0], ("complete", "pruned"))
        if any(row.replicates for row in rows):
            rows.sort(key=lambda row: row.state != "complete")
        return tuple(rows)

    def format_row(self, row: TrialRow) -> str:
        """A trial's values under their names, such as `ndcg@100 0.4123, train_s 12.5`."""
        pairs = zip(self.objectives, row.format_values(self.objectives), strict=False)
        return ", ".join(f"{name} {shown}" for name, shown in pairs)


def format_value(objective: str, value: float) -> str:
    """A metric with four decimals, a time with one."""
    return f"{value:.1f}" if objective.endswith("_s") else f"{value:.4f}"


def format_duration(seconds: float) -> str:
    """A duration rounded for people, such as `12 min`."""
    for unit, size, limit in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if seconds < size * limit:
            amount = f"{seconds / size:.1f}" if unit == "h" else f"{seconds / size:.0f}"
            return f"{amount} {unit}"
    return f"{seconds / 86400:.1f} days"


def _rows(
    study: optuna.Study, objectives: Sequence[str], is_alive: Callable[[int], bool] | None
) -> tuple[TrialRow, ...]:
    trials = latest_attempts(study.get_trials(deepcopy=False))
    running = [trial.number for trial in trials if not trial.state.is_finished()]
    gone = {number for number in running if is_alive and not is_alive(number)}
    if gone:  # read again: a trial that finished in between was not lost
        trials = latest_attempts(study.get_trials(deepcopy=False))
    return tuple(
        TrialRow.of(
            trial,
            _NAMES.get(trial.state) or _unfinished(trial, trial.number in gone),
            objectives,
        )
        for trial in trials
    )


def _unfinished(trial: FrozenTrial, is_gone: bool) -> str:
    if not is_gone:
        return "running"
    return "interrupted" if trial.user_attrs.get("is_interrupted") else "lost"


def _ranked(
    rows: Sequence[TrialRow], direction: str, states: Sequence[str] = ("complete",)
) -> list[TrialRow]:
    """Trials in these states, best first; ties are broken by the order of states, then number."""
    sign = -1 if direction == "maximize" else 1
    kept = (row for row in rows if row.state in states and row.values)
    return sorted(kept, key=lambda row: (sign * row.values[0], states.index(row.state), row.number))


def _best_so_far(study: optuna.Study, direction: str) -> dict[int, float]:
    better = max if direction == "maximize" else min
    trials = study.get_trials(deepcopy=False)
    ended = [trial for trial in trials if trial.state.is_finished()]
    ended.sort(key=lambda trial: trial.datetime_complete or datetime.min)
    curve: dict[int, float] = {}
    for n_before, trial in enumerate(ended):
        if trial.state == TrialState.COMPLETE:
            best = next(reversed(curve.values()), trial.values[0])
            curve[n_before] = better(best, trial.values[0])
    return curve


def _seconds_left(rows: Sequence[TrialRow], n_trials: int) -> float | None:
    """Mean time of finished trials × trials left, minus the time spent on running ones."""
    times = [row.wall_s for row in rows if row.wall_s is not None]
    running = [row for row in rows if row.state == "running"]
    n_workers = max(len({row.worker or row.number for row in running}), 1)
    if len(times) < 2 * n_workers:  # a worker's first trial imports and compiles
        return None
    mean = statistics.fmean(times)
    n_left = n_trials - sum(row.state in FINISHED for row in rows)
    ages = [time.time() - row.began for row in running if row.began is not None]
    done = sum(min(max(age, 0.0), mean) for age in ages)
    return max(mean * n_left - done, 0.0) / n_workers
