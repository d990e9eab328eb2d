"""Weak generalisation: all users are trained on, and part of each user's items is held out.

           items          train        valid target   test target
    user 1  x x x x .     x . x . .    . x . . .      . . . x .
    user 2  . x x . x     . x . . x    . . . . .      . . x . .
    user 3  x . x x x ──▶ . . x x .    x . . . .      . . . . x
    user 4  x x . x .     x x . . .    . . . x .      . . . . .

The items are those of train, followed by validation-only ones with `valid_items`. The history of
a validation user is their training row; of a test user, training and validation.
"""

from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.data.held_out_parts import Parts, UnknownItems
from recsweep.data.holdout_draw import Per, draw_held_out
from recsweep.data.interactions import Interactions
from recsweep.data.split import Split, Splitter, refuse_split
from recsweep.errors import InputError
from recsweep.interfaces import STRICT


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
    unknown_items: UnknownItems
    valid_items: bool
    seed: Annotated[int, Field(ge=0)]

    def __post_init__(self) -> None:
        held_out = self.valid_fraction + self.test_fraction
        if held_out >= 1:
            raise ValueError(
                f"valid_fraction + test_fraction must be below 1 to leave something to train on, "
                f"but is {held_out:g}"
            )

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
        parts = Parts(~valid & ~test, valid, test)
        return parts.split(data, self.unknown_items, valid_items=self.valid_items)
