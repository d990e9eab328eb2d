"""Users are cut into folds: one is for test, the next for validation, the others for training.

           items                 train      history (valid or test)   target
    user 1  x x . x .  fold 0    . . . . .  x x . . .                 . . . x .   test
    user 2  . x x . x  fold 1    . . . . .  . x x . .                 . . . . x   validation
    user 3  x . x x .  fold 2──▶ x . x x .  . . . . .                 . . . . .
    user 4  . x . x x  fold 3    . x . x x  . . . . .                 . . . . .

Drawn for `fold=0`. As with `split=strong`, nobody in test is trained on. Over all folds each user
is once in test and once in validation.

Source: k-fold cross-validation; fold-in as in Liang et al. 2018, section 4.1.
"""

from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.data.held_out_users import HeldOutUsers
from recsweep.data.interactions import Interactions
from recsweep.data.split import Split, Splitter, refuse_split
from recsweep.errors import InputError
from recsweep.interfaces import STRICT


@dataclass(kw_only=True, config=STRICT)
class KFold(Splitter):
    """One of several splits by users, whose tests do not overlap.

    Args:
        fold: The fold of test users, from 0; the one after it validates.
        n_folds: Folds, whose sizes differ by one user at most.
        target_fraction: Share of a held-out user's items to rank.
        seed: The seed of NumPy's legacy generator.
    """

    fold: Annotated[int, Field(ge=0)]
    n_folds: Annotated[int, Field(ge=3)]
    target_fraction: Annotated[float, Field(gt=0, lt=1)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]

    def __post_init__(self) -> None:
        if self.fold >= self.n_folds:
            raise ValueError(
                f"split.fold must be from 0 to {self.n_folds - 1} with "
                f"split.n_folds={self.n_folds}, but is {self.fold}; choose one of these"
            )

    def split(self, data: Interactions | Split) -> Split:
        """Split `data`; rows of each part follow the shuffled order of the users.

        Raises:
            InputError: There are fewer users than folds, or users with too few items to fold in.
        """
        data = refuse_split(data, "kfold")
        if len(data.user_ids) < self.n_folds:
            raise InputError(
                f"split=kfold must have a user in each fold, but there are {len(data.user_ids):,} "
                f"users for {self.n_folds:,} folds; lower split.n_folds, or use more data"
            )
        shuffled = np.random.RandomState(self.seed).permutation(len(data.user_ids))
        folds = np.array_split(shuffled, self.n_folds)
        test, valid = (folds[each % self.n_folds] for each in (self.fold, self.fold + 1))
        train = shuffled[~np.isin(shuffled, np.concatenate([valid, test]))]
        rule = HeldOutUsers(self.target_fraction, self.seed)
        return rule.split(data, train, valid, test)
