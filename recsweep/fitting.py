"""A fit in reading order: train, evaluate each epoch, keep the best, stop early; and the refit."""

import logging
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pandas as pd

from recsweep import accelerator
from recsweep.data.split import Fold
from recsweep.divergence import refuse_not_finite, remedy_for, remedy_for_equal_scores
from recsweep.errors import InputError, TrainingDivergedError
from recsweep.evaluation import Evaluation, Evaluator, training_popularity
from recsweep.interfaces import (
    CSR,
    HasLoss,
    KeepsWeights,
    RanksWhileTraining,
    Recommender,
    State,
)
from recsweep.metrics.ranked_lists import TrainingCounts
from recsweep.seeds import Seeds

log = logging.getLogger(__name__)

Listener = Callable[[int, Mapping[str, float]], bool]
"""Called after each epoch with its index (from 0) and metrics by name; returns "continue?"."""


@dataclass(frozen=True)
class FitResult:
    """The result of a fit.

    Args:
        best_epoch: Index of the epoch of the model's current weights.
        valid: Validation metrics of that epoch.
        curves: Values of all epochs by name, such as `train/loss` or `valid/ndcg@100`; where a
            model ranks while it trains, only the best epoch has all metrics.
        train_s: Seconds spent in training, without evaluation; where a model ranks while it trains,
            with its rankings.
        refit_s: Duration of the refit in seconds, see `refit`; None = no refit.
    """

    best_epoch: int
    valid: Evaluation
    curves: list[Mapping[str, float]]
    train_s: float
    refit_s: float | None = None

    def curves_table(self) -> pd.DataFrame:
        """A row per epoch, from 1, and a column per curve."""
        index = pd.RangeIndex(1, len(self.curves) + 1, name="epoch")
        return pd.DataFrame([dict(epoch) for epoch in self.curves], index=index)


