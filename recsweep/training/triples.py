"""Triples (user, positive item, negative item) of every epoch, for pairwise losses."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int

from recsweep.errors import InputError
from recsweep.interfaces import CSR
from recsweep.training.batches import Epochs, Triples, round_up

PADDED_TO = 4096
"""A whole number of times this is the length of a batch that holds an epoch."""


@dataclass(frozen=True)
class TripleEpochs(Epochs):
    """Every epoch visits every interaction once, each with a negative of its own.

    Users who have all items are left out, since they have no negative. A batch is hardly longer
    than an epoch, however large `n_rows` is.
    """

    def __post_init__(self) -> None:
        if not len(self._pairs):
            raise InputError(
                "a pairwise loss needs a user with an interaction and an item that they do not "
                "have, but there is none; use more data, or choose model=popularity"
            )
        n_rows = min(self.n_rows, round_up(len(self._pairs), PADDED_TO))
        object.__setattr__(self, "n_rows", n_rows)

    @property
    def n_batches(self) -> int:
        """Batches per epoch."""
        return int(-(-len(self._pairs) // self.n_rows))

    @property
    def n_bytes(self) -> int:
        """Memory of an epoch's triples."""
        return 4 * len(Triples._fields) * self.n_batches * self.n_rows

    def order(self, number: int) -> Int[np.ndarray, " pairs"]:
        """The interactions of one epoch, as places in the matrix's arrays."""
        return self._pairs[np.random.default_rng((self.seed, number)).permutation(len(self._pairs))]

    def batches(self, epoch: int) -> Triples:
        """The triples of one epoch, stacked; the last batch is padded with the first item."""
        order = self.order(epoch)
        users = self._owners[order]
        negatives = self._negatives.draw(users, np.random.default_rng((self.seed, epoch, 1)))
        shape = (self.n_batches, self.n_rows)
        room = self.n_batches * self.n_rows - len(order)

        def stacked(values: np.ndarray) -> np.ndarray:
            return np.pad(values, (0, room)).reshape(shape)

        return Triples(
            stacked(users),
            stacked(self.train.indices[order].astype(np.int32)),
            stacked(negatives),
            stacked(np.ones(len(order), np.float32)),
        )

    @cached_property
    def _owners(self) -> Int[np.ndarray, " interactions"]:
        n_users = self.train.shape[0]
        return np.repeat(np.arange(n_users, dtype=np.int32), np.diff(self.train.indptr))

    @cached_property
    def _pairs(self) -> Int[np.ndarray, " pairs"]:
        has_negative = np.diff(self.train.indptr) < self.train.shape[1]
        return np.flatnonzero(has_negative[self._owners])

    @cached_property
    def _negatives(self) -> "Negatives":
        return Negatives(self.train)


class Negatives:
    """Draws items that a user does not have, each with the same probability, in one pass.

    A user with the sorted items p₀ < p₁ < … has p_j − j other items below p_j. So the one of rank r
    among the others is r + k, where k is the number of j with p_j − j ≤ r.

        items     0 1 2 3 4 5     ranks of the others     . 0 1 . . 2
        user      x . . x x .     p_j − j                 0     2 2

    Args:
        train: Users × items; each item at most once per user.
    """

    def __init__(self, train: CSR) -> None:
        ordered = train.sorted_indices()
        lengths = np.diff(ordered.indptr)
        self._starts = ordered.indptr[:-1].astype(np.int64)
        self._n_items = train.shape[1]
        self._n_others = self._n_items - lengths
        users = np.repeat(np.arange(train.shape[0], dtype=np.int64), lengths)
        places = np.arange(ordered.nnz) - self._starts[users]
        self._n_below = users * (self._n_items + 1) + ordered.indices - places

    def draw(
        self, users: Int[np.ndarray, " n"], random: np.random.Generator
    ) -> Int[np.ndarray, " n"]:
        """An item for each of these users, int32; they must not have all items."""
        ranks = random.integers(self._n_others[users])
        keys = users.astype(np.int64) * (self._n_items + 1) + ranks
        n_positives = np.searchsorted(self._n_below, keys, side="right") - self._starts[users]
        return (ranks + n_positives).astype(np.int32)
