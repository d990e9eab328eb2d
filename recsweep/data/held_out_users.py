"""A split of whole users: some are trained on, the others are ranked from a part of their items."""

import math
from dataclasses import dataclass

import numpy as np

from recsweep.data.interactions import Interactions, quote
from recsweep.data.matrix import keep_columns, keep_entries
from recsweep.data.split import Fold, Split
from recsweep.errors import InputError
from recsweep.interfaces import CSR


@dataclass(frozen=True)
class HeldOutUsers:
    """How users who are held out are divided into history and targets.

    Args:
        target_fraction: Share of a held-out user's items to rank.
        seed: The seed of NumPy's legacy generator.
    """

    target_fraction: float
    seed: int

    def split(
        self, data: Interactions, train: np.ndarray, valid: np.ndarray, test: np.ndarray
    ) -> Split:
        """The split of `data`; rows of each part follow the given order of users.

        Args:
            data: The interactions.
            train: Rows of the users to train on.
            valid: Rows of validation users.
            test: Rows of test users.

        Raises:
            InputError: Held-out users have too few items to fold in.
        """
        items = self._training_items(data.matrix[np.sort(train)])
        return Split(
            train=keep_columns(data.matrix[train], items),
            train_user_ids=data.user_ids[train],
            valid=self._fold(data, valid, items),
            test=self._fold(data, test, items),
            item_ids=data.item_ids[items],
            data_fingerprint=data.fingerprint,
        )

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
        is_target = draw_targets(np.diff(matrix.indptr), self.target_fraction, self.seed)
        back = np.argsort(ascending)
        return Fold(
            history=keep_entries(matrix, ~is_target)[back],
            target=keep_entries(matrix, is_target)[back],
            user_ids=data.user_ids[users],
        )

    def _refuse_short(self, lengths: np.ndarray, user_ids: np.ndarray) -> None:
        short = (self.target_fraction * lengths).astype(np.int64) == 0
        if short.any():
            needed = math.ceil(1 / self.target_fraction)
            needed += not int(self.target_fraction * needed)  # 1 / 0.1 is less than 10 tenths
            raise InputError(
                f"a held-out user must have {needed:,} interactions so that a share of "
                f"{self.target_fraction:g} is at least one, but {short.sum():,} have fewer "
                f"(first: user {quote(user_ids[short][0])}); set data.min_user_interactions="
                f"{needed} or raise split.target_fraction"
            )


def draw_targets(lengths: np.ndarray, target_fraction: float, seed: int) -> np.ndarray:
    """Which interactions are targets, drawn as the reference does.

    A user with too few items for a target (with the paper's share of 0.2: under five) keeps them
    all as history.

    Args:
        lengths: Interactions of each user; in the reference users ascend by id.
        target_fraction: Share of a user's interactions to rank, rounded down.
        seed: The seed of NumPy's legacy generator.

    Returns:
        One truth value per interaction, user by user.
    """
    random = np.random.RandomState(seed)
    is_target = np.zeros(lengths.sum(), bool)
    start = 0
    for length in lengths:
        n_targets = int(target_fraction * length)
        if n_targets:
            is_target[start + random.choice(length, size=n_targets, replace=False)] = True
        start += length
    return is_target
