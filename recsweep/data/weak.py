"""Weak generalisation: every user is trained on, and part of each user's items is held out.

           items          train        valid target   test target
    user 1  x x x x .     x . x . .    . x . . .      . . . x .
    user 2  . x x . x     . x . . x    . . . . .      . . x . .
    user 3  x . x x x ──▶ . . x x .    x . . . .      . . . . x
    user 4  x x . x .     x x . . .    . . . x .      . . . . .

The history of a validation user is their training row; of a test user, training and validation.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from recsweep.data.interactions import Interactions
from recsweep.data.matrix import keep_columns, keep_entries
from recsweep.data.split import Fold, Split
from recsweep.errors import InputError
from recsweep.interfaces import CSR, STRICT


@dataclass(kw_only=True, config=STRICT)
class Weak:
    """Held-out interactions of users who are trained on.

    Args:
        per: `user`: the share of each user's interactions (rounded down); `all`: of all of them.
        valid_fraction: Share held out for validation.
        test_fraction: Share held out for test.
        seed: Of the draw.
    """

    per: Literal["user", "all"]
    valid_fraction: Annotated[float, Field(gt=0, lt=1)]
    test_fraction: Annotated[float, Field(gt=0, lt=1)]
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
        """Cut `data`; items that training does not know are dropped, and users without a target.

        Raises:
            InputError: The data is already split, or nothing is held out.
        """
        if not isinstance(data, Interactions):
            raise InputError(
                "split=weak cuts interactions itself, but this data set comes already split; "
                "use split=presplit"
            )
        valid, test = self._draw(np.diff(data.matrix.indptr))
        if not (valid.any() and test.any()):
            raise InputError(
                f"split.valid_fraction={self.valid_fraction:g} and split.test_fraction="
                f"{self.test_fraction:g} must hold something out, but users have at most "
                f"{np.diff(data.matrix.indptr).max()} interactions; raise them or use split.per=all"
            )
        items = np.unique(data.matrix.indices[~valid & ~test])
        train, valid_target, test_target, seen = (
            keep_columns(keep_entries(data.matrix, kept), items)
            for kept in (~valid & ~test, valid, test, ~test)
        )
        return Split(
            train=train,
            train_user_ids=data.user_ids,
            valid=_fold(train, valid_target, data.user_ids),
            test=_fold(seen, test_target, data.user_ids),
            item_ids=data.item_ids[items],
            data_fingerprint=data.fingerprint,
        )

    def _draw(self, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which interactions are validation's and which are test's."""
        users = np.repeat(np.arange(len(lengths)), lengths)
        groups = users if self.per == "user" else np.zeros_like(users)
        sizes = np.bincount(groups)
        keys = np.random.default_rng(self.seed).random(len(groups))
        place = np.empty(len(groups), np.int64)  # of each interaction in its group, shuffled
        place[np.lexsort((keys, groups))] = np.arange(len(groups))
        place -= (np.cumsum(sizes) - sizes)[groups]
        n_test = _share(self.test_fraction, sizes)[groups]
        n_valid = _share(self.valid_fraction, sizes)[groups]
        return (place >= n_test) & (place < n_test + n_valid), place < n_test


def _share(fraction: float, sizes: np.ndarray) -> np.ndarray:
    """Rounded down, where 0.29 of 100 is 29 although the product is below that."""
    return np.floor(np.round(fraction * sizes, 9)).astype(np.int64)


def _fold(history: CSR, target: CSR, user_ids: np.ndarray) -> Fold:
    has_target = np.diff(target.indptr) > 0
    return Fold(history[has_target], target[has_target], user_ids[has_target])
