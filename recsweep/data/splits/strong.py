"""Strong generalisation: whole users are held out, and part of each is folded in.

           items                 train      history (valid or test)   target
    user 1  x x . x .            x x . x .  . . . . .                 . . . . .
    user 2  . x x . x            . x x . x  . . . . .                 . . . . .
    user 3  x . x x .   ──▶      . . . . .  x . . x .                 . . x . .
    user 4  . x . x x            . . . . .  . x . . x                 . . . x .

Source: Liang et al. 2018, section 4.1, whose procedure it repeats draw for draw.
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
        rule = HeldOutUsers(self.target_fraction, self.seed)
        return rule.split(data, train, valid, test)

    def _n_held_out(self, n_users: int) -> int:
        n_held_out = self.n_heldout_users or max(1, n_users // 10)
        if 2 * n_held_out >= n_users:
            raise InputError(
                f"split=strong must leave users to train on, but 2 × {n_held_out:,} of {n_users:,} "
                "are held out; lower split.n_heldout_users, or use data with more users"
            )
        return n_held_out
