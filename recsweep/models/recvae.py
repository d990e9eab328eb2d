"""RecVAE: Multi-VAE with a composite prior and alternating training (Shenbin et al. 2020)."""

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
    unit_rows,
)
from recsweep.training.loop import Hyper, constant
from recsweep.training.phases import Phase
from recsweep.training.sparse import row_sums

N_LAYERS = 5
"""Dense layers of the encoder."""
EPSILON = 0.1
"""Added to the variance in each layer normalisation."""
PRIOR_WEIGHTS = (3 / 20, 3 / 4, 1 / 10)
"""Shares of the standard normal, the previous posterior and the wide normal."""
WIDE_LOG_VARIANCE = 10.0
"""Logarithm of the wide normal's variance."""


def log_normal(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Logarithm of the density N(z; mean, exp(log_variance)), element by element."""
    squared = ops.square(z - mean) / ops.exp(log_variance)
    return -0.5 * (np.log(2 * np.pi) + log_variance + squared)


def log_composite_prior(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """The logarithm of the composite prior's density, element by element.

    Args:
        z: Codes, n_rows × latent.
        mean: Means of the previous posterior.
        log_variance: Logarithms of its variances.

    Source:
        Shenbin et al. 2020, section 3.3; as in the authors' code, every element of z has a mixture
        of its own, with a third component.
    """
    zero, wide = ops.zeros_like(z), ops.full_like(z, WIDE_LOG_VARIANCE)
    components = [(zero, zero), (mean, log_variance), (zero, wide)]
    logs = [
        log_normal(z, *component) + np.log(weight)
        for component, weight in zip(components, PRIOR_WEIGHTS, strict=True)
    ]
    return ops.logsumexp(ops.stack(logs), axis=0)


class RecVAENetwork(keras.Model):
    """items -> five dense layers -> (mean, log-variance) of z -> a logit per item.

    Args:
        n_items: Width of input and output.
        hidden_dim: Width of each layer of the encoder.
        latent_dim: Width of z.
        n_encoder_epochs: Passes that train the encoder before one that trains the decoder.
        seeds: Seeds of the initial weights and the noise.
    """

    adds_l2: ClassVar[bool] = True
    blocks: ClassVar[Mapping[str, int]] = {"posterior/kernel": 2, "posterior/bias": 2}
    fill: ClassVar[Mapping[str, float]] = {"output/bias": NEVER}

    def __init__(
        self, n_items: int, hidden_dim: int, latent_dim: int, n_encoder_epochs: int, seeds: Seeds
    ) -> None:
        super().__init__(name="recvae")
        self.architecture = ("recvae", n_items, hidden_dim, latent_dim, n_encoder_epochs)
        self.phases = (
            Phase(n_encoder_epochs, trains=("first/", "encoder_", "norm_", "posterior/")),
            Phase(trains=("output/",), without=("dropout_rate", "gamma", "old")),
        )
        self.first = first_layer(n_items, hidden_dim, seeds)
        self.encoder = [
            dense(hidden_dim, hidden_dim, f"encoder_{i}", seeds) for i in range(1, N_LAYERS)
        ]
        self.norms = [
            keras.layers.LayerNormalization(epsilon=EPSILON, name=f"norm_{i}")
            for i in range(N_LAYERS)
        ]
        for norm in self.norms:
            norm.build((None, hidden_dim))
        self.posterior = dense(hidden_dim, 2 * latent_dim, "posterior", seeds)
        self.output_layer = dense(latent_dim, n_items, "output", seeds)
        self.noise = Noise(seeds.named("noise"))
        self.built = True

    def encode(self, batch: AnyBatch, dropout_rate: Tensor | None = None) -> Tensor:
        """Mean and log-variance of z, n_rows × latent each, from L2-normalised rows."""
        x = unit_rows(batch)
        x = x if dropout_rate is None else self.noise.dropout(x, dropout_rate)
        h = self.norms[0](ops.silu(self.first(batch, x)))
        earlier = h
        for layer, norm in zip(self.encoder, self.norms[1:], strict=True):
            h = norm(ops.silu(layer(h) + earlier))
            earlier = earlier + h
        mean, log_variance = ops.split(self.posterior(h), 2, axis=1)
        return mean, log_variance

    def old(self, batch: AnyBatch) -> Tensor:
        """The posterior without dropout, the prior's second component in the next epoch."""
        return self.encode(batch)

    def call(self, batch: AnyBatch, hyper: LossInputs, *, training: bool) -> LossParts:
        """Loss parts, means per user: −log-likelihood + γ·Σx·KL + l2·Σ‖W‖²; KL at one z."""
        mean, log_variance = self.encode(batch, hyper.get("dropout_rate") if training else None)
        z = mean
        if training:
            noise = first_columns(self.noise.normal_like(mean, batch), hyper.get("latent_dim"))
            z = mean + ops.exp(0.5 * log_variance) * noise
        losses = multinomial_loss(batch, self.output_layer(z))
        l2 = l2_penalty(hyper, self.trainable_variables)
        parts = {"reconstruction": mean_per_user(batch, losses), "l2": l2}
        if "gamma" in hyper:
            # After an epoch the previous encoder is the current one
            previous = hyper["old"] if training else (mean, log_variance)
            ratio = log_normal(z, mean, log_variance) - log_composite_prior(z, *previous)
            kl = ops.sum(first_columns(ratio, hyper.get("latent_dim")), axis=1)
            losses = losses + hyper["gamma"] * row_sums(batch, batch.values) * kl
            parts["kl"] = mean_per_user(batch, kl)
        return {"loss": mean_per_user(batch, losses) + l2, **parts}

    def scores(self, batch: AnyBatch) -> Tensor:
        """Logits with z at its mean, n_rows × items."""
        mean, _ = self.encode(batch)
        return self.output_layer(mean)


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class RecVAE(GradientModel):
    """RecVAE.

    An epoch trains the encoder for some passes over the users, then the decoder for one, without
    dropout. The prior mixes a standard normal, the posterior of the encoder that the epoch began
    with, and a wide normal.

    Args:
        hidden_dim: Width of each of the encoder's five layers.
        latent_dim: Width of z.
        n_encoder_epochs: Passes over the users that train the encoder in each epoch.
        dropout_rate: Share of the (L2-normalised) input that is dropped while the encoder is
            trained.
        gamma: Weight of the KL term per item of the user.

    Source:
        Shenbin, Alekseev, Tutubalina, Malykh & Nikolenko: RecVAE: a New Variational Autoencoder
        for Top-N Recommendations with Implicit Feedback. WSDM 2020.
    """

    padded = ("latent_dim",)
    stepwise = ("dropout_rate", "gamma")

    hidden_dim: Annotated[int, Field(ge=1)]
    latent_dim: Annotated[int, Field(ge=1)]
    n_encoder_epochs: Annotated[int, Field(ge=1)]
    dropout_rate: DropoutRate
    gamma: Weight

    def network(self, n_items: int, seeds: Seeds) -> RecVAENetwork:
        """A network with initial weights."""
        return RecVAENetwork(
            n_items, self.hidden_dim, self.latent_dim, self.n_encoder_epochs, seeds
        )

    def n_items(self, state: State) -> int:
        """One output bias per item."""
        return len(state["output/bias"])

    def inputs(self, steps: Float[np.ndarray, " steps"]) -> Hyper:
        """The dropout rate and γ."""
        return constant(steps, dropout_rate=self.dropout_rate, gamma=self.gamma)
