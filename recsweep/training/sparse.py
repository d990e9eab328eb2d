"""Sums and products of a batch, which skip the empty cells of a sparse one.

A sparse batch has its entries by row and by item, so that a product with a dense matrix and its
gradient are both sparse-dense products. The entries of a dense batch are all of its cells.
"""

import keras
from keras import ops

from recsweep.interfaces import Tensor
from recsweep.training.backend import csr_matmul, dense_above
from recsweep.training.batches import AnyBatch, DenseBatch
from recsweep.training.initializers import Initializer


def row_sums(batch: AnyBatch, values: Tensor) -> Tensor:
    """Sum of `values`, one per entry, per row of the batch."""
    if isinstance(batch, DenseBatch):
        return ops.sum(values, axis=1)
    return ops.segment_sum(values, batch.rows, num_segments=batch.is_user.shape[0])


def at_rows(batch: AnyBatch, values: Tensor) -> Tensor:
    """The value of each entry's row, given one value or vector per row."""
    if isinstance(batch, DenseBatch):
        return ops.expand_dims(values, 1)
    return ops.take(values, batch.rows, axis=0)


def at_items(batch: AnyBatch, values: Tensor) -> Tensor:
    """The value of each entry's item, given one value or vector per item."""
    if isinstance(batch, DenseBatch):
        return ops.expand_dims(ops.convert_to_tensor(values), 0)
    return ops.take(ops.convert_to_tensor(values), batch.items, axis=0)


def entry_products(batch: AnyBatch, of_rows: Tensor, at_entries: Tensor) -> Tensor:
    """The inner product of a vector per row with a vector per entry, from `at_items`."""
    if isinstance(batch, DenseBatch):
        return ops.matmul(of_rows, ops.transpose(at_entries[0]))
    return ops.sum(at_rows(batch, of_rows) * at_entries, axis=1)


def densify(batch: AnyBatch, values: Tensor, n_items: int) -> Tensor:
    """The batch as a dense matrix, n_rows × n_items, with `values` instead of its own."""
    if isinstance(batch, DenseBatch):
        return values
    n_rows = batch.is_user.shape[0]
    cells = batch.rows * n_items + batch.items
    return ops.reshape(ops.segment_sum(values, cells, num_segments=n_rows * n_items), (n_rows, -1))


def sparse_matmul(batch: AnyBatch, values: Tensor, kernel: Tensor) -> Tensor:
    """Rows of the batch, with `values`, times `kernel`: n_rows × units.

    It is differentiable only with respect to `kernel`.
    """
    if isinstance(batch, DenseBatch):
        return ops.matmul(values, kernel)
    n_items, values = kernel.shape[0], ops.convert_to_tensor(values)
    density = batch.items.shape[0] / (batch.is_user.shape[0] * n_items)
    if density > dense_above():
        return ops.matmul(densify(batch, values, n_items), kernel)

    def product(kernel: Tensor) -> Tensor:
        def gradient(upstream: Tensor) -> Tensor:
            columns = ops.take(batch.rows, batch.by_item)
            by_item = ops.take(values, batch.by_item)
            return csr_matmul(by_item, columns, batch.item_starts, upstream)

        return csr_matmul(values, batch.items, batch.row_starts, kernel), gradient

    return ops.custom_gradient(product)(ops.convert_to_tensor(kernel))


def dot_rows(batch: AnyBatch, dense: Tensor) -> Tensor:
    """Σ over items of batch × dense, per row, for `dense` of shape n_rows × n_items."""
    if isinstance(batch, DenseBatch):
        return ops.sum(batch.values * dense, axis=1)
    cells = batch.rows * dense.shape[1] + batch.items
    return row_sums(batch, batch.values * ops.take(ops.reshape(dense, (-1,)), cells))


class SparseDense(keras.layers.Layer):
    """A dense layer that reads a batch: x·W + b.

    Args:
        n_items: Input width.
        units: Output width.
        name: The layer's name.
        kernel_initializer: Keras initializer of W.
        bias_initializer: Keras initializer of b.
    """

    def __init__(
        self,
        n_items: int,
        units: int,
        *,
        name: str,
        kernel_initializer: Initializer,
        bias_initializer: Initializer,
    ) -> None:
        super().__init__(name=name)
        self.kernel = self.add_weight(
            (n_items, units), initializer=kernel_initializer, name="kernel"
        )
        self.bias = self.add_weight((units,), initializer=bias_initializer, name="bias")

    def call(self, batch: AnyBatch, values: Tensor) -> Tensor:
        """Apply the layer to the rows of the batch, with `values`."""
        return sparse_matmul(batch, values, self.kernel) + self.bias
