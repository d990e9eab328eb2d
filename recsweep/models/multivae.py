"""Multi-VAE: a variational autoencoder with a multinomial likelihood (Liang et al. 2018)."""

from itertools import pairwise
from typing import Annotated, Any

import keras
import numpy as np
from jaxtyping import Float
from keras import ops
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.interfaces import CSR, STRICT, OnEpoch, State
from recsweep.seeds import Seeds
from recsweep.training.batches import Batch, ShuffledEpochs
from recsweep.training.engine import Engine
from recsweep.training.initializers import glorot_uniform, truncated_normal
from recsweep.training.loop import Hyper, train_epochs
from recsweep.training.optimizers import Optimizer
from recsweep.training.schedules import linear_warmup
from recsweep.training.sparse import SparseDense, dot_rows, row_sums


class MultiVAENetwork(keras.Model):
    """items -> tanh … -> (mean, log-variance) of z -> tanh … -> a logit per item.

    Args:
        n_items: Width of input and output.
        hidden_dims: Encoder widths from the input on; the decoder mirrors them.
        latent_dim: Width of z.
        seeds: Of the initial weights and of the noise.
    """

    def __init__(
        self, n_items: int, hidden_dims: tuple[int, ...], latent_dim: int, seeds: Seeds
    ) -> None:
        super().__init__(name="multivae")
        self.architecture = ("multivae", n_items, hidden_dims, latent_dim)
        self.n_items = n_items

        def weights(layer: str) -> dict[str, Any]:
            seed = seeds.named(f"init/{layer}")
            return {
                "kernel_initializer": glorot_uniform(seed),
                "bias_initializer": truncated_normal(seed + 1, stddev=0.001),
            }

        def dense(units: int, width: int, name: str, activation: str | None = None) -> Any:
            layer = keras.layers.Dense(units, activation=activation, name=name, **weights(name))
            layer.build((None, width))
            return layer

        mirrored = hidden_dims[::-1]
        self.first = SparseDense(n_items, hidden_dims[0], name="first", **weights("first"))
        self.encoder = [
            dense(units, width, f"encoder_{i}", "tanh")
            for i, (width, units) in enumerate(pairwise(hidden_dims), 1)
        ]
        self.posterior = dense(2 * latent_dim, hidden_dims[-1], "posterior")
        self.decoder = [
            dense(units, width, f"decoder_{i}", "tanh")
            for i, (width, units) in enumerate(pairwise((latent_dim, *mirrored)))
        ]
        self.output_layer = dense(n_items, hidden_dims[0], "output")
        self.noise = keras.random.SeedGenerator(seeds.named("noise"), name="noise")
        self.built = True

    def encode(self, batch: Batch, dropout_rate: Any = 0.0, *, training: bool = False) -> Any:
        """Mean and log-variance of z, n_rows × latent each, from L2-normalised rows."""
        norms = ops.sqrt(ops.maximum(row_sums(batch, ops.square(batch.values)), 1e-12))
        x = batch.values / ops.take(norms, batch.rows)
        if training:
            x = self._dropout(x, dropout_rate)
        h = ops.tanh(self.first(batch, x))
        for layer in self.encoder:
            h = layer(h)
        mean, log_variance = ops.split(self.posterior(h), 2, axis=1)
        return mean, log_variance

    def decode(self, z: Any, dropout_rate: Any = 0.0, *, training: bool = False) -> Any:
        """A logit per item, n_rows × items."""
        for layer in self.decoder:
            z = layer(z)
        return self.output_layer(self._dropout(z, dropout_rate) if training else z)

    def call(self, batch: Batch, hyper: Any, *, training: bool = False) -> dict[str, Any]:
        """Loss parts, means per user: −log-likelihood + β·KL + l2·Σ‖W‖²."""
        mean, log_variance = self.encode(batch, hyper["dropout_rate"], training=training)
        z = mean
        if training:
            z = mean + ops.exp(0.5 * log_variance) * self.normal_like(mean)
        logits = self.decode(z, hyper["decoder_dropout_rate"], training=training)

        # log p(x|z) = Σ x·logits − n·logsumexp(logits): no dense target is ever made
        n_clicks = row_sums(batch, batch.values)
        nll = n_clicks * ops.logsumexp(logits, axis=1) - dot_rows(batch, logits)
        kl = 0.5 * ops.sum(ops.exp(log_variance) + ops.square(mean) - 1 - log_variance, axis=1)

        def per_user(values: Any) -> Any:
            return ops.sum(values * batch.is_user) / ops.sum(batch.is_user)

        l2 = ops.zeros(())
        if "l2" in hyper:  # without it a step neither reads the kernels again nor adds to gradients
            kernels = [v for v in self.trainable_variables if v.path.endswith("kernel")]
            l2 = hyper["l2"] * sum(ops.sum(ops.square(kernel)) for kernel in kernels)
        reconstruction, kl = per_user(nll), per_user(kl)
        loss = reconstruction + hyper["beta"] * kl + l2
        return {"loss": loss, "reconstruction": reconstruction, "kl": kl, "l2": l2}

    def scores(self, batch: Batch) -> Any:
        """Logits with z at its mean, n_rows × items."""
        mean, _ = self.encode(batch)
        return self.decode(mean)

    def normal_like(self, x: Any) -> Any:
        """Standard normal noise in the shape of `x`."""
        return keras.random.normal(ops.shape(x), seed=self.noise)

    def uniform_like(self, x: Any) -> Any:
        """Noise in [0, 1) in the shape of `x`."""
        return keras.random.uniform(ops.shape(x), seed=self.noise)

    def _dropout(self, x: Any, rate: Any) -> Any:
        keep = ops.cast(self.uniform_like(x) >= rate, x.dtype)
        return x * keep / (1.0 - rate)


