"""Compares the saved weights of two models in chunks, since they may be large."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recsweep.errors import InputError
from recsweep.files import file_sha256
from recsweep.messages import describe_error, shorten
from recsweep.run_files import read
from recsweep.stored_files import ArrayFile, open_arrays

CHUNK_BYTES = 1 << 24
ABSENT = "absent"


class ArrayDifference(NamedTuple):
    """An array that differs between two files.

    Args:
        name: Its name in the file.
        was: Type and shape, such as `float32 200 x 600`, or `absent`.
        now: Likewise in the other model.
        n_changed: Number of values that differ; all if type or shape differ.
        n_numbers: Number of values.
        largest: The largest difference of two values; infinite if they cannot be compared.
    """

    name: str
    was: str
    now: str
    n_changed: int
    n_numbers: int
    largest: float


def names_of_arrays(file: Path) -> list[str]:
    """Names of the arrays in a model's weights.

    Raises:
        InputError: The file is missing or damaged.
    """
    return read(file, _names, list)


def _names(file: Path) -> list[str]:
    with open_arrays(file) as arrays:
        return list(arrays.headers)


def compare_arrays(was: Path, now: Path) -> list[ArrayDifference]:
    """The arrays in which two files differ, the largest difference first.

    Args:
        was: `weights.npz` of one model.
        now: `weights.npz` of the other.

    Raises:
        InputError: A file is missing or damaged.
    """
    names = dict.fromkeys([*names_of_arrays(was), *names_of_arrays(now)])
    if file_sha256(was) == file_sha256(now):
        return []
    try:
        with open_arrays(was) as before, open_arrays(now) as after:
            found = [_compared(name, before, after) for name in names]
    except (OSError, ValueError, LookupError) as error:
        raise InputError(
            f"the weights of two models must be readable to be compared, but {was} or {now} is "
            f"damaged ({shorten(describe_error(error), 120)}); copy that run's whole folder again"
        ) from error
    changed = [each for each in found if each.n_changed or each.was != each.now]
    return sorted(changed, key=lambda each: -each.largest)


def _compared(name: str, was: ArrayFile, now: ArrayFile) -> ArrayDifference:
    first, second = was.headers.get(name), now.headers.get(name)
    n_numbers = max(each.n_numbers for each in (first, second) if each)
    shown = str(first or ABSENT), str(second or ABSENT)
    if first is None or first != second:
        return ArrayDifference(name, *shown, n_numbers, n_numbers, np.inf)
    n_changed, largest = 0, 0.0
    for a, b in zip(_pieces(was, name), _pieces(now, name), strict=True):
        is_changed = ~((a == b) | ((a != a) & (b != b)))  # noqa: PLR0124 - NaN is NaN
        n_changed += int(is_changed.sum())
        largest = max(largest, _largest(a[is_changed], b[is_changed]))
    return ArrayDifference(name, *shown, n_changed, n_numbers, largest)


def _largest(a: np.ndarray, b: np.ndarray) -> float:
    if not len(a):
        return 0.0
    if a.dtype.kind not in "biuf":
        return np.inf
    distance = np.abs(a.astype(np.float64) - b.astype(np.float64))
    return float(np.where(np.isnan(distance), np.inf, distance).max())


def _pieces(arrays: ArrayFile, name: str) -> Iterator[np.ndarray]:
    """The values in chunks, in the order of the file."""
    dtype = arrays.headers[name].dtype
    size = max(CHUNK_BYTES // dtype.itemsize, 1) * dtype.itemsize
    with arrays.values(name) as stream:
        while raw := stream.read(size):
            yield np.frombuffer(raw, dtype)
