"""Draws the held-out interactions: a share of each user's, or of all."""

import math
from fractions import Fraction
from typing import Literal

import numpy as np

Per = Literal["user", "all"]
MOST_PARTS = 10**6
"""Largest denominator of a fraction that a float may stand for."""


def draw_held_out(
    lengths: np.ndarray, per: Per, valid_fraction: float, test_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw validation and test interactions without replacement.

    Test is drawn first and may take all of a user's interactions; validation leaves at least one.

    Args:
        lengths: Number of interactions per user; interactions are grouped by user.
        per: `user`: a share of each user's interactions (rounded down); `all`: of all interactions.
        valid_fraction: Share for validation.
        test_fraction: Share for test.
        seed: The draw's seed.

    Returns:
        Two masks: validation interactions and test interactions.
    """
    users = np.repeat(np.arange(len(lengths)), lengths)
    groups = users if per == "user" else np.zeros_like(users)
    n_test, n_valid = (
        _shares(f, np.bincount(groups))[groups] for f in (test_fraction, valid_fraction)
    )
    place = _ranks(groups, np.random.default_rng(seed).random(len(groups)))
    is_test = place < n_test
    last_place = np.zeros(len(lengths), np.int64)
    np.maximum.at(last_place, users, place)
    is_left = ~is_test & (place == last_place[users])
    place = _ranks(groups, place + len(place) * is_left)
    return ~is_test & ~is_left & (place < n_test + n_valid), is_test


def share_of(fraction: float, size: int) -> int:
    """A share, rounded down; 0.29 of 100 is 29 although the float product is smaller.

    Args:
        fraction: From 0 to 1; stands for the simplest fraction that it is the nearest number to,
            such as 29/100 or 1/3, or else for itself.
        size: Of what.
    """
    simple = Fraction(float(fraction)).limit_denominator(MOST_PARTS)
    exact = simple if float(simple) == fraction else Fraction(str(float(fraction)))
    return math.floor(exact * size)


def _shares(fraction: float, sizes: np.ndarray) -> np.ndarray:
    different, places = np.unique(sizes, return_inverse=True)
    return np.array([share_of(fraction, int(size)) for size in different], np.int64)[places]


def _ranks(groups: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Each entry's rank in its group by ascending key, from 0; entries are grouped."""
    sizes = np.bincount(groups)
    ranks = np.empty(len(groups), np.int64)
    ranks[np.lexsort((keys, groups))] = np.arange(len(groups))
    return ranks - (np.cumsum(sizes) - sizes)[groups]