@dataclass
class _BestEpoch:
    """Evaluates validation after each epoch and keeps the weights of the best one."""

    model: Recommender
    valid: Fold
    evaluator: Evaluator
    popularity: TrainingCounts
    listeners: Sequence[Listener]
    curves: list[Mapping[str, float]] = field(default_factory=list)
    epoch: int = -1
    train_s: float = 0.0
    _best: float = -math.inf
    _measure: Callable[[], Evaluation] | None = None
    _weights: State = field(default_factory=dict)
    _losses: Mapping[str, float] = field(default_factory=dict)
    _has_equal_scores: bool = False
    _is_watched: bool = False
    _started: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        if isinstance(self.model, RanksWhileTraining) and _have_one_author(
            self.model, "watch", "score", "loss"
        ):
            history, target = self.valid.history, self.valid.target
            self._is_watched = self.model.watch(history, target, self.evaluator.k[-1])

    def __call__(self, epoch: int, losses: Mapping[str, float]) -> bool:
        now = time.perf_counter()
        if epoch != len(self.curves):
            raise InputError(
                f"{type(self.model).__name__}.fit must call on_epoch with 0, 1, 2, … in order, "
                f"but calls it with {epoch} after {len(self.curves)} epochs; count from 0"
            )
        trained = {f"train/{name}": value for name, value in losses.items()}
        remedy = remedy_for(self.model)
        refuse_not_finite(trained, remedy, epoch)
        try:
            validated = self._ranked_in_training() or self._ranked_here(now - self._started)
        except TrainingDivergedError as error:
            raise TrainingDivergedError(
                "every score must be a finite number, but the model gave NaN or infinity in epoch "
                f"{epoch + 1}; {remedy}"
            ) from error
        self._refuse_no_number(validated, epoch)
        self.train_s += validated.epoch_s
        metrics = {
            **trained,
            **{f"valid/{name}": value for name, value in validated.curves.items()},
            "epoch_s": validated.epoch_s,
            "evaluate_s": time.perf_counter() - now,
        }
        self.curves.append(metrics)
        self._keep_if_best(epoch, validated)
        answers = [
            listener(epoch, metrics) for listener in self.listeners
        ]  # every listener is called
        self._started = time.perf_counter()
        return all(answers)

    def _refuse_no_number(self, validated: "_EpochValidation", epoch: int) -> None:
        """Raise TrainingDivergedError if the objective is not finite."""
        objective = str(self.evaluator.objective)
        chosen_by = {f"valid/{objective}": validated.means[objective]}
        refuse_not_finite(chosen_by, f"fix metrics.{objective.rpartition('@')[0]}", epoch)

    def _ranked_here(self, epoch_s: float) -> "_EpochValidation":
        """Score and rank on the host's request, once the epoch is over."""
        score = _WatchedScores(self.model.score)
        found = self.evaluator.evaluate(score, self.valid, self.popularity)
        losses = {}
        if isinstance(self.model, HasLoss):  # of whole rows: history and held-out items
            losses = self.model.loss(self.valid.history + self.valid.target)
        return _EpochValidation(found.means, losses, epoch_s, lambda: found, score.are_equal)

    def _ranked_in_training(self) -> "_EpochValidation | None":
        """What the model has ranked within the epoch; only the objective is computed.

        All metrics take milliseconds, as long as the epoch itself; they are computed for the best.
        """
        if not self._is_watched or not isinstance(self.model, RanksWhileTraining):
            return None
        ranking = self.model.ranking()
        given = (ranking, self.valid, self.popularity)
        means = self.evaluator.objective_means(*given)
        measure = partial(self.evaluator.of_ranking, *given)
        return _EpochValidation(means, ranking.losses, ranking.seconds, measure)

    def _keep_if_best(self, epoch: int, validated: "_EpochValidation") -> None:
        value = validated.means[str(self.evaluator.objective)]
        if value > self._best:
            self._best, self.epoch, self._measure = value, epoch, validated.measure
            self._losses = {f"valid/{name}": loss for name, loss in validated.losses.items()}
            self._has_equal_scores = validated.has_equal_scores
            if self._keeps_weights():
                cast("KeepsWeights", self.model).keep()
            else:
                self._weights = self.model.state()

    def _keeps_weights(self) -> bool:
        is_able = isinstance(self.model, KeepsWeights)
        return is_able and _have_one_author(self.model, "keep", "state", "restore")

    def result(self) -> FitResult:
        """The result; the model gets the best epoch's weights."""
        if self._measure is None:
            raise RuntimeError(f"{type(self.model).__name__}.fit must call on_epoch at least once")
        if self._keeps_weights():
            cast("KeepsWeights", self.model).return_to_kept()
        else:
            self.model.restore(self._weights)
        refuse_not_finite(self._losses, remedy_for(self.model), self.epoch)
        _refuse_weights(self.model, self.epoch)
        if self._has_equal_scores:
            log.warning(
                "all scores of each validation user are equal, so that the ranking is by item "
                "order; %s", remedy_for_equal_scores(self.model),
            )  # fmt: skip
        found = self._measure()
        means = {f"valid/{name}": value for name, value in found.means.items()}
        self.curves[self.epoch] = {**self.curves[self.epoch], **means}
        return FitResult(self.epoch, found, self.curves, self.train_s)


def _refuse_weights(model: Recommender, epoch: int) -> None:
    """Raise TrainingDivergedError if a weight is not finite, also one that no score showed.

    What is on an accelerator stays there; `save_model` looks at it.
    """
    if not accelerator.is_available():
        weights = {f"weight {name}": array for name, array in model.state().items()}
        refuse_not_finite(weights, remedy_for(model), epoch)


def _have_one_author(model: object, *methods: str) -> bool:
    """Whether the same class defines all of these methods, as far as the model has them.

    A class that replaces one of them, such as `score`, would be passed over by the others.
    """
    classes = type(model).__mro__
    authors = [next((c for c in classes if name in vars(c)), None) for name in methods]
    return len(set(authors) - {None}) == 1


