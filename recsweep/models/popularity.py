"""Popularity: everyone gets the items that most users clicked."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int
from pydantic.dataclasses import dataclass

from recsweep.defaults import with_defaults
from recsweep.interfaces import CSR, STRICT, OnEpoch, Shapes
from recsweep.learned_arrays import LearnedArrays
from recsweep.seeds import Seeds


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class Popularity(LearnedArrays):
    """The same scores for every user: the sum of each item's training values.

    Sums are computed in float64, which is exact above 2²⁴ = 16,777,216. Scores are float32, like
    those of every model: totals that would round to the same float32 differ in the last bits, so
    that items rank by their exact totals.
    """

    is_deterministic: ClassVar[bool] = True

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:  # noqa: ARG002 - no draw
        """Add up each item's column."""
        totals = np.bincount(train.indices, weights=train.data, minlength=train.shape[1])
        self.learned = {"totals": _as_float32(totals)}
        on_epoch(0, {})

    def shapes(self, n_items: int) -> Shapes:
        """A total per item."""
        return {"totals": (n_items,)}

    def score(self, history: CSR) -> np.ndarray:
        """The totals once per user: users × items."""
        return np.broadcast_to(self.learned["totals"], history.shape)


def _as_float32(totals: Float[np.ndarray, " items"]) -> Float[np.ndarray, " items"]:
    """The nearest finite float32 that preserve the strict order of the totals."""
    largest = np.finfo(np.float32).max
    levels, level = np.unique(totals, return_inverse=True)
    places = np.arange(len(levels))
    near = _mirrored(np.clip(levels, -largest, largest).astype(np.float32).view(np.int32))
    near = np.maximum.accumulate(near - places) + places  # at least one above the level below
    near = np.minimum(near, largest.view(np.int32) - places[::-1])  # room for the levels above
    return _mirrored(near).astype(np.int32).view(np.float32)[level]


def _mirrored(bits: Int[np.ndarray, " levels"]) -> Int[np.ndarray, " levels"]:
    """Bits of float32 as integers in the order of the floats, or the inverse.

    The bits of nonnegative floats are in order already; those of negative ones are reversed.
    """
    return np.where(bits < 0, -(2**31) - bits.astype(np.int64), bits.astype(np.int64))
