"""When to stop unpromising trials: Optuna's pruners as settings.

A pruner is asked after every epoch of a trial's first replicate, counted from 1, and after every
replicate. Its decisions depend only on the curves and replicates in the study, so a trial that is
restarted after its process died gets the same decisions again.
"""

import math
import statistics
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar

import optuna
from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.interfaces import STRICT
from recsweep.sweeps.storage.attempts import latest_attempts

REPLICATES = "replicates"
"""Attribute of a trial: the objective of each of its replicates that is done."""


class Pruner(ABC):
    """A rule that stops trials, with its settings.

    Attributes:
        compares_means: Whether trials are compared by their mean over the replicates so far; else
            by the value of each replicate.
    """

    compares_means: ClassVar[bool] = True

    @abstractmethod
    def make(self, n_epochs: int) -> BasePruner:
        """Optuna's pruner.

        Args:
            n_epochs: Maximum number of epochs of a trial; 1 for closed-form models.
        """

    def over_replicates(self, n_replicates: int) -> BasePruner:  # noqa: ARG002 - never asks
        """Optuna's pruner for steps that are replicates; prunes nothing unless overridden.

        Args:
            n_replicates: Replicates of a trial that is not pruned, at least 2.
        """
        return optuna.pruners.NopPruner()


@dataclass(kw_only=True, config=STRICT)
class Hyperband(Pruner):
    """Asynchronous successive halving in several brackets (Li et al. 2018, 2020).

    A trial of the first bracket is compared after `min_epochs` epochs, then after
    `reduction_factor` times as many, and so on; each later bracket skips one more of the first
    comparisons. A trial continues while it is among the best 1 / `reduction_factor` of its bracket.

    Args:
        min_epochs: Epochs that every trial gets.
        reduction_factor: One of this many trials survives a comparison.
    """

    min_epochs: Annotated[int, Field(ge=1)]
    reduction_factor: Annotated[int, Field(ge=2)]

    def make(self, n_epochs: int) -> BasePruner:
        """Nothing is pruned if trials end before the first comparison."""
        if n_epochs <= self.min_epochs:
            return optuna.pruners.NopPruner()
        return AsyncHyperband(self.min_epochs, n_epochs, self.reduction_factor)

    def over_replicates(self, n_replicates: int) -> BasePruner:
        """Compares after `reduction_factor` replicates, its square and so on: not after one.

        What a first replicate was pruned for is decided by its epochs; one more comparison by the
        same fold or seed would add nothing but its noise.
        """
        if n_replicates <= self.reduction_factor:
            return optuna.pruners.NopPruner()
        factor = self.reduction_factor
        return AsyncHyperband(factor, n_replicates, factor, compares_best=False)


@dataclass(kw_only=True, config=STRICT)
class Median(Pruner):
    """Stops a trial whose best value so far is below the complete trials' median at its epoch.

    Args:
        n_startup_trials: Complete trials before anything is pruned.
        n_warmup_epochs: Epochs of a trial before it is compared.
    """

    n_startup_trials: Annotated[int, Field(ge=1)]
    n_warmup_epochs: Annotated[int, Field(ge=0)]

    def make(self, n_epochs: int) -> BasePruner:  # noqa: ARG002 - it needs no end
        """Compares at every epoch."""
        return optuna.pruners.MedianPruner(
            n_startup_trials=self.n_startup_trials, n_warmup_steps=self.n_warmup_epochs
        )

    def over_replicates(self, n_replicates: int) -> BasePruner:  # noqa: ARG002 - needs no end
        """Compares after every replicate."""
        return optuna.pruners.MedianPruner(n_startup_trials=self.n_startup_trials, n_warmup_steps=0)


