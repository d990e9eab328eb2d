"""P3α: items that a random walk of three steps reaches from a user (Cooper et al. 2014)."""

from typing import Annotated, ClassVar

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.data.degrees import degree_powers, item_degrees, normalize
from recsweep.data.gram import over_gram_rows
from recsweep.defaults import with_defaults
from recsweep.interfaces import CSR, STRICT, OnEpoch, PositiveWeight, Shapes
from recsweep.learned_arrays import LearnedArrays, sparse_arrays, sparse_matrix, sparse_shapes
from recsweep.models.item_knn import nearest
from recsweep.seeds import Seeds


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class P3Alpha(LearnedArrays):
    """An item's score is the probability that a walk from the user ends there.

    The walk goes to an item of the history, to a user of that item and to an item of that user,
    each with a probability in proportion to the interaction's value, raised to `alpha`. From item
    i to j it is W_ij = Σ_u (x_ui/d_i)^alpha · (x_uj/d_u)^alpha with the degrees d. The likeliest
    next items of each item are kept, and of these the likeliest that lead to each item.

    Args:
        n_neighbors: Items kept in both directions; ties go to the lower item number.
        alpha: Exponent of probabilities; below 1, unlikely steps count more.

    Source:
        Cooper, Lee, Radzik & Siantos: Random Walks in Recommender Systems: Exact Computation and
        Simulations. WWW 2014 companion; neighbours as in Ferrari Dacrema, Cremonesi & Jannach:
        Are We Really Making Much Progress? RecSys 2019, whose values are 0 or 1.
    """

    is_deterministic: ClassVar[bool] = True

    n_neighbors: Annotated[int, Field(ge=1)]
    alpha: PositiveWeight

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:  # noqa: ARG002 - no draw
        """Compute the probabilities from each item and keep the likeliest."""
        degrees = item_degrees(train)
        leaving = degree_powers(degrees, -self.alpha).astype(np.float32)
        arriving = self.arrival_weights(degrees).astype(np.float32)

        def likeliest(start: int, products: CSR) -> CSR:
            rows = start + np.repeat(np.arange(products.shape[0]), np.diff(products.indptr))
            products.data *= leaving[rows] * arriving[products.indices]
            products.data[rows == products.indices] = 0  # nothing is its own neighbour
            products.eliminate_zeros()
            return nearest(products, self.n_neighbors)

        steps = normalize(train, -0.5, 0).power(self.alpha)  # (x_ui·x_uj/d_u)^alpha in XᵀX
        walks = sp.vstack(over_gram_rows(steps, likeliest)).T.tocsr()  # row j leads to item j
        self.learned = sparse_arrays(nearest(walks, self.n_neighbors).T.tocsr())
        on_epoch(0, {})

    def arrival_weights(self, degrees: Float[np.ndarray, " items"]) -> Float[np.ndarray, " items"]:
        """What a walk's end is weighted by."""
        return np.ones_like(degrees)

    def shapes(self, n_items: int) -> Shapes:
        """A sparse matrix of items × items."""
        return sparse_shapes(n_items)

    def score(self, history: CSR) -> Float[np.ndarray, "users items"]:
        """The walks from the history, up to a factor per user: users × items."""
        first = history.astype(np.float32, copy=False).power(self.alpha)
        return (first @ sparse_matrix(self.learned, history.shape[1])).toarray()
