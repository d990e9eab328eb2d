"""SLIM: a sparse item–item matrix by elastic nets (Ning & Karypis 2011)."""

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, ClassVar

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep import environment
from recsweep.data.gram import over_gram_rows
from recsweep.defaults import with_defaults
from recsweep.interfaces import CSR, STRICT, OnEpoch, Shapes, Weight
from recsweep.learned_arrays import LearnedArrays, sparse_arrays, sparse_matrix, sparse_shapes
from recsweep.memory import refuse_beyond_memory
from recsweep.models.item_knn import nearest
from recsweep.seeds import Seeds
from recsweep.step_lines import report_progress

log = logging.getLogger(__name__)

BATCH_CELLS = 1 << 23
"""Cells of the Gram matrices of the items solved at a time in each thread: 32 MiB."""
TOLERANCE = 1e-5
"""An elastic net is solved when no weight changes by more, relative to the largest."""
MAX_SWEEPS = 500

Grams = Float[np.ndarray, "neighbors neighbors items"]
Weights = Float[np.ndarray, "neighbors items"]


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class SLIM(LearnedArrays):
    """Each item's score is a weighted sum over the items of a history, most weights being 0.

    For each item with column x the weights w of its neighbours, with columns A, minimise
    ½‖x − A·w‖² + ½·l2·‖w‖² + l1·‖w‖₁. Neighbours are the items with the largest weights if each
    were alone, (x·a − l1)/(a·a + l2). With `positive` weights those with x·a ≤ l1 would get 0, so
    the result is exact where there are `n_neighbors` for all others.

    Args:
        n_neighbors: Items that may get a weight; time and memory grow with its square.
        l1: Weight of the absolute values; larger = sparser. In units of common users.
        l2: Weight of the squares; larger = smoother.
        positive: Whether weights below 0 are ruled out.

    Source:
        Ning & Karypis: SLIM: Sparse Linear Methods for Top-N Recommender Systems. ICDM 2011; with
        neighbours it is the paper's fsSLIM. Solved by cyclic coordinate descent (Friedman, Hastie &
        Tibshirani 2010) on Gram matrices, for many items at a time.
    """

    is_deterministic: ClassVar[bool] = True

    n_neighbors: Annotated[int, Field(ge=1)]
    l1: Weight
    l2: Weight
    positive: bool

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:  # noqa: ARG002 - no draw
        """Solve an elastic net per item."""
        n_items, n_threads = train.shape[1], environment.n_threads()
        n_places = max(1, min(self.n_neighbors, n_items - 1))
        n_columns = max(1, BATCH_CELLS // n_places**2)
        refuse_beyond_memory(
            4 * n_threads * n_columns * n_places**2,
            f"elastic nets of {n_places:,} neighbours",
            "lower model.n_neighbors",
        )
        columns = train.astype(np.float32, copy=False).tocsc()
        neighbors, starts = self._neighbors(train), range(0, n_items, n_columns)

        def solve(start: int) -> CSR:
            rows = neighbors[start : start + n_columns]
            grams, targets = _problems(columns, start, rows, n_places)
            weights = descend(grams, targets, self.l1, self.l2, self.positive)
            solved = [weights[: end - begin, place] for place, (begin, end) in _spans(rows)]
            parts = (np.concatenate(solved), rows.indices, rows.indptr)
            return sp.csr_matrix(parts, shape=rows.shape)

        with ThreadPoolExecutor(n_threads) as pool:  # NumPy releases the GIL
            steps = zip(
                report_progress(starts, "elastic nets"), pool.map(solve, starts), strict=True
            )
            weights = sp.vstack([solved for _, solved in steps], format="csr")
        weights.eliminate_zeros()
        self.learned = sparse_arrays(weights.T.tocsr())  # column j holds the weights for item j
        on_epoch(0, {})

    def _neighbors(self, train: CSR) -> CSR:
        """A row per item, with an entry for each of its neighbours."""
        columns = train.astype(np.float32, copy=False)
        squares = np.bincount(train.indices, np.square(train.data), minlength=train.shape[1])
        scales = (squares + self.l2).astype(np.float32)

        def largest(start: int, products: CSR) -> CSR:
            rows = start + np.repeat(np.arange(products.shape[0]), np.diff(products.indptr))
            gains = products.data if self.positive else np.abs(products.data)
            gains = np.maximum(gains - np.float32(self.l1), 0)
            gains[rows == products.indices] = 0  # nothing is its own neighbour
            products.data = np.divide(
                gains, scales[products.indices], out=np.zeros_like(gains), where=gains > 0
            )
            products.eliminate_zeros()
            return nearest(products, self.n_neighbors)

        return sp.vstack(over_gram_rows(columns, largest), format="csr")

    def shapes(self, n_items: int) -> Shapes:
        """A sparse matrix of items × items."""
        return sparse_shapes(n_items)

    def score(self, history: CSR) -> Float[np.ndarray, "users items"]:
        """History · weights: users × items."""
        weights = sparse_matrix(self.learned, history.shape[1])
        return (history.astype(np.float32, copy=False) @ weights).toarray()


def _spans(rows: CSR) -> list[tuple[int, tuple[int, int]]]:
    """Number, and first and last entry, of each row."""
    return list(enumerate(zip(rows.indptr, rows.indptr[1:], strict=False)))


def _problems(columns: CSR, start: int, neighbors: CSR, n_places: int) -> tuple[Grams, Weights]:
    """AᵀA and Aᵀx of items from `start` on; 0 in places without a neighbour.

    Args:
        columns: X by columns.
        start: The first item.
        neighbors: A row for each of the items.
        n_places: At least as many as each item has neighbours.
    """
    n_columns = neighbors.shape[0]
    grams = np.zeros((n_places, n_places, n_columns), np.float32)
    targets = np.zeros((n_places, n_columns), np.float32)
    for place, (begin, end) in _spans(neighbors):
        chosen, n = columns[:, [*neighbors.indices[begin:end], start + place]], end - begin
        products = (chosen.T @ chosen).toarray()
        grams[:n, :n, place], targets[:n, place] = products[:n, :n], products[:n, n]
    return grams, targets


def descend(grams: Grams, targets: Weights, l1: float, l2: float, positive: bool) -> Weights:
    """Minimise ½wᵀGw − wᵀt + ½·l2·‖w‖² + l1·‖w‖₁ for each item, one coordinate after the other.

    Args:
        grams: G of each item.
        targets: t of each item.
        l1: Weight of the absolute values.
        l2: Weight of the squares.
        positive: Whether w must not be negative.
    """
    squares = np.einsum("iic->ic", grams)
    scales = np.where(squares + l2 > 0, squares + l2, 1).astype(np.float32)
    weights, residuals = np.zeros_like(targets), targets.copy()  # t − G·w
    change = np.empty_like(targets)
    for _ in range(MAX_SWEEPS):
        largest_step = 0.0
        for i, old in enumerate(weights):
            alone = residuals[i] + squares[i] * old
            size = np.maximum((alone if positive else np.abs(alone)) - np.float32(l1), 0)
            new = (size if positive else np.copysign(size, alone)) / scales[i]
            step = new - old
            if step.any():
                residuals -= np.multiply(grams[i], step, out=change)
                weights[i] = new
                largest_step = max(largest_step, float(np.abs(step).max()))
        if largest_step <= TOLERANCE * np.abs(weights).max(initial=0):
            return weights
    log.warning(
        "weights of %s items still changed by %.1e after %s sweeps; raise model.l2 if that matters",
        f"{targets.shape[1]:,}", largest_step, MAX_SWEEPS,
    )  # fmt: skip
    return weights
