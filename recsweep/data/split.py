"""The data for models and evaluation: train, and two held-out folds."""

import threading
import weakref
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import scipy.sparse as sp

from recsweep.data.interactions import Interactions
from recsweep.data.matrix import fingerprint, matrix_arrays
from recsweep.errors import InputError
from recsweep.interfaces import CSR

_lock = threading.Lock()
_shared: dict[int, tuple[np.ndarray, "weakref.ref[CSR]"]] = {}
"""User ids and rows that `Split.without_test` gave, by the id of the split, while rows are used."""


@dataclass(frozen=True)
class Fold:
    """Users with a fold-in history and target items to rank.

    Args:
        history: Items the model may see, users × items; never recommended again.
        target: Items it must rank, users × items; disjoint from `history`.
        user_ids: Original ids, in the order of the rows.
        n_unknown: Held-out items per user without a column, which no model can hit but which
            still count as relevant. None = there are none, or they do not count.
    """

    history: CSR
    target: CSR
    user_ids: np.ndarray
    n_unknown: np.ndarray | None = None

    @property
    def n_relevant(self) -> np.ndarray:
        """Held-out items per user, int64."""
        n_known = np.diff(self.target.indptr).astype(np.int64)
        return n_known if self.n_unknown is None else n_known + self.n_unknown

    def drop_users_without_targets(self) -> Self:
        """The fold without users who have no target items."""
        kept = self.n_relevant > 0
        n_unknown = None if self.n_unknown is None else self.n_unknown[kept]
        return type(self)(self.history[kept], self.target[kept], self.user_ids[kept], n_unknown)


@dataclass(frozen=True)
class Split:
    """Training data and the two held-out folds, over one item axis.

    Args:
        train: Users × items.
        train_user_ids: Original ids, in the order of the rows.
        valid: For choosing epochs and hyperparameters.
        test: For the final report only.
        item_ids: Original ids, in the order of the columns.
        data_fingerprint: Fingerprint of the interactions before the split.
    """

    train: CSR
    train_user_ids: np.ndarray
    valid: Fold
    test: Fold
    item_ids: np.ndarray
    data_fingerprint: str

    def __post_init__(self) -> None:
        for name, fold in (("validation", self.valid), ("test", self.test)):
            if not fold.target.nnz:
                raise InputError(
                    f"{name} has no users with target items after items that training does not "
                    "know are dropped; hold more out, or use more data"
                )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything that a model or a metric can see."""
        ids = (self.train_user_ids, self.valid.user_ids, self.test.user_ids, self.item_ids)
        matrices = (array for matrix in self.matrices for array in matrix_arrays(matrix))
        unknown = (fold.n_unknown for fold in (self.valid, self.test))
        return fingerprint(*ids, *matrices, *(each for each in unknown if each is not None))

    @property
    def matrices(self) -> tuple[CSR, CSR, CSR, CSR, CSR]:
        """Train, then history and target of validation and of test, in this order."""
        valid, test = self.valid, self.test
        return self.train, valid.history, valid.target, test.history, test.target

    def without_test(self) -> tuple[np.ndarray, CSR]:
        """User ids and rows of training and validation together, without test users and targets.

        Training users come first, in their order, with their validation targets; other validation
        users follow. Those who ask at the same time share one matrix.
        """
        with _lock:
            if (known := _shared.get(id(self))) and (rows := known[1]()) is not None:
                return known[0], rows
            valid = self.valid
            held_out = (valid.user_ids, _union(valid.history, valid.target))
            ids, rows = _joined((self.train_user_ids, self.train), held_out)
            if known is None:
                weakref.finalize(self, _shared.pop, id(self), None)
            _shared[id(self)] = (ids, weakref.ref(rows))
            return ids, rows

    def known_histories(self) -> tuple[np.ndarray, CSR]:
        """User ids and rows of all known interactions of all users, without test targets."""
        return _joined(self.without_test(), (self.test.user_ids, self.test.history))

    def profile(self) -> dict[str, int]:
        """Sizes, for display and for MLflow."""
        return {
            "n_items": self.train.shape[1],
            "n_train_users": self.train.shape[0],
            "n_train_interactions": self.train.nnz,
            "n_valid_users": self.valid.history.shape[0],
            "n_valid_targets": self.valid.target.nnz,
            "n_test_users": self.test.history.shape[0],
            "n_test_targets": self.test.target.nnz,
        }


def _joined(some: tuple[np.ndarray, CSR], others: tuple[np.ndarray, CSR]) -> tuple[np.ndarray, CSR]:
    """Ids and rows of both; a user in both has one row with the entries of both."""
    (ids, rows), (other_ids, other_rows) = some, others
    place = pd.Index(ids).get_indexer(pd.Index(other_ids))
    is_new = place < 0
    known = np.flatnonzero(~is_new)
    if len(known):
        more = other_rows[known].tocoo()
        rows = _union(
            rows, sp.csr_matrix((more.data, (place[known][more.row], more.col)), rows.shape)
        )
    all_rows = sp.vstack([rows, other_rows[is_new]], format="csr")
    return np.concatenate([ids, other_ids[is_new]]), all_rows


def _union(some: CSR, others: CSR) -> CSR:
    """The interactions of both, also those of value 0; of one that is in both, the larger value."""
    # SciPy leaves out zeros, so the values' ranks are combined, which begin at 1
    values, ranks = np.unique(np.concatenate([some.data, others.data]), return_inverse=True)
    of_some, of_others = np.split(ranks + 1, [some.nnz])
    union = sp.csr_matrix((of_some, some.indices, some.indptr), some.shape).maximum(
        sp.csr_matrix((of_others, others.indices, others.indptr), others.shape)
    )
    return sp.csr_matrix((values[union.data - 1], union.indices, union.indptr), union.shape)


class Splitter(ABC):
    """A protocol: splits the data that a source loaded."""

    def files(self) -> list[Path]:
        """Files that the split depends on."""
        return []

    @abstractmethod
    def split(self, data: Interactions | Split) -> Split:
        """The split."""


def refuse_split(data: Interactions | Split, name: str) -> Interactions:
    """`data` for a protocol that splits it.

    Args:
        data: The data that a source loaded.
        name: The protocol's name on the command line.

    Raises:
        InputError: The data is already split.
    """
    if isinstance(data, Split):
        raise InputError(
            f"split={name} cuts interactions itself, but this data set comes already split; "
            "use split=presplit"
        )
    return data


def times_of(data: Interactions, name: str) -> np.ndarray:
    """The time of each interaction, in the order of the matrix's entries.

    Args:
        data: The interactions.
        name: The protocol's name on the command line.

    Raises:
        InputError: The source has no times.
    """
    if data.times is None:
        raise InputError(
            f"split={name} needs the time of each interaction, but this data set has none; set "
            "data.timestamp_column=COLUMN with data=csv, or use split=weak or split=strong"
        )
    return data.times
