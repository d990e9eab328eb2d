"""Lists of a fitted model; files and settings are in tests/tasks/test_recommend.py."""

from typing import Any

import numpy as np
import scipy.sparse as sp

from recsweep.data.user_histories import RequestedUsers
from recsweep.recommendations.fitted_model import FittedModel, rank_items


class Fixed:
    """The same scores for everybody."""

    def score(self, history: Any) -> np.ndarray:
        return np.tile(np.float32([0.5, 2.0, 1.0]), (history.shape[0], 1))


def test_lists_are_best_first_without_what_a_user_has_and_only_as_long_as_there_are_items() -> None:
    history = sp.csr_matrix(np.float32([[0, 0, 0], [0, 1, 0], [1, 1, 0]]))
    requested = RequestedUsers(np.array(["a", "b", "c"]), history)
    fitted: Any = FittedModel(None, "", Fixed(), np.array([10, 20, 30]))  # type: ignore[arg-type]
    for batch_size in (1, 2, 3):
        found = list(rank_items(fitted, requested, 2, batch_size))
        assert [(str(r.user), list(r.items), list(r.scores)) for r in found] == [
            ("a", [20, 30], [2.0, 1.0]), ("b", [30, 10], [1.0, 0.5]), ("c", [30], [1.0]),
        ]  # fmt: skip
