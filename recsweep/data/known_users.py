"""Recognises the users that a model was trained on by their items."""

import logging

import numpy as np
import pandas as pd
import scipy.sparse as sp
from jaxtyping import Bool, Int

from recsweep.interfaces import CSR

log = logging.getLogger(__name__)

N_RARE = 3
"""Items by which a user is looked for: the rarest finds candidates, the others rule most out."""
MOST_AMBIGUOUS, LEAST_AMBIGUOUS = 0.01, 10
"""Share and number of histories that may fit several users equally well without a warning."""
LEAST_SHARE = 0.5
"""Share of a history that a user's training items must make up."""


class KnownUsers:
    """Finds a history's user: who has all of their training items in it.

        train   user 0  x x . . .       history  x x . . x   user 0, and an item since
                user 1  . x x x .                . x x . .   nobody: user 1's third item is missing
                user 2  x . . . .                x . . . x   user 2, a half of it
                                                 x . x . x   nobody: user 2 has a third of it

    If several fit, the one with most items is chosen, and the first of those. A warning says once
    if that is so for more than 1 % of the histories, and more than ten.

    Args:
        train: Users × items, whose entries are interactions whatever their values.
    """

    def __init__(self, train: CSR) -> None:
        self._lengths = np.diff(train.indptr).astype(np.int64)
        self._train = _ones(train)
        self._rare = self._rarest(train)
        self._n_equal, is_first = _equal_users(train)
        self._has_told = False
        first = np.flatnonzero(is_first & (self._lengths > 0))
        cells = (self._rare[first, 0], first)
        self._by_rarest = sp.csr_matrix((np.ones(len(first), np.float32), cells), train.shape[::-1])

    def find(self, history: CSR) -> Int[np.ndarray, " rows"]:
        """The training row of each history's user; -1 = no user is recognised."""
        ones = _ones(history)
        shared = (ones @ self._by_rarest).tocoo()
        rows, users = shared.row.astype(np.int64), shared.col.astype(np.int64)
        for rare in self._rare.T[1:]:
            is_in = (rare[users] < 0) | _has(history, rows, rare[users])
            rows, users = rows[is_in], users[is_in]
        lengths = self._lengths[users]
        is_large = lengths >= LEAST_SHARE * np.diff(history.indptr)[rows]
        rows, users, lengths = rows[is_large], users[is_large], lengths[is_large]
        n_shared = np.asarray(ones[rows].multiply(self._train[users]).sum(axis=1)).ravel()
        fits = n_shared == lengths
        rows, users, lengths = rows[fits], users[fits], lengths[fits]
        best_last = np.lexsort((-users, lengths, rows))
        found = np.full(history.shape[0], -1, np.int64)
        found[rows[best_last]] = users[best_last]  # of equal rows the last one stays
        is_best = lengths == self._lengths[found[rows]]
        n_best = np.bincount(rows[is_best], self._n_equal[users[is_best]], len(found))
        self._tell(int((n_best > 1).sum()), len(found))
        return found

    def _tell(self, n_ambiguous: int, n_histories: int) -> None:
        """Warn, once, about users whose items are those of another user."""
        if n_ambiguous > max(LEAST_AMBIGUOUS, MOST_AMBIGUOUS * n_histories) and not self._has_told:
            self._has_told = True
            log.warning(
                "%s of %s users cannot be told apart from others by their training items, and get "
                "the embedding of the first such user; raise data.min_user_interactions, or choose "
                "a model without embeddings of users", f"{n_ambiguous:,}", f"{n_histories:,}",
            )  # fmt: skip

    def _rarest(self, train: CSR) -> Int[np.ndarray, "users rare"]:
        """Each user's few least popular items, rarest first; -1 = there are fewer."""
        popularity = np.bincount(train.indices, minlength=train.shape[1])
        users = np.repeat(np.arange(train.shape[0]), self._lengths)
        order = np.lexsort((train.indices, popularity[train.indices], users))
        place = np.arange(train.nnz) - train.indptr[:-1][users]
        rare = np.full((train.shape[0], N_RARE), -1, np.int64)
        is_rare = place < N_RARE
        rare[users[order[is_rare]], place[is_rare]] = train.indices[order[is_rare]]
        return rare


def _equal_users(train: CSR) -> tuple[Int[np.ndarray, " users"], Bool[np.ndarray, " users"]]:
    """How many users have the same items, and whether the user is the first of them.

    Only the first of such users can be found.
    """
    train = train.sorted_indices()
    items = [items.tobytes() for items in np.split(train.indices, train.indptr[1:-1])]
    codes, _ = pd.factorize(pd.Index(items))
    return np.bincount(codes)[codes], ~pd.Index(codes).duplicated()


def _has(history: CSR, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Whether each of these rows has the item at the same place."""
    n_items = history.shape[1]
    at = np.repeat(np.arange(history.shape[0], dtype=np.int64), np.diff(history.indptr))
    return np.isin(rows * n_items + items, at * n_items + history.indices)


def _ones(rows: CSR) -> CSR:
    """Entries set to 1, so that products count them."""
    return sp.csr_matrix((np.ones(rows.nnz, np.float32), rows.indices, rows.indptr), rows.shape)
