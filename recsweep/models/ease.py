"""EASE: an item–item matrix with a zero diagonal, by one inverse (Steck 2019, 2020)."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float
from pydantic.dataclasses import dataclass

from recsweep import accelerator, environment
from recsweep.data.gram import gram_matrix, gram_spare_bytes
from recsweep.defaults import with_defaults
from recsweep.errors import InputError
from recsweep.interfaces import CSR, STRICT, DropoutRate, OnEpoch, Shapes, Weight
from recsweep.inverse import inverse_spare_bytes, negative_inverse
from recsweep.learned_arrays import LearnedArrays
from recsweep.memory import refuse_beyond_memory
from recsweep.seeds import Seeds

if TYPE_CHECKING:
    import jax

TILE = 256
"""Rows and columns mirrored at a time by each thread."""
N_MATRICES_ON_DEVICE = 4
"""XLA holds the Gram matrix, a factor, the inverse and B."""

LOUD_ERROR, LARGEST_ERROR = 0.005, 0.5
"""Relative error of the equations that B solves: warned of, and refused."""

Square = Float[np.ndarray, "items items"]

log = logging.getLogger(__name__)


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

    Subclasses may bound the diagonal of B by a value above 0.

    Source:
        Steck: Embarrassingly Shallow Autoencoders for Sparse Data. WWW 2019, equation 8.
        Steck: Autoencoders that don't overfit towards the Identity. NeurIPS 2020, equation 8.
    """

    is_deterministic: ClassVar[bool] = True

    l2: Weight
    dropout_rate: DropoutRate

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:  # noqa: ARG002 - no draw
        """Solve for B in closed form."""
        self.forget()
        ratio = self.dropout_rate / (1 - self.dropout_rate)
        solve = solve_on_device if accelerator.is_available() else solve_on_host
        try:
            weights = solve(train, self.l2, ratio, self.largest_self_weight())
        except np.linalg.LinAlgError as error:
            raise InputError(
                "the Gram matrix plus l2 on its diagonal must be positive definite, but is not: "
                "some items have identical users, or none; "
                f"raise model.l2 (now {self.l2:g})"
            ) from error
        refuse_coarse(residual(weights, train, self.l2, ratio), "the Gram matrix", self.l2)
        self.learned = {"weights": weights}
        on_epoch(0, {})

    def largest_self_weight(self) -> float:
        """The upper bound on B's diagonal."""
        return 0.0

    def shapes(self, n_items: int) -> Shapes:
        """B."""
        return {"weights": (n_items, n_items)}

    def score(self, history: CSR) -> Any:
        """History · B: users × items, of NumPy or of the accelerator."""
        if not accelerator.is_available():
            return history.astype(np.float32, copy=False) @ self.state()["weights"]
        if isinstance(self.learned["weights"], np.ndarray):  # restored
            self.learned = {"weights": _sent(self.learned["weights"])}
        return accelerator.matmul(history, self.learned["weights"])


def solve_on_host(train: CSR, l2: float, ratio: float, xi: float = 0.0) -> Square:
    """B for X and Λ = l2 + ratio·diag(XᵀX), with a diagonal of at most xi.

    Raises:
        InputError: There is too little memory.
        LinAlgError: XᵀX + Λ is not positive definite.
    """
    n_items = train.shape[1]
    _refuse_large(n_items, max(gram_spare_bytes(train), inverse_spare_bytes()))
    matrix = gram_matrix(train)
    diagonal = np.einsum("ii->i", matrix)  # a view
    penalties = l2 + ratio * diagonal  # Λ, where ratio = p/(1−p)
    diagonal += penalties
    return solve_in_place(matrix, penalties, xi)


def refuse_coarse(error: float, what: str, l2: float) -> None:
    """Warn of weights whose last digits float32 has lost, and refuse those without a digit.

    Args:
        error: About their relative error.
        what: What is solved, plus l2 on its diagonal.
        l2: The model's.

    Raises:
        InputError: They are off by half or more.
    """
    remedy = f"raise model.l2 (now {l2:g})"
    if not error < LARGEST_ERROR:
        raise InputError(
            f"{what} plus l2 on its diagonal must be well enough conditioned for float32, but the "
            f"weights are off by about {error:.0%}; {remedy}"
        )
    if error > LOUD_ERROR:
        log.warning(
            "float32 is too coarse for %s: the weights are off by about %.1g %%; %s",
            what, 100 * error, remedy,
        )  # fmt: skip


def residual(weights: Any, train: CSR, l2: float, ratio: float) -> float:
    """By how much B misses its equations, as a share of them; about that of B's error or more.

    (XᵀX + Λ)·(I − B) is diagonal if B is exact. Times a vector of signs it has that diagonal, up to
    signs, whichever the vector: two of them are compared, in float64 and without XᵀX.

    Args:
        weights: B, of NumPy or of the accelerator.
        train: X, users × items.
        l2: The constant part of Λ.
        ratio: The diagonal of XᵀX counts as often in Λ.
    """
    n_items = train.shape[1]
    signs = np.random.default_rng(0).choice(np.array([-1, 1], np.float32), (n_items, 2))
    rest = signs - np.asarray(_product(weights, signs), np.float64)
    squares = np.bincount(train.indices, np.square(train.data, dtype=np.float64), minlength=n_items)
    penalties = l2 + ratio * squares
    found = signs * (train.T @ (train @ rest) + penalties[:, None] * rest)
    norm = np.linalg.norm(found[:, 0])
    return float(np.linalg.norm(found[:, 0] - found[:, 1]) / norm) if norm > 0 else 0.0


