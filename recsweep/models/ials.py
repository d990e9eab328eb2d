"""iALS: weighted matrix factorisation by alternating least squares (Rendle et al. 2022)."""

from concurrent.futures import ThreadPoolExecutor
from math import sqrt
from typing import Annotated

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field
from pydantic.dataclasses import dataclass
from scipy.linalg import get_lapack_funcs
from threadpoolctl import threadpool_limits

from recsweep import environment
from recsweep.data.degrees import item_degrees
from recsweep.defaults import with_defaults
from recsweep.errors import InputError, TrainingDivergedError
from recsweep.interfaces import CSR, STRICT, OnEpoch, PositiveWeight, Shapes
from recsweep.learned_arrays import LearnedArrays
from recsweep.memory import refuse_beyond_memory
from recsweep.seeds import Seeds

INITIAL_NORM = 0.1
"""Expected length of an item's initial factor, as in the paper."""
N_PARTS = 64
"""Shares of the rows, equally long, that threads take one after the other."""

Factors = Float[np.ndarray, "rows latent"]


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class IALS(LearnedArrays):
    """User and item factors whose products are near 1 where there is an interaction, else near 0.

    Minimises, with factors x_u and y_i, ŷ_ui = x_u·y_i and an interaction's value v_ui,

        Σ_interactions v_ui (1 − ŷ_ui)² + α₀ Σ_cells ŷ_ui²
            + λ' (Σ_u w_u^ν ‖x_u‖² + Σ_i w_i^ν ‖y_i‖²)

    where w_u = Σ_i v_ui + α₀·items is the weight of all cells of a user, and w_i that of an item.
    λ' = l2·(Σ_u w_u + Σ_i w_i) / (Σ_u w_u^ν + Σ_i w_i^ν): the same l2 is about as strong at every
    exponent ν. A history is scored by the factors that solve this for it, with the same λ', so
    users need not have been in the training data.

    Args:
        latent_dim: Length of a factor.
        l2: Weight of the squared factors, relative to the weight of their cells.
        l2_exponent: ν; 1 = in proportion to the weight of their cells, 0 = the same for all.
        unobserved_weight: α₀.
        n_epochs: Maximum number of passes over users and items.

    Source:
        Hu, Koren & Volinsky: Collaborative Filtering for Implicit Feedback Datasets. ICDM 2008;
        regularisation and initial factors of Rendle, Krichene, Zhang & Koren: Revisiting the
        Performance of iALS on Item Recommendation Benchmarks. RecSys 2022, where v = 1.
    """

    latent_dim: Annotated[int, Field(ge=1)]
    l2: PositiveWeight
    l2_exponent: Annotated[float, Field(ge=0, le=10)]
    unobserved_weight: PositiveWeight
    n_epochs: Annotated[int, Field(ge=1)]

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:
        """Alternate for `n_epochs`, or until `on_epoch` returns False."""
        item_degrees(train)  # refuses negative values
        self._refuse_beyond_memory(train)
        users = train.astype(np.float32, copy=False)
        items = users.T.tocsr()
        user_weights, item_weights = self._cell_weights(users), self._cell_weights(items)
        l2, both_l2 = self._penalties(np.concatenate([user_weights, item_weights]))
        user_l2, item_l2 = np.split(both_l2, [len(user_weights)])

        random = np.random.default_rng(seeds.named("init"))
        initial = random.normal(size=(train.shape[1], self.latent_dim))
        factors = principal((initial * INITIAL_NORM / sqrt(self.latent_dim)).astype(np.float32))
        for epoch in range(self.n_epochs):
            of_users, _ = solve(users, factors, self.unobserved_weight, user_l2)
            of_users = principal(of_users)
            of_items, gain = solve(items, of_users, self.unobserved_weight, item_l2)
            factors = principal(of_items)
            self.learned = {"item_factors": factors, "l2": np.float64(l2)}
            penalty = user_l2 @ np.einsum("ud,ud->u", of_users, of_users)
            loss = users.data.sum(dtype=np.float64) - gain + penalty
            if not on_epoch(epoch, {"loss": float(loss) / train.shape[0]}):
                return

    def shapes(self, n_items: int) -> Shapes:
        """The items' factors and λ'."""
        return {"item_factors": (n_items, self.latent_dim), "l2": ()}

    def score(self, history: CSR) -> Float[np.ndarray, "users items"]:
        """Products of the history's factors and the item factors: users × items."""
        rows, items = history.astype(np.float32, copy=False), self.learned["item_factors"]
        l2 = self.learned["l2"] * self._cell_weights(rows) ** self.l2_exponent
        return solve(rows, items, self.unobserved_weight, l2)[0] @ items.T

    def _penalties(
        self, weights: Float[np.ndarray, " rows"]
    ) -> tuple[float, Float[np.ndarray, " rows"]]:
        """λ', and the weight of each row's squared factor."""
        with np.errstate(over="ignore", invalid="ignore"):  # refused below
            powers = weights**self.l2_exponent
            l2 = self.l2 * weights.sum() / powers.sum()
            penalties = l2 * powers
        if not np.isfinite(penalties).all() or not l2 > 0:
            raise InputError(
                "the penalties of factors must be finite and above 0, but are from "
                f"{penalties.min():g} to {penalties.max():g}; lower model.l2_exponent "
                f"(now {self.l2_exponent:g})"
            )
        return float(l2), penalties

    def _cell_weights(self, rows: CSR) -> Float[np.ndarray, " rows"]:
        """The weight of all cells of each row."""
        values = np.asarray(rows.sum(axis=1, dtype=np.float64)).ravel()
        return values + self.unobserved_weight * rows.shape[1]

    def _refuse_beyond_memory(self, train: CSR) -> None:
        """Twice the factors, the best epoch's, and in each thread a row's problem."""
        n_users, n_items = train.shape
        longest = max(
            np.diff(train.indptr).max(initial=0), np.bincount(train.indices, minlength=1).max()
        )
        rows = 2 * n_users + 3 * n_items + environment.n_threads() * (longest + self.latent_dim)
        refuse_beyond_memory(
            4 * self.latent_dim * int(rows),
            f"model=ials with model.latent_dim={self.latent_dim:,}",
            "lower model.latent_dim",
        )


