"""The last interaction of each user is for test, the one before it for validation.

           items, when    train        valid target   test target
    user 1  2 5 . 7 9     x x . . .    . . . x .      . . . . x
    user 2  . 3 1 . 6     . . x . .    . x . . .      . . . . x
    user 3  4 . 9 2 5 ──▶ x . . x .    . . . . x      . . x . .
    user 4  8 . . . 7     x . . . x    . . . . .      . . . . .

The history of a validation user is their training row; of a test user, training and validation.
User 4 has fewer than three interactions and is for training only. Others' training rows may be
later than a user's targets, unlike with `split=temporal`.

Source: Kang & McAuley 2018, Self-attentive sequential recommendation, section IV-A; Meng et al.
2020, Exploring data splitting strategies (leave one last item).
"""

import numpy as np
from pydantic.dataclasses import dataclass

from recsweep.data.held_out_parts import Parts, UnknownItems
from recsweep.data.interactions import Interactions
from recsweep.data.split import Split, Splitter, refuse_split, times_of
from recsweep.errors import InputError
from recsweep.interfaces import STRICT

N_NEEDED = 3


@dataclass(kw_only=True, config=STRICT)
class LeaveLastOut(Splitter):
    """The two last interactions of each user, of those with the same time the later in the source.

    Args:
        unknown_items: How to treat held-out items unknown in training: `drop` removes them;
            `count` keeps them as relevant items that cannot be recommended.
        valid_items: Whether to keep validation-only items, too: a refit learns them.
    """

    unknown_items: UnknownItems
    valid_items: bool

    def split(self, data: Interactions | Split) -> Split:
        """Split `data`.

        Raises:
            InputError: The data is already split, it has no times, or nothing can be held out.
        """
        data = refuse_split(data, "leave_last_out")
        times = times_of(data, "leave_last_out")
        lengths = np.diff(data.matrix.indptr)
        if lengths.max() < N_NEEDED:
            raise InputError(
                f"split=leave_last_out needs a user with {N_NEEDED} interactions, but users have "
                f"at most {lengths.max():,}; use more data"
            )
        users = np.repeat(np.arange(len(lengths)), lengths)
        n_later = np.empty(len(users), np.int64)
        in_time = np.lexsort((times, users))  # stable: ties keep the order of the source
        n_later[in_time] = data.matrix.indptr[users + 1] - 1 - np.arange(len(users))
        is_long = (lengths >= N_NEEDED)[users]
        valid, test = (is_long & (n_later == place) for place in (1, 0))
        parts = Parts(~valid & ~test, valid, test)
        return parts.split(data, self.unknown_items, valid_items=self.valid_items)
