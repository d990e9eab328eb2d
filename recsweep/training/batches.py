"""Sparse batches of fixed shape: what a compiled epoch reads."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from recsweep.interfaces import CSR


class Batch(NamedTuple):
    """Interactions of `n_rows` users as coordinates, padded to a fixed capacity.

    Padding has value 0 and the last row's index, so rows stay sorted and sums are untouched.
    Stacked batches of an epoch carry a leading axis `batches` on every field.
    """

    rows: Any  # int32, capacity: user's position in the batch, ascending
    items: Any  # int32, capacity
    values: Any  # float32, capacity
    is_user: Any  # float32, n_rows: 1 for a user, 0 for a row that only fills up the batch


def _round_up(count: int, multiple: int) -> int:
    return max(multiple, -(-count // multiple) * multiple)


def stack_batches(
    train: CSR, order: Int[np.ndarray, " users"], n_rows: int, capacity: int
) -> Batch:
    """The users of `train` in `order`, cut into batches of `n_rows`.

    Args:
        train: Users × items.
        order: Row indices, in the order they are visited.
        n_rows: Users per batch; the last batch may have fewer.
        capacity: Interactions per batch, at least as many as any of these batches holds.

    Returns:
        NumPy arrays of shape batches × capacity (`is_user`: batches × n_rows).
    """
    n_batches = -(-len(order) // n_rows)
    batch = Batch(
        rows=np.full((n_batches, capacity), n_rows - 1, np.int32),
        items=np.zeros((n_batches, capacity), np.int32),
        values=np.zeros((n_batches, capacity), np.float32),
        is_user=np.zeros((n_batches, n_rows), np.float32),
    )
    for i in range(n_batches):
        users = train[order[i * n_rows : (i + 1) * n_rows]]
        batch.rows[i, : users.nnz] = np.repeat(np.arange(users.shape[0]), np.diff(users.indptr))
        batch.items[i, : users.nnz] = users.indices
        batch.values[i, : users.nnz] = users.data
        batch.is_user[i, : users.shape[0]] = 1
    return batch


@dataclass(frozen=True)
class ShuffledEpochs:
    """Every epoch visits every user once, in an order drawn from the seed and the epoch.

    All epochs share one capacity, so one compiled program serves them all.
    """

    train: CSR
    n_rows: int
    n_epochs: int
    seed: int

    @property
    def n_batches(self) -> int:
        """Batches per epoch."""
        return int(-(-self.train.shape[0] // self.n_rows))

    def order(self, epoch: int) -> Int[np.ndarray, " users"]:
        """The users' order in one epoch."""
        return np.random.default_rng((self.seed, epoch)).permutation(self.train.shape[0])

    def capacity(self) -> int:
        """Interactions in the fullest batch of all epochs, rounded up so that programs recur."""
        lengths = np.diff(self.train.indptr)
        starts = np.arange(0, len(lengths), self.n_rows)
        fullest = max(
            int(np.add.reduceat(lengths[self.order(epoch)], starts).max())
            for epoch in range(self.n_epochs)
        )
        return _round_up(fullest, 1024)

    def __iter__(self) -> Iterator[Batch]:
        capacity = self.capacity()
        for epoch in range(self.n_epochs):
            yield stack_batches(self.train, self.order(epoch), self.n_rows, capacity)


def in_order(rows: CSR, n_rows: int) -> Batch:
    """All users of `rows` in their own order, cut into batches of `n_rows`."""
    users = np.arange(rows.shape[0])
    lengths = np.diff(rows.indptr)
    fullest = int(np.add.reduceat(lengths, np.arange(0, len(lengths), n_rows)).max())
    return stack_batches(rows, users, n_rows, _round_up(fullest, 1024))
