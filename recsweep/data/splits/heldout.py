"""Test interactions come from a file; the whole data set is for training.

           items          train        valid target   test target
    user 1  x x x . .     x . x . .    . x . . .      . . . x .
    user 2  . x x . x     . x x . x    . . . . .      x . . . .  ◀── truth file
    user 3  x . x x . ──▶ . . x x .    x . . . .      . . . . .
    user 4  x x . x .     x x . x .    . . . . .      . . x . .

Validation is a random share of the data set. The history of a validation user is their training
row; the history of a test user is all of their interactions in the data set.
"""

import logging
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.data.holdout_draw import draw_held_out
from recsweep.data.interactions import Interactions, quote
from recsweep.data.matrix import from_pairs, keep_entries
from recsweep.data.plain_text import read_pairs, refuse_unknown_names
from recsweep.data.split import Fold, Split, Splitter, refuse_split
from recsweep.data.user_histories import examples, places, unknown_ids
from recsweep.errors import InputError
from recsweep.files import no_file
from recsweep.interfaces import STRICT, HomePath

log = logging.getLogger(__name__)


@dataclass(kw_only=True, config=STRICT)
class Heldout(Splitter):
    """Test interactions from a truth file.

    Args:
        path: `user item [value]` lines; value 0 means no interaction, other values are ignored.
        valid_fraction: Share of the data set's interactions to hold out for validation.
        seed: The seed of the validation draw.
    """

    path: HomePath | None
    valid_fraction: Annotated[float, Field(gt=0, lt=1)]
    seed: Annotated[int, Field(ge=0)]

    def files(self) -> list[Path]:
        """The truth file."""
        if self.path is None or not self.path.is_file():
            found = "is missing" if self.path is None else f"{self.path} {no_file(self.path)}"
            raise InputError(
                f"split=heldout needs the file with the test interactions, but split.path {found}; "
                "give split.path=FILE"
            )
        return [self.path]

    def split(self, data: Interactions | Split) -> Split:
        """Split `data`; the items are all of the data set's, including validation-only ones.

        Test items missing from the data set count as relevant but cannot be recommended; test
        users missing from it are dropped.

        Raises:
            InputError: The data is already split, the file cannot be used, or validation is empty.
        """
        data = refuse_split(data, "heldout")
        test = self._test(data)
        valid, _ = draw_held_out(
            np.diff(data.matrix.indptr), "all", self.valid_fraction, 0.0, self.seed
        )
        train, target = (keep_entries(data.matrix, kept) for kept in (~valid, valid))
        return Split(
            train=train,
            train_user_ids=data.user_ids,
            valid=Fold(train, target, data.user_ids).drop_users_without_targets(),
            test=test,
            item_ids=data.item_ids,
            data_fingerprint=data.fingerprint,
        )

    def _test(self, data: Interactions) -> Fold:
        """The fold in the file, users in the order of the data set."""
        users, items = self._pairs(data)
        rows = np.unique(users)
        place = np.searchsorted(rows, users)
        is_known = items >= 0
        shape = (len(rows), len(data.item_ids))
        ones = np.ones(is_known.sum(), np.float32)
        fold = Fold(
            history=data.matrix[rows],
            target=from_pairs(place[is_known], items[is_known], ones, shape),
            user_ids=data.user_ids[rows],
            n_unknown=np.bincount(place[~is_known], minlength=len(rows)),
        )
        self._refuse_seen(fold, data.item_ids)
        return fold

    def _pairs(self, data: Interactions) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the file's pairs; column −1 = an item missing from the data set."""
        (file,) = self.files()
        table = read_pairs(file)
        users = places(table["user"], data.user_ids)
        items = places(table["item"], data.item_ids)
        if max(users[0], items[0]) < 0:
            refuse_unknown_names(file, table)
        if "value" in table:
            is_one = table["value"].to_numpy() > 0
            table, users, items = table[is_one], users[is_one], items[is_one]
        self._tell_unknown(table["user"], users, "users", data.user_ids)
        self._tell_unknown(table["item"], items, "items", data.item_ids)
        is_stranger = users < 0
        return users[~is_stranger], items[~is_stranger]

    def _tell_unknown(
        self, given: "pd.Series[Any]", at: np.ndarray, kind: str, ids: np.ndarray
    ) -> None:
        """Warn about ids missing from the data set; refuse the file if all are missing."""
        found = unknown_ids(given, at, f"{kind} of {self.path}", "the data set")
        if (at < 0).all():
            raise InputError(
                f"{self.path} must name {kind} of the data set, such as {examples(ids)}, but "
                f"{found or 'every value is 0'}; check that both have the same ids"
            )
        if found:
            become = {"users": "left out", "items": "they cannot be recommended"}[kind]
            log.warning("%s: %s", found, become)

    def _refuse_seen(self, fold: Fold, item_ids: np.ndarray) -> None:
        history = fold.history.copy()
        history.data[:] = 1  # a value of 0 is an interaction too
        seen = history.multiply(fold.target).tocsr()
        if seen.nnz:
            seen.sort_indices()
            seen = seen.tocoo()
            user, item = fold.user_ids[seen.row[0]], item_ids[seen.col[0]]
            raise InputError(
                f"{self.path} must hold interactions that are not in the data set, but "
                f"{seen.nnz:,} are (first: user {quote(user)}, item {quote(item)}); remove them "
                "from one of the two"
            )
