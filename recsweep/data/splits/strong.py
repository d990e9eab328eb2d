"""Strong generalisation: whole users are held out, and part of each is folded in.

           items                 train      history (valid or test)   target
    user 1  x x . x .            x x . x .  . . . . .                 . . . . .
    user 2  . x x . x            . x x . x  . . . . .                 . . . . .
    user 3  x . x x .   ──▶      . . . . .  x . . x .                 . . x . .
    user 4  . x . x x            . . . . .  . x . . x                 . . . x .

Source: Liang et al. 2018, section 4.1, whose procedure it repeats draw for draw.
"""

from itertools import count
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.data.interactions import Interactions, quote
from recsweep.data.matrix import keep_columns, keep_entries
from recsweep.data.split import Fold, Split, Splitter, refuse_split
from recsweep.errors import InputError
from recsweep.interfaces import CSR, STRICT


@dataclass(kw_only=True, config=STRICT)
class Strong(Splitter):
    """Held-out users with fold-in.

    Args:
        n_heldout_users: Users in each of validation and test; None = a tenth of all.
        target_fraction: Share of a held-out user's items to rank.
        seed: The seed of NumPy's legacy generator, as in the paper's code (98765).
    """

    n_heldout_users: Annotated[int, Field(ge=1)] | None
    target_fraction: Annotated[float, Field(gt=0, lt=1)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]

    def split(self, data: Interactions | Split) -> Split:
        """Split `data`; rows of each part follow the shuffled order of the users.

        Raises:
            InputError: There are too few users, or held-out users with too few items to fold in.
        """
        data = refuse_split(data, "strong")
        shuffled = np.random.RandomState(self.seed).permutation(len(data.user_ids))
        n_held_out = self._n_held_out(len(shuffled))
        train, valid, test = np.split(shuffled, [-2 * n_held_out, -n_held_out])
        items = self._training_items(data.matrix[np.sort(train)])
        return Split(
            train=keep_columns(data.matrix[train], items),
            train_user_ids=data.user_ids[train],
            valid=self._fold(data, valid, items),
            test=self._fold(data, test, items),
            item_ids=data.item_ids[items],
            data_fingerprint=data.fingerprint,
        )

    def _n_held_out(self, n_users: int) -> int:
        n_held_out = self.n_heldout_users or max(1, n_users // 10)
        if 2 * n_held_out >= n_users:
            raise InputError(
                f"split=strong must leave users to train on, but 2 × {n_held_out:,} of {n_users:,} "
                "are held out; lower split.n_heldout_users, or use data with more users"
            )
        return n_held_out

    @staticmethod
    def _training_items(train: CSR) -> np.ndarray:
        """Items of the training users in order of first appearance, as in the reference."""
        items, first_seen = np.unique(train.indices, return_index=True)
        return items[np.argsort(first_seen)]

    def _fold(self, data: Interactions, users: np.ndarray, items: np.ndarray) -> Fold:
        ascending = np.argsort(users)
        by_id = data.matrix[users[ascending]]
        self._refuse_short(np.diff(by_id.indptr), data.user_ids[users[ascending]])
        matrix = keep_columns(by_id, items)
        is_target = self._draw_targets(np.diff(matrix.indptr))
        back = np.argsort(ascending)
        return Fold(
            history=keep_entries(matrix, ~is_target)[back],
            target=keep_entries(matrix, is_target)[back],
            user_ids=data.user_ids[users],
        )

    def _refuse_short(self, lengths: np.ndarray, user_ids: np.ndarray) -> None:
        short = (self.target_fraction * lengths).astype(np.int64) == 0
        if short.any():
            needed = next(n for n in count(1) if int(self.target_fraction * n))
            raise InputError(
                f"a held-out user must have {needed:,} interactions so that a share of "
                f"{self.target_fraction:g} is at least one, but {short.sum():,} have fewer "
                f"(first: user {quote(user_ids[short][0])}); set data.min_user_interactions="
                f"{needed} or raise split.target_fraction"
            )

    def _draw_targets(self, lengths: np.ndarray) -> np.ndarray:
        """Draw the target interactions as the reference does, users ascending by id.

        A user with too few known items for a target (with the paper's share of 0.2: under five)
        keeps them all as history.
        """
        random = np.random.RandomState(self.seed)
        is_target = np.zeros(lengths.sum(), bool)
        start = 0
        for length in lengths:
            n_targets = int(self.target_fraction * length)
            if n_targets:
                is_target[start + random.choice(length, size=n_targets, replace=False)] = True
            start += length
        return is_target
