"""Sparse matrices on JAX's accelerator: sent as entries, and dense only in its own memory.

Entries are sent in arrays of rounded lengths and programs are kept, so few of them are compiled.
Everything here runs on JAX's CPU, too, which is how it is tested.
"""

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsweep import environment
from recsweep.interfaces import CSR, Tensor

if TYPE_CHECKING:
    import jax

CHUNK_USERS = 4096
"""Users of the Gram matrix that are dense at the same time."""
ALIGNMENT = 128
"""The Gram matrix's side is a multiple of it: tensor cores need 16 bytes, their tiles are 128."""
MIN_CAPACITY = 1024
"""Least length of the arrays of entries."""
MAX_EXACT_VALUE, MAX_EXACT_SUM = 2**8, 2**24
"""Up to here all integers are exact in bfloat16, and in a float32 sum."""


class Entries(NamedTuple):
    """Some rows of a sparse matrix, in arrays that may hold other entries behind theirs."""

    values: np.ndarray  # float32, capacity
    items: np.ndarray  # int32, capacity
    row_starts: np.ndarray  # int32, n_rows + 1: first entry of each row, and the end of the last


def is_available() -> bool:
    """Whether the backend is JAX and its first device is not a CPU."""
    is_jax = os.environ.get("KERAS_BACKEND") != "tensorflow"
    return is_jax and environment.device() != "cpu"


