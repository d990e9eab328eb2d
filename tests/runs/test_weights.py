"""Saved weights are compared number by number, in pieces."""

from pathlib import Path

import numpy as np
import pytest

from recsweep.errors import InputError
from recsweep.runs import weights
from recsweep.runs.weights import ArrayDifference, compare_arrays, names_of_arrays

ARRAYS = {
    "kernel": np.arange(12, dtype=np.float32).reshape(3, 4),
    "indices": np.arange(5, dtype=np.int32),
    "scale": np.float32(0.5),
}


def saved(folder: Path, name: str, **changes: np.ndarray) -> Path:
    file = folder / f"{name}.npz"
    np.savez(file, **{**ARRAYS, **changes})  # type: ignore[arg-type]
    return file


def test_the_same_arrays_do_not_differ(tmp_path: Path) -> None:
    was, now = saved(tmp_path, "was"), saved(tmp_path, "now")
    assert compare_arrays(was, now) == []
    np.savez(now, **dict(reversed(ARRAYS.items())))  # type: ignore[arg-type]
    assert was.read_bytes() != now.read_bytes()
    assert compare_arrays(was, now) == [], "the same arrays in another order"
    assert names_of_arrays(now) == ["scale", "indices", "kernel"]


def test_numbers_that_changed_are_counted_and_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "CHUNK_BYTES", 20)  # five numbers a piece
    kernel = ARRAYS["kernel"].copy()
    kernel[0, 0] += 0.25
    kernel[2, 3] -= 2
    now = saved(tmp_path, "now", kernel=kernel, scale=np.float32(1.0))
    assert compare_arrays(saved(tmp_path, "was"), now) == [
        ArrayDifference("kernel", "float32 3 x 4", "float32 3 x 4", 2, 12, 2.0),
        ArrayDifference("scale", "float32", "float32", 1, 1, 0.5),
    ]


def test_a_last_bit_and_a_nan_are_differences(tmp_path: Path) -> None:
    near = ARRAYS["kernel"].copy()
    near[1, 1] = np.nextafter(near[1, 1], np.float32(9))
    (found,) = compare_arrays(saved(tmp_path, "was"), saved(tmp_path, "now", kernel=near))
    assert (found.n_changed, found.largest) == (1, 2.0**-21)  # of 5
    gone = np.where(np.arange(12).reshape(3, 4) == 5, np.nan, ARRAYS["kernel"]).astype(np.float32)
    (found,) = compare_arrays(saved(tmp_path, "was"), saved(tmp_path, "now", kernel=gone))
    assert (found.n_changed, found.largest) == (1, np.inf)
    was, now = (saved(tmp_path, name, kernel=gone) for name in ("was", "now"))
    np.savez(now, **dict(reversed({**ARRAYS, "kernel": gone}.items())))  # type: ignore[arg-type]
    assert compare_arrays(was, now) == []


def test_another_shape_and_an_array_of_one_file_alone_are_named(tmp_path: Path) -> None:
    was = saved(tmp_path, "was", kernel=ARRAYS["kernel"].T.copy())
    now = saved(tmp_path, "now", bias=np.zeros(2))
    assert compare_arrays(was, now) == [
        ArrayDifference("kernel", "float32 4 x 3", "float32 3 x 4", 12, 12, np.inf),
        ArrayDifference("bias", "absent", "float64 2", 2, 2, np.inf),
    ]
    assert compare_arrays(now, was)[1][:3] == ("bias", "float64 2", "absent")


@pytest.mark.parametrize("content", [None, b"", b"PK no archive"])
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "weights.npz"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=r"must have a readable weights\.npz"):
        compare_arrays(file, saved(tmp_path, "now"))
