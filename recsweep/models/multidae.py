"""Multi-DAE: a denoising autoencoder with a multinomial likelihood (Liang et al. 2018)."""

from collections.abc import Mapping
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
from recsweep.training.batches import AnyBatch
from recsweep.training.gradient_model import GradientModel
from recsweep.training.layers import (
    NEVER,
    Noise,
    dense,
    first_layer,
    l2_penalty,
    mean_per_user,
    multinomial_loss,
    tanh_layers,
    unit_rows,
)
from recsweep.training.loop import Hyper, constant


class MultiDAENetwork(keras.Model):
    """items -> tanh … -> tanh code -> tanh … -> a logit per item.

    Args:
        n_items: Width of input and output.
        hidden_dims: Encoder widths from the input on; the decoder mirrors them. May be empty.
        latent_dim: Width of the code.
        seeds: Seeds of the initial weights and the noise.
    """

    adds_l2: ClassVar[bool] = True
    fill: ClassVar[Mapping[str, float]] = {"output/bias": NEVER}

    def __init__(
        self, n_items: int, hidden_dims: tuple[int, ...], latent_dim: int, seeds: Seeds
    ) -> None:
        super().__init__(name="multidae")
        self.architecture = ("multidae", n_items, hidden_dims, latent_dim)
        widths = (*hidden_dims, latent_dim)
        self.first = first_layer(n_items, widths[0], seeds)
        self.encoder = tanh_layers(widths, "encoder", seeds, start=1)
        self.decoder = tanh_layers(widths[::-1], "decoder", seeds)
        self.output_layer = dense(widths[0], n_items, "output", seeds)
        self.noise = Noise(seeds.named("noise"))
        self.built = True

    def logits(self, batch: AnyBatch, x: Tensor) -> Tensor:
        """A logit per item for rows of the batch with values `x`: n_rows × items."""
        h = ops.tanh(self.first(batch, x))
        for layer in [*self.encoder, *self.decoder]:
            h = layer(h)
        return self.output_layer(h)

    def call(self, batch: AnyBatch, hyper: LossInputs, *, training: bool) -> LossParts:
        """Loss parts, means per user: −log-likelihood + l2·Σ‖W‖²."""
        x = unit_rows(batch)
        x = self.noise.dropout(x, hyper["dropout_rate"]) if training else x
        losses = multinomial_loss(batch, self.logits(batch, x))
        reconstruction = mean_per_user(batch, losses)
        l2 = l2_penalty(hyper, self.trainable_variables)
        return {"loss": reconstruction + l2, "reconstruction": reconstruction, "l2": l2}

    def scores(self, batch: AnyBatch) -> Tensor:
        """Logits without dropout, n_rows × items."""
        return self.logits(batch, unit_rows(batch))


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class MultiDAE(GradientModel):
    """Multi-DAE: Multi-VAE's network without its variational part.

    Args:
        hidden_dims: Encoder widths from the input on; the decoder mirrors them. May be empty.
        latent_dim: Width of the code.
        dropout_rate: Share of the (L2-normalised) input that is dropped in training.

    Source:
        Liang, Krishnan, Hoffman & Jebara: Variational Autoencoders for Collaborative
        Filtering. WWW 2018, section 2.3.
    """

    padded = ("latent_dim",)
    stepwise = ("dropout_rate",)

    hidden_dims: list[Annotated[int, Field(ge=1)]]
    latent_dim: Annotated[int, Field(ge=1)]
    dropout_rate: DropoutRate

    def network(self, n_items: int, seeds: Seeds) -> MultiDAENetwork:
        """A network with initial weights."""
        return MultiDAENetwork(n_items, tuple(self.hidden_dims), self.latent_dim, seeds)

    def n_items(self, state: State) -> int:
        """One output bias per item."""
        return len(state["output/bias"])

    def inputs(self, steps: Float[np.ndarray, " steps"]) -> Hyper:
        """The dropout rate."""
        return constant(steps, dropout_rate=self.dropout_rate)
