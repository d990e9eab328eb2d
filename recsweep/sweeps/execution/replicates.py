"""The trainings of one trial: a single one, or one per fold or seed with the same parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from recsweep import app
from recsweep.build import is_deterministic
from recsweep.data.split import Split
from recsweep.data.tuning_folds import TuningFolds
from recsweep.experiment import Experiment
from recsweep.interfaces import RunTracker
from recsweep.sweeps.reporting.trial_record import replicate_metrics


def tuning_folds(settings: app.Settings, split: Split, n_folds: int) -> TuningFolds:
    """The folds that a sweep cuts, with the seed and the share of targets of the split.

    Args:
        settings: The configuration of a trial.
        split: Its data.
        n_folds: Their number.
    """
    return TuningFolds(
        split, n_folds, settings.split.get("target_fraction"), settings.split.get("seed", 0)
    )


@dataclass
class Replicates:
    """What the trainings of each trial differ in.

    Args:
        folds: Folds of the training and validation users; None = the split as it is.
        seeds: Seeds, from the trial's own on.
    """

    folds: int | None
    seeds: int
    _splits: dict[int, Split] = field(default_factory=dict)

    def count(self, model: Mapping[str, Any]) -> int:
        """Trainings of a trial that is not pruned; one seed if the model draws no random number.

        Args:
            model: The group `model` of the trial's configuration.
        """
        return self.folds or (1 if is_deterministic(model) else self.seeds)

    def experiment(self, trial: Experiment, index: int) -> Experiment:
        """One of the trial's trainings: the trial itself if there is one, else with a new model.

        Args:
            trial: The trial on the whole split, with its own seed.
            index: Of the training, from 0; not for several threads at once.
        """
        settings, tracker = trial.settings, trial.tracker
        if self.count(settings.model) == 1:
            return trial
        if not self.folds:
            settings = replace(settings, seed=settings.seed + index)
        return replace(
            trial,
            settings=settings,
            split=self._fold(trial, index) if self.folds else trial.split,
            tracker=cast("RunTracker", _Numbered(tracker, index)) if index else tracker,
            model=app.build_group(settings, "model", "fit"),
        )

    def _fold(self, trial: Experiment, index: int) -> Split:
        """Trainings share a program only with the same matrices, so that they are kept."""
        if index not in self._splits:
            folds = tuning_folds(trial.settings, trial.split, cast("int", self.folds))
            self._splits[index] = folds.fold(index)
        return self._splits[index]

    def name(self, settings: app.Settings, index: int) -> str:
        """Such as `fold 1 of 5` or `seed 43`.

        Args:
            settings: The configuration of the trial.
            index: Of the training, from 0.
        """
        if self.folds:
            return f"fold {index + 1} of {self.folds}"
        return f"seed {settings.seed + index}"


@dataclass(frozen=True)
class _Numbered:
    """Logs the curves of a replicate beside those of the first one.

    Args:
        tracker: The tracker of the trial's run.
        index: The replicate's index.
    """

    tracker: RunTracker
    index: int

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log under `replicate_1/…`."""
        self.tracker.log_metrics(replicate_metrics(metrics, self.index), step)