def padded_width(n_items: int) -> int:
    """Side of the Gram matrix of `gram_matrix`."""
    return -(-n_items // ALIGNMENT) * ALIGNMENT


def gram_spare_bytes(train: CSR) -> int:
    """Upper bound on the device memory that `gram_matrix` needs besides two matrices.

    All entries, sent in powers of two, and a dense chunk with the rows of its entries.
    """
    capacity, n_chunks = _chunk_capacity(train), -(-train.shape[0] // CHUNK_USERS)
    return (8 * n_chunks + 16) * capacity + 4 * CHUNK_USERS * padded_width(train.shape[1])


def gram_matrix(train: CSR) -> "jax.Array":
    """XᵀX in float32 on the device, all of it, padded with zeros to `padded_width`.

    Small integers are multiplied in bfloat16, which gives the same sums as float32 and is an
    order of magnitude faster; other values in full float32.

    Args:
        train: X, users × items.
    """
    import jax.numpy as jnp

    from recsweep.training.programs import call_program

    train = _without_duplicates(train.astype(np.float32, copy=False))
    width, capacity = padded_width(train.shape[1]), _chunk_capacity(train)
    is_exact = is_exact_in_bfloat16(train)
    gram = jnp.zeros((width, width), jnp.float32)
    for start in range(0, train.shape[0], CHUNK_USERS):
        chunk = entries(train, start, CHUNK_USERS, capacity)
        gram = call_program(("gram", is_exact), lambda: _gram_step(is_exact), gram, chunk)
    return gram


def is_exact_in_bfloat16(train: CSR) -> bool:
    """Whether bfloat16 holds all values, and float32 all sums of XᵀX: the diagonal is largest."""
    values = train.data
    largest = max(values.max(initial=0), -values.min(initial=0))
    if largest > MAX_EXACT_VALUE or (values != np.rint(values)).any():
        return False
    if int(largest) ** 2 * train.shape[0] < MAX_EXACT_SUM:  # without a look at every item
        return True
    return bool(np.bincount(train.indices, np.square(values)).max() < MAX_EXACT_SUM)


def matmul(rows: CSR, matrix: Tensor) -> "jax.Array":
    """`rows` times a matrix on the device, in full float32: n_rows × units."""
    from recsweep.training.programs import call_program

    rows = _without_duplicates(rows)
    sent = entries(rows, 0, rows.shape[0], _rounded(rows.nnz))
    return call_program("sparse rows times matrix", _matmul, sent, matrix)


def rank(scores: Tensor, seen: CSR, k: int) -> tuple[bool, np.ndarray]:
    """The k best unseen items of each user, see `evaluation.top_k`; only they leave the device.

    Args:
        scores: Users × items, of NumPy or of the device.
        seen: Users × items.
        k: At most the number of items.

    Returns:
        Whether every score is finite, and the items: users × k.
    """
    import jax.numpy as jnp

    from recsweep.training.programs import call_program

    sent = entries(seen, 0, seen.shape[0], _rounded(seen.nnz))
    arguments = (jnp.asarray(scores, jnp.float32), sent.items, sent.row_starts)
    is_finite, items = call_program(("rank", k), lambda: _rank(k), *arguments)
    return bool(is_finite), np.asarray(items).astype(np.int64)


def entries(matrix: CSR, start: int, n_rows: int, capacity: int) -> Entries:
    """Rows from `start` on, without a copy unless the matrix ends before the arrays do.

    Args:
        matrix: Users × items.
        start: The first row.
        n_rows: Rows behind the matrix's last one are empty.
        capacity: Length of the arrays, at least the number of entries of these rows.
    """
    starts = matrix.indptr[start : start + n_rows + 1]
    window = slice(starts[0], min(starts[0] + capacity, matrix.nnz))
    n_missing = capacity - (window.stop - window.start)
    values = matrix.data[window].astype(np.float32, copy=False)
    items = matrix.indices[window].astype(np.int32, copy=False)
    if n_missing:
        values, items = np.pad(values, (0, n_missing)), np.pad(items, (0, n_missing))
    row_starts = np.pad(starts - starts[0], (0, n_rows + 1 - len(starts)), "edge")
    return Entries(values, items, row_starts.astype(np.int32))


def _chunk_capacity(train: CSR) -> int:
    ends = train.indptr[[*range(0, train.shape[0], CHUNK_USERS), train.shape[0]]]
    return _rounded(int(np.diff(ends).max(initial=0)))


def _rounded(n_entries: int) -> int:
    """The next power of two."""
    return max(MIN_CAPACITY, 1 << (n_entries - 1).bit_length()) if n_entries else MIN_CAPACITY


def _without_duplicates(matrix: CSR) -> CSR:
    """A cell that is stored several times counts as their sum."""
    if matrix.has_canonical_format:
        return matrix
    matrix = matrix.copy()
    matrix.sum_duplicates()
    return matrix


def _rows(row_starts: "jax.Array", capacity: int) -> "jax.Array":
    """The row of each entry; beyond the last row for entries behind it, to be dropped."""
    import jax.numpy as jnp

    places = jnp.arange(capacity, dtype=jnp.int32)
    return jnp.searchsorted(row_starts, places, side="right", method="scan_unrolled") - 1


def _dense(sent: Entries, width: int, dtype: Any) -> "jax.Array":
    """The rows of `sent` as a dense matrix on the device."""
    import jax.numpy as jnp

    rows = _rows(sent.row_starts, sent.items.shape[0])
    cells = jnp.zeros((sent.row_starts.shape[0] - 1, width), dtype)
    return cells.at[rows, sent.items].set(sent.values.astype(dtype), mode="drop")


def _gram_step(is_exact: bool) -> Callable[..., Any]:
    """A program that adds a chunk of users to the Gram matrix, in its memory."""
    import jax.numpy as jnp
    from jax.lax import Precision

    from recsweep.training.backend import compile_program

    dtype = jnp.bfloat16 if is_exact else jnp.float32
    precision = Precision.DEFAULT if is_exact else Precision.HIGHEST

    def add(gram: "jax.Array", chunk: Entries) -> "jax.Array":
        dense = _dense(chunk, gram.shape[0], dtype)
        return gram + jnp.matmul(
            dense.T, dense, precision=precision, preferred_element_type=jnp.float32
        )

    return compile_program(add, donate_first=True)


def _matmul() -> Callable[..., Any]:
    import jax.numpy as jnp
    from jax.lax import Precision

    from recsweep.training.backend import compile_program

    def multiply(sent: Entries, matrix: "jax.Array") -> "jax.Array":
        dense = _dense(sent, matrix.shape[0], jnp.float32)
        return jnp.matmul(dense, matrix, precision=Precision.HIGHEST)

    return compile_program(multiply)


def _rank(k: int) -> Callable[..., Any]:
    import jax.numpy as jnp

    from recsweep.training.backend import compile_program

    def ranked(scores: "jax.Array", items: "jax.Array", row_starts: "jax.Array") -> Any:
        rows = _rows(row_starts, items.shape[0])
        unseen = scores.at[rows, items].set(-jnp.inf, mode="drop")
        best, ranked = _largest(unseen, k)
        ranked = jnp.where(jnp.isneginf(best), ranked[:, :1], ranked)
        return jnp.isfinite(scores).all(), ranked

    return compile_program(ranked)


def _largest(scores: "jax.Array", k: int) -> tuple["jax.Array", "jax.Array"]:
    """The k largest scores of each row and their items; ties go to the lower item number.

    They lie in the k groups of neighbouring items with the largest maxima (ties: lower group):
    whatever is in another group has k items before it. Sorting the maxima of n/m groups, then
    these groups' k·m items, takes the least for m = √(n/k).
    """
    import jax.numpy as jnp

    n_users, n_items = scores.shape
    size = math.isqrt(n_items // k)
    if size < 2:
        return _sorted(scores, jnp.arange(n_items, dtype=jnp.int32), k)
    n_groups = -(-n_items // size)
    padding = ((0, 0), (0, n_groups * size - n_items))
    groups = jnp.pad(scores, padding, constant_values=-jnp.inf).reshape(n_users, n_groups, size)
    _, chosen = _sorted(groups.max(axis=2), jnp.arange(n_groups, dtype=jnp.int32), k)
    items = chosen[:, :, None] * size + jnp.arange(size, dtype=jnp.int32)
    candidates = jnp.take_along_axis(groups, chosen[:, :, None], axis=1)
    return _sorted(candidates.reshape(n_users, -1), items.reshape(n_users, -1), k)


def _sorted(scores: "jax.Array", numbers: "jax.Array", k: int) -> tuple["jax.Array", "jax.Array"]:
    """The first k of each row by falling score, then by rising number."""
    import jax.numpy as jnp
    from jax import lax

    columns = (-scores, jnp.broadcast_to(numbers, scores.shape))
    falling, found = lax.sort(columns, dimension=1, num_keys=2)  # to it, -0 is 0
    return -falling[:, :k], found[:, :k]