def principal(factors: Factors) -> Factors:
    """The factors in the basis in which their columns are orthogonal.

    Products of user and item factors do not change if both are turned alike. As an alternation
    reads one side only, what it solves is turned with it.

    Raises:
        TrainingDivergedError: A factor is not finite.
    """
    if not np.isfinite(factors).all():
        raise TrainingDivergedError(
            "every factor must be finite, but NaN or infinity was found; use smaller values, such "
            "as with transform=binary, or model.l2 and model.unobserved_weight nearer to 1"
        )
    return factors @ np.linalg.eigh(factors.T @ factors)[1]


def solve(
    rows: CSR, factors: Factors, unobserved_weight: float, l2: Float[np.ndarray, " rows"]
) -> tuple[Factors, float]:
    """The factors x of each row r that minimise Σ v (1 − x·y)² + α₀ Σ_all (x·y)² + l2 ‖x‖².

    With α₀·YᵀY + l2 = D, which is diagonal, and z = √D·x this is ‖√v − A·z‖² + ‖z‖², where A are
    the rows of √v·Y/√D at the interactions: a ridge regression.

    Args:
        rows: Values v of users × items or items × users.
        factors: Y, of the other side, with orthogonal columns.
        unobserved_weight: α₀.
        l2: The weight of each row's ‖x‖².

    Returns:
        The factors, and by how much they lower the sum of all rows below Σ v, that of x = 0.
    """
    everywhere = unobserved_weight * np.einsum("id,id->d", factors, factors)
    solved = np.zeros((rows.shape[0], factors.shape[1]), np.float32)
    gains = np.zeros(rows.shape[0])
    longest_first = np.argsort(-np.diff(rows.indptr), kind="stable")
    filled = longest_first[: np.count_nonzero(np.diff(rows.indptr))]
    parts = [filled[start::N_PARTS] for start in range(N_PARTS)]

    def solve_rows(part: Int[np.ndarray, " rows"]) -> None:
        for row in part:
            entries = slice(rows.indptr[row], rows.indptr[row + 1])
            roots = np.sqrt(rows.data[entries])
            scales = (1 / np.sqrt(everywhere + l2[row])).astype(np.float32)
            design = factors[rows.indices[entries]]
            design *= scales
            design *= roots[:, None]
            z = ridge(design, roots)
            solved[row], gains[row] = scales * z, roots @ (design @ z)

    with (
        threadpool_limits(1, "blas"),  # rows run in threads: BLAS and LAPACK release the GIL
        ThreadPoolExecutor(environment.n_threads()) as pool,
    ):
        list(pool.map(solve_rows, parts))
    return solved, float(gains.sum())


def ridge(
    design: Float[np.ndarray, "entries latent"], targets: Float[np.ndarray, " entries"]
) -> Float[np.ndarray, " latent"]:
    """The z that minimises ‖targets − design·z‖² + ‖z‖².

    The smaller of the two systems is solved: (AᵀA + I) z = Aᵀt or z = Aᵀ (AAᵀ + I)⁻¹ t.
    """
    n_entries, latent_dim = design.shape
    is_dual = n_entries < latent_dim
    matrix = design @ design.T if is_dual else design.T @ design
    matrix.flat[:: len(matrix) + 1] += 1
    (posv,) = get_lapack_funcs(("posv",), (matrix,))
    found, failed = posv(matrix, targets if is_dual else targets @ design, overwrite_a=True)[1:]
    if failed and design.dtype == np.float32:  # rounding made it indefinite
        return ridge(design.astype(np.float64), targets)
    return found @ design if is_dual else found