def _product(weights: Any, vectors: Float[np.ndarray, "items n"]) -> Any:
    if isinstance(weights, np.ndarray):
        return weights @ vectors
    import jax.numpy as jnp

    return jnp.matmul(weights, vectors, precision="highest")  # full float32


def _refuse_large(n_items: int, spare_bytes: int) -> None:
    """Raise InputError if B and these bytes do not fit into the machine's memory."""
    refuse_beyond_memory(
        4 * n_items**2 + spare_bytes,
        f"the item–item matrix of {n_items:,} items",
        "choose model=mrf, which keeps model.n_neighbors per item",
    )


def solve_in_place(
    matrix: Square, penalties: Float[np.ndarray, " items"] | float = 0.0, xi: float = 0.0
) -> Square:
    """B of a regularised Gram matrix, computed in place.

    With P = (XᵀX + Λ)⁻¹ it is I − P·diag(s), whose diagonal would be 1 − P_jj·Λ_jj without a bound
    and is cut to [0, xi] by s_j = (1 − B_jj)/P_jj.

    Args:
        matrix: XᵀX + Λ; only its upper triangle is read, and it is overwritten.
        penalties: The diagonal of Λ; matters only where xi is above 0.
        xi: Upper bound on B's diagonal.

    Raises:
        LinAlgError: It is not positive definite.
    """
    negative_inverse(matrix, f"inverse of {len(matrix):,} items")
    of_inverse = -np.diagonal(matrix)
    kept = np.clip(1 - of_inverse * penalties, 0, xi).astype(np.float32)
    _scale_and_mirror(matrix, (1 - kept) / of_inverse)
    np.fill_diagonal(matrix, kept)
    return matrix


def _scale_and_mirror(matrix: Square, scale: Float[np.ndarray, " items"]) -> None:
    """Replace the symmetric P, given by its upper triangle, by P·diag(scale)."""
    n_items = len(matrix)

    def finish(start: int) -> None:
        rows = slice(start, start + TILE)
        corner = matrix[rows, rows]
        corner[:] = (np.triu(corner) + np.triu(corner, 1).T) * scale[rows]
        for first in range(start + TILE, n_items, TILE):
            columns = slice(first, first + TILE)
            tile = matrix[rows, columns]
            matrix[columns, rows] = (tile * scale[rows, None]).T
            tile *= scale[columns]

    with ThreadPoolExecutor(environment.n_threads()) as pool:
        list(pool.map(finish, range(0, n_items, TILE)))


def solve_on_device(train: CSR, l2: float, ratio: float, xi: float = 0.0) -> "jax.Array":
    """The same B, computed and left on JAX's first device; returns when it is solved.

    Raises:
        InputError: The device has too little memory, or the machine for a copy of B.
        LinAlgError: XᵀX + Λ is not positive definite.
    """
    from recsweep.training.programs import call_program

    n_items = train.shape[1]
    _refuse_large(n_items, 0)
    matrix_bytes = 4 * accelerator.padded_width(n_items) ** 2
    _refuse_beyond_device(N_MATRICES_ON_DEVICE * matrix_bytes + accelerator.gram_spare_bytes(train))
    gram = accelerator.gram_matrix(train)
    settings = np.array([l2, ratio, xi], np.float32)
    is_finite, weights = call_program(("ease", n_items), lambda: _solver(n_items), gram, settings)
    if not bool(is_finite):
        raise np.linalg.LinAlgError("not positive definite")
    return weights


def _refuse_beyond_device(needed_bytes: int) -> None:
    room = environment.device_memory()
    if room is not None:
        what = f"the item–item matrix on {environment.device()}"
        refuse_beyond_memory(needed_bytes, what, "set device=cpu", room)


def _sent(weights: Square) -> "jax.Array":
    """B on the device."""
    import jax

    _refuse_beyond_device(weights.nbytes)
    return jax.device_put(weights)


def _solver(n_items: int) -> Callable[..., Any]:
    """A program: padded XᵀX, (l2, ratio, xi) -> is B finite?, B."""
    import jax
    import jax.numpy as jnp
    from jax.scipy.linalg import cho_solve

    from recsweep.training.backend import compile_program

    def solve(gram: "jax.Array", settings: "jax.Array") -> tuple["jax.Array", "jax.Array"]:
        l2, ratio, xi = settings
        gram = gram[:n_items, :n_items]
        penalties = l2 + ratio * jnp.diagonal(gram)
        matrix = gram + jnp.diag(penalties)
        with jax.default_matmul_precision("highest"):  # full float32
            factor = jnp.linalg.cholesky(matrix, symmetrize_input=False)
            inverse = cho_solve((factor, True), jnp.eye(n_items, dtype=matrix.dtype))
        of_inverse = jnp.diagonal(inverse)
        kept = jnp.clip(1 - of_inverse * penalties, 0, xi)  # see `solve_in_place`
        weights = jnp.fill_diagonal(-inverse * ((1 - kept) / of_inverse), kept, inplace=False)
        return jnp.isfinite(weights).all(), weights

    return compile_program(solve)
