"""Reads arrays and tables that a run or a cache wrote, which may be damaged or made up.

No pickle is read. What an array's header states is checked against the size of the file, and
the shapes that the reader expects, before anything is allocated. Errors are `ValueError`s that
complete the sentence "FILE is not readable".
"""

import lzma
import math
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.lib.format import (
    read_array,
    read_array_header_1_0,
    read_array_header_2_0,
    read_magic,
)

from recsweep.errors import InputError
from recsweep.interfaces import CSR, Shapes
from recsweep.memory import refuse_beyond_memory
from recsweep.messages import describe_error
from recsweep.unpack_limits import UnpackedSize

ZIP_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,  # absent or unreadable, or offsets beyond its end
    UnicodeDecodeError,  # a name that contradicts its own header
    RuntimeError,  # encrypted, compressed by an unsupported method, or deeply nested
)
SUFFIX = ".npy"
NUMBERS = "biuf"
"""Kinds of arrays that hold numbers."""
INTEGERS = ("indices", "indptr")
"""Arrays of whole numbers in a state; all others are float32 or float64."""
OF_PANDAS = (LookupError, TypeError, AttributeError, ValueError, RuntimeError, MemoryError)
N_ROWS, LEAST_BYTES = 1 << 16, 8
"""Rows of a table read at a time, and what pandas needs at least for a row of a column."""


# --- arrays ---------------------------------------------------------------------------------------


class Header(NamedTuple):
    """The header of a stored array.

    Args:
        shape: Its shape.
        is_fortran: Whether its first axis runs fastest.
        dtype: Its type.
    """

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype

    @property
    def n_numbers(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """Size of the values."""
        return self.n_numbers * self.dtype.itemsize

    def __str__(self) -> str:
        """Type and shape: `float32 200 x 600`."""
        return f"{self.dtype} {' x '.join(map(str, self.shape))}".rstrip()


class ArrayFile:
    """An open file of arrays, `.npz`, whose headers have been checked.

    Args:
        archive: The file.
        headers: Name -> header of the array.
    """

    def __init__(self, archive: zipfile.ZipFile, headers: Mapping[str, Header]) -> None:
        self._archive, self.headers = archive, headers

    def read(self, name: str) -> np.ndarray:
        """One array; its checksum is verified.

        Raises:
            ValueError: A number in it is NaN or infinite.
        """
        with self._archive.open(name + SUFFIX) as stream:
            array = np.asarray(read_array(stream, allow_pickle=False))
            if stream.read(1):
                raise ValueError(f"{name} has extra bytes after its values")
        # no copy as large as the array: NaN and infinity are passed on by min and max
        if (
            array.dtype.kind == "f"
            and not np.isfinite([array.min(initial=0), array.max(initial=0)]).all()
        ):
            raise ValueError(f"{name} must hold finite numbers, but has NaN or infinity")
        return array

    @contextmanager
    def values(self, name: str) -> Iterator[IO[bytes]]:
        """The values of one array, as bytes."""
        with self._archive.open(name + SUFFIX) as stream:
            _header(stream)
            yield stream


@contextmanager
def open_arrays(file: Path) -> Iterator[ArrayFile]:
    """Open a file of arrays and check all headers.

    Args:
        file: Written by `numpy.savez`: not compressed.

    Raises:
        ValueError: It is damaged, compressed, or a header contradicts the size of its values.
    """
    try:
        with file.open("rb") as raw, zipfile.ZipFile(raw) as archive:
            yield ArrayFile(archive, _headers(archive, file.stat().st_size))
    except OSError:
        raise
    except (*ZIP_DAMAGE, MemoryError) as error:
        raise ValueError(describe_error(error)) from error


def read_arrays(file: Path, shapes: Shapes | None = None) -> dict[str, np.ndarray]:
    """Read all arrays of a file.

    Args:
        file: See `open_arrays`.
        shapes: The expected arrays; None = any.

    Raises:
        ValueError: See `open_arrays`, or other arrays are expected.
        InputError: They do not fit into memory.
    """
    with open_arrays(file) as arrays:
        if shapes is not None:
            refuse_other_arrays(arrays.headers, shapes)
        n_bytes = sum(header.n_bytes for header in arrays.headers.values())
        refuse_beyond_memory(n_bytes, str(file), "use a machine with more")
        return {name: arrays.read(name) for name in arrays.headers}


def refuse_other_arrays(headers: Mapping[str, Header], shapes: Shapes) -> None:
    """Check the headers of arrays against the shapes that they must have.

    Raises:
        ValueError: An array is missing, unknown, or has another shape or type.
    """
    if headers.keys() != shapes.keys():
        raise ValueError(
            f"it must hold the arrays {', '.join(sorted(shapes))}, but holds "
            f"{', '.join(sorted(headers)) or 'none'}"
        )
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        found = headers[name]
        integers = name in INTEGERS
        if found.dtype.kind not in ("i" if integers else "f") or found.dtype.itemsize not in (4, 8):
            kind = "whole numbers" if integers else "floats"
            raise ValueError(f"{name} must hold {kind} of 4 or 8 bytes, but is {found}")
        expected = tuple(_size(axis, at, found, sizes) for at, axis in enumerate(shape))
        if found.shape != expected:
            must = " x ".join(map(str, expected)) or "a single number"
            raise ValueError(f"{name} must be {must}, but is {found}")


def _size(axis: int | str, at: int, found: Header, sizes: dict[str, int]) -> int:
    """The length that an axis must have; the first array with a word decides what it stands for."""
    if isinstance(axis, int):
        return axis
    word, _, more = axis.partition("+")
    length = found.shape[at] if at < len(found.shape) else 0
    return sizes.setdefault(word, max(0, length - int(more or 0))) + int(more or 0)


def _headers(archive: zipfile.ZipFile, file_bytes: int) -> dict[str, Header]:
    """Name -> header of each array, all checked against the size of their values."""
    members = archive.infolist()
    if sum(member.file_size for member in members) > file_bytes:
        raise ValueError("its arrays are larger than the file")
    most, n_times = (Counter(member.filename for member in members).most_common(1) or [("", 0)])[0]
    if n_times > 1:
        raise ValueError(f"it holds {most} {n_times} times")
    headers = {}
    for member in members:
        name = member.filename.removesuffix(SUFFIX)
        if name == member.filename or member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{member.filename} must be an array that is not compressed")
        with archive.open(member) as stream:
            headers[name] = _checked_header(name, stream, member.file_size)
    return headers


def _checked_header(name: str, stream: IO[bytes], n_bytes: int) -> Header:
    try:
        header = _header(stream)
    except (ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"{name} must be an array, but is not one ({error})") from error
    if header.dtype.kind not in f"{NUMBERS}U" or not header.dtype.isnative:
        raise ValueError(f"{name} must hold numbers of this machine, but is {header}")
    if min(header.shape, default=0) < 0 or header.n_bytes != n_bytes - stream.tell():
        raise ValueError(
            f"{name} must have the size that its header states, {header}, but has "
            f"{n_bytes - stream.tell():,} bytes"
        )
    return header


def _header(stream: IO[bytes]) -> Header:
    """Read an array's header and leave the stream at its values."""
    parse = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}
    return Header(*parse[read_magic(stream)](stream))


