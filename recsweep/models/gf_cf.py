"""GF-CF: a linear and an ideal low-pass filter on the graph of items (Shen et al. 2021)."""

from inspect import signature
from typing import Annotated, ClassVar

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from threadpoolctl import threadpool_limits

from recsweep.data.degrees import degree_powers, item_degrees, normalize
from recsweep.defaults import with_defaults
from recsweep.errors import InputError
from recsweep.interfaces import CSR, STRICT, OnEpoch, Shapes, Weight
from recsweep.learned_arrays import LearnedArrays, sparse_arrays, sparse_matrix, sparse_shapes
from recsweep.memory import refuse_beyond_memory
from recsweep.messages import one_line
from recsweep.seeds import Seeds

LEAST_SINGULAR_VALUE = 1e-6
"""The largest is 1; vectors below are arbitrary ones that no user has."""
N_DECIMALS = 6
"""Of singular values that are equal up to the rounding of a float32 matrix."""
N_DENSE = 2**16
"""Cells of a matrix that is decomposed in full within 50 ms, all equal singular values included."""


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class GFCF(LearnedArrays):
    """A history is smoothed by the graph of items, and projected on its lowest frequencies.

    With R̃ = D_U^(−½)·R·D_I^(−½), of the degrees of users and items, and its first right singular
    vectors V: scores are r·(R̃ᵀR̃ + alpha·D_I^(−½)·VVᵀ·D_I^(½)). Nothing of items × items is formed:
    R̃ is kept, so a saved model holds the training interactions.

    Each connected component of users and items has the singular value 1. Of equal values, those of
    components with more interactions come first, and then those of the first user.

    Args:
        alpha: Weight of the projection.
        latent_dim: Number of singular vectors, fewer than users and items.

    Source:
        Shen, Wu, Zhang, Shan, Zhang, Letaief & Li: How Powerful is Graph Convolution for
        Recommendation? CIKM 2021, algorithm 1.
    """

    is_deterministic: ClassVar[bool] = True

    alpha: Weight
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
    """Those of the largest singular values, by value; the same each time.

    The singular vectors of a graph are those of its connected components. Each component is
    decomposed by itself, since all have the singular value 1, and Lanczos's method misses some of
    several equal values.
    """
    components = _components(matrix)[-n_vectors:]  # each has a singular value 1, the largest
    with threadpool_limits(1, "blas"):  # its many short products are slower in several threads
        found = [
            _decomposition(matrix[users][:, items].astype(np.float64), n_vectors)
            for users, items in components
        ]
    values = np.concatenate([each for each, _ in found])
    owners = np.repeat(np.arange(len(found)), [len(each) for each, _ in found])
    rows = np.concatenate([np.arange(len(each)) for each, _ in found])
    largest = np.argsort(values.round(N_DECIMALS), kind="stable")[-n_vectors:]
    largest = largest[values[largest] > LEAST_SINGULAR_VALUE]
    vectors = np.zeros((len(largest), matrix.shape[1]), np.float32)
    for vector, place in zip(vectors, largest, strict=True):
        vector[components[owners[place]][1]] = found[owners[place]][1][rows[place]]
    return vectors


def _components(matrix: CSR) -> list[tuple[np.ndarray, np.ndarray]]:
    """Users and items of each connected component, that with most interactions last.

    Of equal ones the first is the last. Users and items without interactions belong to the last of
    all, so that the matrix of a connected graph stays whole.
    """
    from scipy.sparse.csgraph import connected_components

    links = sp.csr_matrix(matrix != 0)
    graph = sp.bmat([[None, links], [links.T, None]], format="csr")
    n_components, labels = connected_components(graph, directed=False)
    of_users, of_items = np.split(labels, [links.shape[0]])
    sizes = np.bincount(of_users, np.diff(links.indptr), n_components)

    def grouped(labels: np.ndarray) -> list[np.ndarray]:
        labels = np.where(sizes[labels] > 0, labels, sizes.argmax())
        ends = np.bincount(labels, minlength=n_components).cumsum()
        return np.split(np.argsort(labels, kind="stable"), ends[:-1])

    users, items = grouped(of_users), grouped(of_items)
    smallest_first = np.argsort(-sizes, kind="stable")[::-1]
    return [(users[each], items[each]) for each in smallest_first if len(users[each])]


def _decomposition(
    matrix: CSR, n_vectors: int
) -> tuple[Float[np.ndarray, " vectors"], Float[np.ndarray, "vectors items"]]:
    """The largest singular values, in ascending order, and their right singular vectors.

    As SciPy's `svds`, whose restarts cannot be seeded; small matrices in full.
    """
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh  # .25 s, for this model only

    if matrix.shape[0] * matrix.shape[1] <= N_DENSE or min(matrix.shape) <= n_vectors:
        refuse_beyond_memory(
            2 * 8 * matrix.shape[0] * matrix.shape[1],
            f"all singular vectors of {matrix.shape[0]:,} users and {matrix.shape[1]:,} items",
            "lower model.latent_dim",
        )
        _, values, vectors = np.linalg.svd(matrix.toarray(), full_matrices=False)
        return values[:n_vectors][::-1], vectors[:n_vectors][::-1]
    is_tall = matrix.shape[0] >= matrix.shape[1]
    tall = matrix if is_tall else matrix.T
    across = tall.T
    n = tall.shape[1]
    gram = LinearOperator((n, n), lambda x: across @ (tall @ x), dtype=np.float64)
    random = np.random.default_rng(0)
    settings = {"v0": random.standard_normal(n)}
    if "rng" in signature(eigsh).parameters:  # of restarts, since SciPy 1.17
        settings["rng"] = random
    try:
        basis, _ = np.linalg.qr(eigsh(gram, n_vectors, **settings)[1])
    except ArpackError as error:
        raise InputError(
            f"the {n_vectors} largest singular values must be found, but ARPACK failed "
            f"({one_line(str(error))}); lower model.latent_dim"
        ) from error
    left, values, right = np.linalg.svd(tall @ basis, full_matrices=False)
    vectors = right @ basis.T if is_tall else left.T
    return values[::-1], vectors[::-1]
