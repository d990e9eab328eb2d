"""The model of a finished run, and the lists that it makes."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from recsweep.app import Settings
from recsweep.data.user_histories import Requested
from recsweep.interfaces import Recommender
from recsweep.recommendations.files import Ranking


class FittedModel(NamedTuple):
    """What a run left behind.

    Args:
        settings: The run's own.
        split_fingerprint: Of the split that it was trained on.
        model: Ready to score.
        item_ids: Original id of each column of its scores.
    """

    settings: Settings
    split_fingerprint: str
    model: Recommender
    item_ids: np.ndarray


def rank_items(
    fitted: FittedModel, requested: Requested, k: int, batch_size: int
) -> Iterator[Ranking]:
    """Yield the best unseen items of one user after the other, fewer than k if there are no more.

    Args:
        fitted: Whose model scores.
        requested: Whom for.
        k: Items per user, at most the catalogue's.
        batch_size: Users who are scored at a time.
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
