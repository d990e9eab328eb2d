"""A split from interactions that are marked for training, validation and test."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from recsweep.data.interactions import Interactions
from recsweep.data.matrix import keep_columns, keep_entries
from recsweep.data.split import Fold, Split
from recsweep.interfaces import CSR

UnknownItems = Literal["drop", "count"]


@dataclass(frozen=True)
class Parts:
    """Which interactions are in which part; each is in at most one.

    Args:
        train: Interactions to train on.
        valid: Validation targets.
        test: Test targets.
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray

    def split(
        self, data: Interactions, unknown_items: UnknownItems, *, valid_items: bool = False
    ) -> Split:
        """The split of `data`.

        The items are those of train, followed by validation-only ones with `valid_items`. The
        history of a validation user is their training row; of a test user, training and
        validation. A user without a history is in no fold.

        Args:
            data: The interactions.
            unknown_items: `drop` removes held-out items without a column; `count` keeps them as
                relevant items that cannot be recommended.
            valid_items: Whether items of validation alone have columns, too.
        """
        seen = self.train | self.valid
        train, valid, before, test = (
            keep_entries(data.matrix, kept) for kept in (self.train, self.valid, seen, self.test)
        )
        is_trained = np.diff(train.indptr) > 0
        items = np.unique(train.indices)
        if valid_items:  # after the others, whose columns do not change
            items = np.concatenate([items, np.setdiff1d(valid[is_trained].indices, items)])
        return Split(
            train=keep_columns(train[is_trained], items),
            train_user_ids=data.user_ids[is_trained],
            valid=_fold(data, (train, valid), items, unknown_items),
            test=_fold(data, (before, test), items, unknown_items),
            item_ids=data.item_ids[items],
            data_fingerprint=data.fingerprint,
        )


def _fold(
    data: Interactions, parts: tuple[CSR, CSR], items: np.ndarray, unknown_items: UnknownItems
) -> Fold:
    """The users with a history and target items."""
    history = keep_columns(parts[0], items)
    is_shown = np.diff(history.indptr) > 0
    all_targets = parts[1][is_shown]
    known = keep_columns(all_targets, items)
    n_unknown = np.diff(all_targets.indptr) - np.diff(known.indptr)
    counted = n_unknown.astype(np.int64) if unknown_items == "count" else None
    fold = Fold(history[is_shown], known, data.user_ids[is_shown], counted)
    return fold.drop_users_without_targets()
