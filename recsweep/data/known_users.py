"""Recognises the users that a model was trained on by their items."""

import numpy as np
import scipy.sparse as sp
from jaxtyping import Int

from recsweep.interfaces import CSR

N_RARE = 3
"""Items by which a user is looked for."""
LEAST_SHARE = 0.5
"""Share of a history that a user's training items must make up."""


class KnownUsers:
    """Finds a history's user: who has all of their training items in it.

        train   user 0  x x . . .       history  x x . . x   user 0, and an item since
                user 1  . x x x .                . x x . .   nobody: user 1's third item is missing
                user 2  x . . . .                x . . . x   user 2, a half of it
                                                 x . x . x   nobody: user 2 has a third of it

    If several fit, the one with most items is chosen, and the first of those.

    Args:
        train: Users × items, whose entries are interactions whatever their values.
    """

    def __init__(self, train: CSR) -> None:
        self._lengths = np.diff(train.indptr).astype(np.int64)
        self._train = _ones(train)
        self._by_rare_item = self._rarest(train).T.tocsr()
        self._n_rare = np.minimum(self._lengths, N_RARE)

    def find(self, history: CSR) -> Int[np.ndarray, " rows"]:
        """The training row of each history's user; -1 = no user is recognised."""
        ones = _ones(history)
        shared = (ones @ self._by_rare_item).tocoo()
        is_candidate = shared.data == self._n_rare[shared.col]
        rows, users = shared.row[is_candidate], shared.col[is_candidate]
        lengths = self._lengths[users]
        is_large = lengths >= LEAST_SHARE * np.diff(history.indptr)[rows]
        rows, users, lengths = rows[is_large], users[is_large], lengths[is_large]
        n_shared = np.asarray(ones[rows].multiply(self._train[users]).sum(axis=1)).ravel()
        fits = n_shared == lengths
        rows, users, lengths = rows[fits], users[fits], lengths[fits]
        best_last = np.lexsort((-users, lengths, rows))
        found = np.full(history.shape[0], -1, np.int64)
        found[rows[best_last]] = users[best_last]  # of equal rows the last one stays
        return found

    def _rarest(self, train: CSR) -> CSR:
        """The few least popular items of each user: few users share them, so the search is fast."""
        popularity = np.bincount(train.indices, minlength=train.shape[1])
        users = np.repeat(np.arange(train.shape[0]), self._lengths)
        order = np.lexsort((train.indices, popularity[train.indices], users))
        place = np.arange(train.nnz) - train.indptr[:-1][users]
        order = order[place < N_RARE]
        cells = (users[order], train.indices[order])
        return sp.csr_matrix((np.ones(len(order), np.float32), cells), train.shape)


def _ones(rows: CSR) -> CSR:
    """Entries set to 1, so that products count them."""
    return sp.csr_matrix((np.ones(rows.nnz, np.float32), rows.indices, rows.indptr), rows.shape)
