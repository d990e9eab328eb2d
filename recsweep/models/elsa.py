"""ELSA: an item × item matrix of low rank from unit vectors (Vančura et al. 2022)."""

from typing import Annotated, ClassVar

import keras
import numpy as np
from jaxtyping import Float
from keras import ops
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.defaults import with_defaults
from recsweep.interfaces import STRICT, LossInputs, LossParts, State, Tensor
from recsweep.seeds import Seeds
from recsweep.training.batches import AnyBatch
from recsweep.training.gradient_model import GradientModel
from recsweep.training.initializers import glorot_uniform
from recsweep.training.layers import l2_penalty, mean_per_user, unit_rows
from recsweep.training.loop import Hyper
from recsweep.training.sparse import densify, row_sums, sparse_matmul

SMALLEST = 1e-12
"""Squared lengths below this are taken as this: a vector of zeros stays one."""


class ELSANetwork(keras.Model):
    """x -> x·(A·Aᵀ − I), where rows of A have length 1: an item is predicted from the others.

    Args:
        n_items: Rows of A.
        latent_dim: Columns of A.
        seeds: Seeds of the initial weights.
    """

    adds_l2: ClassVar[bool] = True

    def __init__(self, n_items: int, latent_dim: int, seeds: Seeds) -> None:
        super().__init__(name="elsa")
        self.architecture = ("elsa", n_items, latent_dim)
        initializer = glorot_uniform(seeds.named("init/kernel"))
        self.kernel = self.add_weight((n_items, latent_dim), initializer=initializer, name="kernel")
        self.built = True

    def unit_vectors(self) -> Tensor:
        """A, n_items × latent."""
        kernel = ops.convert_to_tensor(self.kernel)
        squares = ops.sum(ops.square(kernel), axis=1, keepdims=True)
        return kernel * ops.rsqrt(ops.maximum(squares, SMALLEST))

    def call(self, batch: AnyBatch, hyper: LossInputs, *, training: bool) -> LossParts:  # noqa: ARG002 - no noise
        """Loss parts, means per user: ‖x̂/‖x̂‖ − x/‖x‖‖² + l2·Σ‖W‖², where x̂ = x·(A·Aᵀ − I).

        With the code z = x·A, x̂·x = z·z − x·x and x̂·x̂ = z·(AᵀA)·zᵀ − 2 z·z + x·x: no dense row.
        As the length of x changes nothing, x has length 1: then large values do not overflow.
        """
        vectors = self.unit_vectors()
        code = sparse_matmul(batch, unit_rows(batch), vectors)
        gram = ops.matmul(ops.transpose(vectors), vectors)
        is_filled = ops.cast(row_sums(batch, ops.abs(batch.values)) > 0, "float32")
        inside = ops.sum(ops.square(code), axis=1)
        squares = ops.sum(ops.matmul(code, gram) * code, axis=1) - 2 * inside + is_filled
        cosines = (inside - is_filled) * ops.rsqrt(ops.maximum(squares, SMALLEST))
        reconstruction = mean_per_user(batch, 2 * (is_filled - cosines))
        l2 = l2_penalty(hyper, self.trainable_variables)
        return {"loss": reconstruction + l2, "reconstruction": reconstruction, "l2": l2}

    def scores(self, batch: AnyBatch) -> Tensor:
        """x·(A·Aᵀ − I), n_rows × items."""
        vectors = self.unit_vectors()
        scores = ops.matmul(sparse_matmul(batch, batch.values, vectors), ops.transpose(vectors))
        return scores - densify(batch, batch.values, scores.shape[1])


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class ELSA(GradientModel):
    """ELSA.

    Args:
        latent_dim: Length of an item's vector.

    Source:
        Vančura, Alves, Kasalický & Kordík: Scalable Linear Shallow Autoencoder for Collaborative
        Filtering. RecSys 2022; the authors train it by NAdam.
    """

    padded = ("latent_dim",)

    latent_dim: Annotated[int, Field(ge=1)]

    def network(self, n_items: int, seeds: Seeds) -> ELSANetwork:
        """A network with initial weights."""
        return ELSANetwork(n_items, self.latent_dim, seeds)

    def n_items(self, state: State) -> int:
        """A vector per item."""
        return len(state["elsa/kernel"])

    def inputs(self, steps: Float[np.ndarray, " steps"]) -> Hyper:  # noqa: ARG002 - none
        """Nothing but l2."""
        return {}
