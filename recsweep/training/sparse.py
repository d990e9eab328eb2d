"""Products of a sparse batch with dense matrices, written for the fastest path of each backend."""

from typing import Any

import keras
from keras import ops

from recsweep.training.batches import Batch


def densify(batch: Batch, values: Any, n_items: int) -> Any:
    """The batch as a dense matrix, n_rows × n_items, holding `values` in place of its own."""
    n_rows = batch.is_user.shape[0]
    flat = batch.rows * n_items + batch.items
    return ops.reshape(ops.segment_sum(values, flat, num_segments=n_rows * n_items), (n_rows, -1))


def sparse_matmul(batch: Batch, values: Any, kernel: Any) -> Any:
    """Rows of the batch (holding `values`) times `kernel`: n_rows × units.

    An embedding bag on JAX: only the rows of the items that were clicked are read.
    """
    picked = ops.take(kernel, batch.items, axis=0) * values[:, None]
    return ops.segment_sum(picked, batch.rows, num_segments=batch.is_user.shape[0])


def row_sums(batch: Batch, values: Any) -> Any:
    """Sum of `values` per row of the batch."""
    return ops.segment_sum(values, batch.rows, num_segments=batch.is_user.shape[0])


def dot_rows(batch: Batch, dense: Any) -> Any:
    """Σ over items of batch × dense, per row, for `dense` of shape n_rows × n_items."""
    flat = batch.rows * dense.shape[1] + batch.items
    return row_sums(batch, batch.values * ops.take(ops.reshape(dense, (-1,)), flat))


class SparseDense(keras.layers.Layer):
    """A dense layer that reads a sparse batch: x·W + b.

    Args:
        n_items: Input width.
        units: Output width.
        name: The layer's name.
        kernel_initializer: Keras initializer of W.
        bias_initializer: Keras initializer of b.
    """

    def __init__(
        self, n_items: int, units: int, *, name: str, kernel_initializer: Any, bias_initializer: Any
    ) -> None:
        super().__init__(name=name)
        self.kernel = self.add_weight((n_items, units), initializer=kernel_initializer, name="kernel")
        self.bias = self.add_weight((units,), initializer=bias_initializer, name="bias")

    def call(self, batch: Batch, values: Any) -> Any:
        """Rows of the batch, holding `values`, through the layer."""
        return sparse_matmul(batch, values, self.kernel) + self.bias
