"""GF-CF: a linear and an ideal low-pass filter on the graph of items (Shen et al. 2021)."""

from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from threadpoolctl import threadpool_limits

from recsweep.data.degrees import degree_powers, item_degrees, normalize
from recsweep.defaults import with_defaults
from recsweep.errors import InputError
from recsweep.interfaces import CSR, STRICT, OnEpoch, Shapes
from recsweep.learned_arrays import LearnedArrays, sparse_arrays, sparse_matrix, sparse_shapes
from recsweep.seeds import Seeds

LEAST_SINGULAR_VALUE = 1e-6
"""The largest is 1; vectors below are arbitrary ones that no user has."""


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class GFCF(LearnedArrays):
    """A history is smoothed by the graph of items, and projected on its lowest frequencies.

    With R̃ = D_U^(−½)·R·D_I^(−½), of the degrees of users and items, and its first right singular
    vectors V: scores are r·(R̃ᵀR̃ + alpha·D_I^(−½)·VVᵀ·D_I^(½)). Nothing of items × items is formed:
    R̃ is kept, so a saved model holds the training interactions.

    Args:
        alpha: Weight of the projection.
        latent_dim: Number of singular vectors, fewer than users and items.

    Source:
        Shen, Wu, Zhang, Shan, Zhang, Letaief & Li: How Powerful is Graph Convolution for
        Recommendation? CIKM 2021, algorithm 1.
    """

    is_deterministic: ClassVar[bool] = True

    alpha: Annotated[float, Field(ge=0)]
    latent_dim: Annotated[int, Field(ge=1)]

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:  # noqa: ARG002 - no draw
        """Normalise the interactions and find their singular vectors."""
        if self.latent_dim >= min(train.shape):
            raise InputError(
                f"model.latent_dim must be below the {train.shape[0]:,} users and "
                f"{train.shape[1]:,} items, but is {self.latent_dim}; lower model.latent_dim"
            )
        matrix = normalize(train, -0.5, -0.5)
        self.learned = {
            **sparse_arrays(matrix),
            "frequencies": _right_singular_vectors(matrix, self.latent_dim),
            "degree_roots": degree_powers(item_degrees(train), 0.5).astype(np.float32),
        }
        on_epoch(0, {})

    def shapes(self, n_items: int) -> Shapes:
        """R̃, of any number of users, and vectors of the items."""
        return {
            **sparse_shapes("users"),
            "frequencies": ("frequencies", n_items),
            "degree_roots": (n_items,),
        }

    def score(self, history: CSR) -> Float[np.ndarray, "users items"]:
        """Both filters' sum: users × items."""
        history = history.astype(np.float32, copy=False)
        matrix = sparse_matrix(self.learned, history.shape[1])
        vectors, roots = self.learned["frequencies"], self.learned["degree_roots"]
        smoothed = (history @ matrix.T @ matrix).toarray()
        scaled = vectors * degree_powers(roots, -1)
        projected = (history @ scaled.T) @ (vectors * roots)
        return smoothed + np.float32(self.alpha) * projected


def _right_singular_vectors(matrix: CSR, n_vectors: int) -> Float[np.ndarray, "vectors items"]:
    """Those of the largest singular values; the same each time."""
    from scipy.sparse.linalg import svds  # a quarter of a second, not needed by other models

    start = np.random.default_rng(0).standard_normal(min(matrix.shape))
    with threadpool_limits(1, "blas"):  # its many short products are slower in several threads
        _, values, vectors = svds(matrix.astype(np.float64), n_vectors, v0=start)
    return vectors[values > LEAST_SINGULAR_VALUE].astype(np.float32)
