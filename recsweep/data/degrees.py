"""Degrees in the graph of users and items, and matrices that are normalised by them."""

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

from recsweep.errors import InputError
from recsweep.interfaces import CSR


def item_degrees(train: CSR) -> Float[np.ndarray, " items"]:
    """The sum of each item's values, in float64.

    Raises:
        InputError: A value is negative.
    """
    _refuse_negative(train)
    return _sums(train.indices, train.data, train.shape[1])


def normalize(train: CSR, user_exponent: float, item_exponent: float) -> CSR:
    """Each value times the powers of its user's and its item's degrees, float32.

        x x .      exponents −1 and 0      ½ ½ .
        . x .      ──────────────────▶     . 1 .

    Args:
        train: Users × items, values ≥ 0; not changed.
        user_exponent: Power of the sum of the user's values.
        item_exponent: Power of the sum of the item's values.

    Raises:
        InputError: A value is negative.
    """
    by_item = degree_powers(item_degrees(train), item_exponent)
    users = np.repeat(np.arange(train.shape[0]), np.diff(train.indptr))
    by_user = degree_powers(_sums(users, train.data, train.shape[0]), user_exponent)
    values = (train.data * by_user[users] * by_item[train.indices]).astype(np.float32)
    return sp.csr_matrix((values, train.indices, train.indptr), shape=train.shape)


def degree_powers(degrees: Float[np.ndarray, " n"], exponent: float) -> Float[np.ndarray, " n"]:
    """Powers of degrees; 0 for a degree of 0, whatever the exponent."""
    return np.power(degrees, exponent, out=np.zeros_like(degrees), where=degrees > 0)


def _sums(
    groups: Int[np.ndarray, " entries"], values: np.ndarray, n_groups: int
) -> Float[np.ndarray, " groups"]:
    """The sum of each group's values, in float64 even where there is no entry."""
    return np.bincount(groups, weights=values, minlength=n_groups).astype(np.float64, copy=False)


def _refuse_negative(train: CSR) -> None:
    least = train.data.min(initial=0)
    if least < 0:
        raise InputError(
            f"this model's values must not be negative, but one is {least:g}; "
            "set transform=binary, or choose model=item_knn"
        )
