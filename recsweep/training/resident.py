"""Interactions in a device's memory: a program picks users by index, the host sends nothing."""

import threading
import weakref
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recsweep import environment
from recsweep.interfaces import CSR, Tensor
from recsweep.training.batches import round_up

CHUNK_BYTES = 1 << 28
"""Size of the dense pieces in which a matrix is written into the device's memory."""
DENSE_SHARE = 0.25
"""Share of a device's memory up to which a matrix is kept dense."""


class SparseRows(NamedTuple):
    """A matrix in compressed rows, and an empty row after the last one."""

    starts: Tensor  # int32: first entry of each row
    lengths: Tensor  # int32: entries of each row
    items: Tensor  # int32: column of each entry
    values: Tensor  # value of each entry
    places: Tensor  # int32: 0, 1, … up to the length of the longest row
    blank: Tensor  # an empty row, as wide as those that are taken

    def take(self, rows: Tensor) -> Tensor:
        """Some rows, dense: len(rows) × width, float32."""
        return self.dense(rows).astype(jnp.float32)

    def dense(self, rows: Tensor) -> Tensor:
        """The same in the type of the values."""
        width = len(self.blank)
        is_entry = self.places < self.lengths[rows][:, None]
        entries = jnp.where(is_entry, self.starts[rows][:, None] + self.places, 0)
        items = jnp.where(is_entry, self.items[entries], width)  # beyond the last: dropped
        values = self.values[entries]
        taken = jnp.zeros((len(rows), width), values.dtype)
        places = (jnp.arange(len(rows))[:, None], items)
        return _written_once(taken.at[places].set(values, mode="drop"))


class DenseRows(NamedTuple):
    """The same as a dense matrix, whose last row is empty."""

    rows: Tensor  # rows × width, uint8 or float32

    def take(self, rows: Tensor) -> Tensor:
        """Some rows: len(rows) × width, float32."""
        return _written_once(self.rows[rows]).astype(jnp.float32)


def _written_once(taken: Tensor) -> Tensor:
    """Keep XLA from gathering rows again in each of the operations that read them."""
    return jax.lax.optimization_barrier(taken)


Rows = SparseRows | DenseRows
_lock = threading.Lock()
_resident: dict[tuple[int, int], Rows] = {}
"""What is in the device's memory, by the id of the matrix on the host and the width."""


def resident(matrix: CSR, width: int) -> Rows:
    """A matrix in the device's memory, as long as the host's exists.

    Args:
        matrix: Users × items, which must not change.
        width: Columns, at least as many as the matrix has; the rest is empty.
    """
    key = (id(matrix), width)
    with _lock:  # all trainings share one copy
        if key not in _resident:
            _resident[key] = upload(matrix, width)
            weakref.finalize(matrix, _resident.pop, key, None)
        return _resident[key]


def upload(matrix: CSR, width: int, limit_bytes: int | None = None) -> Rows:
    """Copy a matrix into the device's memory: dense if that fits.

    Args:
        matrix: Users × items.
        width: Columns, at least as many as the matrix has.
        limit_bytes: Largest dense matrix; None = a share of the device's memory.
    """
    with np.errstate(invalid="ignore"):  # values beyond a byte
        is_small = bool((matrix.data == matrix.data.astype(np.uint8)).all())
    kind = np.uint8 if is_small else np.float32
    if limit_bytes is None:
        limit_bytes = int(DENSE_SHARE * (environment.device_memory() or environment.ASSUMED_MEMORY))
    n_rows, lengths = matrix.shape[0] + 1, np.diff(matrix.indptr)
    room = round_up(matrix.nnz, 1024) - matrix.nnz
    rows = SparseRows(
        starts=jnp.asarray(np.append(matrix.indptr[:-1], 0).astype(np.int32)),
        lengths=jnp.asarray(np.append(lengths, 0).astype(np.int32)),
        items=jnp.asarray(np.pad(matrix.indices.astype(np.int32), (0, room))),
        values=jnp.asarray(np.pad(matrix.data.astype(kind), (0, room))),
        places=jnp.arange(round_up(int(lengths.max(initial=0)), 64), dtype=jnp.int32),
        blank=jnp.zeros(width, kind),
    )
    if n_rows * width * kind().itemsize > limit_bytes:
        return rows
    return DenseRows(_densified(rows, n_rows))


def _densified(rows: SparseRows, n_rows: int) -> Tensor:
    """All rows, in pieces that bound the memory of the work."""
    width = len(rows.blank)
    n_at_once = max(1, min(n_rows, CHUNK_BYTES // (4 * (width + 3 * len(rows.places)))))
    n_pieces = -(-n_rows // n_at_once)

    def write(rows: SparseRows) -> Tensor:
        def put(number: Tensor, dense: Tensor) -> Tensor:  # in place: no second copy
            start = jnp.minimum(number * n_at_once, n_rows - n_at_once)
            piece = rows.dense(start + jnp.arange(n_at_once))
            return jax.lax.dynamic_update_slice(dense, piece, (start, 0))

        empty = jnp.zeros((n_rows, width), rows.blank.dtype)
        return jax.lax.fori_loop(0, n_pieces, put, empty)

    return jax.jit(write)(rows)


def n_rows_of(rows: Rows) -> int:
    """Rows of a resident matrix, without the empty one."""
    return len(rows[0]) - 1
