"""The Gram matrix XᵀX of training data, computed in blocks of rows; cached if that saves time."""

import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from recsweep import environment, source_code
from recsweep.data import matrix
from recsweep.data.matrix import fingerprint, keep_entries, matrix_arrays
from recsweep.files import disk_errors_in_one_line, sole_writer, whole_file
from recsweep.interfaces import CSR
from recsweep.messages import describe_error
from recsweep.stored_files import read_arrays

log = logging.getLogger(__name__)

BLOCK_CELLS = 1 << 22
"""Cells of a block of rows: at most 32 MiB per thread, item numbers included."""

Result = TypeVar("Result")


def over_gram_rows(
    train: CSR, use: Callable[[int, CSR], Result], *, is_half_enough: bool = False
) -> list[Result]:
    """Compute XᵀX as sparse blocks of rows, several at a time.

    Args:
        train: X, users × items.
        use: Called in threads with the index of a block's first row and the block, rows × items.
        is_half_enough: Whether columns before the number of the block's first row may be empty.

    Returns:
        The results of `use`, in the order of the rows.
    """
    n_items = train.shape[1]
    items = train.T.tocsr()
    n_rows = max(1, BLOCK_CELLS // n_items)

    def multiply(start: int) -> Result:
        others = keep_entries(train, train.indices >= start) if is_half_enough else train
        return use(start, items[start : start + n_rows] @ others)

    with ThreadPoolExecutor(environment.n_threads()) as pool:  # SciPy releases the GIL
        return list(pool.map(multiply, range(0, n_items, n_rows)))


def gram_spare_bytes(train: CSR) -> int:
    """Upper bound on the memory that `gram_matrix` needs besides the matrix.

    X by items and, in every thread, the entries being multiplied and a block of rows.
    """
    return 8 * train.nnz + environment.n_threads() * (8 * BLOCK_CELLS + 17 * train.nnz)


def gram_matrix(train: CSR) -> Float[np.ndarray, "items items"]:
    """The upper triangle of XᵀX as a new dense array that the caller may overwrite.

    Entries below its diagonal are undefined.

    With a cache folder it is stored there and shared by all trials and processes, unless
    recomputing it is cheaper than reading it: the product takes Σ_u n_u² steps for users with
    n_u items, reading one step per cell.

    Args:
        train: X, users × items.

    Raises:
        InputError: The cache folder cannot be used.
    """
    n_steps = np.square(np.diff(train.indptr), dtype=np.float64).sum()
    cache = environment.cache_folder()
    if cache is None or n_steps < train.shape[1] ** 2:
        return _made(train)
    target = cache / "gram" / f"{_key(train)}.npz"
    with disk_errors_in_one_line(target, "cache_dir"), sole_writer(target):
        gram = _loaded(target, train.shape[1]) if target.is_file() else None
        if gram is None:
            gram = _made(train)
            _keep(gram, target)
    return gram


def _key(train: CSR) -> str:
    """A key that changes with the matrix and with the code of the product."""
    content = fingerprint(np.array(train.shape, np.int64), *matrix_arrays(train))
    code = source_code.of_files(Path(__file__), Path(matrix.__file__))
    return hashlib.sha256(f"{content}{code}".encode()).hexdigest()[:32]


def _made(train: CSR) -> Float[np.ndarray, "items items"]:
    gram = np.empty((train.shape[1],) * 2, np.float32)

    def densify(start: int, rows: CSR) -> None:
        rows.toarray(out=gram[start : start + rows.shape[0]])

    over_gram_rows(train.astype(np.float32, copy=False), densify, is_half_enough=True)
    return gram


def _loaded(target: Path, n_items: int) -> Float[np.ndarray, "items items"] | None:
    """The matrix at `target`, or None if the file is damaged and must be recomputed."""
    try:
        gram = read_arrays(target, {"gram": (n_items, n_items)})["gram"]
    except (OSError, ValueError) as error:
        damage = describe_error(error)
    else:
        if gram.dtype == np.float32 and gram.flags.c_contiguous:
            return gram
        damage = f"{gram.dtype}, by columns"
    log.warning("cached Gram matrix %s is damaged (%s): rebuilding it", target, damage)
    return None


def _keep(gram: Float[np.ndarray, "items items"], target: Path) -> None:
    """Write it or log why that failed: the fit can continue without it if the disk is full."""
    try:
        with whole_file(target) as out:
            np.savez(out, allow_pickle=False, gram=gram)
    except OSError as error:
        log.warning("cannot cache the Gram matrix in %s: %s", target, error.strerror or error)
