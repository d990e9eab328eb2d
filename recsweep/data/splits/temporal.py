"""One point in time for all users: earlier interactions are for training, later ones are ranked.

           items, when    train        valid target   test target
    user 1  2 5 . 7 9     x x . . .    . . . x .      . . . . x
    user 2  . 3 1 . 6     . x x . .    . . . . x      . . . . .      validation from time 6,
    user 3  4 . 9 2 5 ──▶ x . . x x    . . . . .      . . x . .      test from time 8
    user 4  8 7 . 6 .     . . . . .    . . . . .      x . . . .

The history of a user is what lies before the window: of a validation user the training row, of a
test user training and validation. The items are those of training: no candidate comes from the
future. User 4 is new in validation, so nothing can be shown there; in test something can.

Source: Meng et al. 2020, Exploring data splitting strategies for the evaluation of recommendation
models (temporal global).
"""

import logging
import math
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.data.held_out_parts import Parts, UnknownItems
from recsweep.data.holdout_draw import share_of
from recsweep.data.interactions import Interactions
from recsweep.data.split import Split, Splitter, refuse_split, times_of
from recsweep.data.timestamps import comparable, readable
from recsweep.errors import InputError
from recsweep.interfaces import STRICT

log = logging.getLogger(__name__)


@dataclass(kw_only=True, config=STRICT)
class Temporal(Splitter):
    """Training, validation and test one after the other in time.

    Interactions of one instant are in the same part, the later one.

    Args:
        valid_fraction: Share of all interactions in the validation window.
        test_fraction: Share of all interactions in the test window.
        valid_from: Start of validation instead of the shares: a number in the unit of the data's
            times, or an ISO 8601 date.
        test_from: Likewise the start of test.
        window: 0 = test is the end of the data; 1 = both windows lie one test window earlier, and
            so on. Whatever comes after test is left out.
        unknown_items: How to treat held-out items unknown in training: `drop` removes them;
            `count` keeps them as relevant items that cannot be recommended.
    """

    valid_fraction: Annotated[float, Field(gt=0, lt=1)]
    test_fraction: Annotated[float, Field(gt=0, lt=1)]
    valid_from: int | float | str | None
    test_from: int | float | str | None
    window: Annotated[int, Field(ge=0)]
    unknown_items: UnknownItems

    def __post_init__(self) -> None:
        if (self.valid_from is None) != (self.test_from is None):
            missing = "valid_from" if self.valid_from is None else "test_from"
            raise ValueError(f"valid_from and test_from go together, but {missing} is missing")
        if self.valid_from is not None and self.window:
            raise ValueError(
                f"window counts windows of a share, but is {self.window} with valid_from and "
                "test_from; give other times instead"
            )

    def split(self, data: Interactions | Split) -> Split:
        """Split `data`; what cannot be ranked is counted in a line on stderr.

        Raises:
            InputError: The data is already split, it has no times, or a part is empty.
        """
        data = refuse_split(data, "temporal")
        times = times_of(data, "temporal")
        valid_from, test_from, end = self._edges(times)
        parts = Parts(
            train=times < valid_from,
            valid=(times >= valid_from) & (times < test_from),
            test=(times >= test_from) & (times < end),
        )
        self._refuse_empty(parts, times, (valid_from, test_from))
        split = parts.split(data, self.unknown_items)
        self._tell("validation", data, split, parts.train, parts.valid)
        self._tell("test", data, split, parts.train | parts.valid, parts.test)
        return split

    def _edges(self, times: np.ndarray) -> tuple[float, float, float]:
        """Start of validation, start of test, end of test."""
        if self.valid_from is not None:
            return self._given("valid_from", times), self._given("test_from", times), math.inf
        ordered = np.sort(times)
        n_valid, n_test = (
            max(1, share_of(fraction, len(ordered)))
            for fraction in (self.valid_fraction, self.test_fraction)
        )
        end = len(ordered) - self.window * n_test
        test_from = end - n_test
        valid_from = test_from - n_valid
        if valid_from <= 0:
            raise InputError(
                f"split=temporal must leave something to train on, but validation, test and what "
                f"comes after them need {len(ordered) - valid_from:,} of {len(ordered):,} "
                "interactions; lower split.window, split.valid_fraction or split.test_fraction"
            )
        after = ordered[end] if self.window else math.inf
        return ordered[valid_from], ordered[test_from], after

    def _given(self, name: str, times: np.ndarray) -> float:
        given = getattr(self, name)
        try:
            return comparable(given, times)
        except ValueError as error:
            raise InputError(
                f"split.{name} must be a time such as {times.max()} or 2024-01-31, but is "
                f"{given!r}: {error}"
            ) from error

    def _refuse_empty(self, parts: Parts, times: np.ndarray, starts: tuple[float, float]) -> None:
        counts = {name: int(getattr(parts, name).sum()) for name in ("train", "valid", "test")}
        if not all(counts.values()):
            first, last, valid_from, test_from = (
                readable(each, times) for each in (times.min(), times.max(), *starts)
            )
            raise InputError(
                "split=temporal must have interactions in train, validation and test, but with "
                f"validation from {valid_from} and test from {test_from} there are "
                f"{counts['train']:,}, {counts['valid']:,} and {counts['test']:,} (times run from "
                f"{first} to {last}); change split.valid_from and split.test_from, or the fractions"
            )

    @staticmethod
    def _tell(
        name: str, data: Interactions, split: Split, is_before: np.ndarray, is_target: np.ndarray
    ) -> None:
        """Log how many interactions the window has, and why some cannot be ranked."""
        times, matrix = times_of(data, "temporal"), data.matrix
        users = np.repeat(np.arange(len(data.user_ids)), np.diff(matrix.indptr))
        is_known = np.isin(data.item_ids, split.item_ids)[matrix.indices]
        is_old = np.isin(users, users[is_before & is_known])
        is_ranked = is_target & is_known & is_old
        log.log(
            logging.WARNING if is_ranked.sum() < is_target.sum() else logging.INFO,
            "split=temporal: %s, %s to %s, ranks %s of %s interactions and %s of %s users; %s are "
            "of users without a history, %s of items that training does not know",
            name, *(readable(at, times) for at in (times[is_target].min(), times[is_target].max())),
            f"{is_ranked.sum():,}", f"{is_target.sum():,}",
            f"{len(np.unique(users[is_ranked])):,}", f"{len(np.unique(users[is_target])):,}",
            f"{(is_target & ~is_old).sum():,}", f"{(is_target & is_old & ~is_known).sum():,}",
        )  # fmt: skip
