"""Ranking metrics: which ranks are hits goes in, one value per user comes out.

A metric's definition is the first line of its docstring and nothing else; it is logged
with every run, because libraries give different quantities the same name. `hits` and
`n_relevant` mean the same everywhere here, and a user who has no held-out item is an
error, never a zero: whoever calls leaves such users out and counts them.
"""

import numpy as np
from jaxtyping import Bool, Float, Int


def ndcg_at_k(
    hits: Bool[np.ndarray, "users ranks"], n_relevant: Int[np.ndarray, " users"], k: int
) -> Float[np.ndarray, " users"]:
    """Sum of 1/log2(r+1) over hit ranks r <= k, divided by that sum over r = 1..min(k, n_relevant).

    A list is held against the best list of `k` items that user could have had, so
    someone with two held-out items reaches 1 with two hits at the top, and someone with
    a thousand reaches 1 with `k` hits.

    Args:
        hits: `hits[u, r]` is True when the item ranked `r` (0 = best) was held out.
        n_relevant: Held-out items per user, each at least 1.
        k: Cut-off in items, from 1 to the number of ranks.

    Returns:
        One value in [0, 1] per user, in the row order of `hits`.

    Raises:
        ValueError: `k` is out of range, or some user has no held-out item or more hits
            than held-out items.

    Source:
        Järvelin & Kekäläinen 2002, gains in {0, 1}, logarithm base 2.
    """
    return _dcg(_top_hits(hits, n_relevant, k)) / _ideal_dcg(_n_reachable(n_relevant, k))


def ndcg_full_ideal_at_k(
    hits: Bool[np.ndarray, "users ranks"], n_relevant: Int[np.ndarray, " users"], k: int
) -> Float[np.ndarray, " users"]:
    """Sum of 1/log2(r+1) over hit ranks r <= k, divided by that sum over r = 1..n_relevant.

    The ideal list is as long as the user's held-out items and not cut at `k`. It equals
    `ndcg_at_k` up to `k` held-out items and is lower beyond, where it cannot reach 1.

    Args:
        hits: `hits[u, r]` is True when the item ranked `r` (0 = best) was held out.
        n_relevant: Held-out items per user, each at least 1.
        k: Cut-off in items, from 1 to the number of ranks.

    Returns:
        One value in [0, 1] per user, in the row order of `hits`.

    Raises:
        ValueError: `k` is out of range, or some user has no held-out item or more hits
            than held-out items.

    Source:
        Kakao's Jukebox exercise.
    """
    return _dcg(_top_hits(hits, n_relevant, k)) / _ideal_dcg(n_relevant)


def recall_at_k(
    hits: Bool[np.ndarray, "users ranks"], n_relevant: Int[np.ndarray, " users"], k: int
) -> Float[np.ndarray, " users"]:
    """Number of hits in the top k, divided by min(k, n_relevant).

    The share of the hits that `k` items could have brought, so every user can reach 1.

    Args:
        hits: `hits[u, r]` is True when the item ranked `r` (0 = best) was held out.
        n_relevant: Held-out items per user, each at least 1.
        k: Cut-off in items, from 1 to the number of ranks.

    Returns:
        One value in [0, 1] per user, in the row order of `hits`.

    Raises:
        ValueError: `k` is out of range, or some user has no held-out item or more hits
            than held-out items.

    Source:
        Liang et al. 2018, Variational autoencoders for collaborative filtering.
    """
    return _n_hits(_top_hits(hits, n_relevant, k)) / _n_reachable(n_relevant, k)


def recall_all_at_k(
    hits: Bool[np.ndarray, "users ranks"], n_relevant: Int[np.ndarray, " users"], k: int
) -> Float[np.ndarray, " users"]:
    """Number of hits in the top k, divided by n_relevant.

    The share of what the user wanted that was found: with more than `k` held-out items
    it cannot reach 1.

    Args:
        hits: `hits[u, r]` is True when the item ranked `r` (0 = best) was held out.
        n_relevant: Held-out items per user, each at least 1.
        k: Cut-off in items, from 1 to the number of ranks.

    Returns:
        One value in [0, 1] per user, in the row order of `hits`.

    Raises:
        ValueError: `k` is out of range, or some user has no held-out item or more hits
            than held-out items.

    Source:
        Recall as in information retrieval; trec_eval's `recall_k`.
    """
    return _n_hits(_top_hits(hits, n_relevant, k)) / n_relevant


def precision_at_k(
    hits: Bool[np.ndarray, "users ranks"], n_relevant: Int[np.ndarray, " users"], k: int
) -> Float[np.ndarray, " users"]:
    """Number of hits in the top k, divided by k.

    With fewer than `k` held-out items it cannot reach 1.

    Args:
        hits: `hits[u, r]` is True when the item ranked `r` (0 = best) was held out.
        n_relevant: Held-out items per user, each at least 1.
        k: Cut-off in items, from 1 to the number of ranks.

    Returns:
        One value in [0, 1] per user, in the row order of `hits`.

    Raises:
        ValueError: `k` is out of range, or some user has no held-out item or more hits
            than held-out items.

    Source:
        Precision as in information retrieval; trec_eval's `P_k`.
    """
    return _n_hits(_top_hits(hits, n_relevant, k)) / k


