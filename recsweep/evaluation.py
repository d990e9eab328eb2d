"""Users in batches -> scores -> seen items masked -> top-k -> hits -> metrics per user."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int
from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from recsweep.data.split import Fold
from recsweep.errors import InputError
from recsweep.interfaces import CSR, STRICT
from recsweep.metrics import catalog, ranking

PER_USER = {
    "ndcg": ranking.ndcg_at_k,
    "ndcg_full_ideal": ranking.ndcg_full_ideal_at_k,
    "recall": ranking.recall_at_k,
    "recall_all": ranking.recall_all_at_k,
    "precision": ranking.precision_at_k,
    "map": ranking.average_precision_at_k,
    "mrr": ranking.reciprocal_rank_at_k,
    "hit_rate": ranking.hit_rate_at_k,
}
OF_CATALOG = {"coverage": catalog.coverage_at_k}

Metric = Literal[
    "ndcg", "ndcg_full_ideal", "recall", "recall_all", "precision", "map", "mrr", "hit_rate",
    "coverage",
]  # fmt: skip
_MAYBE_ONE = BeforeValidator(lambda entry: entry if isinstance(entry, list) else [entry])
"""`k=10` means `k=[10]`."""


def definitions() -> dict[str, str]:
    """What each metric means: the first line of its function's docstring."""
    functions = {**PER_USER, **OF_CATALOG}
    return {name: (f.__doc__ or "").splitlines()[0] for name, f in functions.items()}


def default_objective(metrics: Sequence[str], k: Sequence[int]) -> str:
    """What validation chooses by when nothing else is said: the first metric, largest cut-off."""
    return f"{metrics[0]}@{max(k)}"


def objective_of(config: Mapping[str, Any]) -> str | None:
    """What a run with this configuration chose its epoch by; None where it does not say."""
    if config.get("objective") is not None:
        return str(config["objective"])
    found: list[list[Any]] = [
        entry if isinstance(entry, list) else [entry]  # one may be given without a list
        for entry in (config.get("metrics"), config.get("k"))
    ]
    is_said = None not in (*found[0], *found[1])
    return default_objective(*found) if is_said else None


@plain_dataclass(frozen=True)
class Evaluation:
    """The metrics of one fold.

    Args:
        per_user: A column per metric and cut-off, such as `ndcg@10`; index: original user ids.
        of_catalog: Metrics of all users together, by name.
        n_without_target: Users who were left out because nothing of theirs is held out.
    """

    per_user: pd.DataFrame
    of_catalog: dict[str, float]
    n_without_target: int

    @cached_property
    def means(self) -> dict[str, float]:
        """Each metric's mean over users, and the catalogue's metrics."""
        return {**{str(n): float(v) for n, v in self.per_user.mean().items()}, **self.of_catalog}

    @cached_property
    def standard_errors(self) -> dict[str, float]:
        """Standard error of each mean; NaN with one user."""
        return {str(n): float(v) for n, v in self.per_user.sem(ddof=1).items()}


