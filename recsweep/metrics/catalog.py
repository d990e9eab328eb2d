"""Catalogue metrics: what all users together are shown, as one number."""

import numpy as np
from jaxtyping import Int


def coverage_at_k(ranked_items: Int[np.ndarray, "users ranks"], n_items: int, k: int) -> float:
    """Share of the n_items catalogue items that appear in at least one user's top k.

    It grows with the number of users, so compare it only between runs on the same ones,
    and pass all users at once: the mean over batches is a different, smaller number.

    Args:
        ranked_items: Item numbers from 0 to `n_items` - 1, best first.
        n_items: Items that could have been recommended.
        k: Cut-off in items, from 1 to the number of ranks.

    Returns:
        One value in [0, 1]; 0 without users.

    Raises:
        ValueError: `k` is out of range, or some item number is not in the catalogue.

    Source:
        Ge et al. 2010, Beyond accuracy (catalog coverage).
    """
    _check(ranked_items, n_items, k)
    is_shown = np.zeros(n_items, dtype=np.bool_)
    is_shown[ranked_items[:, :k]] = True
    return float(is_shown.mean())


def _check(ranked_items: Int[np.ndarray, "users ranks"], n_items: int, k: int) -> None:
    n_ranks = ranked_items.shape[1]
    if not 1 <= k <= n_ranks:
        raise ValueError(
            f"k must be from 1 to the {n_ranks} ranks of ranked_items, got {k}; "
            f"rank more items or lower k"
        )
    if n_items < 1:
        raise ValueError(f"n_items must be at least 1, got {n_items}; pass the catalogue's size")
    is_unknown = (ranked_items < 0) | (ranked_items >= n_items)
    if is_unknown.any():
        raise ValueError(
            f"item numbers must be from 0 to {n_items - 1}, got {ranked_items[is_unknown][0]}; "
            f"number the items of the catalogue consecutively and rank no padding"
        )
