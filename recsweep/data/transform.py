"""Transforms values before a model sees them: each click counts 1, or grows with its count."""

from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float
from pydantic.dataclasses import dataclass

from recsweep.data.interactions import Interactions
from recsweep.data.split import Split
from recsweep.errors import InputError
from recsweep.interfaces import CSR, STRICT

Values = Float[np.ndarray, " interactions"]
SMALLEST, LARGEST = 1e-15, 1e15
"""Sizes of values whose squares, summed over 100 million users, float32 can hold."""


class Transform(ABC):
    """Maps ratings or counts to the values of a training matrix, elementwise."""

    @abstractmethod
    def apply(self, values: Values) -> Values:
        """The new value of each interaction, float32; `values` is not changed."""


@dataclass(kw_only=True, config=STRICT)
class Binary(Transform):
    """Every interaction is worth 1."""

    def apply(self, values: Values) -> Values:
        """Ones."""
        return np.ones(values.shape, np.float32)


@dataclass(kw_only=True, config=STRICT)
class Log1p(Transform):
    """1 + log(1 + value): more for a song played often, but not a hundred times as much.

    Source:
        Hu, Koren & Volinsky 2008, equation 6 (there with two free factors).
    """

    def apply(self, values: Values) -> Values:
        """Computed in float64, rounded once."""
        return (1 + np.log1p(values, dtype=np.float64)).astype(np.float32)


@dataclass(kw_only=True, config=STRICT)
class Raw(Transform):
    """Values as the source has them."""

    def apply(self, values: Values) -> Values:
        """A copy."""
        return values.astype(np.float32)


def apply_transform(data: Interactions | Split, transform: Transform) -> Interactions | Split:
    """`data` with transformed values; the pairs stay the same.

    Raises:
        InputError: A value is too large or too small for models, which multiply in float32.
    """
    if isinstance(data, Interactions):
        return replace(data, matrix=_with_values(data.matrix, transform))
    train, *folds = (_with_values(matrix, transform) for matrix in data.matrices)
    valid = replace(data.valid, history=folds[0], target=folds[1])
    test = replace(data.test, history=folds[2], target=folds[3])
    return replace(data, train=train, valid=valid, test=test)


def transformed(values: Values, transform: Transform, remedy: str) -> Values:
    """Values as models get them.

    Args:
        values: As the source has them.
        transform: The transform.
        remedy: What to do about a value that models cannot use.

    Raises:
        InputError: A value is too large or too small for models, which multiply in float32.
    """
    values = transform.apply(values)
    sizes = np.abs(values)
    is_outside = ~((sizes == 0) | ((sizes >= SMALLEST) & (sizes <= LARGEST)))  # NaN is, too
    if is_outside.any():
        raise InputError(
            f"values must be 0 or between {SMALLEST:g} and {LARGEST:g} in size, since models "
            f"multiply in float32, but one is {values[is_outside][0]:g}; {remedy}"
        )
    return values


def _with_values(matrix: CSR, transform: Transform) -> CSR:
    remedy = "set transform=binary or transform=log1p, or scale the data"
    parts = (transformed(matrix.data, transform, remedy), matrix.indices, matrix.indptr)
    return sp.csr_matrix(parts, shape=matrix.shape)
