"""Turbo-CF: a polynomial low-pass filter on the graph of items (Park et al. 2024)."""

from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, ClassVar

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep import environment
from recsweep.data.degrees import normalized
from recsweep.data.gram import over_gram_rows
from recsweep.defaults import with_defaults
from recsweep.interfaces import CSR, STRICT, OnEpoch
from recsweep.learned_arrays import LearnedArrays, sparse_arrays, sparse_matrix
from recsweep.memory import refuse_beyond_memory
from recsweep.seeds import Seeds

FILTERS = {1: (1.0,), 2: (2.0, -1.0), 3: (0.71, 0.1, -0.01)}
"""Order -> coefficients of P, P² and P³."""
DENSE_FRACTION = 1 / 16
"""Above this share of entries a product with a dense matrix is faster."""
CHUNK_USERS = 32
"""Users whose scores are multiplied by a sparse matrix at a time: they fit into a cache."""

Scores = Float[np.ndarray, "users items"]


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class TurboCF(LearnedArrays):
    """A history is multiplied by a polynomial of the item graph P, without training.

    R̃ = D_U^(−alpha)·R·D_I^(alpha−1) with the degrees of users and items, and P = R̃ᵀR̃ with each
    entry raised to `power`. Scores are r·P (order 1), r·(2P − P²) (order 2, second order near an
    ideal low-pass filter) or r·(P + 0.01·(−P³ + 10P² − 29P)) (order 3).

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
    power: Annotated[float, Field(gt=0)]
    filter_order: Annotated[int, Field(ge=1, le=3)]

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:  # noqa: ARG002 - no draw
        """Compute P, which keeps only pairs of items with a common user."""
        self.forget()
        rows = normalized(train, -self.alpha, self.alpha - 1)
        n_entries = sum(over_gram_rows(rows, lambda _start, products: products.nnz))
        refuse_beyond_memory(
            2 * 8 * n_entries,  # blocks, then all in one
            f"the item graph's {n_entries:,} links",
            "choose model=gf_cf, which needs none of them",
        )

        def raised(_start: int, products: CSR) -> CSR:
            products.data **= np.float32(self.power)
            return products

        graph = sp.vstack(over_gram_rows(rows, raised), format="csr")
        self.learned = sparse_arrays(graph)
        on_epoch(0, {})

    def score(self, history: CSR) -> Scores:
        """The filtered histories: users × items."""
        n_items = history.shape[1]
        graph = sparse_matrix(self.learned, n_items)
        first, *others = FILTERS[self.filter_order]
        filtered = (history.astype(np.float32, copy=False) @ graph).toarray()
        scores = np.float32(first) * filtered
        is_dense = graph.nnz > DENSE_FRACTION * n_items**2
        factor = graph.toarray() if others and is_dense else graph
        for coefficient in others:
            filtered = filtered @ factor if is_dense else _times_sparse(filtered, factor)
            scores += np.float32(coefficient) * filtered
        return scores


def _times_sparse(scores: Scores, graph: CSR) -> Scores:
    """Multiply scores by a sparse graph, some users at a time in each thread."""
    starts = range(0, len(scores), CHUNK_USERS)

    def multiply(start: int) -> Scores:
        return scores[start : start + CHUNK_USERS] @ graph

    with ThreadPoolExecutor(environment.n_threads()) as pool:  # SciPy releases the GIL
        return np.concatenate([scores[:0], *pool.map(multiply, starts)])
