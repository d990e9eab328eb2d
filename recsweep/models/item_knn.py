"""Item-based nearest neighbours: items that the same users chose (Sarwar et al. 2001)."""

from itertools import pairwise
from typing import Annotated, ClassVar

import numpy as np
import scipy.sparse as sp
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.data.gram import over_gram_rows
from recsweep.data.matrix import keep_entries
from recsweep.defaults import with_defaults
from recsweep.interfaces import CSR, STRICT, OnEpoch, Shapes, Weight
from recsweep.learned_arrays import LearnedArrays, sparse_arrays, sparse_matrix, sparse_shapes
from recsweep.seeds import Seeds


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class ItemKNN(LearnedArrays):
    """An item's score is the sum of its similarities to the history, over its nearest neighbours.

    The similarity of items with columns x_i and x_j is the cosine x_i·x_j / (‖x_i‖·‖x_j‖ + s),
    which the shrinkage s pulls to 0 where few users support it.

    Args:
        n_neighbors: Neighbours kept per item; ties go to the lower item number.
        shrinkage: s; 0 = the cosine itself.

    Source:
        Sarwar, Karypis, Konstan & Riedl: Item-based Collaborative Filtering Recommendation
        Algorithms. WWW 2001; shrinkage as in Ferrari Dacrema, Cremonesi & Jannach: Are We Really
        Making Much Progress? RecSys 2019.
    """

    is_deterministic: ClassVar[bool] = True

    n_neighbors: Annotated[int, Field(ge=1)]
    shrinkage: Weight

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:  # noqa: ARG002 - no draw
        """Find each item's nearest neighbours."""
        rows = similar_items(train, self.n_neighbors, self.shrinkage)
        similarities = rows.T.tocsr()  # column j holds the neighbours of item j
        self.learned = sparse_arrays(similarities)
        on_epoch(0, {})

    def shapes(self, n_items: int) -> Shapes:
        """A sparse matrix of items × items."""
        return sparse_shapes(n_items)

    def score(self, history: CSR) -> np.ndarray:
        """History · similarities: users × items."""
        similarities = sparse_matrix(self.learned, history.shape[1])
        return (history.astype(np.float32, copy=False) @ similarities).toarray()


def similar_items(train: CSR, n_neighbors: int, shrinkage: float = 0.0) -> CSR:
    """The largest similarities above 0 of each item, as a row; see `ItemKNN`."""
    squares = np.bincount(  # in float64
        train.indices, weights=np.square(train.data, dtype=np.float64), minlength=train.shape[1]
    )
    norms = np.sqrt(squares.astype(np.float32))

    def neighbors(start: int, products: CSR) -> CSR:
        return nearest(_similarities(start, products, norms, shrinkage), n_neighbors)

    rows = over_gram_rows(train.astype(np.float32, copy=False), neighbors)
    return sp.vstack(rows, format="csr")


def _similarities(start: int, products: CSR, norms: np.ndarray, shrinkage: float) -> CSR:
    """Cosines of a block of items with all others, from rows `start` … of XᵀX."""
    rows = start + np.repeat(np.arange(products.shape[0]), np.diff(products.indptr))
    columns = products.indices
    products.data[rows == columns] = 0  # nothing is its own neighbour
    scales = norms[rows] * norms[columns] + np.float32(shrinkage)
    products.data = np.divide(
        products.data, scales, out=np.zeros_like(products.data), where=scales > 0
    )
    products.eliminate_zeros()
    return products


def nearest(similarities: CSR, n_neighbors: int) -> CSR:
    """The `n_neighbors` largest entries of each row; ties go to the lower item number."""
    is_kept = np.zeros(similarities.nnz, bool)
    for first, last in pairwise(similarities.indptr):
        row = slice(first, last)
        largest = _largest(similarities.data[row], similarities.indices[row], n_neighbors)
        is_kept[first + largest] = True
    return keep_entries(similarities, is_kept)


def _largest(values: np.ndarray, items: np.ndarray, n: int) -> np.ndarray:
    """Positions of the `n` largest values; ties go to the lower item number."""
    if len(values) <= n:
        return np.arange(len(values))
    least = np.partition(values, -n)[-n]
    above, ties = np.flatnonzero(values > least), np.flatnonzero(values == least)
    return np.concatenate([above, ties[np.argsort(items[ties])][: n - len(above)]])
