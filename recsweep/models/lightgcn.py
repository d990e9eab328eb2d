"""LightGCN: embeddings smoothed over the graph of users and items (He et al. 2020)."""

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float, Int
from keras import ops
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.data.degrees import degree_powers, item_degrees, normalize
from recsweep.defaults import with_defaults
from recsweep.interfaces import CSR, STRICT, Tensor
from recsweep.models.bpr import BPR, EmbeddingNetwork, OfTriples, at_triples
from recsweep.seeds import Seeds
from recsweep.training.backend import csr_matmul
from recsweep.training.batches import Triples


class GraphNetwork(EmbeddingNetwork):
    """Embeddings that are averaged over `n_layers` steps to neighbours, and the own ones.

    With R̃ = D_U^(−½)·R·D_I^(−½): U_{k+1} = R̃·I_k and I_{k+1} = R̃ᵀ·U_k.

    Args:
        graph: R̃, users × items.
        n_layers: Steps.
        latent_dim: Length of an embedding.
        seeds: Seeds of the initial weights.
    """

    def __init__(self, graph: CSR, n_layers: int, latent_dim: int, seeds: Seeds) -> None:
        super().__init__(graph.shape, latent_dim, seeds)
        self.n_layers = n_layers
        self.architecture = ("lightgcn", *graph.shape, graph.nnz, n_layers, latent_dim)
        self.by_user = self._constants("by_user", graph)
        self.by_item = self._constants("by_item", graph.T.tocsr())

    def _constants(self, name: str, matrix: CSR) -> tuple[Tensor, ...]:
        """Values, columns and starts of a matrix; inputs of the compiled program."""
        parts = (matrix.data, matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32))
        return tuple(
            self.add_weight(
                part.shape, dtype=str(part.dtype), trainable=False, name=f"{name}_{i}",
                initializer=lambda _shape, dtype=None, part=part: part,  # noqa: ARG005 - Keras' call
            )
            for i, part in enumerate(parts)
        )  # fmt: skip

    def final(self, batch: Triples, own: OfTriples) -> OfTriples:  # noqa: ARG002 - replaced
        """The batch's means over layers."""
        return at_triples(batch, *self.propagate(self.users, self.items))

    def propagate(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """The mean over layers of all users and items.

        As a matrix it is symmetric, a polynomial of the graph's, so the gradient is the same map.
        """

        def mean(users: Tensor, items: Tensor) -> Any:
            return _mean_of_layers(self._step, users, items, self.n_layers), mean_back

        def mean_back(*upstream: Any) -> tuple[Tensor, Tensor]:
            of_users, of_items = upstream if len(upstream) == 2 else upstream[0]  # JAX: one tuple
            return _mean_of_layers(self._step, of_users, of_items, self.n_layers)

        found = ops.custom_gradient(mean)(
            ops.convert_to_tensor(users), ops.convert_to_tensor(items)
        )
        return found[0], found[1]

    def _step(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        return _product(self.by_user, items), _product(self.by_item, users)


def _product(matrix: tuple[Tensor, ...], dense: Tensor) -> Tensor:
    values, columns, starts = map(ops.convert_to_tensor, matrix)
    return csr_matmul(values, columns, starts, dense)


def _mean_of_layers(
    step: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    users: Tensor,
    items: Tensor,
    n_layers: int,
) -> tuple[Tensor, Tensor]:
    all_users, all_items = users, items
    for _ in range(n_layers):
        users, items = step(users, items)
        all_users, all_items = all_users + users, all_items + items
    return all_users / (n_layers + 1), all_items / (n_layers + 1)


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class LightGCN(BPR):
    """BPR whose vectors are means over the layers of a graph convolution without weights.

    A history's layers 1 to `n_layers` follow from its items and the items' layers; layer 0 is the
    embedding of the training user whose items it holds, see `KnownUsers`, and the mean of all
    users' for anyone else. For a training user with the items that they were trained on, this is
    LightGCN's own vector. Other histories do not change the items' vectors.

    Args:
        n_layers: Steps to neighbours.

    Source:
        He, Deng, Wang, Li, Zhang & Wang: LightGCN: Simplifying and Powering Graph Convolution
        Network for Recommendation. SIGIR 2020, equations 3 to 5 and 15. All steps propagate
        through the whole graph. Triples are BPR's: the authors' code draws users first, which
        gives those with few items more weight.
    """

    n_layers: Annotated[int, Field(ge=1)]

    def network(self, train: CSR, seeds: Seeds) -> GraphNetwork:
        """A network with initial weights."""
        return GraphNetwork(normalize(train, -0.5, -0.5), self.n_layers, self.latent_dim, seeds)

    def vectors(
        self,
        train: CSR,
        users: Float[np.ndarray, "users latent"],
        items: Float[np.ndarray, "items latent"],
    ) -> tuple[np.ndarray, ...]:
        """Users' layer 0; the sum that histories collect, and the mean of layers, of the items.

        Histories collect layers 0 to `n_layers` − 1, each divided by the root of the degree.
        """
        graph = normalize(train, -0.5, -0.5)
        back = graph.T.tocsr()
        roots = degree_powers(item_degrees(train), -0.5).astype(np.float32)
        layer_users, layer_items = users, items
        collected, total = np.zeros_like(items), items
        for _ in range(self.n_layers):
            collected = collected + layer_items
            layer_users, layer_items = graph @ layer_items, back @ layer_users
            total = total + layer_items
        n_layers = np.float32(self.n_layers + 1)
        return users, roots[:, None] * collected, total / n_layers

    def user_vectors(
        self,
        history: CSR,
        known: Int[np.ndarray, " rows"],
        users: Float[np.ndarray, "users latent"],
        *items: Float[np.ndarray, "items latent"],
    ) -> Float[np.ndarray, "rows latent"]:
        """The mean of a history's layers, as a user of the graph would have them."""
        own = np.where(known[:, None] >= 0, users[known], users.mean(axis=0))
        neighbours = normalize(history.astype(np.float32), -0.5, 0.0) @ items[0]
        return (own + neighbours) / np.float32(self.n_layers + 1)