@dataclass(kw_only=True, config=STRICT)
class Evaluator:
    """What is measured.

    Args:
        k: Cut-offs.
        metrics: Names, see `definitions`.
        batch_size: Users who are scored at a time.
        objective: What validation chooses by, such as `ndcg@100`; None = the first metric at the
            largest cut-off.
    """

    k: Annotated[list[Annotated[int, Field(ge=1)]], _MAYBE_ONE, Field(min_length=1)]
    metrics: Annotated[list[Metric], _MAYBE_ONE, Field(min_length=1)]
    batch_size: Annotated[int, Field(ge=1)]
    objective: str | None

    def __post_init__(self) -> None:
        self.k = sorted(set(self.k))
        self.metrics = list(dict.fromkeys(self.metrics))
        names = [f"{metric}@{k}" for metric in self.metrics for k in self.k]
        if self.objective is None:
            self.objective = default_objective(self.metrics, self.k)
        if self.objective not in names:
            close = difflib.get_close_matches(self.objective, names, n=1)
            raise InputError(
                f"objective must be one of the metrics {', '.join(self.metrics)} at one of the "
                f"cut-offs {', '.join(map(str, self.k))}, such as {(close or names)[0]}, but is "
                f"{self.objective}; change objective, metrics or k"
            )

    def refuse_large_k(self, n_items: int) -> None:
        """Raise InputError when a list of k items cannot be filled."""
        if self.k[-1] > n_items:
            fitting = ",".join(str(k) for k in self.k if k <= n_items) or str(n_items)
            raise InputError(
                f"k must not exceed the {n_items:,} items of the catalogue, but is {self.k[-1]}; "
                f"set k=[{fitting}]"
            )

    def evaluate(self, score: Callable[[CSR], Any], fold: Fold) -> Evaluation:
        """Rank every item but the seen ones for each user of `fold`.

        Args:
            score: History -> finite scores, users × items; higher is better.
            fold: Who is shown what and must be recommended what.

        Raises:
            InputError: A score is not finite, or nobody has a target.
        """
        if not fold.target.nnz:
            raise InputError("at least one user must have a held-out item, but none has")
        ranked_fold = fold.of_whom_something_is_held_out()
        history, target = ranked_fold.history, ranked_fold.target
        starts = range(0, history.shape[0], self.batch_size)
        ranked = np.concatenate(
            [
                top_k(score(rows), rows, self.k[-1])
                for rows in (history[start : start + self.batch_size] for start in starts)
            ]
        )
        hits = is_hit(ranked, target)
        per_user = {
            f"{metric}@{k}": PER_USER[metric](hits, ranked_fold.n_relevant, k)
            for metric in self.metrics
            if metric in PER_USER
            for k in self.k
        }
        of_catalog = {
            f"{metric}@{k}": OF_CATALOG[metric](ranked, history.shape[1], k)
            for metric in self.metrics
            if metric in OF_CATALOG
            for k in self.k
        }
        frame = pd.DataFrame(per_user, index=pd.Index(ranked_fold.user_ids, name="user"))
        return Evaluation(frame, of_catalog, len(fold.user_ids) - len(frame))


def top_k(scores: Any, seen: CSR, k: int) -> Int[np.ndarray, "users k"]:
    """The k best unseen items of each user, best first; ties go to the lower item number.

    A user with fewer than k unseen items gets the best one again in the places that are left.

    Args:
        scores: Users × items, NumPy or device array.
        seen: Users × items; stored entries are never recommended.
        k: At most the number of items.

    Raises:
        InputError: A score is NaN or infinite.
        ValueError: There is not one score per user and item.
    """
    from keras import ops  # loads a backend, which knows a fast top-k

    from recsweep.training.programs import call_program

    if np.shape(scores) != seen.shape:
        raise ValueError(
            f"a model must score {seen.shape[0]} users × {seen.shape[1]} items, but gave an array "
            f"of shape {np.shape(scores)}; fix its score method"
        )
    mask = np.zeros(seen.shape, bool)
    mask[np.repeat(np.arange(seen.shape[0]), np.diff(seen.indptr)), seen.indices] = True
    scores = ops.convert_to_tensor(scores, dtype="float32")
    is_finite, best, items = call_program(("top_k", k), lambda: _top_k_of(k), scores, mask)
    if not bool(is_finite):
        raise InputError(
            "every score must be a finite number, but the model gave NaN or infinity; "
            "training has diverged: lower optimizer.learning_rate"
        )
    ranked = np.asarray(items).astype(np.int64)
    return np.where(np.isneginf(np.asarray(best)), ranked[:, :1], ranked)


def _top_k_of(k: int) -> Callable[..., Any]:
    """A program: scores and which of them are seen -> is all finite, the k best, their items."""
    from keras import ops

    from recsweep.training.backend import compiled

    def top_k(scores: Any, is_seen: Any) -> tuple[Any, Any, Any]:
        ranked = ops.where(scores == 0, 0.0, scores)  # XLA ranks 0 above -0
        return ops.all(ops.isfinite(scores)), *ops.top_k(ops.where(is_seen, -np.inf, ranked), k)

    return compiled(top_k)


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
