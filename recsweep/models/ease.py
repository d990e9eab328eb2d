"""EASE: an item–item matrix with a zero diagonal, by one inverse (Steck 2019, 2020)."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep import environment
from recsweep.data.gram import gram_matrix, gram_spare_bytes
from recsweep.defaults import with_defaults
from recsweep.errors import InputError
from recsweep.interfaces import CSR, STRICT, OnEpoch
from recsweep.inverse import inverse_spare_bytes, negative_inverse
from recsweep.learned_arrays import LearnedArrays
from recsweep.memory import refuse_beyond_memory
from recsweep.seeds import Seeds

TILE = 256
"""Side of the square tiles in which a matrix is mirrored: two of them fit a core's cache."""
N_MATRICES_ON_DEVICE = 4
"""XLA holds the matrix, its factor, the identity and the inverse."""

Square = Float[np.ndarray, "items items"]


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class EASE(LearnedArrays):
    """Each item's score is a weighted sum over the other items of a history.

    B minimises ‖X − XB‖² + l2·‖B‖² with a zero diagonal; with dropout, the expectation of
    ‖X − X̃B‖² over dropout of the input X̃ (scaled by 1/(1−p)), which is a penalty on the items'
    norms.

    Args:
        l2: Added to the Gram matrix's diagonal; larger = smoother.
        dropout_rate: p, the share of the input that is dropped; 0 = EASE, else EDLAE.

    Source:
        Steck: Embarrassingly Shallow Autoencoders for Sparse Data. WWW 2019, equation 8.
        Steck: Autoencoders that don't overfit towards the Identity. NeurIPS 2020, equation 8.
    """

    is_deterministic: ClassVar[bool] = True

    l2: Annotated[float, Field(ge=0)]
    dropout_rate: Annotated[float, Field(ge=0, lt=1)]

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:  # noqa: ARG002 - no draw
        """Solve for B in closed form."""
        n_items = train.shape[1]
        self.forget()
        refuse_beyond_memory(
            4 * n_items**2 + max(gram_spare_bytes(train), inverse_spare_bytes(n_items)),
            f"the item–item matrix of {n_items:,} items",
            "choose model=item_knn, which keeps model.n_neighbors per item",
        )
        matrix = gram_matrix(train)
        diagonal = np.einsum("ii->i", matrix)  # a view
        # Λ = λ + p/(1−p)·diag(XᵀX)
        diagonal += self.l2 + self.dropout_rate / (1 - self.dropout_rate) * diagonal
        try:
            weights = solve_on_device(matrix) if _has_accelerator() else solve_in_place(matrix)
        except np.linalg.LinAlgError as error:
            raise InputError(
                "the Gram matrix plus l2 on its diagonal must be positive definite, but is not: "
                "some items have identical users, or none; "
                f"raise model.l2 (now {self.l2:g})"
            ) from error
        self.learned = {"weights": weights}
        on_epoch(0, {})

    def score(self, history: CSR) -> np.ndarray:
        """History · B: users × items."""
        return history.astype(np.float32, copy=False) @ self.learned["weights"]


def _has_accelerator() -> bool:
    is_jax = os.environ.get("KERAS_BACKEND") != "tensorflow"
    return is_jax and environment.device() != "cpu"


def solve_in_place(matrix: Square) -> Square:
    """B of a regularised Gram matrix, computed in place.

    Args:
        matrix: XᵀX + Λ; only its upper triangle is read, and it is overwritten.

    Raises:
        LinAlgError: It is not positive definite.
    """
    negative_inverse(matrix, f"inverse of {len(matrix):,} items")
    _scale_and_mirror(matrix, -1 / np.diagonal(matrix))
    np.fill_diagonal(matrix, 0)
    return matrix


def _scale_and_mirror(matrix: Square, scale: Float[np.ndarray, " items"]) -> None:
    """Replace the symmetric P, given by its upper triangle, by P·diag(scale)."""
    n_items = len(matrix)

    def finish(start: int) -> None:
        rows = slice(start, start + TILE)
        corner = matrix[rows, rows]
        corner[:] = (np.triu(corner) + np.triu(corner, 1).T) * scale[rows]
        for other in range(start + TILE, n_items, TILE):
            columns = slice(other, other + TILE)
            np.multiply(matrix[rows, columns].T, scale[rows], out=matrix[columns, rows])
            matrix[rows, columns] *= scale[columns]

    with ThreadPoolExecutor(environment.n_threads()) as pool:
        list(pool.map(finish, range(0, n_items, TILE)))


def solve_on_device(matrix: Square) -> Square:
    """The same B, computed by JAX on its first device.

    Args:
        matrix: XᵀX + Λ; only its upper triangle is read, and it is overwritten.

    Raises:
        InputError: The device has too little memory.
        LinAlgError: The matrix is not positive definite.
    """
    import jax
    import jax.numpy as jnp
    from jax.scipy.linalg import cho_solve

    def solve(a: jax.Array) -> jax.Array:
        # JAX reads the lower triangle, whichever factor it returns
        factor = jnp.linalg.cholesky(a.T, symmetrize_input=False)
        inverse = cho_solve((factor, True), jnp.eye(len(a), dtype=a.dtype))
        return jnp.fill_diagonal(-inverse / jnp.diagonal(inverse), 0, inplace=False)

    device = jax.devices()[0]
    room = (device.memory_stats() or {}).get("bytes_limit")
    if room is not None:
        refuse_beyond_memory(
            N_MATRICES_ON_DEVICE * matrix.nbytes,
            f"model=ease on {device.device_kind}",
            "set device=cpu",
            room,
        )
    with jax.default_matmul_precision("highest"):  # full float32
        weights = jax.jit(solve)(matrix)
    if not bool(jnp.isfinite(weights).all()):
        raise np.linalg.LinAlgError("not positive definite")
    for start in range(0, len(matrix), TILE):  # in one go, the host would need memory for two
        matrix[start : start + TILE] = weights[start : start + TILE]
    return matrix
