"""Sparse matrices whose rows keep the order of their source, and fingerprints of arrays."""

import hashlib
import json
from typing import Any

import numpy as np
import scipy.sparse as sp

from recsweep.interfaces import CSR


def from_pairs(
    rows: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    shape: tuple[int, int],
    dtype: type[np.floating[Any]] = np.float32,
) -> CSR:
    """A matrix of all pairs; entries within a row keep the given order."""
    order = np.argsort(rows, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=shape[0]))])
    parts = (values[order].astype(dtype), columns[order].astype(np.int32), indptr)
    return sp.csr_matrix(parts, shape=shape)


def find_repeated_pairs(matrix: CSR) -> np.ndarray:
    """Row and column of each repeated pair, as an array of pairs × 2."""
    n_rows, n_columns = matrix.shape
    keys = np.repeat(np.arange(n_rows) * n_columns, np.diff(matrix.indptr))
    keys += matrix.indices
    keys.sort()
    repeats = np.unique(keys[1:][keys[1:] == keys[:-1]])
    return np.column_stack(np.divmod(repeats, n_columns))


def keep_entries(matrix: CSR, kept: np.ndarray) -> CSR:
    """The entries marked in `kept`, in their order."""
    before = np.concatenate([[0], np.cumsum(kept)])
    parts = (matrix.data[kept], matrix.indices[kept], before[matrix.indptr])
    return sp.csr_matrix(parts, shape=matrix.shape)


def keep_columns(matrix: CSR, columns: np.ndarray) -> CSR:
    """The given columns in the given order; entries within a row keep theirs."""
    position = np.full(matrix.shape[1], -1, np.int32)
    position[columns] = np.arange(len(columns))
    known = keep_entries(matrix, position[matrix.indices] >= 0)
    parts = (known.data, position[known.indices], known.indptr)
    return sp.csr_matrix(parts, shape=(matrix.shape[0], len(columns)))


def fingerprint(*arrays: np.ndarray) -> str:
    """SHA-256 of shapes, types and contents, the same on every machine."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(pack_ids(array)).data)
    return digest.hexdigest()


def matrix_arrays(matrix: CSR) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The arrays of a matrix, with types that do not depend on its size."""
    return (
        matrix.indptr.astype(np.int64),
        matrix.indices.astype(np.int32),
        matrix.data.astype(np.float32),
    )


def pack_ids(ids: np.ndarray) -> np.ndarray:
    """Ids as an array of numbers: text becomes the bytes of a JSON list."""
    if ids.dtype != object:
        return ids
    return np.frombuffer(json.dumps(ids.tolist()).encode(), np.uint8)


def unpack_ids(packed: np.ndarray) -> np.ndarray:
    """The inverse of `pack_ids`."""
    return np.array(json.loads(packed.tobytes()), object) if packed.dtype == np.uint8 else packed
