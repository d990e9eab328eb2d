"""Building blocks of the networks: layers with their initial weights, noise and loss parts."""

from collections.abc import Callable
from itertools import pairwise

import keras
from keras import ops

from recsweep.interfaces import LossInputs, Tensor
from recsweep.seeds import Seeds
from recsweep.training.backend import add_at, name, sum_of_squares
from recsweep.training.batches import AnyBatch, Batch, DenseBatch
from recsweep.training.initializers import glorot_uniform, truncated_normal
from recsweep.training.sparse import SparseDense, at_rows, dot_rows, row_sums

NEVER = -1e30
"""Bias of an item that does not exist: its softmax is exactly 0, also after much weight decay."""
LEAST_SQUARE = 1e-35
"""Below the square of any value, see `recsweep.data.transform`: only a row of zeros is shorter."""


def _weights(name: str, seeds: Seeds) -> dict[str, Tensor]:
    """Glorot weights and nearly zero biases, as in Liang et al. 2018."""
    seed = seeds.named(f"init/{name}")
    return {
        "name": name,
        "kernel_initializer": glorot_uniform(seed),
        "bias_initializer": truncated_normal(seed + 1, stddev=0.001),
    }


def first_layer(n_items: int, units: int, seeds: Seeds) -> SparseDense:
    """The layer `first`, which reads a sparse batch."""
    return SparseDense(n_items, units, **_weights("first", seeds))


class Dense(keras.layers.Dense):
    """Keras' layer without TensorFlow's `bias_add`, whose gradient is slow."""

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:  # noqa: ARG002 - Keras'
        """activation(x·W + b)."""
        return self.activation(ops.matmul(inputs, self.kernel) + self.bias)


def dense(width: int, units: int, name: str, seeds: Seeds, activation: str | None = None) -> Dense:
    """A dense layer from `width` to `units`."""
    layer = Dense(units, activation=activation, **_weights(name, seeds))
    layer.build((None, width))
    return layer


def tanh_layers(widths: tuple[int, ...], name: str, seeds: Seeds, start: int = 0) -> list[Dense]:
    """Dense tanh layers between consecutive widths, named `name_start` and so on."""
    return [
        dense(width, units, f"{name}_{i}", seeds, "tanh")
        for i, (width, units) in enumerate(pairwise(widths), start)
    ]


class Noise(keras.layers.Layer):
    """A network's own stream of random numbers.

    Args:
        seed: Seed of the stream.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(name="noise")
        self.generator = keras.random.SeedGenerator(seed, name="noise")

    def normal_like(self, x: Tensor, batch: AnyBatch | None = None) -> Tensor:
        """Standard normal noise with the shape of `x`, n_rows × columns.

        With a dense batch it is drawn column by column: a trial gets the same numbers in a network
        that was widened for other trials.
        """
        if isinstance(batch, DenseBatch):
            return ops.transpose(keras.random.normal(ops.shape(x)[::-1], seed=self.generator))
        return keras.random.normal(ops.shape(x), seed=self.generator)

    def uniform_like(self, x: Tensor) -> Tensor:
        """Uniform noise in [0, 1) with the shape of `x`."""
        return keras.random.uniform(ops.shape(x), seed=self.generator)

    def dropout(self, x: Tensor, rate: Tensor) -> Tensor:
        """`x` with a fraction `rate` set to 0 and the rest scaled up to keep the mean."""
        keep = ops.cast(self.uniform_like(x) >= rate, x.dtype)
        return x * keep / (1.0 - rate)


def unit_rows(batch: AnyBatch) -> Tensor:
    """The batch's values, each row scaled to length 1."""
    norms = ops.sqrt(ops.maximum(row_sums(batch, ops.square(batch.values)), LEAST_SQUARE))
    return batch.values / at_rows(batch, norms)


def multinomial_loss(batch: AnyBatch, logits: Tensor) -> Tensor:
    """−log p(x) of each row under softmax(logits), up to a constant.

    Σ x·log-softmax = Σ x·logits − n·logsumexp(logits): no dense target is needed.

    Source:
        Liang et al. 2018, equation 2.
    """
    n_clicks = row_sums(batch, batch.values)
    if name() == "tensorflow" and isinstance(batch, Batch):
        return _multinomial_loss_on_tensorflow(batch, n_clicks, logits)
    return n_clicks * ops.logsumexp(logits, axis=1) - dot_rows(batch, logits)


def _multinomial_loss_on_tensorflow(batch: Batch, n_clicks: Tensor, logits: Tensor) -> Tensor:
    """The same, with a gradient in fewer passes over the logits: n·softmax − x."""

    def losses(logits: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        log_shares = ops.log_softmax(logits)

        def gradient(upstream: Tensor) -> Tensor:
            expected = ops.exp(log_shares) * ops.expand_dims(upstream * n_clicks, 1)
            cells = batch.rows * logits.shape[1] + batch.items
            return add_at(expected, cells, -batch.values * at_rows(batch, upstream))

        return -dot_rows(batch, log_shares), gradient

    return ops.custom_gradient(losses)(logits)


def first_columns(x: Tensor, n_columns: Tensor) -> Tensor:
    """`x` with zeros in place of all columns after the first `n_columns`; None = unchanged."""
    if n_columns is None:
        return x
    return ops.where(ops.arange(x.shape[1], dtype="float32") < n_columns, x, 0.0)


def mean_per_user(batch: AnyBatch, values: Tensor) -> Tensor:
    """The mean of one value per row over the rows that are users."""
    return ops.sum(values * batch.is_user) / ops.sum(batch.is_user)


def l2_penalty(hyper: LossInputs, variables: list[keras.Variable]) -> Tensor:
    """l2·Σ‖W‖² over the kernels; 0 where `hyper` has no l2.

    Without it a step neither rereads the kernels nor adds to their gradients.
    """
    if "l2" not in hyper:
        return ops.zeros(())
    kernels = [variable for variable in variables if variable.path.endswith("kernel")]
    return hyper["l2"] * sum(sum_of_squares(ops.convert_to_tensor(kernel)) for kernel in kernels)