@dataclass(kw_only=True, config=STRICT)
class MultiVAE:
    """Multi-VAE.

    Args:
        hidden_dims: Encoder widths from the input on; the decoder mirrors them.
        latent_dim: Width of z.
        dropout_rate: Share of the (L2-normalised) input that is dropped in training.
        decoder_dropout_rate: Share of the last hidden layer that is dropped in training.
        beta: Weight of the KL term once it is warmed up.
        beta_warmup_steps: Steps in which β rises linearly from 0; 0 = constant β.
        l2: Weight of Σ‖W‖² over the kernels.
        batch_size: Users per step.
        n_epochs: Passes over the training users, at most.
        optimizer: The gradient method.

    Source:
        Liang, Krishnan, Hoffman & Jebara: Variational Autoencoders for Collaborative
        Filtering. WWW 2018.
    """

    hidden_dims: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    latent_dim: Annotated[int, Field(ge=1)]
    dropout_rate: Annotated[float, Field(ge=0, lt=1)]
    decoder_dropout_rate: Annotated[float, Field(ge=0, lt=1)]
    beta: Annotated[float, Field(ge=0)]
    beta_warmup_steps: Annotated[int, Field(ge=0)]
    l2: Annotated[float, Field(ge=0)]
    batch_size: Annotated[int, Field(ge=1)]
    n_epochs: Annotated[int, Field(ge=1)]
    optimizer: Optimizer

    def __post_init__(self) -> None:
        self._engine: Engine | None = None
        self._beta = self.beta

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:
        """Train for `n_epochs`, or until `on_epoch` answers False."""
        self._engine = self._make_engine(train.shape[1], seeds)
        epochs = ShuffledEpochs(train, self.batch_size, self.n_epochs, seeds.named("shuffle"))
        train_epochs(self._engine, epochs, self.optimizer, self._hyper, on_epoch, logged=["beta"])

    def score(self, history: CSR) -> Any:
        """Logits: users × items."""
        return self._fitted().scores(history)

    def loss(self, rows: CSR) -> dict[str, float]:
        """The training loss of whole rows with z at its mean, no dropout and the current β."""
        hyper = {"beta": self._beta, "dropout_rate": 0.0, "decoder_dropout_rate": 0.0}
        return self._fitted().loss(rows, {**hyper, **self._penalty()})

    def state(self) -> State:
        """The network's weights."""
        return self._fitted().state()

    def restore(self, state: State) -> None:
        """Take over weights; a model that was never fitted is built to their size."""
        if self._engine is None:
            self._engine = self._make_engine(len(state["output/bias"]), Seeds(0))
        self._engine.restore(state)

    def _hyper(self, steps: Float[np.ndarray, " steps"]) -> Hyper:
        beta = linear_warmup(self.beta, self.beta_warmup_steps, steps)
        self._beta = float(beta[-1])
        constants = {
            "dropout_rate": self.dropout_rate,
            "decoder_dropout_rate": self.decoder_dropout_rate,
            **self._penalty(),
        }
        return {"beta": beta, **{k: np.full_like(beta, v) for k, v in constants.items()}}

    def _penalty(self) -> dict[str, float]:
        return {"l2": self.l2} if self.l2 else {}

    def _make_engine(self, n_items: int, seeds: Seeds) -> Engine:
        network = MultiVAENetwork(n_items, tuple(self.hidden_dims), self.latent_dim, seeds)
        return Engine(network, self.optimizer, self.batch_size)

    def _fitted(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("a model must be fitted or restored first; call fit or restore")
        return self._engine
