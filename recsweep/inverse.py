"""The inverse of a large positive definite matrix, in place and in short BLAS calls."""

import ctypes
import sys
import time
from collections.abc import Iterator
from functools import cache

import numpy as np
from jaxtyping import Float

BLOCK = 512
"""Rows eliminated at a time."""
TRANSPOSED = 64
"""Rows transposed at a time, which fit into a cache."""
STRIP = 2048
"""Rows updated per call, so that calls are short and Ctrl-C is handled between them."""
LINE_EVERY_S = 30.0
"""Interval between progress lines; a short inversion prints none."""

Square = Float[np.ndarray, "rows rows"]
Panel = Float[np.ndarray, "block columns"]


def inverse_spare_bytes(n_rows: int) -> int:
    """Memory that `negative_inverse` needs besides the matrix: a panel, and a few small blocks."""
    return 4 * (BLOCK * n_rows + 8 * BLOCK**2)


def negative_inverse(matrix: Square, what: str) -> None:
    """Replace the symmetric positive definite A by −A⁻¹, both given by their upper triangles.

    Block Gauss–Jordan elimination: with a pivot block A_kk = L·Lᵀ and V = L⁻¹·A_k,

        A_ij −= V_iᵀ·V_j (i, j ≠ k),    A_k = L⁻ᵀ·V,    A_kk = −L⁻ᵀ·L⁻¹.

    It takes n³ multiplications and additions, as many as a Cholesky factor and the inverse from
    it, nearly all of them in products of large blocks. LAPACK's own routines are not used for the
    whole: OpenBLAS 0.3's threaded spotrf crashes at 38,000 rows.

    Args:
        matrix: A, row-contiguous; entries below its diagonal are not read and may be overwritten.
        what: Start of the progress lines of a long inversion.

    Raises:
        LinAlgError: A is not positive definite; it is partly overwritten.
    """
    from scipy.linalg import blas  # takes a quarter of a second, not needed by other models

    n_rows = len(matrix)
    for start in _reported(range(0, n_rows, BLOCK), what):
        stop = min(start + BLOCK, n_rows)
        rows = slice(start, stop)
        inverse_factor = _inverse_factor(matrix[rows, rows])
        panel = np.empty((stop - start, n_rows), np.float32)
        for left in range(0, start, TRANSPOSED):
            right = min(left + TRANSPOSED, start)
            panel[:, left:right] = matrix[left:right, rows].T
        panel[:, rows] = -np.eye(stop - start)  # becomes −L⁻ᵀ·L⁻¹
        panel[:, stop:] = matrix[rows, stop:]
        # LAPACK is column-major: its panelᵀ·Lᵀ⁻¹ is L⁻¹·panel here
        blas.strmm(1, inverse_factor, panel.T, side=1, lower=1, trans_a=1, overwrite_b=1)
        _subtract_square(matrix, panel, rows)
        blas.strmm(1, inverse_factor, panel.T, side=1, lower=1, trans_a=0, overwrite_b=1)
        matrix[:start, rows] = panel[:, :start].T
        matrix[rows, start:] = panel[:, start:]
    diagonal = np.diagonal(matrix)
    if not (np.isfinite(diagonal) & (diagonal < 0)).all():
        raise np.linalg.LinAlgError("not positive definite")


def _inverse_factor(block: Square) -> Square:
    """L⁻¹ of L·Lᵀ = the block, whose upper triangle is read."""
    from scipy.linalg import lapack

    factor, failed = lapack.spotrf(block.T, lower=True)
    if not failed:
        factor, failed = lapack.strtri(factor, lower=True, overwrite_c=True)
    if failed:
        raise np.linalg.LinAlgError("not positive definite")
    return factor


def _subtract_square(matrix: Square, panel: Panel, pivots: slice) -> None:
    """Subtract panelᵀ·panel from the upper triangle, the pivots' rows and columns left out.

    BLAS itself accepts any part of a matrix; `scipy.linalg.blas` would copy it.
    """
    n_rows, depth = len(matrix), len(panel)
    for start, stop in (*_strips(0, pivots.start), *_strips(pivots.stop, n_rows)):
        own, corner = _at(panel[:, start:stop]), _at(matrix[start:stop, start:stop])
        _call("ssyrk", b"L", b"N", stop - start, depth, -1.0, *own, 1.0, *corner)
        for left, right in ((stop, pivots.start), (max(stop, pivots.stop), n_rows)):
            if left < right:
                others, rest = _at(panel[:, left:right]), _at(matrix[start:stop, left:right])
                sizes = (right - left, stop - start, depth)
                _call("sgemm", b"N", b"T", *sizes, -1.0, *others, *own, 1.0, *rest)


def _strips(start: int, stop: int) -> Iterator[tuple[int, int]]:
    for first in range(start, stop, STRIP):
        yield first, min(first + STRIP, stop)


def _at(part: np.ndarray) -> tuple[ctypes.c_void_p, int]:
    """The address of a part of a matrix and its row stride."""
    return ctypes.c_void_p(part.ctypes.data), part.strides[0] // part.itemsize


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


def _reported(starts: range, what: str) -> Iterator[int]:
    """The same numbers, with progress lines on stderr; all steps take equally long."""
    began = last = time.monotonic()
    for n_done, start in enumerate(starts):
        now = time.monotonic()
        if n_done and now - last >= LINE_EVERY_S:
            last, left_s = now, (now - began) / n_done * (len(starts) - n_done)
            line = f"{what}: {n_done} of {len(starts)} blocks, {left_s:.0f} s left"
            print(line, file=sys.stderr, flush=True)  # noqa: T201 - like all progress
        yield start
