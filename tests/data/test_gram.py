"""XᵀX against NumPy, and the file that trials and processes share."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from recsweep import environment
from recsweep.data import gram, matrix
from recsweep.data.gram import gram_matrix

WRITER = """
import sys
from pathlib import Path
import numpy as np, scipy.sparse as sp
from recsweep import environment
from recsweep.data.gram import gram_matrix
environment.use_cache(Path(sys.argv[1]))
print(repr(gram_matrix(sp.csr_matrix(np.load(sys.argv[2])))[0, 0]))
"""


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Path]:
    environment.use_cache(tmp_path)
    yield tmp_path / "gram"
    environment.use_cache(None)


def listens(n_users: int = 40, n_items: int = 17) -> sp.csr_matrix:
    random = np.random.default_rng(4)
    dense = random.random((n_users, n_items)) * (random.random((n_users, n_items)) < 0.4)
    return sp.csr_matrix(dense.astype(np.float32))


def expected(train: sp.csr_matrix) -> np.ndarray:
    dense = train.toarray().astype(np.float64)
    return dense.T @ dense


def files(cache: Path) -> list[Path]:
    return sorted(cache.glob("*.npz"))


@pytest.mark.parametrize("block_cells", [1, 50, 1 << 22])
def test_its_upper_triangle_equals_numpys_product(
    block_cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gram, "BLOCK_CELLS", block_cells)
    made = gram_matrix(listens())
    assert made.dtype == np.float32
    wanted = np.triu(expected(listens()))
    np.testing.assert_allclose(np.triu(made), wanted, rtol=1e-5)  # float32 sums of 40


def test_clicks_are_counted_exactly_whatever_their_type() -> None:
    clicks = (listens() > 0).astype(np.int64)
    np.testing.assert_array_equal(np.triu(gram_matrix(clicks)), np.triu(expected(clicks)))


def test_without_a_cache_folder_nothing_is_kept(tmp_path: Path) -> None:
    environment.use_cache(None)
    gram_matrix(listens())
    assert not list(tmp_path.iterdir())


def test_the_second_time_it_is_read(cache: Path) -> None:
    first = gram_matrix(listens())
    (file,) = files(cache)
    np.savez(file, gram=2 * first)
    np.testing.assert_array_equal(gram_matrix(listens()), 2 * first)


def test_what_a_fit_overwrites_is_not_what_is_kept(cache: Path) -> None:
    first = gram_matrix(listens())
    before = first.copy()
    first[:] = 0
    second = gram_matrix(listens())
    second += 1
    np.testing.assert_array_equal(gram_matrix(listens()), before)
    assert len(files(cache)) == 1


def test_other_data_has_another_file(cache: Path) -> None:
    wider = sp.csr_matrix((listens().data, listens().indices, listens().indptr), shape=(40, 18))
    other = listens()
    other.data[0] += 1
    sizes = [gram_matrix(train).shape for train in (listens(), wider, other)]
    assert sizes == [(17, 17), (18, 18), (17, 17)]
    assert len(files(cache)) == 3


def test_other_code_has_another_file(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gram_matrix(listens())
    for module in (gram, matrix):
        changed = tmp_path / Path(module.__file__).name
        changed.write_bytes(Path(module.__file__).read_bytes())
        monkeypatch.setattr(module, "__file__", str(changed))
    gram_matrix(listens())
    assert len(files(cache)) == 1  # the same code elsewhere
    for n_files, module in enumerate((gram, matrix), start=2):
        with Path(module.__file__).open("a", encoding="utf-8") as file:
            file.write("# another line\n")
        gram_matrix(listens())
        assert len(files(cache)) == n_files


def test_what_is_made_faster_than_read_is_not_kept(cache: Path) -> None:
    # 8 users with 1 item each: 8 steps to multiply, 20² = 400 cells to read
    np.testing.assert_array_equal(
        gram_matrix(sp.eye(8, 20, format="csr", dtype=np.float32)), np.diag([1.0] * 8 + [0.0] * 12)
    )
    assert not files(cache)


@pytest.mark.parametrize("damage", ["cut", "flipped", "of another shape"])
def test_a_damaged_file_is_made_again(
    damage: str, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = gram_matrix(listens())
    (file,) = files(cache)
    content = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(content[:300])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:
        np.savez(file, gram=first[:3])
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(gram_matrix(listens()), first)
    assert "is damaged" in caplog.text
    caplog.clear()
    np.testing.assert_array_equal(gram_matrix(listens()), first)
    assert not caplog.text


def test_a_disk_without_room_costs_a_warning_not_the_fit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    gram._keep(np.eye(2, dtype=np.float32), tmp_path / "file" / "gram.npz")  # cannot be a folder
    assert "cannot cache the Gram matrix" in caplog.text


def test_processes_share_one_file(cache: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "train.npy", listens().toarray())
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(tmp_path / "train.npy")]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=paths) for _ in range(3)
    ]
    corners = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert corners == [f"{gram_matrix(listens())[0, 0]!r}\n"] * 3
    assert len(files(cache)) == 1
