"""Batches of fixed shape, the input of a compiled epoch, and the order of users in an epoch."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Int

from recsweep.interfaces import CSR, Tensor
from recsweep.memory import available_bytes, refuse_beyond_memory

MOST_DRAWN, PER_PASS = 10**9, 1_000
"""Numbers drawn ahead of the first epoch, which takes up to half a minute; to begin a pass over the
users costs as much as drawing so many."""


class Batch(NamedTuple):
    """Interactions of `n_rows` users as coordinates, padded to a fixed capacity.

    Padding has value 0 and the last row's index, so rows stay sorted and sums are unaffected.
    The starts delimit the entries by row and, in the order `by_item`, by item: CSR and CSC.
    Stacked batches of an epoch have a leading axis `batches` in every field.
    """

    rows: Tensor  # int32, capacity: user's position in the batch, ascending
    items: Tensor  # int32, capacity
    values: Tensor  # float32, capacity
    is_user: Tensor  # float32, n_rows: 1 for a user, 0 for a padding row
    row_starts: Tensor  # int32, n_rows + 1: first entry of each row
    by_item: Tensor  # int32, capacity: the entries in ascending order of their items
    item_starts: Tensor  # int32, n_items + 1: first position of each item in `by_item`


class DenseBatch(NamedTuple):
    """The same as a matrix, for devices on which dense products are faster."""

    values: Tensor  # float32, n_rows × width: 0 where there is no interaction
    is_user: Tensor  # float32, n_rows: 1 for a user, 0 for a padding row


class Triples(NamedTuple):
    """Triples of one batch; those of an epoch are stacked, with a leading axis `batches`."""

    users: Tensor  # int32, n_rows
    positives: Tensor  # int32, n_rows: an item of the user
    negatives: Tensor  # int32, n_rows: an item that the user does not have
    is_triple: Tensor  # float32, n_rows: 1 for a triple, 0 for padding

    @property
    def is_user(self) -> Tensor:
        """What the engine weighs batches by."""
        return self.is_triple


AnyBatch = Batch | DenseBatch


def round_up(count: int, multiple: int) -> int:
    """The smallest multiple that is not below `count`; at least one."""
    return max(multiple, -(-count // multiple) * multiple)


def stack_batches(
    train: CSR, order: Int[np.ndarray, " users"], n_rows: int, capacity: int
) -> Batch:
    """The users of `train` in `order`, cut into batches of `n_rows`.

    Args:
        train: Users × items.
        order: Row indices, in the order of visiting.
        n_rows: Users per batch; the last batch may have fewer.
        capacity: Interactions per batch, at least as many as any of these batches holds.

    Returns:
        NumPy arrays of shape batches × capacity (`is_user`: batches × n_rows).
    """
    return _stack(train, _cut(order, n_rows), n_rows, capacity)


def _cut(order: Int[np.ndarray, " users"], n_rows: int) -> list[np.ndarray]:
    return [order[start : start + n_rows] for start in range(0, len(order), n_rows)]


def _stack(train: CSR, users: list[np.ndarray], n_rows: int, capacity: int) -> Batch:
    n_batches = len(users)
    batch = Batch(
        rows=np.full((n_batches, capacity), n_rows - 1, np.int32),
        items=np.zeros((n_batches, capacity), np.int32),
        values=np.zeros((n_batches, capacity), np.float32),
        is_user=np.zeros((n_batches, n_rows), np.float32),
        row_starts=np.full((n_batches, n_rows + 1), capacity, np.int32),
        by_item=np.tile(np.arange(capacity, dtype=np.int32), (n_batches, 1)),
        item_starts=np.empty((n_batches, train.shape[1] + 1), np.int32),
    )
    for i, some in enumerate(users):
        _fill(Batch(*(part[i] for part in batch)), train[some])
    return batch


def _fill(batch: Batch, users: CSR) -> None:
    """Write users into one pre-padded batch; padding counts towards the last item."""
    n_users, n = users.shape[0], users.nnz
    batch.rows[:n] = np.repeat(np.arange(n_users), np.diff(users.indptr))
    batch.items[:n] = users.indices
    batch.values[:n] = users.data
    batch.is_user[:n_users] = 1
    batch.row_starts[:n_users] = users.indptr[:-1]
    batch.row_starts[n_users:-1] = n
    entries = np.arange(n, dtype=np.int32)
    by_item = sp.csr_matrix((entries, users.indices, users.indptr), users.shape).tocsc()
    batch.by_item[:n] = by_item.data
    batch.item_starts[:-1] = by_item.indptr[:-1]
    batch.item_starts[-1] = len(batch.items)


@dataclass(frozen=True)
class Epochs(ABC):
    """An order of users for every pass of an epoch, drawn from the seed and the pass's number.

    All epochs share one capacity, so one compiled program serves them all.
    """

    train: CSR
    n_rows: int
    n_epochs: int
    seed: int
    n_passes: int = 1  # of an epoch

    @property
    def n_batches(self) -> int:
        """Batches per epoch."""
        return self.n_passes * self.batches_per_pass

    @property
    def batches_per_pass(self) -> int:
        """Batches of one pass over the users."""
        return int(-(-self.train.shape[0] // self.n_rows))

    @abstractmethod
    def order(self, number: int) -> Int[np.ndarray, " users"]:
        """The users of one pass, in the order of visiting; passes are counted over all epochs."""

    @cached_property
    def capacity(self) -> int:
        """Interactions in the fullest batch of all epochs, rounded up so programs are reused.

        With so many epochs that drawing them takes minutes, of any possible batch.
        """
        lengths = np.diff(self.train.indptr)
        n_passes = self.n_epochs * self.n_passes
        if n_passes * (len(lengths) + PER_PASS) > MOST_DRAWN:
            fullest = self._fullest_possible(lengths)
        else:
            orders = map(self.order, range(n_passes))
            fullest = max(_fullest(lengths[order], self.n_rows) for order in orders)
        found = round_up(fullest, 1024)
        refuse_beyond_memory(
            self._n_bytes(found),
            f"an epoch of {self.n_batches:,} batches of {self.n_rows:,} users",
            f"{'raise' if self.batches_per_pass > 1 else 'lower'} model.batch_size",
        )
        return found

    @property
    def n_bytes(self) -> int:
        """Memory of an epoch's batches."""
        return self._n_bytes(self.capacity)

    def _n_bytes(self, capacity: int) -> int:
        return 4 * self.n_batches * (4 * capacity + 2 * self.n_rows + self.train.shape[1] + 2)

    def _fullest_possible(self, lengths: Int[np.ndarray, " users"]) -> int:
        """Interactions of the longest users that one batch may hold."""
        return int(np.sort(lengths)[::-1][: self.n_rows].sum())

    def batches(self, epoch: int) -> Batch | Triples:
        """The sparse batches of one epoch, stacked."""
        return _stack(self.train, self._users(epoch), self.n_rows, self.capacity)

    def make_ahead(self, epoch: int) -> None:
        """Make the batches of an epoch before they are taken, if there is one and room for them."""
        if epoch < self.n_epochs and 2 * self.n_bytes < available_bytes():
            self._ahead[epoch] = self.batches(epoch)

    def take(self, epoch: int) -> Batch | Triples:
        """The batches of an epoch, which are not kept."""
        return self._ahead.pop(epoch, None) or self.batches(epoch)

    @cached_property
    def _ahead(self) -> dict[int, Batch | Triples]:
        return {}

    def rows(self, epoch: int) -> Int[np.ndarray, "batches n_rows"]:
        """The users of one epoch by batch; one past the last user where a batch is not full."""
        rows = np.full((self.n_batches, self.n_rows), self.train.shape[0], np.int32)
        for row, users in zip(rows, self._users(epoch), strict=True):
            row[: len(users)] = users
        return rows

    def _users(self, epoch: int) -> list[np.ndarray]:
        """The users of each batch of one epoch."""
        numbers = range(epoch * self.n_passes, (epoch + 1) * self.n_passes)
        return [users for number in numbers for users in _cut(self.order(number), self.n_rows)]


