"""The Gram matrix XᵀX of training data: made in blocks of rows, kept on disk where that pays."""

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
from recsweep.data.archive import ZIP_DAMAGE
from recsweep.data.matrix import fingerprint, keep_entries, matrix_arrays
from recsweep.files import disk_errors_in_one_line, sole_writer, whole_file
from recsweep.interfaces import CSR
from recsweep.messages import named_error

log = logging.getLogger(__name__)

BLOCK_CELLS = 1 << 22
"""Cells of a block of rows: with its item numbers at most 32 MiB per thread."""

Result = TypeVar("Result")


def over_gram_rows(
    train: CSR, use: Callable[[int, CSR], Result], *, is_half_enough: bool = False
) -> list[Result]:
    """Hand out XᵀX as sparse blocks of rows, several at a time.

    Args:
        train: X, users × items.
        use: Is called in threads with a block's first row and the block, rows × items.
        is_half_enough: What is left of the block's first column may be missing.

    Returns:
        What `use` gave, in the order of the rows.
    """
    n_items = train.shape[1]
    items = train.T.tocsr()
    n_rows = max(1, BLOCK_CELLS // n_items)

    def multiply(start: int) -> Result:
        others = keep_entries(train, train.indices >= start) if is_half_enough else train
        return use(start, items[start : start + n_rows] @ others)

    with ThreadPoolExecutor(environment.n_threads()) as pool:  # SciPy lets go of the interpreter
        return list(pool.map(multiply, range(0, n_items, n_rows)))


def gram_spare_bytes(train: CSR) -> int:
    """Memory that `gram_matrix` needs besides the matrix, at most.

    X by items, and in every thread the entries that it multiplies and a block of rows.
    """
    return 8 * train.nnz + environment.n_threads() * (8 * BLOCK_CELLS + 17 * train.nnz)


def gram_matrix(train: CSR) -> Float[np.ndarray, "items items"]:
    """The upper triangle of XᵀX, dense: an array of the caller's own, who may overwrite it.

    What is below its diagonal does not count.

    With a cache folder it is kept there and shared by all trials and processes, unless making it
    again costs less than reading it: a product of rows takes Σ_u n_u² steps for users with n_u
    items, a file as many as it has cells.

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
    """Changes with the matrix and with the code that multiplies."""
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
    """The matrix at `target`, or None when the file is damaged and must be made again."""
    try:
        with target.open("rb") as file, np.load(file, allow_pickle=False) as members:
            gram: np.ndarray = members["gram"]  # the archive's checksum is verified here
    except (*ZIP_DAMAGE, ValueError, KeyError, TypeError, MemoryError) as error:
        damage = named_error(error)
    else:
        if gram.shape == (n_items, n_items) and gram.dtype == np.float32:
            return gram
        damage = f"{gram.dtype} of shape {gram.shape}"
    log.warning("kept Gram matrix %s is damaged (%s) and is made again", target, damage)
    return None


def _keep(gram: Float[np.ndarray, "items items"], target: Path) -> None:
    """Write it, or say why not: a disk may lack the room, and the fit can continue without."""
    try:
        with whole_file(target) as out:
            np.savez(out, allow_pickle=False, gram=gram)
    except OSError as error:
        log.warning("Gram matrix is not kept in %s: %s", target, error.strerror or error)