@dataclass(frozen=True)
class _EpochValidation:
    """The validation of one epoch.

    Args:
        means: Metrics by name.
        losses: Loss parts by name.
        epoch_s: Seconds of the epoch.
        measure: Computes all metrics.
        has_equal_scores: Whether all unseen items of each user have the same score.
    """

    means: Mapping[str, float]
    losses: Mapping[str, float]
    epoch_s: float
    measure: Callable[[], Evaluation]
    has_equal_scores: bool = False

    @property
    def curves(self) -> dict[str, float]:
        """Losses and metrics by name."""
        return {**self.losses, **self.means}


@dataclass
class _WatchedScores:
    """A score method that is watched for users whose unseen items all have the same score.

    The first user with two scores ends the search. Users with one unseen item are no evidence.
    """

    score: Callable[[CSR], Any]
    n_equal: int = 0
    has_two_scores: bool = False

    def __call__(self, history: CSR) -> Any:
        scores = self.score(history)
        if np.shape(scores) == history.shape and not self.has_two_scores:
            self._search(scores, history)
        return scores

    def _search(self, scores: Any, history: CSR) -> None:
        for row, (start, stop) in enumerate(pairwise(history.indptr)):
            unseen = np.delete(np.asarray(scores[row]), history.indices[start:stop])
            if len(unseen) < 2:
                continue
            if unseen.min() != unseen.max():  # or NaN
                self.has_two_scores = True
                return
            self.n_equal += 1

    @property
    def are_equal(self) -> bool:
        """Whether no user has two different scores."""
        return self.n_equal > 0 and not self.has_two_scores


class Patience:
    """Early stopping: a listener that stops the training when it no longer improves.

    Args:
        n_epochs: Epochs without improvement before it stops; None = never.
        objective: The metric that must increase, such as `ndcg@100`.
    """

    def __init__(self, n_epochs: int | None, objective: str) -> None:
        self.n_epochs = n_epochs
        self.objective = objective
        self._best, self._best_epoch = -math.inf, -1

    def __call__(self, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Whether to continue."""
        value = metrics[f"valid/{self.objective}"]
        if value > self._best:
            self._best, self._best_epoch = value, epoch
        return self.n_epochs is None or epoch - self._best_epoch < self.n_epochs


def fit_best_epoch(
    model: Recommender,
    train: CSR,
    valid: Fold,
    evaluator: Evaluator,
    seeds: Seeds,
    listeners: Sequence[Listener] = (),
) -> FitResult:
    """Fit `model`, choosing its epoch by the evaluator's objective on validation.

    Args:
        model: An unfitted model; has the best epoch's weights afterwards.
        train: Users × items.
        valid: The fold to choose the epoch on.
        evaluator: Metrics and objective.
        seeds: Seeds of weights, shuffling and noise.
        listeners: Called after each epoch; may stop the training.

    Returns:
        The best epoch, its validation metrics and all curves.
    """
    if "jax" in sys.modules:
        from recsweep.training.programs import limit_executables

        limit_executables()
    best = _BestEpoch(model, valid, evaluator, training_popularity(train), listeners)
    model.fit(train, best, seeds)
    return best.result()


def refit(model: Recommender, rows: CSR, fitted: FitResult, seeds: Seeds) -> FitResult:
    """Fit for the best number of epochs of the first fit.

    Args:
        model: A new model with the same settings; fitted afterwards.
        rows: Training and validation together, users × items.
        fitted: The result of the first fit, with its best epoch.
        seeds: Seeds of weights, shuffling and noise.

    Returns:
        `fitted` with the duration of the refit.
    """
    started = time.perf_counter()
    remedy = remedy_for(model)

    def on_epoch(epoch: int, losses: Mapping[str, float]) -> bool:
        refuse_not_finite({f"train/{name}": loss for name, loss in losses.items()}, remedy, epoch)
        return epoch < fitted.best_epoch

    model.fit(rows, on_epoch, seeds)
    _refuse_weights(model, fitted.best_epoch)
    return replace(fitted, refit_s=time.perf_counter() - started)
