"""Folds for tuning: the users of training and validation are cut anew, test stays as it is.

           items          split          fold 0: history  target     fold 1 of 2
    user 1  x x . x .     training       . . . . .        . . . . .  validation
    user 2  . x x . x     training  ──▶  . x x . .        . . . . x  training
    user 3  x . x x .     validation     . . . . .        . . . . .  validation
    user 4  . x . x x     validation     . x . . x        . . . x .  training
    user 5  x x . . x     test           . . . . .        . . . . .  (test)

Users 1 and 3 train fold 0. Each of the users is held out in one fold and trained on in the others.
The items are those of the split; what a fold does not train on is neither shown nor ranked there.

Source: k-fold cross-validation; fold-in as in Liang et al. 2018, section 4.1.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsweep.data.held_out_users import draw_targets
from recsweep.data.matrix import keep_entries
from recsweep.data.split import Fold, Split
from recsweep.errors import InputError
from recsweep.interfaces import CSR


@dataclass(frozen=True)
class TuningFolds:
    """The folds of a split's training and validation users.

    Args:
        split: Whole users are held out in it.
        n_folds: Folds, whose sizes differ by one user at most.
        target_fraction: Share of a held-out user's items to rank; None = as in the validation of
            the split.
        seed: The seed of NumPy's legacy generator.
    """

    split: Split
    n_folds: int
    target_fraction: float | None
    seed: int

    def refuse(self) -> None:
        """Raise InputError unless every fold can be cut."""
        self._refuse_shared_users()
        n_users = len(self._pool[0])
        if n_users < self.n_folds:
            raise InputError(
                f"sweep.folds must leave a user to each fold, but is {self.n_folds:,} for "
                f"{n_users:,} users in training and validation; lower sweep.folds"
            )
        for index in range(self.n_folds):
            self.fold(index)

    def _refuse_shared_users(self) -> None:
        train, valid, test = (
            set(ids.tolist())
            for ids in (
                self.split.train_user_ids, self.split.valid.user_ids, self.split.test.user_ids
            )
        )  # fmt: skip
        if shared := (valid & train) | (test & (train | valid)):
            raise InputError(
                f"sweep.folds needs a split of whole users, but here {len(shared):,} users are in "
                "several of training, validation and test; set sweep.seeds_per_trial instead, or "
                "use split=strong or split=kfold"
            )

    @cached_property
    def _pool(self) -> tuple[np.ndarray, CSR]:
        """Ids and rows of the users of training and validation."""
        return self.split.without_test()

    @cached_property
    def _parts(self) -> list[np.ndarray]:
        """Rows of the held-out users of each fold."""
        shuffled = np.random.RandomState(self.seed).permutation(len(self._pool[0]))
        return np.array_split(shuffled, self.n_folds)

    def fold(self, index: int) -> Split:
        """The split whose validation users are those of one fold.

        Args:
            index: From 0.

        Raises:
            InputError: No user of the fold has an item to rank.
        """
        ids, rows = self._pool
        held_out = self._parts[index]
        trained = np.setdiff1d(np.arange(len(ids)), held_out)
        train = rows[trained]
        is_known = np.bincount(train.indices, minlength=train.shape[1]) > 0
        shown = rows[held_out]
        shown = keep_entries(shown, is_known[shown.indices])
        is_target = draw_targets(np.diff(shown.indptr), self._fraction(), self.seed)
        return Split(
            train=train,
            train_user_ids=ids[trained],
            valid=Fold(
                history=keep_entries(shown, ~is_target),
                target=keep_entries(shown, is_target),
                user_ids=ids[held_out],
            ),
            test=self.split.test,
            item_ids=self.split.item_ids,
            data_fingerprint=self.split.data_fingerprint,
        )

    def _fraction(self) -> float:
        """The share of targets; measured, it gets back the half target that rounding down costs."""
        if self.target_fraction is not None:
            return self.target_fraction
        valid = self.split.valid
        n_items = valid.history.nnz + valid.target.nnz
        return min((valid.target.nnz + 0.5 * len(valid.user_ids)) / n_items, 0.99)