@dataclass(frozen=True)
class ShuffledEpochs(Epochs):
    """Every pass visits every user once."""

    def order(self, number: int) -> Int[np.ndarray, " users"]:
        """A permutation of the users."""
        return np.random.default_rng((self.seed, number)).permutation(self.train.shape[0])


@dataclass(frozen=True)
class SampledEpochs(Epochs):
    """Every batch is full and holds users drawn with replacement."""

    def order(self, number: int) -> Int[np.ndarray, " users"]:
        """As many draws as fit into the batches of a pass."""
        random = np.random.default_rng((self.seed, number))
        return random.integers(self.train.shape[0], size=self.batches_per_pass * self.n_rows)

    def _fullest_possible(self, lengths: Int[np.ndarray, " users"]) -> int:
        """The longest user in every place."""
        return int(lengths.max()) * self.n_rows


def _fullest(lengths: Int[np.ndarray, " users"], n_rows: int) -> int:
    """Interactions in the fullest batch, given the number of interactions per user."""
    return int(np.add.reduceat(lengths, np.arange(0, len(lengths), n_rows)).max())


def in_order(rows: CSR, n_rows: int) -> Batch:
    """All users of `rows` in their own order, cut into batches of `n_rows`."""
    capacity = round_up(_fullest(np.diff(rows.indptr), n_rows), 1024)
    return stack_batches(rows, np.arange(rows.shape[0]), n_rows, capacity)
