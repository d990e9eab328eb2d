"""The inverse of a large positive definite matrix, in place and in short BLAS calls."""

import ctypes
from collections.abc import Iterator
from functools import cache

import numpy as np
from jaxtyping import Float

from recsweep.step_lines import report_progress

BLOCK = 512
"""Rows eliminated at a time: more make the pivots' own work longer, fewer the updates slower."""
STRIP = 8192
"""Rows updated per call, so that calls are short and Ctrl-C is handled between them."""

Square = Float[np.ndarray, "rows rows"]
Part = Float[np.ndarray, "rows columns"]


def inverse_spare_bytes() -> int:
    """Memory that `negative_inverse` needs besides the matrix: a few blocks."""
    return 4 * 4 * BLOCK**2


def negative_inverse(matrix: Square, what: str) -> None:
    """Replace the symmetric positive definite A by −A⁻¹, both given by their upper triangles.

    Block Gauss–Jordan elimination: with a pivot block A_kk = L·Lᵀ and V = L⁻¹·A_k,

        A_ij −= V_iᵀ·V_j (i, j ≠ k),    A_k = L⁻ᵀ·V,    A_kk = −L⁻ᵀ·L⁻¹.

    It takes n³ multiplications and additions, as many as a Cholesky factor and the inverse from
    it, nearly all of them in products of large blocks. LAPACK's own routines are not used for the
    whole: OpenBLAS 0.3's threaded spotrf crashes at 38,000 rows. Nor is NumPy's BLAS used in
    between: its idle threads would compete with those of SciPy's, which halves the speed.

    Args:
        matrix: A, row-contiguous; entries below its diagonal are not read and may be overwritten.
        what: Start of the progress lines of a long inversion.

    Raises:
        LinAlgError: A is not positive definite; it is partly overwritten.
    """
    from scipy.linalg import lapack  # takes a quarter of a second, not needed by other models

    n_rows = len(matrix)
    for start in report_progress(range(0, n_rows, BLOCK), what):
        stop = min(start + BLOCK, n_rows)
        rows = slice(start, stop)
        factor = _inverse_factor(matrix[rows, rows])  # L⁻¹
        before, after = matrix[:start, rows].T, matrix[rows, stop:]  # A_ki for i < k and i > k
        for part in (before, after):
            _multiply_triangular(factor, part, b"N")  # V_i
        _subtract_square(matrix[:start, :start], before)
        _subtract_product(matrix[:start, stop:], before, after)
        _subtract_square(matrix[stop:, stop:], after)
        for part in (before, after):
            _multiply_triangular(factor, part, b"T")  # L⁻ᵀ·V_i
        square, _ = lapack.slauum(factor, lower=True)  # L⁻ᵀ·L⁻¹
        np.negative(square.T, out=matrix[rows, rows])
    diagonal = np.diagonal(matrix)
    if not (np.isfinite(diagonal) & (diagonal < 0)).all():
        raise np.linalg.LinAlgError("not positive definite")


def _inverse_factor(block: Square) -> Square:
    """L⁻¹ of L·Lᵀ = the block, whose upper triangle is read; column-major."""
    from scipy.linalg import lapack

    factor, failed = lapack.spotrf(block.T, lower=True)
    if not failed:
        factor, failed = lapack.strtri(factor, lower=True, overwrite_c=True)
    if failed:
        raise np.linalg.LinAlgError("not positive definite")
    return factor


# BLAS takes parts of a matrix where they lie, which `scipy.linalg.blas` would copy. It is
# column-major: a part with contiguous rows is its transpose, an upper triangle its lower one.


def _multiply_triangular(factor: Square, part: Part, transposed: bytes) -> None:
    """Replace a part by F·part (transposed N) or Fᵀ·part (T), for a lower triangular F."""
    if not part.size:
        return
    n_rows, n_columns = part.shape
    if _is_column_major(part):
        how, sizes = (b"L", b"L", transposed, b"N"), (n_rows, n_columns)
    else:  # partᵀ·Fᵀ or partᵀ·F
        other = b"T" if transposed == b"N" else b"N"
        how, sizes = (b"R", b"L", other, b"N"), (n_columns, n_rows)
    _call("strmm", *how, *sizes, 1.0, *_at(factor), *_at(part))


def _subtract_square(target: Square, vectors: Part) -> None:
    """Subtract vectorsᵀ·vectors from the upper triangle of the target."""
    transposed = b"T" if _is_column_major(vectors) else b"N"
    for start, stop in _strips(len(target)):
        own, rest = vectors[:, start:stop], vectors[:, stop:]
        sizes, corner = (stop - start, len(vectors)), target[start:stop, start:stop]
        _call("ssyrk", b"L", transposed, *sizes, -1.0, *_at(own), 1.0, *_at(corner))
        _subtract_product(target[start:stop, stop:], own, rest)


def _subtract_product(target: Part, left: Part, right: Part) -> None:
    """Subtract leftᵀ·right from the target."""
    if not target.size:
        return
    how = (b"T" if _is_column_major(right) else b"N", b"N" if _is_column_major(left) else b"T")
    for start, stop in _strips(len(target)):
        own, rows = left[:, start:stop], target[start:stop]
        sizes = (rows.shape[1], stop - start, len(left))
        _call("sgemm", *how, *sizes, -1.0, *_at(right), *_at(own), 1.0, *_at(rows))


def _is_column_major(part: Part) -> bool:
    return part.strides[0] == part.itemsize


def _strips(n_rows: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n_rows, STRIP):
        yield start, min(start + STRIP, n_rows)


def _at(part: np.ndarray) -> tuple[ctypes.c_void_p, int]:
    """The address of a part of a matrix and the distance of its rows or columns."""
    return ctypes.c_void_p(part.ctypes.data), max(part.strides) // part.itemsize


def _call(name: str, *arguments: bytes | int | float | ctypes.c_void_p) -> None:
    """Call a routine of SciPy's BLAS with characters, numbers and addresses."""
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(arguments))
    prototype(_address(name))(*map(_by_reference, arguments))


def _by_reference(argument: bytes | int | float | ctypes.c_void_p) -> object:
    if isinstance(argument, int):  # 8 bytes: right for routines that read 4 of them, too
        return ctypes.byref(ctypes.c_int64(argument))
    return ctypes.byref(ctypes.c_float(argument)) if isinstance(argument, float) else argument


@cache
def _address(name: str) -> int:
    """The address of a routine that SciPy exports to compiled code."""
    from scipy.linalg import cython_blas

    capsule, types = cython_blas.__pyx_capi__[name], (ctypes.py_object, ctypes.c_char_p)
    signature = ctypes.PYFUNCTYPE(ctypes.c_char_p, types[0])
    pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, *types)
    text = signature(("PyCapsule_GetName", ctypes.pythonapi))(capsule)
    return int(pointer(("PyCapsule_GetPointer", ctypes.pythonapi))(capsule, text))
