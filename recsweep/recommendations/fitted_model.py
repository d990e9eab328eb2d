"""The model of a finished run, and its ranked lists."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from recsweep.app import Settings
from recsweep.data.user_histories import RequestedUsers
from recsweep.interfaces import Recommender
from recsweep.recommendations.files import Ranking


class FittedModel(NamedTuple):
    """The model of a finished run.

    Args:
        settings: The run's settings.
        split_fingerprint: Fingerprint of the split it was trained on.
        model: Ready to score.
        item_ids: Original id of each score column.
    """

    settings: Settings
    split_fingerprint: str
    model: Recommender
    item_ids: np.ndarray


def rank_items(
    fitted: FittedModel, requested: RequestedUsers, k: int, batch_size: int
) -> Iterator[Ranking]:
    """Yield each user's best unseen items, fewer than k if there are no more.

    Args:
        fitted: The model.
        requested: The users and their histories.
        k: Items per user, at most the size of the catalogue.
        batch_size: Users scored at a time.
    """
    from tqdm import tqdm

    from recsweep.evaluation import top_k

    n_users, n_items = requested.history.shape
    n_unseen = n_items - np.diff(requested.history.indptr)
    with tqdm(total=n_users, unit=" users", disable=None) as bar:  # None: only on a terminal
        for start in range(0, n_users, batch_size):
            part = slice(start, start + batch_size)
            rows = requested.history[part]
            scores = fitted.model.score(rows)
            items = top_k(scores, rows, k)
            best = np.take_along_axis(np.asarray(scores, np.float32), items, axis=1)
            users = requested.user_ids[part]
            for user, row, values, n in zip(users, items, best, n_unseen[part], strict=True):
                yield Ranking(user, fitted.item_ids[row[:n]], values[:n])
            bar.update(rows.shape[0])