@dataclass(kw_only=True, config=STRICT)
class Wilcoxon(Pruner):
    """Stops a trial whose curve is below the best trial's, by a signed-rank test over epochs.

    After replicates, the test is over theirs: fold by fold, or seed by seed.

    Args:
        p_threshold: Threshold of the test, which is repeated at every epoch; larger prunes more.
        n_startup_epochs: Epochs of a trial before it is compared.
    """

    compares_means: ClassVar[bool] = False
    p_threshold: Annotated[float, Field(gt=0, lt=1)]
    n_startup_epochs: Annotated[int, Field(ge=2)]

    def make(self, n_epochs: int) -> BasePruner:  # noqa: ARG002 - it needs no end
        """Compares at every epoch after the first ones."""
        return self._test(self.n_startup_epochs)

    def over_replicates(self, n_replicates: int) -> BasePruner:  # noqa: ARG002 - needs no end
        """Compares from the second replicate on."""
        return self._test(2)

    def _test(self, n_startup_steps: int) -> BasePruner:
        """Suppresses Optuna's warning that it is experimental."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return _Wilcoxon(p_threshold=self.p_threshold, n_startup_steps=n_startup_steps)


@dataclass(kw_only=True, config=STRICT)
class NoPruner(Pruner):
    """Every trial runs to its end."""

    def make(self, n_epochs: int) -> BasePruner:  # noqa: ARG002 - it needs no end
        """Never prunes."""
        return optuna.pruners.NopPruner()


class AsyncHyperband(BasePruner):
    """Hyperband as a function of curves and trial numbers alone.

    A trial's value is that of its best epoch, so trials are compared by their best epoch so far,
    also with those that stopped early; Optuna's pruner compares the latest epochs.

    Optuna's pruner records a comparison in the trial before it answers and lets trials with such a
    record continue: if a process were killed between the answer and the trial's end, the trial
    would not be pruned when restarted. Its decisions also depend on the study's name.

    Args:
        min_epochs: Epochs before the first comparison in the first bracket.
        n_epochs: Maximum number of epochs of a trial, more than `min_epochs`.
        reduction_factor: One of this many trials survives; also the ratio of comparison epochs.
        compares_best: Whether the best value so far counts; else the latest, such as a mean.
    """

    def __init__(
        self, min_epochs: int, n_epochs: int, reduction_factor: int, *, compares_best: bool = True
    ) -> None:
        self._factor, self._compares_best = reduction_factor, compares_best
        self._comparisons = [min_epochs]
        while (following := self._comparisons[-1] * reduction_factor) < n_epochs:
            self._comparisons.append(following)
        self._bracket_of = _brackets(len(self._comparisons), reduction_factor)

    def comparisons(self, number: int) -> list[int]:
        """The epochs after which a trial is compared."""
        return self._comparisons[self._pace(number) :]

    def _pace(self, number: int) -> int:
        """How many of the first comparisons a trial skips."""
        return self._bracket_of[number % len(self._bracket_of)]

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether a trial falls behind those of its bracket at its latest epoch."""
        epoch = trial.last_step
        if epoch not in self._comparisons:  # of any bracket, so that trials need not be read
            return False
        attempts = latest_attempts(study.get_trials(deepcopy=False))
        numbers = {each._trial_id: each.number for each in attempts}
        number = numbers.get(trial._trial_id, trial.number)
        if epoch not in self.comparisons(number):
            return False
        sign = 1 if study.direction == StudyDirection.MAXIMIZE else -1
        values = sorted(
            self._value(other, epoch, sign)
            for other in attempts
            if self._is_comparable(other, epoch) and self._pace(other.number) == self._pace(number)
        )
        n_that_go_on = max(1, len(values) // self._factor)
        return self._value(trial, epoch, sign) < values[-n_that_go_on]

    def _is_comparable(self, trial: FrozenTrial, epoch: int) -> bool:
        is_complete = trial.state == TrialState.COMPLETE and bool(trial.intermediate_values)
        return epoch in trial.intermediate_values or (self._compares_best and is_complete)

    def _value(self, trial: FrozenTrial, epoch: int, sign: int) -> float:
        """What counts after an epoch; larger is better."""
        if not self._compares_best:
            return sign * trial.intermediate_values[epoch]
        return max(sign * v for step, v in trial.intermediate_values.items() if step <= epoch)


def _brackets(n_comparisons: int, factor: int) -> list[int]:
    """The bracket of each trial, in turn; earlier brackets get more trials, as in Hyperband."""
    trials = [
        math.ceil(
            n_comparisons * factor ** (n_comparisons - 1 - bracket) / (n_comparisons - bracket)
        )
        for bracket in range(n_comparisons)
    ]
    turns = ((turn + 0.5) / n for n in trials for turn in range(n))
    in_order = (bracket for bracket, n in enumerate(trials) for _ in range(n))
    return [bracket for _, bracket in sorted(zip(turns, in_order, strict=True))]


class _Wilcoxon(optuna.pruners.WilcoxonPruner):
    """Does not warn if a trial has more epochs than the best one: usual with early stopping."""

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Compares the epochs that both trials have."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "WilcoxonPruner finds steps", UserWarning)
            return super().prune(study, trial)


# --- replicates ----------------------------------------------------------------------------------


def falls_behind(pruner: Pruner, n_replicates: int, study: Study, number: int) -> bool:
    """Whether a trial is pruned after its latest replicate.

    Every trial has the same folds or seeds in the same order, so that trials with as many
    replicates have met the same ones.

    Args:
        pruner: The rule.
        n_replicates: Replicates of a trial that is not pruned.
        study: The study; its trials have the attribute `REPLICATES`.
        number: The trial's number.
    """
    rule = pruner.over_replicates(n_replicates)
    if isinstance(rule, optuna.pruners.NopPruner):
        return False
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    view = optuna.create_study(direction=study.direction)
    for each in latest_attempts(study.get_trials(deepcopy=False)):
        view.add_trial(_by_replicate(each, pruner))
    own = view.get_trials()[number]
    if pruner.compares_means:  # Optuna would take the best of its means
        own.intermediate_values = dict(list(own.intermediate_values.items())[-1:])
    return bool(rule.prune(view, own))


def _by_replicate(trial: FrozenTrial, pruner: Pruner) -> FrozenTrial:
    """A trial whose steps are its replicates."""
    values: Sequence[float] = trial.user_attrs.get(REPLICATES, [])
    if pruner.compares_means:
        values = [statistics.fmean(values[:n]) for n in range(1, len(values) + 1)]
    return optuna.create_trial(
        state=trial.state,
        value=trial.value if trial.state == TrialState.COMPLETE else None,
        intermediate_values=dict(enumerate(values, 1)),
    )
