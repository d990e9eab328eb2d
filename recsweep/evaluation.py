"""Users in batches -> scores -> seen items masked -> top-k -> hits -> metrics per user."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import field, replace
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from recsweep import accelerator
from recsweep.build import build
from recsweep.data.split import Fold
from recsweep.defaults import build_choice
from recsweep.errors import InputError, TrainingDivergedError
from recsweep.interfaces import CSR, STRICT, Ranking
from recsweep.messages import closest
from recsweep.metrics.groups import Groups, Members, measure_groups
from recsweep.metrics.metric import (
    CatalogMetric,
    Metric,
    UserMetric,
    finite_of_catalog,
    finite_per_user,
)
from recsweep.metrics.ranked_lists import RankedLists, TrainingCounts

log = logging.getLogger(__name__)


def _as_metrics(entry: Any) -> Any:
    """Metrics by name; a plain name refers to a file in `conf/metrics`."""
    if isinstance(entry, str):
        entry = [entry]
    if isinstance(entry, list):
        return {str(name): build_choice("metrics", str(name)) for name in entry}
    return build(entry, "metrics")


_MAYBE_ONE = BeforeValidator(lambda entry: entry if isinstance(entry, list) else [entry])
"""`k=10` means `k=[10]`."""


NO_TARGET = "at least one user must have a held-out item, but none has"
NOT_FINITE = (
    "every score must be a finite number, but the model gave NaN or infinity; train it again, "
    "with smaller values or a lower optimizer.learning_rate"
)


def default_objective(metrics: Sequence[str], k: Sequence[int]) -> str:
    """The default objective on validation: the first metric at the largest cut-off."""
    return f"{metrics[0]}@{max(k)}"


def usual_metrics(known: Sequence[str]) -> list[str]:
    """NDCG at the largest cut-off, and recall as usually published.

    Args:
        known: At least one, such as `ndcg@100`.
    """
    largest = max(int(name.partition("@")[2]) for name in known)
    wanted = [f"ndcg@{largest}", "recall@20", "recall@50"]
    found = [name for name in wanted if name in known]
    return found or [name for name in known if name.endswith(f"@{largest}")][:3]


def objective_of(config: Mapping[str, Any]) -> str | None:
    """The metric that a run with this configuration chose its epoch by; None if not recorded."""
    if config.get("objective") is not None:
        return str(config["objective"])
    found: list[list[Any]] = [
        list(entry) if isinstance(entry, list | dict) else [entry]  # `k=10` is not a list
        for entry in (config.get("metrics"), config.get("k"))
    ]
    is_said = None not in (*found[0], *found[1])
    return default_objective(*found) if is_said else None


@plain_dataclass(frozen=True)
class Evaluation:
    """The metrics of one fold.

    Args:
        per_user: A column per metric and cut-off, such as `ndcg@10`; index: original user ids.
        of_catalog: Metrics over all users together, by name.
        n_without_target: Users omitted because they have no held-out items.
        definitions: Name of a metric -> its definition.
        groups: Accuracy by popularity and history; None = not asked for.
    """

    per_user: pd.DataFrame
    of_catalog: dict[str, float]
    n_without_target: int
    definitions: Mapping[str, str] = field(default_factory=dict)
    groups: Groups | None = None

    @cached_property
    def means(self) -> dict[str, float]:
        """Each metric's mean over users, and the catalogue's metrics."""
        return {**{str(n): float(v) for n, v in self.per_user.mean().items()}, **self.of_catalog}

    @cached_property
    def standard_errors(self) -> dict[str, float]:
        """Standard error of each mean; NaN with one user."""
        return {str(n): float(v) for n, v in self.per_user.sem(ddof=1).items()}

    def summary(self) -> dict[str, Any]:
        """Values for JSON, which has no NaN: the standard error of a single user is null."""
        errors = self.standard_errors.items()
        return {
            "mean": self.means,
            "standard_error": {name: e if math.isfinite(e) else None for name, e in errors},
            "n_users": len(self.per_user),
        }


@dataclass(kw_only=True, config=STRICT)
class Evaluator:
    """Computes metrics of ranked lists.

    Args:
        k: Cut-offs.
        metrics: Metrics by name; plain names refer to files in `conf/metrics`.
        batch_size: Users scored at a time.
        objective: The metric to choose by on validation, such as `ndcg@100`; None = the first
            metric at the largest cut-off.
    """

    k: Annotated[list[Annotated[int, Field(ge=1)]], _MAYBE_ONE, Field(min_length=1)]
    metrics: Annotated[dict[str, Metric], BeforeValidator(_as_metrics), Field(min_length=1)]
    batch_size: Annotated[int, Field(ge=1)]
    objective: str | None

    def __post_init__(self) -> None:
        self.k = sorted(set(self.k))
        names = [f"{metric}@{k}" for metric in self.metrics for k in self.k]
        if self.objective is None:
            self.objective = default_objective(list(self.metrics), self.k)
        if self.objective not in names:
            example = closest(self.objective, names) or names[0]
            raise InputError(
                f"objective must be one of the metrics {', '.join(self.metrics)} at one of the "
                f"cut-offs {', '.join(map(str, self.k))}, such as {example}, but is "
                f"{self.objective}; change objective, metrics or k"
            )

    def may_choose_by(self, objective: str) -> bool:
        """Whether this metric, such as `ndcg@10`, is better if it is larger."""
        return self.metrics[objective.partition("@")[0]].is_better_if_larger

    def refuse_objective(self) -> None:
        """Raise InputError if validation must not choose by the objective, such as `gini@10`."""
        if not self.may_choose_by(str(self.objective)):
            better = [name for name, each in self.metrics.items() if each.is_better_if_larger]
            remedy = f"set objective={default_objective(better or ['ndcg'], self.k)}"
            raise InputError(
                "objective must be a metric that is better if it is larger, but is "
                f"{self.objective}; {remedy}{'' if better else ', and add ndcg to metrics'}"
            )

    def refuse_large_k(self, n_items: int) -> None:
        """Raise InputError if a list of k items cannot be filled."""
        if self.k[-1] > n_items:
            fitting = ",".join(str(k) for k in self.k if k <= n_items) or str(n_items)
            raise InputError(
                f"k must not exceed the {n_items:,} items of the catalogue, but is {self.k[-1]}; "
                f"set 'k=[{fitting}]'"
            )

    def warn_of_full_lists(self, n_items: int) -> None:
        """Warn if the longest list is the whole catalogue, in which nothing can be missing."""
        if self.k[-1] == n_items:
            shorter = ",".join(str(k) for k in self.k[:-1]) or str(max(1, n_items // 10))
            log.warning(
                "k=%d is the size of the catalogue, so every list contains all items and recall is "
                "1 for every user; set a smaller one, such as 'k=[%s]'", self.k[-1], shorter,
            )  # fmt: skip

    def definitions(self) -> dict[str, str]:
        """Name of each metric -> its definition."""
        return {name: metric.definition for name, metric in self.metrics.items()}

    def evaluate(
        self,
        score: Callable[[CSR], Any],
        fold: Fold,
        popularity: TrainingCounts | None = None,
        *,
        by_group: bool = False,
    ) -> Evaluation:
        """Rank all unseen items for each user of `fold`, and compute the metrics.

        Args:
            score: History -> finite scores, users × items; higher is better.
            fold: The users with their histories and target items.
            popularity: What training counts of each item, for metrics that need it.
            by_group: Whether to compute accuracy by group too, which needs `popularity`.

        Raises:
            TrainingDivergedError: A score is not finite.
            InputError: No user has a target, or a metric cannot be computed.
        """
        if not fold.target.nnz:
            raise InputError(NO_TARGET)
        ranked_fold = fold.drop_users_without_targets()
        history, target = ranked_fold.history, ranked_fold.target
        starts = range(0, history.shape[0], self.batch_size)
        ranked = np.concatenate(
            [
                top_k(score(rows), rows, self.k[-1])
                for rows in (history[start : start + self.batch_size] for start in starts)
            ]
        )
        lists = RankedLists(
            is_hit(ranked, target), ranked_fold.n_relevant, ranked, history.shape[1], popularity
        )
        index = pd.Index(ranked_fold.user_ids, name="user")
        found = self.measure(lists, index, len(fold.user_ids) - len(index))
        accuracy = self._accuracy()
        if not by_group or not accuracy:
            return found
        members = Members(history, target, ranked_fold.n_unknown)
        return replace(found, groups=measure_groups(lists, members, accuracy, found.per_user))

    def _accuracy(self) -> dict[str, tuple[UserMetric, int]]:
        """Metrics that are computed by group: the objective and the usual ones, if of hits."""
        known = {
            f"{name}@{k}": (metric, k)
            for name, metric in self.metrics.items()
            if isinstance(metric, UserMetric) and not metric.needs_catalog
            for k in self.k
        }
        names = dict.fromkeys([str(self.objective), *usual_metrics(list(known))] if known else ())
        return {name: known[name] for name in names if name in known}

    def of_ranking(
        self, ranking: Ranking, fold: Fold, popularity: TrainingCounts | None
    ) -> Evaluation:
        """Compute the metrics of lists that a model has made.

        Args:
            ranking: Lists of all users of the fold, at least as long as the largest cut-off.
            fold: The users with their histories and target items.
            popularity: What training counts of each item, for metrics that need it.

        Raises:
            TrainingDivergedError: A score was not finite.
            InputError: No user has a target, or a metric fails.
        """
        lists, has_target = self._lists(ranking, fold, popularity)
        index = pd.Index(np.asarray(fold.user_ids)[has_target], name="user")
        return self.measure(lists, index, int(np.count_nonzero(~has_target)))

    def objective_means(
        self, ranking: Ranking, fold: Fold, popularity: TrainingCounts | None
    ) -> dict[str, float]:
        """The objective at every cut-off, as `of_ranking` gives it, without a table of users.

        Args:
            ranking: See `of_ranking`; errors too.
            fold: The users.
            popularity: What training counts of each item.
        """
        lists, has_target = self._lists(ranking, fold, popularity)
        name = str(self.objective).rpartition("@")[0]
        metric, users = self.metrics[name], fold.user_ids
        if isinstance(metric, CatalogMetric):
            return {
                f"{name}@{k}": finite_of_catalog(metric.of_catalog(lists, k), name) for k in self.k
            }
        assert isinstance(metric, UserMetric)  # noqa: S101 - there is no third kind
        if not has_target.all():
            users = np.asarray(users)[has_target]
        return {
            f"{name}@{k}": float(finite_per_user(metric.per_user(lists, k), users, name).mean())
            for k in self.k
        }

    def _lists(
        self, ranking: Ranking, fold: Fold, popularity: TrainingCounts | None
    ) -> tuple[RankedLists, Bool[np.ndarray, " users"]]:
        """The lists of users with a target, and who they are."""
        if not ranking.is_finite:
            raise TrainingDivergedError(NOT_FINITE)
        if not fold.target.nnz:
            raise InputError(NO_TARGET)
        n_relevant = fold.n_relevant
        has_target = n_relevant > 0
        return RankedLists(
            ranking.hits[has_target], n_relevant[has_target],
            ranking.items[has_target].astype(np.int64),
            fold.history.shape[1], popularity,
        ), has_target  # fmt: skip

    def measure(
        self, lists: RankedLists, users: "pd.Index[Any]", n_without_target: int = 0
    ) -> Evaluation:
        """Compute every metric at every cut-off.

        Args:
            lists: At least as long as the largest cut-off.
            users: Original ids, in the order of the lists.
            n_without_target: Number of omitted users.

        Raises:
            InputError: A metric returns neither one finite value per user nor a single one.
        """
        per_user: dict[str, np.ndarray] = {}
        of_catalog: dict[str, float] = {}
        for name, metric in self.metrics.items():
            for k in self.k:
                if isinstance(metric, UserMetric):
                    values = metric.per_user(lists, k)
                    per_user[f"{name}@{k}"] = finite_per_user(values, users, name)
                elif isinstance(metric, CatalogMetric):
                    value = metric.of_catalog(lists, k)
                    of_catalog[f"{name}@{k}"] = finite_of_catalog(value, name)
        frame = pd.DataFrame(per_user, index=users)
        return Evaluation(frame, of_catalog, n_without_target, self.definitions())


def training_popularity(train: CSR) -> TrainingCounts:
    """Training interactions of each item, and the number of users."""
    n_users, n_items = train.shape
    return TrainingCounts(n_users, np.bincount(train.indices, minlength=n_items))


def top_k(scores: ArrayLike, seen: CSR, k: int) -> Int[np.ndarray, "users k"]:
    """The k best unseen items of each user, best first; ties go to the lower item number.

    For a user with fewer than k unseen items, the remaining places repeat the best one.

    Args:
        scores: Users × items, NumPy or device array.
        seen: Users × items; stored entries are never recommended.
        k: At most the number of items.

    Raises:
        TrainingDivergedError: A score is NaN or infinite.
        ValueError: The scores are not users × items.
    """
    if np.shape(scores) != seen.shape:
        raise ValueError(
            f"a model must score {seen.shape[0]} users × {seen.shape[1]} items, but gave an array "
            f"of shape {np.shape(scores)}; fix its score method"
        )
    if accelerator.is_available():
        is_finite, ranked = accelerator.rank(scores, seen, k)
    else:
        with np.errstate(over="ignore"):  # infinity is refused below
            is_finite, ranked = _rank_on_host(np.asarray(scores, np.float32), seen, k)
    if not is_finite:
        raise TrainingDivergedError(NOT_FINITE)
    return ranked


def _rank_on_host(scores: np.ndarray, seen: CSR, k: int) -> tuple[bool, np.ndarray]:
    """Whether every score is finite, and if so the k best unseen items of each user.

    It goes user by user, whose scores fit into the processor's cache.
    """
    ranked = np.zeros((len(scores), k), np.int64)
    for user, (start, stop) in enumerate(pairwise(seen.indptr)):
        unseen = np.array(scores[user])
        if not np.isfinite(unseen).all():
            return False, ranked
        unseen[seen.indices[start:stop]] = -np.inf
        ranked[user] = _largest(unseen, k)
    return True, ranked


def _largest(scores: Float[np.ndarray, " items"], k: int) -> Int[np.ndarray, " k"]:
    """The k largest scores' items; in place of those of −∞ the first.

    The kth largest maximum of groups of items is at most the kth largest score, and few other
    scores are as large. Partitioning these maxima is cheaper than partitioning all scores.
    """
    size = min(math.isqrt(4 * len(scores) // k), len(scores) // k)
    n_groups = len(scores) // size
    maxima = scores[: n_groups * size].reshape(size, n_groups).max(axis=0)
    least = np.partition(maxima, n_groups - k)[n_groups - k]
    above = np.flatnonzero(scores > least)
    best = above[np.argsort(-scores[above], kind="stable")][:k]
    if len(best) < k:
        equal = np.flatnonzero(scores == least)
        best = np.concatenate([best, equal[: k - len(best)]])
    return best if least > -np.inf else np.where(np.isneginf(scores[best]), best[0], best)


def is_hit(ranked: Int[np.ndarray, "users k"], target: CSR) -> Bool[np.ndarray, "users k"]:
    """Whether each ranked item is among the user's targets, counted once."""
    n_users, n_items = target.shape
    offsets = np.arange(n_users) * n_items
    wanted = np.sort(np.repeat(offsets, np.diff(target.indptr)) + target.indices)
    found = ranked + offsets[:, None]
    place = np.minimum(np.searchsorted(wanted, found), len(wanted) - 1)
    hits: np.ndarray = wanted[place] == found
    repeats = (ranked == ranked[:, :1]) & (np.arange(ranked.shape[1]) > 0)
    return hits & ~repeats
