"""Shallow autoencoder: one item × item matrix without a diagonal, learned by gradient steps."""

from abc import abstractmethod
from math import sqrt
from typing import Annotated, ClassVar

import keras
import numpy as np
from jaxtyping import Float
from keras import ops
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.defaults import with_defaults
from recsweep.interfaces import STRICT, DropoutRate, LossInputs, LossParts, State, Tensor
from recsweep.seeds import Seeds
from recsweep.training.backend import without_diagonal
from recsweep.training.batches import AnyBatch, Epochs, SampledEpochs
from recsweep.training.gradient_model import GradientModel
from recsweep.training.initializers import normal
from recsweep.training.layers import Noise, l2_penalty, mean_per_user
from recsweep.training.loop import Hyper, constant
from recsweep.training.sparse import (
    at_items,
    densify,
    entry_products,
    row_sums,
    sparse_matmul,
)

INITIAL_STDDEV = 0.001
"""Standard deviation of every initial entry of the item × item matrix."""


class ShallowNetwork(keras.Model):
    """x -> x·P, where P has a zero diagonal: an item is predicted from the others.

    Args:
        seeds: Seeds of the initial weights and the noise.
    """

    adds_l2: ClassVar[bool] = True

    def __init__(self, seeds: Seeds) -> None:
        super().__init__(name="shallow_ae")
        self.noise = Noise(seeds.named("noise"))

    def call(self, batch: AnyBatch, hyper: LossInputs, *, training: bool) -> LossParts:
        """Loss parts, means per user: ‖x − x̃·P‖² + l2·Σ‖W‖², where x̃ is x after dropout."""
        x = batch.values
        x = self.noise.dropout(x, hyper["dropout_rate"]) if training else x
        reconstruction = mean_per_user(batch, self.squared_errors(batch, x))
        l2 = l2_penalty(hyper, self.trainable_variables)
        return {"loss": reconstruction + l2, "reconstruction": reconstruction, "l2": l2}

    @abstractmethod
    def squared_errors(self, batch: AnyBatch, x: Tensor) -> Tensor:
        """‖x − x̃·P‖² of each row of the batch; `x` are its entries after dropout."""

    @abstractmethod
    def scores(self, batch: AnyBatch) -> Tensor:
        """x·P, n_rows × items."""


def _off_diagonal(matrix: Tensor) -> Tensor:
    """A matrix with a zero diagonal, which stays zero because its gradient is zero as well."""

    def unchanged(matrix: Tensor) -> Tensor:
        return matrix, without_diagonal

    return ops.custom_gradient(unchanged)(ops.convert_to_tensor(matrix))


class FullNetwork(ShallowNetwork):
    """P is a matrix of its own.

    Args:
        n_items: Its size.
        seeds: Seeds of the initial weights and the noise.
    """

    def __init__(self, n_items: int, seeds: Seeds) -> None:
        super().__init__(seeds)
        self.architecture = ("shallow_ae", n_items)

        def off_diagonal(shape: tuple[int, int], dtype: str) -> np.ndarray:
            weights = normal(seeds.named("init/kernel"), INITIAL_STDDEV)(shape, dtype)
            np.fill_diagonal(weights, 0)
            return weights

        self.kernel = self.add_weight((n_items, n_items), initializer=off_diagonal, name="kernel")
        self.built = True

    def squared_errors(self, batch: AnyBatch, x: Tensor) -> Tensor:
        """Row sums of squares of a dense matrix of errors."""
        predicted = sparse_matmul(batch, x, _off_diagonal(self.kernel))
        errors = predicted - densify(batch, batch.values, predicted.shape[1])
        return ops.sum(ops.square(errors), axis=1)

    def scores(self, batch: AnyBatch) -> Tensor:
        """x·P, n_rows × items."""
        return sparse_matmul(batch, batch.values, self.kernel)


class LowRankNetwork(ShallowNetwork):
    """P = U·Vᵀ without its diagonal; training never forms P or a dense batch.

    Args:
        n_items: Rows of U and of V.
        latent_dim: Columns of U and of V.
        seeds: Seeds of the initial weights and the noise.
    """

    def __init__(self, n_items: int, latent_dim: int, seeds: Seeds) -> None:
        super().__init__(seeds)
        self.architecture = ("shallow_ae", n_items, latent_dim)
        # a sum of latent_dim products of two normal numbers has this deviation²·√latent_dim
        stddev = sqrt(INITIAL_STDDEV / sqrt(latent_dim))

        def factor(name: str) -> keras.Variable:
            initializer = normal(seeds.named(f"init/{name}"), stddev)
            return self.add_weight((n_items, latent_dim), initializer=initializer, name=name)

        self.encoder, self.decoder = factor("encoder_kernel"), factor("decoder_kernel")
        self.built = True

    def _at_clicks(self, batch: AnyBatch, x: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions of U·Vᵀ at the batch's entries, and the diagonal's part of them."""
        decoder, encoder = at_items(batch, self.decoder), at_items(batch, self.encoder)
        predicted = entry_products(batch, code, decoder)
        return predicted, x * ops.sum(encoder * decoder, axis=-1)

    def squared_errors(self, batch: AnyBatch, x: Tensor) -> Tensor:
        """Σ over all items of predictions² = code·(VᵀV)·codeᵀ, corrected where x is not 0."""
        code = sparse_matmul(batch, x, self.encoder)
        decoder = ops.convert_to_tensor(self.decoder)
        gram = ops.matmul(ops.transpose(decoder), decoder)
        everywhere = ops.sum(ops.matmul(code, gram) * code, axis=1)
        predicted, own = self._at_clicks(batch, x, code)
        errors = predicted - own - batch.values
        is_entry = ops.cast(batch.values != 0, "float32")  # padding has predictions too
        return everywhere + row_sums(batch, is_entry * (ops.square(errors) - ops.square(predicted)))

    def scores(self, batch: AnyBatch) -> Tensor:
        """x·U·Vᵀ without the diagonal's part, n_rows × items."""
        code = sparse_matmul(batch, batch.values, self.encoder)
        _, own = self._at_clicks(batch, batch.values, code)
        scores = ops.matmul(code, ops.transpose(self.decoder))
        return scores - densify(batch, own, scores.shape[1])


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class ShallowAE(GradientModel):
    """Shallow autoencoder.

    Args:
        latent_dim: Rank of the item × item matrix; None = a full matrix.
        dropout_rate: Share of the input that is dropped in training (denoising).

    Source:
        Steck: Embarrassingly Shallow Autoencoders for Sparse Data. WWW 2019 (the model, there
        in closed form).
    """

    epochs: ClassVar[type[Epochs]] = SampledEpochs
    padded = ("latent_dim",)
    stepwise = ("dropout_rate",)

    latent_dim: Annotated[int, Field(ge=1)] | None
    dropout_rate: DropoutRate

    def network(self, n_items: int, seeds: Seeds) -> ShallowNetwork:
        """A network with initial weights.

        Raises:
            InputError: A full matrix does not fit into memory.
        """
        if self.latent_dim is None:
            self.optimizer.refuse_beyond_memory(
                n_items**2, f"a matrix of {n_items:,} items", "set model.latent_dim, such as 256"
            )
            return FullNetwork(n_items, seeds)
        return LowRankNetwork(n_items, self.latent_dim, seeds)

    def n_items(self, state: State) -> int:
        """Every weight has a row per item."""
        return len(next(iter(state.values())))

    def inputs(self, steps: Float[np.ndarray, " steps"]) -> Hyper:
        """The dropout rate."""
        return constant(steps, dropout_rate=self.dropout_rate)
