"""Initial weights drawn by NumPy: the same on both backends, without compilation.

Each function returns a Keras initializer, which is called with a shape.
"""

from collections.abc import Callable
from math import prod, sqrt

import numpy as np
from scipy.special import ndtr, ndtri

Initializer = Callable[..., np.ndarray]


def glorot_uniform(seed: int) -> Initializer:
    """Uniform within ±sqrt(6 / (fan_in + fan_out)).

    Source:
        Glorot & Bengio: Understanding the difficulty of training deep feedforward neural
        networks. AISTATS 2010.
    """

    def draw(shape: tuple[int, int], dtype: str | None = None) -> np.ndarray:  # noqa: ARG001 - Keras' call
        limit = np.float32(sqrt(6 / sum(shape)))
        weights = np.random.default_rng(seed).random(shape, np.float32)
        weights *= 2 * limit
        weights -= limit
        return weights

    return draw


def normal(seed: int, stddev: float) -> Initializer:
    """Normal with mean 0."""

    def draw(shape: tuple[int, ...], dtype: str | None = None) -> np.ndarray:  # noqa: ARG001 - Keras' call
        return np.float32(stddev) * np.random.default_rng(seed).standard_normal(shape, np.float32)

    return draw


def truncated_normal(seed: int, stddev: float) -> Initializer:
    """Normal with mean 0, truncated at two standard deviations."""

    def draw(shape: tuple[int, ...], dtype: str | None = None) -> np.ndarray:  # noqa: ARG001 - Keras' call
        quantiles = np.random.default_rng(seed).uniform(ndtr(-2), ndtr(2), prod(shape))
        return (stddev * ndtri(quantiles)).reshape(shape).astype(np.float32)

    return draw
