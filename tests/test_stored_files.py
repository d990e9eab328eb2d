"""Arrays and tables on disk: their headers are checked against the file."""

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsweep import unpack_limits
from recsweep.errors import InputError
from recsweep.stored_files import (
    Header,
    n_rows_of,
    open_arrays,
    read_arrays,
    read_table,
    refuse_other_arrays,
    sparse_rows,
)
from recsweep.unpack_limits import Limits, choose_limits

FLOAT = np.dtype(np.float32)


def saved(file: Path, **arrays: np.ndarray) -> Path:
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    arrays = {
        "c": np.arange(6, dtype=np.float32).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "number": np.float64(3),
        "none": np.empty((0, 4), np.int32),
        "text": np.array(["ä", "bc"]),
    }
    found = read_arrays(saved(tmp_path / "a.npz", **arrays))
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_a_header_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    """Half a gigabyte that the file does not have."""
    file = saved(tmp_path / "a.npz", weights=np.zeros(1000, np.float32))
    file.write_bytes(file.read_bytes().replace(b"(1000,), }   ", b"(1<<27,), }  ", 1))
    content = file.read_bytes().replace(b"(1<<27,), }  ", b"(134217728,)}", 1)
    file.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"weights must have the size .* float32 134217728, but"):
        read_arrays(file)
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, "the arrays a, b, but holds none"),
        ({"a": (3,), "b": (4, 2), "c": ()}, "the arrays a, b, but holds a, b, c"),
        ({"a": (3,), "b": (3, 2)}, "b must be 4 x 2, but is float32 3 x 2"),
        ({"a": (3,), "b": (4,)}, "b must be 4 x 2, but is float32 4"),
        ({"a": (), "b": (4, 2)}, "a must be 0, but is float32"),
    ],
)
def test_shapes_with_words_are_held_against_one_another(
    found: dict[str, tuple[int, ...]], expected: str
) -> None:
    shapes = {"a": ("users",), "b": ("users+1", 2)}
    refuse_other_arrays(
        {"a": Header((3,), False, FLOAT), "b": Header((4, 2), False, FLOAT)}, shapes
    )
    headers = {name: Header(shape, False, FLOAT) for name, shape in found.items()}
    with pytest.raises(ValueError, match=expected):
        refuse_other_arrays(headers, shapes)


def test_arrays_beyond_the_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = saved(tmp_path / "a.npz", weights=np.zeros(1000, np.float32))
    monkeypatch.setattr("recsweep.memory.available_bytes", lambda: 3999)
    with pytest.raises(ValueError, match=r"a\.npz must have 0\.0 GiB of memory"):
        read_arrays(file)


def test_a_missing_file_is_told_as_the_system_does(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), open_arrays(tmp_path / "absent.npz"):
        pass


def test_parts_of_a_sparse_matrix_are_checked() -> None:
    data, indices, indptr = np.ones(3, np.float32), np.array([0, 2, 1]), np.array([0, 2, 2, 3])
    dense = sparse_rows((data, indices, indptr), 3).toarray()
    np.testing.assert_array_equal(dense, [[1, 0, 1], [0, 0, 0], [0, 1, 0]])
    for parts, expected in (
        ((data, indices, indptr, 2), "columns from 0 to 1"),
        ((data, indices - 1, indptr, 3), "columns from 0 to 2"),
        ((data, indices, indptr + 1, 3), "must ascend from 0"),
        ((data, indices, indptr[[0, 2, 1, 3]], 3), None),
        ((data, indices, np.array([0, 3, 2, 3]), 3), "must ascend from 0"),
        ((data, indices, np.array([0, 2, 2, 4]), 3), "must ascend from 0"),
        ((data[:2], indices, indptr, 3), "must ascend from 0"),
        ((data, indices.astype(float), indptr, 3), "whole numbers"),
        ((data[None], indices, indptr, 3), "must be lists"),
        ((data, indices, indptr[:0], 3), "must be lists"),
    ):
        if expected is None:
            sparse_rows(parts[:3], parts[3])
            continue
        with pytest.raises(ValueError, match=expected):
            sparse_rows(parts[:3], parts[3])


def test_a_table_comes_back_with_its_index(tmp_path: Path) -> None:
    frame = pd.DataFrame({"ndcg@10": [0.5, 0.25]}, pd.Index(["a", "b"], name="user"))
    frame.to_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet", 2), frame)
    assert n_rows_of(tmp_path / "t.parquet") == 2
    for n_rows, found in ((1, "more"), (3, "2")):
        with pytest.raises(ValueError, match=f"it must have {n_rows} rows, but has {found}"):
            read_table(tmp_path / "t.parquet", n_rows)


def bomb(file: Path, n_bytes: int) -> Path:
    """A file of some kilobytes that unpacks to so many bytes."""
    codes = pa.array(np.zeros(n_bytes // 1000, np.int8))
    texts = pa.DictionaryArray.from_arrays(codes, pa.array(["x" * 1000])).cast(pa.string())
    pq.write_table(pa.table({"item": texts}), file)
    return file


@pytest.mark.parametrize(
    "values",
    [pa.nulls(3), pa.array([True, None, False]), pa.array([[1]] * 3), pa.array([b"a"] * 3),
     pa.array(["a"] * 3).dictionary_encode(), pa.array([{"a": 1}] * 3)],
    ids=lambda values: str(values.type)[:9],
)  # fmt: skip
def test_a_table_of_other_types_than_numbers_and_text_is_refused(
    values: pa.Array, tmp_path: Path
) -> None:
    pq.write_table(pa.table({"x": [1, 2, 3], "a": values}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="hold numbers or text, but 'a' holds "):
        read_table(tmp_path / "t.parquet")


def test_a_row_of_a_column_counts_at_least_what_pandas_needs(tmp_path: Path) -> None:
    n_rows = 1 << 17
    values = pa.array(np.zeros(n_rows, np.int8))
    pq.write_table(pa.table({"x": values, "y": values}), tmp_path / "t.parquet")
    n_bytes = n_rows * 2 * 8
    choose_limits(Limits(max_unpacked_gib=(n_bytes - 1) / 2**30))
    with pytest.raises(InputError, match="max_unpacked_gib="):
        read_table(tmp_path / "t.parquet")
    choose_limits(Limits(max_unpacked_gib=n_bytes / 2**30))
    assert len(read_table(tmp_path / "t.parquet")) == n_rows


def test_a_table_that_unpacks_to_far_more_than_its_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack_limits, "FREE_BYTES", 10_000_000)
    file = bomb(tmp_path / "t.parquet", 30_000_000)
    assert file.stat().st_size < 100_000
    with pytest.raises(ValueError, match=r"at most 200 times .* max_compression_ratio=2000"):
        read_table(file)
    choose_limits(Limits(0.01, 1e9))
    with pytest.raises(ValueError, match=r"at most 0\.01 GiB.* set max_unpacked_gib=0\.1$"):
        read_table(file)
    choose_limits(Limits(4, 1e9))
    assert len(read_table(file)) == 30_000


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff" * 100 + b"PAR1"])
def test_what_is_no_table_is_a_value_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(content)
    for read in (read_table, n_rows_of):
        with pytest.raises((ValueError, OSError)):
            read(tmp_path / "t.parquet")
