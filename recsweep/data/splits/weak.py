"""Weak generalisation: all users are trained on, and part of each user's items is held out.

           items          train        valid target   test target
    user 1  x x x x .     x . x . .    . x . . .      . . . x .
    user 2  . x x . x     . x . . x    . . . . .      . . x . .
    user 3  x . x x x ──▶ . . x x .    x . . . .      . . . . x
    user 4  x x . x .     x x . . .    . . . x .      . . . . .

The items are those of train, followed by validation-only ones with `valid_items`. The history of
a validation user is their training row; of a test user, training and validation.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from recsweep.data.holdout_draw import Per, draw_held_out
from recsweep.data.interactions import Interactions
from recsweep.data.matrix import keep_columns, keep_entries
from recsweep.data.split import Fold, Split, Splitter, refuse_split
from recsweep.errors import InputError
from recsweep.interfaces import CSR, STRICT


@dataclass(kw_only=True, config=STRICT)
class Weak(Splitter):
    """Held-out interactions of users who are trained on.

    Args:
        per: `user`: a share of each user's interactions (rounded down); `all`: of all interactions.
        valid_fraction: Share held out for validation.
        test_fraction: Share held out for test.
        unknown_items: How to treat held-out items unknown in training: `drop` removes them;
            `count` keeps them as relevant items that cannot be recommended, as Jukebox does.
        valid_items: Whether to keep validation-only items, too: a refit learns them. Before
            that a model has no interactions with them, so they count as misses in validation.
        seed: The draw's seed.
    """

    per: Per
    valid_fraction: Annotated[float, Field(gt=0, lt=1)]
    test_fraction: Annotated[float, Field(gt=0, lt=1)]
    unknown_items: Literal["drop", "count"]
    valid_items: bool
    seed: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _something_is_left(self) -> "Weak":
        held_out = self.valid_fraction + self.test_fraction
        if held_out >= 1:
            raise ValueError(
                f"valid_fraction + test_fraction must be below 1 to leave something to train on, "
                f"but is {held_out:g}"
            )
        return self

    def split(self, data: Interactions | Split) -> Split:
        """Split `data`; users with no interactions left outside test are dropped.

        Jukebox's figures omit such users, too: counted as misses, they would cost EASE .003.

        Raises:
            InputError: The data is already split, or nothing is held out.
        """
        data = refuse_split(data, "weak")
        valid, test = draw_held_out(
            np.diff(data.matrix.indptr),
            self.per,
            self.valid_fraction,
            self.test_fraction,
            self.seed,
        )
        if not (valid.any() and test.any()):
            raise InputError(
                f"split.valid_fraction={self.valid_fraction:g} and split.test_fraction="
                f"{self.test_fraction:g} must hold something out, but users have at most "
                f"{np.diff(data.matrix.indptr).max()} interactions; raise them or use split.per=all"
            )
        users = np.diff(keep_entries(data.matrix, ~test).indptr) > 0
        user_ids = data.user_ids[users]
        train, valid_target, seen, test_target = (
            keep_entries(data.matrix, kept)[users] for kept in (~valid & ~test, valid, ~test, test)
        )
        items = np.unique(train.indices)
        if self.valid_items:  # after the others, whose columns do not change
            items = np.concatenate([items, np.setdiff1d(valid_target.indices, items)])
        return Split(
            train=keep_columns(train, items),
            train_user_ids=user_ids,
            valid=self._fold(train, valid_target, items, user_ids),
            test=self._fold(seen, test_target, items, user_ids),
            item_ids=data.item_ids[items],
            data_fingerprint=data.fingerprint,
        )

    def _fold(self, history: CSR, target: CSR, items: np.ndarray, user_ids: np.ndarray) -> Fold:
        known = keep_columns(target, items)
        n_unknown = np.diff(target.indptr) - np.diff(known.indptr)
        counted = n_unknown.astype(np.int64) if self.unknown_items == "count" else None
        fold = Fold(keep_columns(history, items), known, user_ids, counted)
        return fold.of_whom_something_is_held_out()