def average_precision_at_k(
    hits: Bool[np.ndarray, "users ranks"], n_relevant: Int[np.ndarray, " users"], k: int
) -> Float[np.ndarray, " users"]:
    """Sum over hit ranks r <= k of (hits in the top r) / r, divided by min(k, n_relevant).

    Its mean over users is MAP@k. Like `recall_at_k` every user can reach 1; trec_eval's
    `map_cut_k` divides by n_relevant instead and is lower beyond `k` held-out items.

    Args:
        hits: `hits[u, r]` is True when the item ranked `r` (0 = best) was held out.
        n_relevant: Held-out items per user, each at least 1.
        k: Cut-off in items, from 1 to the number of ranks.

    Returns:
        One value in [0, 1] per user, in the row order of `hits`.

    Raises:
        ValueError: `k` is out of range, or some user has no held-out item or more hits
            than held-out items.

    Source:
        McFee et al. 2012, The Million Song Dataset Challenge.
    """
    top = _top_hits(hits, n_relevant, k)
    precision = np.cumsum(top, axis=1) / np.arange(1, k + 1)
    return np.sum(precision, axis=1, where=top) / _n_reachable(n_relevant, k)


def reciprocal_rank_at_k(
    hits: Bool[np.ndarray, "users ranks"], n_relevant: Int[np.ndarray, " users"], k: int
) -> Float[np.ndarray, " users"]:
    """One divided by the rank (1 = best) of the first hit in the top k, or 0 without a hit.

    Its mean over users is MRR@k.

    Args:
        hits: `hits[u, r]` is True when the item ranked `r` (0 = best) was held out.
        n_relevant: Held-out items per user, each at least 1.
        k: Cut-off in items, from 1 to the number of ranks.

    Returns:
        One value in [0, 1] per user, in the row order of `hits`.

    Raises:
        ValueError: `k` is out of range, or some user has no held-out item or more hits
            than held-out items.

    Source:
        Voorhees 1999, The TREC-8 question answering track report.
    """
    top = _top_hits(hits, n_relevant, k)
    return np.where(_n_hits(top) > 0, 1 / (np.argmax(top, axis=1) + 1), 0.0)


def hit_rate_at_k(
    hits: Bool[np.ndarray, "users ranks"], n_relevant: Int[np.ndarray, " users"], k: int
) -> Float[np.ndarray, " users"]:
    """1 if the top k contains at least one hit, else 0.

    Args:
        hits: `hits[u, r]` is True when the item ranked `r` (0 = best) was held out.
        n_relevant: Held-out items per user, each at least 1.
        k: Cut-off in items, from 1 to the number of ranks.

    Returns:
        0.0 or 1.0 per user, in the row order of `hits`.

    Raises:
        ValueError: `k` is out of range, or some user has no held-out item or more hits
            than held-out items.

    Source:
        Deshpande & Karypis 2004, Item-based top-N recommendation algorithms.
    """
    return (_n_hits(_top_hits(hits, n_relevant, k)) > 0).astype(np.float64)


def _top_hits(
    hits: Bool[np.ndarray, "users ranks"], n_relevant: Int[np.ndarray, " users"], k: int
) -> Bool[np.ndarray, "users top"]:
    """Check what every metric is given and cut the hits at rank `k`."""
    n_ranks = hits.shape[1]
    if not 1 <= k <= n_ranks:
        raise ValueError(
            f"k must be from 1 to the {n_ranks} ranks of hits, got {k}; rank more items or lower k"
        )
    without_target = n_relevant < 1
    if without_target.any():
        row = int(np.argmax(without_target))
        raise ValueError(
            f"every user must have a held-out item, but row {row} has "
            f"n_relevant={n_relevant[row]}; leave users without one out"
        )
    n_hits = _n_hits(hits)
    too_many = n_hits > n_relevant
    if too_many.any():
        row = int(np.argmax(too_many))
        raise ValueError(
            f"a user must not have more hits than held-out items, but row {row} has "
            f"{n_hits[row]} hits and n_relevant={n_relevant[row]}; count the targets and the "
            f"hits on the same items, and rank each item once"
        )
    return hits[:, :k]


def _n_hits(hits: Bool[np.ndarray, "users ranks"]) -> Int[np.ndarray, " users"]:
    return np.count_nonzero(hits, axis=1)


def _n_reachable(n_relevant: Int[np.ndarray, " users"], k: int) -> Int[np.ndarray, " users"]:
    """Most hits that `k` ranks can hold."""
    return np.minimum(n_relevant, np.int64(k))  # int64: counts may come as int8, `k` may not fit


def _discounts(n_ranks: int) -> Float[np.ndarray, " ranks"]:
    return 1 / np.log2(np.arange(2, n_ranks + 2))


def _dcg(top: Bool[np.ndarray, "users ranks"]) -> Float[np.ndarray, " users"]:
    # Added up in rank order, exactly as the ideal is: a perfect list gives 1, not 1 + 2e-16,
    # and a user's value does not depend on who else is in the batch, as with a matrix product.
    return np.cumsum(top * _discounts(top.shape[1]), axis=1)[:, -1]


def _ideal_dcg(n_hits: Int[np.ndarray, " users"]) -> Float[np.ndarray, " users"]:
    """DCG of a list that opens with `n_hits` hits."""
    running_sum = np.cumsum(_discounts(int(n_hits.max(initial=1))))
    return running_sum[n_hits - 1]