def sparse_rows(parts: Sequence[np.ndarray], n_columns: int) -> CSR:
    """The sparse matrix of stored parts.

    SciPy's own check leaves out the columns, and its products would write beyond their arrays.

    Args:
        parts: data, indices and indptr.
        n_columns: The matrix' width.

    Raises:
        ValueError: They are not the parts of a matrix with so many columns.
    """
    data, indices, indptr = parts
    are_lists = data.ndim == indices.ndim == indptr.ndim == 1 and len(indptr) > 0
    if not are_lists or {indices.dtype.kind, indptr.dtype.kind} != {"i"}:
        raise ValueError("data, indices and indptr must be lists, the latter of whole numbers")
    are_rows = indptr[0] == 0 and (indptr[1:] >= indptr[:-1]).all()
    if not are_rows or not indptr[-1] == len(indices) == len(data):
        raise ValueError(f"indptr must ascend from 0 to its {len(data):,} entries, but does not")
    if len(indices) and not (indices.min() >= 0 and indices.max() < n_columns):
        raise ValueError(f"indices must be columns from 0 to {n_columns - 1:,}, but are not")
    return sp.csr_matrix((data, indices, indptr), shape=(len(indptr) - 1, n_columns))


# --- tables ---------------------------------------------------------------------------------------


def n_rows_of(file: Path) -> int:
    """The number of rows that a Parquet file states, read without its rows.

    Raises:
        ValueError: It is damaged.
    """
    from pyarrow.parquet import read_metadata

    with _arrow_errors():
        return int(read_metadata(file).num_rows)


def read_table(file: Path, n_rows: int | None = None) -> pd.DataFrame:
    """Read a Parquet file, in pieces.

    Args:
        file: The file.
        n_rows: The number of rows that it must have; None = any.

    Raises:
        ValueError: It is damaged, or has another number of rows, or other columns than numbers
            and text.
        InputError: It unpacks to more than the limits allow.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    unpacked, batches, n_read = UnpackedSize(file), [], 0
    with _arrow_errors(), ParquetFile(file) as parquet:
        _refuse_other_types(parquet.schema_arrow)
        for batch in parquet.iter_batches(N_ROWS):
            n_read += batch.num_rows
            unpacked.add_batch(batch, LEAST_BYTES)
            if n_rows is not None and n_read > n_rows:
                break
            batches.append(batch)
        if n_rows is not None and n_read != n_rows:
            found = "more" if n_read > n_rows else f"{n_read:,}"
            raise ValueError(f"it must have {n_rows:,} rows, but has {found}")
        # anyone can change what the file says of pandas' index
        return pa.Table.from_batches(batches, parquet.schema_arrow).to_pandas()


def _refuse_other_types(schema: Any) -> None:
    """Raise ValueError for columns that no run has: pandas needs more memory for them than Arrow.

    Args:
        schema: Names and types of the columns.
    """
    from pyarrow import types

    known = (types.is_floating, types.is_integer, types.is_string, types.is_large_string)
    for column in schema:
        if not any(is_known(column.type) for is_known in known):
            raise ValueError(
                f"every column must hold numbers or text, but {column.name!r:.60} holds "
                f"{column.type!s:.40}"
            )


@contextmanager
def _arrow_errors() -> Iterator[None]:
    """Turn what Arrow and pandas raise for a damaged file into a `ValueError`."""
    import pyarrow as pa

    try:
        yield
    except (OSError, InputError):
        raise
    except (pa.ArrowException, *OF_PANDAS) as error:
        raise ValueError(describe_error(error)) from error
