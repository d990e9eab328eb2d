"""A batch of triples for the pairwise losses, and gradients by differences in float64."""

from collections.abc import Callable

import numpy as np

from recsweep.training.batches import Triples

USERS, POSITIVES, NEGATIVES = np.array([0, 2, 2, 0]), np.array([1, 3, 0, 0]), np.array([4, 1, 1, 0])
IS_TRIPLE = np.array([1, 1, 1, 0])
L2 = 0.3


def batch() -> Triples:
    users, positives, negatives = (x.astype(np.int32) for x in (USERS, POSITIVES, NEGATIVES))
    return Triples(users, positives, negatives, IS_TRIPLE.astype(np.float32))


def numeric_gradient(function: Callable[[np.ndarray], float], at: np.ndarray) -> np.ndarray:
    gradient = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        step = np.zeros_like(at)
        step[place] = 1e-6
        gradient[place] = (function(at + step) - function(at - step)) / 2e-6
    return gradient
