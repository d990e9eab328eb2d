"""BPR: matrix factorisation that ranks a user's items above others (Rendle et al. 2009)."""

from collections.abc import Hashable
from typing import Annotated, Any

import keras
import numpy as np
from jaxtyping import Float, Int
from keras import ops
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.data.known_users import KnownUsers
from recsweep.defaults import with_defaults
from recsweep.interfaces import (
    CSR,
    STRICT,
    LossInputs,
    LossParts,
    OnEpoch,
    Shapes,
    State,
    Tensor,
    Weight,
)
from recsweep.learned_arrays import CSR_PARTS, sparse_arrays, sparse_matrix, sparse_shapes
from recsweep.seeds import Seeds
from recsweep.training.batches import Triples
from recsweep.training.engine import Engine
from recsweep.training.initializers import normal
from recsweep.training.loop import constant, train_epochs
from recsweep.training.optimizers import Optimizer
from recsweep.training.triples import TripleEpochs

INITIAL_STDDEV = 0.1
"""Standard deviation of the initial embeddings, as in LightGCN's code."""

OfTriples = tuple[Tensor, Tensor, Tensor]
"""The vectors of each triple's user, positive and negative, n_rows × latent each."""


class EmbeddingNetwork(keras.Model):
    """An embedding per user and per item; the score of a pair is their inner product.

    Args:
        shape: Users and items.
        latent_dim: Length of an embedding.
        seeds: Seeds of the initial weights.
    """

    def __init__(self, shape: tuple[int, int], latent_dim: int, seeds: Seeds) -> None:
        super().__init__(name="bpr")
        self.architecture: tuple[Hashable, ...] = ("bpr", *shape, latent_dim)

        def embeddings(n: int, name: str) -> keras.Variable:
            initializer = normal(seeds.named(f"init/{name}"), INITIAL_STDDEV)
            return self.add_weight((n, latent_dim), initializer=initializer, name=name)

        self.users, self.items = embeddings(shape[0], "users"), embeddings(shape[1], "items")
        self.built = True

    def call(self, batch: Triples, hyper: LossInputs, *, training: bool) -> LossParts:  # noqa: ARG002 - no noise
        """Loss parts, means per triple: −log σ(s_ui − s_uj) + l2/2·(‖e_u‖² + ‖e_i‖² + ‖e_j‖²)."""
        own = at_triples(batch, self.users, self.items)
        user, positive, negative = self.final(batch, own)
        margins = ops.sum(user * (positive - negative), axis=1)
        squares = sum(ops.sum(ops.square(each), axis=1) for each in own)
        n_triples = ops.sum(batch.is_triple)
        ranking = ops.sum(batch.is_triple * ops.softplus(-margins)) / n_triples
        l2 = hyper["l2"] * 0.5 * ops.sum(batch.is_triple * squares) / n_triples
        return {"loss": ranking + l2, "ranking": ranking, "l2": l2}

    def final(self, batch: Triples, own: OfTriples) -> OfTriples:  # noqa: ARG002 - a graph's
        """What a batch is scored by, given its own embeddings."""
        return own


