"""MRF: EASE over each item's neighbours, for catalogues whose items × items do not fit."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Annotated, ClassVar

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int
from pydantic import Field
from pydantic.dataclasses import dataclass
from threadpoolctl import threadpool_limits

from recsweep import environment
from recsweep.data.gram import BLOCK_CELLS
from recsweep.defaults import with_defaults
from recsweep.errors import InputError
from recsweep.interfaces import CSR, STRICT, DropoutRate, OnEpoch, Shapes, Weight
from recsweep.learned_arrays import LearnedArrays, sparse_arrays, sparse_matrix, sparse_shapes
from recsweep.memory import refuse_beyond_memory
from recsweep.models.ease import refuse_coarse
from recsweep.models.item_knn import similar_items
from recsweep.seeds import Seeds
from recsweep.step_lines import report_progress

BLOCK = 128
"""Items solved between two progress lines in each thread."""
TINY = float(np.finfo(np.float32).tiny)
"""Least norm of weights that an error is divided by: all of them may be 0."""


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class MRF(LearnedArrays):
    """Each item's score is a weighted sum over its neighbours in a history.

    For each item with column x the weights of its neighbours, with columns A, are
    (AᵀA + Λ_A)⁻¹·Aᵀx, where Λ = l2 + p/(1−p)·diag(XᵀX): those of EASE with the same `l2` and
    `dropout_rate` if its item–item matrix had to be 0 elsewhere. Neighbours are the items with the
    largest cosines above 0; with `n_neighbors` for all other items they are all, and it is EASE.

    Args:
        n_neighbors: Weights kept per item; memory grows with it, time faster.
        l2: Added to the Gram matrix's diagonal; larger = smoother.
        dropout_rate: p, the share of the input that is dropped, in expectation.

    Source:
        Steck: Markov Random Fields for Collaborative Filtering. NeurIPS 2019, section 3.2 with
        r = 0, which solves every item over its own neighbours; neither centred nor rescaled here.
    """

    is_deterministic: ClassVar[bool] = True

    n_neighbors: Annotated[int, Field(ge=1)]
    l2: Weight
    dropout_rate: DropoutRate

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:  # noqa: ARG002 - no draw
        """Solve a ridge regression per item."""
        self.forget()
        _refuse_many(train.shape[1], self.n_neighbors)
        columns = train.astype(np.float32, copy=False).tocsc()
        neighbors = _neighbors(train, self.n_neighbors)
        squares = np.asarray(columns.multiply(columns).sum(0, dtype=np.float64)).ravel()
        penalties = self.l2 + self.dropout_rate / (1 - self.dropout_rate) * squares
        try:
            weights, off_by = _solve_all(columns, neighbors, penalties.astype(np.float32))
        except np.linalg.LinAlgError as error:
            raise InputError(
                "the products of an item's neighbours plus l2 on their diagonal must be positive "
                "definite, but are not: some items have identical users; "
                f"raise model.l2 (now {self.l2:g})"
            ) from error
        refuse_coarse(off_by, "the Gram matrix of an item's neighbours", self.l2)
        parts = (weights, neighbors.indices, neighbors.indptr)
        rows = sp.csr_matrix(parts, shape=neighbors.shape)
        self.learned = sparse_arrays(rows.T.tocsr())  # column j holds the weights for item j
        on_epoch(0, {})

    def shapes(self, n_items: int) -> Shapes:
        """A sparse matrix of items × items."""
        return sparse_shapes(n_items)

    def score(self, history: CSR) -> Float[np.ndarray, "users items"]:
        """History · weights: users × items."""
        weights = sparse_matrix(self.learned, history.shape[1])
        return (history.astype(np.float32, copy=False) @ weights).toarray()


def _refuse_many(n_items: int, n_neighbors: int) -> None:
    """Raise InputError if the weights and what solves them do not fit into memory.

    Neighbours take 8 bytes each, their weights 4 and both by history item 8; every thread needs a
    block of the Gram matrix, or the products of one item's neighbours and their factor.
    """
    n_places = min(n_neighbors, n_items - 1)
    each_thread = max(8 * BLOCK_CELLS, 16 * n_places**2)
    refuse_beyond_memory(
        20 * n_items * n_places + environment.n_threads() * each_thread,
        f"{n_places:,} neighbours of each of {n_items:,} items",
        "lower model.n_neighbors",
    )


def _neighbors(train: CSR, n_neighbors: int) -> CSR:
    """A row per item, with an entry for each of its neighbours."""
    n_items = train.shape[1]
    if n_neighbors < n_items - 1:
        return similar_items(train, n_neighbors)
    return sp.csr_matrix(~np.eye(n_items, dtype=bool))  # those without a common user, too


def _solve_all(
    columns: sp.csc_matrix, neighbors: CSR, penalties: Float[np.ndarray, " items"]
) -> tuple[Float[np.ndarray, " entries"], float]:
    """The weight of each neighbour, in the order of `neighbors`, and the largest error of an item.

    They are the same in any thread.
    """
    n_items = neighbors.shape[0]

    def solve(start: int) -> list[tuple[Float[np.ndarray, " neighbors"], float]]:
        ends = list(pairwise(neighbors.indptr[start : start + BLOCK + 1]))
        return [
            _solve(columns, item, neighbors.indices[first:last], penalties)
            for item, (first, last) in enumerate(ends, start)
        ]

    starts = range(0, n_items, BLOCK)
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(environment.n_threads()) as pool:
        steps = zip(
            report_progress(starts, "ridge regressions"), pool.map(solve, starts), strict=True
        )
        weights, errors = zip(*(solved for _, block in steps for solved in block), strict=True)
    return np.concatenate(weights), max(errors)


def _solve(
    columns: sp.csc_matrix,
    item: int,
    neighbors: Int[np.ndarray, " neighbors"],
    penalties: Float[np.ndarray, " items"],
) -> tuple[Float[np.ndarray, " neighbors"], float]:
    """(AᵀA + Λ_A)⁻¹·Aᵀx of one item's column x and its neighbours' A.

    Returns:
        The weights, and about their relative error.

    Raises:
        LinAlgError: AᵀA + Λ_A is not positive definite.
    """
    from scipy.linalg import lapack  # takes a quarter of a second, not needed by other models

    if not neighbors.size:
        return np.empty(0, np.float32), 0.0
    chosen = columns[:, [*neighbors, item]]
    products = (chosen.T @ chosen).toarray()
    gram = products[:-1, :-1]
    np.einsum("ii->i", gram)[:] += penalties[neighbors]
    own = products[:-1, -1]
    factor, weights, failed = lapack.sposv(gram, own)
    if failed:
        raise np.linalg.LinAlgError("not positive definite")
    # the next step of iterative refinement is about what is wrong
    rest, _ = lapack.spotrs(factor, own - gram @ weights.astype(np.float64))
    return weights, float(np.linalg.norm(rest)) / max(float(np.linalg.norm(weights)), TINY)
