"""Multi-VAE: a variational autoencoder with a multinomial likelihood (Liang et al. 2018)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import keras
import numpy as np
from jaxtyping import Float
from keras import ops
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.defaults import with_defaults
from recsweep.interfaces import STRICT, DropoutRate, LossInputs, LossParts, State, Tensor, Weight
from recsweep.seeds import Seeds
from recsweep.training.batches import AnyBatch
from recsweep.training.gradient_model import GradientModel
from recsweep.training.layers import (
    NEVER,
    Noise,
    dense,
    first_columns,
    first_layer,
    l2_penalty,
    mean_per_user,
    multinomial_loss,
    tanh_layers,
    unit_rows,
)
from recsweep.training.loop import Hyper, constant
from recsweep.training.schedules import linear_warmup


class MultiVAENetwork(keras.Model):
    """items -> tanh … -> (mean, log-variance) of z -> tanh … -> a logit per item.

    Args:
        n_items: Width of input and output.
        hidden_dims: Encoder widths from the input on; the decoder mirrors them.
        latent_dim: Width of z.
        seeds: Seeds of the initial weights and the noise.
    """

    adds_l2: ClassVar[bool] = True
    blocks: ClassVar[Mapping[str, int]] = {"posterior/kernel": 2, "posterior/bias": 2}
    fill: ClassVar[Mapping[str, float]] = {"output/bias": NEVER}

    def __init__(
        self, n_items: int, hidden_dims: tuple[int, ...], latent_dim: int, seeds: Seeds
    ) -> None:
        super().__init__(name="multivae")
        self.architecture = ("multivae", n_items, hidden_dims, latent_dim)
        self.first = first_layer(n_items, hidden_dims[0], seeds)
        self.encoder = tanh_layers(hidden_dims, "encoder", seeds, start=1)
        self.posterior = dense(hidden_dims[-1], 2 * latent_dim, "posterior", seeds)
        self.decoder = tanh_layers((latent_dim, *hidden_dims[::-1]), "decoder", seeds)
        self.output_layer = dense(hidden_dims[0], n_items, "output", seeds)
        self.noise = Noise(seeds.named("noise"))
        self.built = True

    def encode(self, batch: AnyBatch, dropout_rate: Tensor | None = None) -> Tensor:
        """Mean and log-variance of z, n_rows × latent each, from L2-normalised rows."""
        h = ops.tanh(self.first(batch, self._dropout(unit_rows(batch), dropout_rate)))
        for layer in self.encoder:
            h = layer(h)
        mean, log_variance = ops.split(self.posterior(h), 2, axis=1)
        return mean, log_variance

    def decode(self, z: Tensor, dropout_rate: Tensor | None = None) -> Tensor:
        """A logit per item, n_rows × items."""
        for layer in self.decoder:
            z = layer(z)
        return self.output_layer(self._dropout(z, dropout_rate))

    def _dropout(self, values: Tensor, rate: Tensor | None) -> Tensor:
        return values if rate is None else self.noise.dropout(values, rate)

    def call(self, batch: AnyBatch, hyper: LossInputs, *, training: bool) -> LossParts:
        """Loss parts, means per user: −log-likelihood + β·KL + l2·Σ‖W‖²."""
        mean, log_variance = self.encode(batch, hyper["dropout_rate"] if training else None)
        z = mean
        if training:
            noise = first_columns(self.noise.normal_like(mean, batch), hyper.get("latent_dim"))
            z = mean + ops.exp(0.5 * log_variance) * noise
        logits = self.decode(z, hyper["decoder_dropout_rate"] if training else None)
        kl = 0.5 * ops.sum(ops.exp(log_variance) + ops.square(mean) - 1 - log_variance, axis=1)

        reconstruction = mean_per_user(batch, multinomial_loss(batch, logits))
        kl = mean_per_user(batch, kl)
        l2 = l2_penalty(hyper, self.trainable_variables)
        loss = reconstruction + hyper["beta"] * kl + l2
        return {"loss": loss, "reconstruction": reconstruction, "kl": kl, "l2": l2}

    def scores(self, batch: AnyBatch) -> Tensor:
        """Logits with z at its mean, n_rows × items."""
        mean, _ = self.encode(batch)
        return self.decode(mean)


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class MultiVAE(GradientModel):
    """Multi-VAE.

    Args:
        hidden_dims: Encoder widths from the input on; the decoder mirrors them.
        latent_dim: Width of z.
        dropout_rate: Share of the (L2-normalised) input that is dropped in training.
        decoder_dropout_rate: Share of the last hidden layer that is dropped in training.
        beta: Weight of the KL term once it is warmed up.
        beta_warmup_steps: Steps in which β rises linearly from 0; 0 = constant β.

    Source:
        Liang, Krishnan, Hoffman & Jebara: Variational Autoencoders for Collaborative
        Filtering. WWW 2018.
    """

    logged = ("beta",)
    padded = ("latent_dim",)
    stepwise = ("beta", "beta_warmup_steps", "dropout_rate", "decoder_dropout_rate")

    hidden_dims: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    latent_dim: Annotated[int, Field(ge=1)]
    dropout_rate: DropoutRate
    decoder_dropout_rate: DropoutRate
    beta: Weight
    beta_warmup_steps: Annotated[int, Field(ge=0)]

    def network(self, n_items: int, seeds: Seeds) -> MultiVAENetwork:
        """A network with initial weights."""
        return MultiVAENetwork(n_items, tuple(self.hidden_dims), self.latent_dim, seeds)

    def n_items(self, state: State) -> int:
        """One output bias per item."""
        return len(state["output/bias"])

    def inputs(self, steps: Float[np.ndarray, " steps"]) -> Hyper:
        """β with its warm-up, and the dropout rates."""
        rates = constant(
            steps, dropout_rate=self.dropout_rate, decoder_dropout_rate=self.decoder_dropout_rate
        )
        return {"beta": linear_warmup(self.beta, self.beta_warmup_steps, steps), **rates}
