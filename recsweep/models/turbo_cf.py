"""Turbo-CF: a polynomial low-pass filter on the graph of items (Park et al. 2024)."""

from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, ClassVar

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep import environment
from recsweep.data.degrees import normalize
from recsweep.data.gram import over_gram_rows
from recsweep.defaults import with_defaults
from recsweep.interfaces import CSR, STRICT, OnEpoch, PositiveWeight, Shapes, Tensor
from recsweep.learned_arrays import LearnedArrays, sparse_arrays, sparse_matrix, sparse_shapes
from recsweep.memory import refuse_beyond_memory
from recsweep.seeds import Seeds

FILTERS = {1: (1.0,), 2: (2.0, -1.0), 3: (0.71, 0.1, -0.01)}
"""Order -> coefficients of P, P² and P³."""
DENSE_FRACTION = 1 / 16
"""Above this share of entries a product with a dense matrix is faster."""
CHUNK_USERS = 32
"""Users multiplied by sparse matrices at a time in each thread: they fit into a cache."""

Scores = Float[np.ndarray, "users items"]


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class TurboCF(LearnedArrays):
    """A history is multiplied by a polynomial of the item graph P, without training.

    R̃ = D_U^(−alpha)·R·D_I^(alpha−1) with the degrees of users and items, and P = R̃ᵀR̃ with each
    entry raised to `power`. Scores are r·P (order 1), r·(2P − P²) (order 2) or
    r·(P + 0.01·(−P³ + 10P² − 29P)) (order 3, near an ideal low-pass filter).

    Where `power` is 1 only R̃ is kept, which has far fewer entries than P: a saved model then holds
    the training interactions.

    Args:
        alpha: How much the degrees of users count; those of items count 1 − alpha.
        power: Exponent of the entries of P; below 1, weak links count more.
        filter_order: Degree of the polynomial.

    Source:
        Park, Shin & Shin: Turbo-CF: Matrix Decomposition-Free Graph Filtering for Fast
        Recommendation. SIGIR 2024.
    """

    is_deterministic: ClassVar[bool] = True

    alpha: Annotated[float, Field(ge=0, le=1)]
    power: PositiveWeight
    filter_order: Annotated[int, Field(ge=1, le=3)]

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:  # noqa: ARG002 - no draw
        """Compute R̃, and P unless it is their plain product."""
        self.forget()
        graph = normalize(train, -self.alpha, self.alpha - 1)
        self.learned = sparse_arrays(graph if self.power == 1 else self._raised(graph))
        on_epoch(0, {})

    def _raised(self, matrix: CSR) -> CSR:
        """P, with an entry for each pair of items that have a user in common."""
        n_entries = sum(over_gram_rows(matrix, lambda _start, products: products.nnz))
        refuse_beyond_memory(
            2 * 8 * n_entries,  # blocks, then all in one
            f"the item graph's {n_entries:,} links",
            "set model.power=1, which needs none of them",
        )

        def raise_entries(_start: int, products: CSR) -> CSR:
            products.data **= np.float32(self.power)
            return products

        return sp.vstack(over_gram_rows(matrix, raise_entries), format="csr")

    def shapes(self, n_items: int) -> Shapes:
        """R̃, of any number of users, or P."""
        return sparse_shapes("users" if self.power == 1 else n_items)

    def score(self, history: CSR) -> Scores:
        """The filtered histories: users × items."""
        history = history.astype(np.float32, copy=False)
        factors, n_users = self._factors(history.shape[1]), CHUNK_USERS
        if isinstance(factors[0], np.ndarray):
            n_users = max(1, history.shape[0])  # BLAS has its own threads

        def filtered(start: int) -> Scores:
            return self._filtered(history[start : start + n_users], factors)

        with ThreadPoolExecutor(environment.n_threads()) as pool:  # SciPy releases the GIL
            parts = pool.map(filtered, range(0, history.shape[0], n_users))
            return np.concatenate([np.empty((0, history.shape[1]), np.float32), *parts])

    def _factors(self, n_items: int) -> list[Tensor]:
        """What P is the product of."""
        graph = sparse_matrix(self.learned, n_items)
        if self.power == 1:
            return [graph.T.tocsr(), graph]
        is_dense = self.filter_order > 1 and graph.nnz > DENSE_FRACTION * n_items**2
        return [graph.toarray() if is_dense else graph]

    def _filtered(self, rows: Tensor, factors: list[Tensor]) -> Scores:
        """The filter's polynomial, term by term; only the histories themselves are sparse."""
        scores = np.zeros(rows.shape, np.float32)
        for coefficient in FILTERS[self.filter_order]:
            for factor in factors:
                rows = rows @ factor
            rows = rows.toarray() if sp.issparse(rows) else rows
            scores += np.float32(coefficient) * rows
        return scores