def at_triples(batch: Triples, users: Tensor, items: Tensor) -> OfTriples:
    """The vectors of each triple's user, positive and negative."""
    both = ops.concatenate([batch.positives, batch.negatives])
    positive, negative = ops.split(ops.take(items, both, axis=0), 2)
    return ops.take(users, batch.users, axis=0), positive, negative


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class BPR:
    """Embeddings of training users and items, trained on triples by gradient steps.

    In an epoch every interaction is visited once, with a negative that is drawn uniformly from the
    items that the user does not have. A history is scored by the embedding of the training user
    whose items it holds, see `KnownUsers`. Anyone else is folded in: by the direction of steepest
    descent of the loss at 0, which is the mean embedding of their items less that of all items.
    Without any item it is the mean of all users.

    Args:
        latent_dim: Length of an embedding.
        l2: Weight of half the squares of a triple's embeddings.
        batch_size: Triples per step.
        n_epochs: Maximum number of epochs.
        optimizer: The optimizer.

    Source:
        Rendle, Freudenthaler, Gantner & Schmidt-Thieme: BPR: Bayesian Personalized Ranking from
        Implicit Feedback. UAI 2009; there with one triple per step, drawn with replacement.
    """

    latent_dim: Annotated[int, Field(ge=1)]
    l2: Weight
    batch_size: Annotated[int, Field(ge=1)]
    n_epochs: Annotated[int, Field(ge=1)]
    optimizer: Optimizer

    def __post_init__(self) -> None:
        self._engine: Engine | None = None
        self._train: CSR | None = None
        self._known: KnownUsers | None = None
        self._vectors: Tensor | None = None

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:
        """Train for `n_epochs`, or until `on_epoch` returns False."""
        self.optimizer.refuse_beyond_memory(
            sum(train.shape) * self.latent_dim,
            f"embeddings of {train.shape[0]:,} users and {train.shape[1]:,} items",
            "lower model.latent_dim",
        )
        engine = self._begin(train, seeds)
        epochs = TripleEpochs(train, self.batch_size, self.n_epochs, seeds.named("shuffle"))

        def after_epoch(epoch: int, losses: Any) -> bool:
            self._vectors = None
            return on_epoch(epoch, losses)

        train_epochs(
            engine, epochs, self.optimizer, lambda steps: constant(steps, l2=self.l2), after_epoch
        )

    def network(self, train: CSR, seeds: Seeds) -> EmbeddingNetwork:
        """A network with initial weights."""
        return EmbeddingNetwork(train.shape, self.latent_dim, seeds)

    def score(self, history: CSR) -> Float[np.ndarray, "users items"]:
        """Inner products with the item vectors: users × items."""
        engine, train = self._fitted()
        if self._vectors is None:
            weights = engine.state()
            self._vectors = self.vectors(train, weights["bpr/users"], weights["bpr/items"])
        if self._known is None:
            self._known = KnownUsers(train)
        users, *items = self._vectors
        return self.user_vectors(history, self._known.find(history), users, *items) @ items[-1].T

    def vectors(
        self,
        train: CSR,  # noqa: ARG002 - a graph's
        users: Float[np.ndarray, "users latent"],
        items: Float[np.ndarray, "items latent"],
    ) -> tuple[np.ndarray, ...]:
        """What `user_vectors` is given; last the items' vectors to score by."""
        return users, items

    def user_vectors(
        self,
        history: CSR,
        known: Int[np.ndarray, " rows"],
        users: Float[np.ndarray, "users latent"],
        *items: Float[np.ndarray, "items latent"],
    ) -> Float[np.ndarray, "rows latent"]:
        """A vector per history.

        Args:
            history: The histories.
            known: The training row of each; -1 = none.
            users: The training users' embeddings.
            items: Vectors of the items.
        """
        lengths = np.diff(history.indptr)[:, None]
        ones = history.astype(np.float32)
        ones.data[:] = 1
        found = ones @ items[-1] / np.maximum(lengths, 1) - items[-1].mean(axis=0)
        found = np.where(lengths == 0, users.mean(axis=0), found)
        return np.where(known[:, None] >= 0, users[known], found)

    def keep(self) -> None:
        """Keep the current weights, in place of earlier ones."""
        self._fitted()[0].keep()

    def return_to_kept(self) -> None:
        """Replace the weights by the kept ones."""
        self._vectors = None
        self._fitted()[0].return_to_kept()

    def state(self) -> State:
        """The embeddings, and the training interactions, by which users are recognised."""
        engine, train = self._fitted()
        return {**engine.state(), **sparse_arrays(train)}

    def shapes(self, n_items: int) -> Shapes:
        """Embeddings of any number of users and of the items, and the users' interactions."""
        return {
            "bpr/users": ("users", self.latent_dim),
            "bpr/items": (n_items, self.latent_dim),
            **sparse_shapes("users"),
        }

    def restore(self, state: State) -> None:
        """Load the state of another instance with the same settings."""
        train = sparse_matrix(state, len(state["bpr/items"]))
        self._begin(train, Seeds(0)).restore(
            {name: each for name, each in state.items() if name not in CSR_PARTS}
        )

    def _begin(self, train: CSR, seeds: Seeds) -> Engine:
        """A new engine for these interactions."""
        self._train, self._known, self._vectors = train, None, None
        self._engine = Engine(self.network(train, seeds), self.optimizer, self.batch_size)
        return self._engine

    def _fitted(self) -> tuple[Engine, CSR]:
        if self._engine is None or self._train is None:
            raise RuntimeError("a model must be fitted or restored first; call fit or restore")
        return self._engine, self._train
