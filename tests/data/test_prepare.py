"""Prepared splits on a real disk: made once, made again when anything changes or breaks."""

import importlib
import logging
import math
import multiprocessing
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsweep.data import prepare as cache_module
from recsweep.data.prepare import _key, prepare
from recsweep.data.sources.delimited import Delimited
from recsweep.data.sources.liang import Liang, write_liang
from recsweep.data.sources.lightgcn import LightGCN
from recsweep.data.sources.source import Source, TableSource
from recsweep.data.sources.synthetic import Synthetic
from recsweep.data.split import Split
from recsweep.data.splits.heldout import Heldout
from recsweep.data.splits.presplit import Presplit
from recsweep.data.splits.strong import Strong
from recsweep.data.splits.weak import Weak
from recsweep.data.transform import Binary, Log1p

BINARY = Binary()
STRONG = Strong(n_heldout_users=5, target_fraction=0.2, seed=1)
UNREADABLE = Path("/proc/self/mem")
"""A file on Linux whose first byte nobody can read."""


def write_clicks(path: Path, n_items: int = 20, item: str = "{}") -> Path:
    random = np.random.default_rng(0)
    rows = [
        f"{user},{item.format(number)},1\n"
        for user in range(40)
        for number in random.choice(n_items, size=8, replace=False)
    ]
    path.write_text("user,item,value\n" + "".join(rows), encoding="utf-8")
    return path


class Counted(TableSource):
    """A file of clicks that counts how often it is read."""

    n_reads = 0

    def files(self, cache: Path) -> list[Path]:  # noqa: ARG002 - nothing to download
        assert self.path is not None
        return [self.path]

    def table(self, files: list[Path]) -> pd.DataFrame:
        self.n_reads += 1
        return pd.read_csv(files[0])


@pytest.fixture
def source(tmp_path: Path) -> Counted:
    return Counted(
        name="counted",
        path=write_clicks(tmp_path / "clicks.csv"),
        min_rating=None,
        min_user_interactions=5,
        n_heldout_users=None,
    )


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache"


def prepared_files(cache: Path) -> list[Path]:
    """All that is in the folder but for the locks, which stay for the next process."""
    return sorted(file for file in (cache / "splits").glob("*") if file.suffix != ".lock")


def same(first: Split, second: Split) -> bool:
    return (
        first.fingerprint == second.fingerprint
        and first.data_fingerprint == second.data_fingerprint
        and first.profile() == second.profile()
    )


# --- made once ------------------------------------------------------------------------------------


@pytest.mark.extended
def test_the_second_time_the_source_is_not_read(source: Counted, cache: Path):
    first, second = (prepare(source, BINARY, STRONG, cache) for _ in range(2))
    assert source.n_reads == 1
    assert same(first, second)
    assert len(prepared_files(cache)) == 1


def test_what_comes_out_of_the_cache_is_what_went_in(source: Counted, cache: Path):
    first, second = (prepare(source, BINARY, STRONG, cache) for _ in range(2))
    for matrix, other in zip(first.matrices, second.matrices, strict=True):
        assert (matrix.data.dtype, matrix.shape) == (other.data.dtype, other.shape)
        assert matrix.indptr.tolist() == other.indptr.tolist()
        assert matrix.indices.tolist() == other.indices.tolist()
        assert matrix.data.tolist() == other.data.tolist()
    assert first.train_user_ids.tolist() == second.train_user_ids.tolist()
    assert first.valid.user_ids.tolist() == second.valid.user_ids.tolist()
    assert first.test.user_ids.tolist() == second.test.user_ids.tolist()
    assert first.item_ids.dtype == second.item_ids.dtype == np.int64


def test_ids_of_text_come_back_as_they_were(
    csv_source: Callable[..., Delimited], tmp_path: Path, cache: Path
):
    source = csv_source(write_clicks(tmp_path / "clicks.csv", item="\u00e9 {}.0"))
    first, second = (prepare(source, BINARY, STRONG, cache) for _ in range(2))
    assert all(isinstance(item, str) for item in second.item_ids)
    assert first.item_ids.tolist() == second.item_ids.tolist()
    assert same(first, second)


def test_a_file_that_moved_is_still_known(source: Counted, cache: Path, tmp_path: Path):
    first = prepare(source, BINARY, STRONG, cache)
    moved = replace(source, path=source.path.rename(tmp_path / "elsewhere.csv"))
    assert same(prepare(moved, BINARY, STRONG, cache), first)
    assert moved.n_reads == 0


def test_a_source_without_files_is_prepared_too(cache: Path):
    source = Synthetic(
        name="synthetic",
        path=None,
        min_rating=None,
        min_user_interactions=5,
        n_heldout_users=None,
        n_users=50,
        n_items=30,
        n_groups=2,
        mean_clicks=10,
        affinity=5,
        popularity_exponent=1,
        seed=1,
    )
    assert same(prepare(source, BINARY, STRONG, cache), prepare(source, BINARY, STRONG, cache))
    assert len(prepared_files(cache)) == 1


def test_data_that_comes_split_is_prepared_too(source: Counted, cache: Path, tmp_path: Path):
    write_liang(prepare(source, BINARY, STRONG, cache), tmp_path / "five")
    five = Liang(name="liang", path=tmp_path / "five")
    assert same(prepare(five, BINARY, Presplit(), cache), prepare(five, BINARY, Presplit(), cache))
    assert len(prepared_files(cache)) == 2


def test_two_processes_make_one_file(
    csv_source: Callable[..., Delimited], tmp_path: Path, cache: Path
):
    source = csv_source(write_clicks(tmp_path / "clicks.csv"))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        runs = [pool.submit(prepare, source, BINARY, STRONG, cache) for _ in range(2)]
        first, second = (run.result() for run in runs)
    assert same(first, second)
    assert len(prepared_files(cache)) == 1


# --- made again -----------------------------------------------------------------------------------


def test_a_changed_file_gives_a_new_split(source: Counted, cache: Path):
    first = prepare(source, BINARY, STRONG, cache)
    write_clicks(source.path, n_items=19)
    second = prepare(source, BINARY, STRONG, cache)
    assert (source.n_reads, len(prepared_files(cache))) == (2, 2)
    assert not same(first, second)


@pytest.mark.parametrize(
    "change",
    [{"min_rating": 1.0}, {"min_user_interactions": 6}, {"n_heldout_users": 5}, {"name": "other"}],
)
def test_a_changed_setting_of_the_source_is_prepared_anew(
    source: Counted, cache: Path, change: dict[str, Any]
):
    prepare(source, BINARY, STRONG, cache)
    changed = replace(source, **change)
    prepare(changed, BINARY, STRONG, cache)
    assert changed.n_reads == 1
    assert len(prepared_files(cache)) == 2


@pytest.mark.parametrize("change", [{"seed": 2}, {"target_fraction": 0.3}, {"n_heldout_users": 4}])
def test_a_changed_setting_of_the_split_gives_a_new_split(
    source: Counted, cache: Path, change: dict[str, Any]
):
    first = prepare(source, BINARY, STRONG, cache)
    second = prepare(source, BINARY, replace(STRONG, **change), cache)
    assert not same(first, second)
    assert len(prepared_files(cache)) == 2


def test_another_transform_gives_other_values_of_the_same_pairs(source: Counted, cache: Path):
    ones = prepare(source, BINARY, STRONG, cache)
    logs = prepare(source, Log1p(), STRONG, cache)
    assert len(prepared_files(cache)) == 2
    assert set(ones.train.data.tolist()) == {1.0}
    assert logs.train.data == pytest.approx(1 + math.log(2))  # every count is 1
    assert logs.train.indices.tolist() == ones.train.indices.tolist()


def test_another_truth_file_gives_a_new_split_and_a_moved_one_does_not(
    source: Counted, cache: Path, tmp_path: Path
):
    truth = tmp_path / "truth.txt"
    truth.write_text("0 a\n", encoding="utf-8")
    source.path.write_text("user,item,value\n0,0,1\n0,1,1\n1,a,1\n1,0,1\n", encoding="utf-8")
    heldout = Heldout(path=truth, valid_fraction=0.5, seed=1)
    source = replace(source, min_user_interactions=1)
    first = prepare(source, BINARY, heldout, cache)
    moved = replace(heldout, path=truth.rename(tmp_path / "elsewhere.txt"))
    assert same(prepare(source, BINARY, moved, cache), first)
    assert source.n_reads == 1
    moved.path.write_text("1 1\n", encoding="utf-8")
    assert not same(prepare(source, BINARY, moved, cache), first)


def test_unknown_items_come_back_from_the_cache(source: Counted, cache: Path):
    weak = Weak(
        per="all",
        valid_fraction=0.4,
        test_fraction=0.5,
        unknown_items="count",
        valid_items=False,
        seed=2,
    )
    write_clicks(source.path, n_items=900)  # most items are clicked once
    first, second = (prepare(source, BINARY, weak, cache) for _ in range(2))
    assert source.n_reads == 1
    assert first.test.n_unknown.sum() > 0
    assert second.test.n_unknown.tolist() == first.test.n_unknown.tolist()
    assert second.valid.n_unknown.tolist() == first.valid.n_unknown.tolist()
    assert same(first, second)


def damaged(content: bytes) -> list[bytes]:
    """An empty file, cut ones, garbage, and one wrong byte in each of 40 places."""
    cut = [content[: int(share * len(content))] for share in (0, 0.3, 0.9, 0.999)]
    flipped = []
    for place in np.linspace(0, len(content) - 1, 40).astype(int):
        changed = bytearray(content)
        changed[place] ^= 0xFF
        flipped.append(bytes(changed))
    return [*cut, b"garbage", content[100:], *flipped]


@pytest.mark.extended
def test_a_damaged_file_is_made_again_with_a_warning(
    source: Counted, cache: Path, caplog: pytest.LogCaptureFixture
):
    first = prepare(source, BINARY, STRONG, cache)
    (file,) = prepared_files(cache)
    content = file.read_bytes()
    for n_damaged, wrong in enumerate(damaged(content), start=1):
        file.write_bytes(wrong)
        with caplog.at_level(logging.WARNING, logger="recsweep"):
            assert same(prepare(source, BINARY, STRONG, cache), first)
        is_harmless = source.n_reads == n_damaged and not caplog.messages
        if is_harmless:  # a byte that only tells a time or a version of the archive
            source.n_reads += 1
        else:
            (message,) = caplog.messages
            assert f"prepared split {file} is damaged" in message
            assert "rebuilding it" in message
            assert "\n" not in message
            assert file.read_bytes()[:2] == b"PK"
        assert source.n_reads == n_damaged + 1
        caplog.clear()
    assert prepared_files(cache) == [file]


def test_a_split_that_fits_together_but_is_another_one_is_made_again(
    source: Counted, cache: Path, caplog: pytest.LogCaptureFixture
):
    first = prepare(source, BINARY, STRONG, cache)
    (file,) = prepared_files(cache)
    with np.load(file) as arrays:
        changed = dict(arrays)
    changed["train.indices"] = changed["train.indices"][::-1].copy()
    np.savez(file, allow_pickle=False, **changed)
    assert same(prepare(source, BINARY, STRONG, cache), first)
    assert source.n_reads == 2
    assert "not what its fingerprint says" in caplog.text


def test_a_failure_to_split_leaves_nothing_behind(refused, source: Counted, cache: Path):
    with refused("must leave users to train on"):
        prepare(source, BINARY, replace(STRONG, n_heldout_users=20), cache)
    assert not cache.exists()


def test_a_failure_beside_other_splits_leaves_those(refused, source: Counted, cache: Path):
    prepare(source, BINARY, STRONG, cache)
    with refused("must leave users to train on"):
        prepare(source, BINARY, replace(STRONG, n_heldout_users=20), cache)
    assert len(prepared_files(cache)) == 1


# --- classes of the user's own --------------------------------------------------------------------

OWN = """
from pydantic.dataclasses import dataclass
from recsweep.data.splits.strong import Strong
from recsweep.interfaces import STRICT

@dataclass(kw_only=True, config=STRICT)
class Mine(Strong):
    def split(self, data):
        return Strong(n_heldout_users={n}, target_fraction=0.2, seed=1).split(data)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Writes `module.Mine`, which holds out `n` users whatever its settings say."""
    monkeypatch.syspath_prepend(tmp_path)

    def splitter(module: str, n: int) -> Any:
        (tmp_path / f"{module}.py").write_text(OWN.format(n=n), encoding="utf-8")
        monkeypatch.delitem(sys.modules, module, raising=False)
        importlib.invalidate_caches()
        return importlib.import_module(module).Mine(n_heldout_users=1, target_fraction=0.5, seed=3)

    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a second content within one second
    return splitter


def test_two_classes_of_one_name_do_not_share_a_split(
    source: Counted, cache: Path, own: Callable[..., Any]
):
    splits = [prepare(source, BINARY, own(f"mine_{n}", n), cache) for n in (4, 6, 4)]
    assert [len(split.test.user_ids) for split in splits] == [4, 6, 4]
    assert len(prepared_files(cache)) == 2


def test_a_class_that_was_edited_is_asked_again(
    source: Counted, cache: Path, own: Callable[..., Any]
):
    splits = [prepare(source, BINARY, own("mine_too", n), cache) for n in (4, 6)]
    assert [len(split.test.user_ids) for split in splits] == [4, 6]


def test_two_classes_inside_a_source_do_not_share_a_split(tmp_path: Path):
    @dataclass
    class Reader:
        path: Path

    @dataclass
    class Backwards(Reader):
        pass

    @dataclass
    class Files:
        path: Path
        readers: tuple[Reader, ...]

    file = write_clicks(tmp_path / "clicks.csv")
    keys = [_key([Files(file, (kind(file),))], [file]) for kind in (Reader, Backwards, Reader)]
    assert keys[0] == keys[2] != keys[1]
    assert _key([Files(tmp_path, (Reader(tmp_path),))], [file]) != keys[0]
    assert _key([Files(tmp_path, (Reader(file),))], [file]) == keys[0]


def test_other_code_of_ours_gives_another_key(
    source: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = _key([source, BINARY, STRONG], [])
    package = shutil.copytree(Path(cache_module.__file__).parent, tmp_path / "data")
    monkeypatch.setattr(cache_module, "__file__", str(package / "prepare.py"))
    assert _key([source, BINARY, STRONG], []) == before
    with (package / "splits" / "strong.py").open("a", encoding="utf-8") as file:
        file.write("# another line\n")
    assert _key([source, BINARY, STRONG], []) != before


# --- what is refused ------------------------------------------------------------------------------


def test_a_missing_file_or_a_folder_for_a_file_is_refused(
    refused, csv_source: Callable[..., Delimited], cache: Path, tmp_path: Path
):
    with refused("data.path must name a file", f"{tmp_path / 'absent.csv'} is not there"):
        prepare(csv_source(tmp_path / "absent.csv"), BINARY, STRONG, cache)
    with refused("data.path must name a file", f"{tmp_path} is a folder;"):
        prepare(csv_source(tmp_path), BINARY, STRONG, cache)
    with refused("but absent.csv is not there in ", f"{Path.cwd()}; give another path"):
        prepare(csv_source(Path("absent.csv")), BINARY, STRONG, cache)


def presplit(name: str, path: Path) -> Source:
    if name == "liang":
        return Liang(name=name, path=path)
    return LightGCN(name=name, path=path, valid_fraction=0.1, seed=1)


@pytest.mark.parametrize("name", ["liang", "lightgcn"])
def test_a_folder_that_cannot_be_looked_into_is_named(
    refused, cache: Path, tmp_path: Path, name: str
):
    folder = tmp_path / ("x" * 300)  # no system takes such a name, whatever the user may do
    with refused(f"cannot read {folder}/train", " (File name"):
        prepare(presplit(name, folder), BINARY, Presplit(), cache)


@pytest.mark.skipif(not UNREADABLE.exists(), reason="there is no file that nobody can read")
def test_a_file_that_cannot_be_read_is_named_and_not_the_cache(
    refused, source: Counted, cache: Path, tmp_path: Path
):
    (tmp_path / "truth.txt").symlink_to(UNREADABLE)
    truth = Heldout(path=tmp_path / "truth.txt", valid_fraction=0.1, seed=1)
    with refused(f"cannot read {tmp_path / 'truth.txt'} ("):
        prepare(source, BINARY, truth, cache)
    for name in ("train.txt", "test.txt"):
        (tmp_path / name).symlink_to(UNREADABLE)
    with refused(f"cannot read {tmp_path / 'train.txt'} ("):
        prepare(presplit("lightgcn", tmp_path), BINARY, Presplit(), cache)


def test_a_file_that_breaks_while_it_is_loaded_is_named_and_not_the_cache(
    refused, source: Counted, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    def table(source: Counted, files: list[Path]) -> pd.DataFrame:  # noqa: ARG001
        raise OSError(5, "Input/output error", str(files[0]))

    monkeypatch.setattr(Counted, "table", table)
    with refused(f"cannot read {source.path} (Input/output"):
        prepare(source, BINARY, STRONG, cache)


def test_a_cache_that_cannot_be_made_is_refused(refused, source: Counted, tmp_path: Path):
    (tmp_path / "file").touch()
    for cache in (tmp_path / "file", tmp_path / "file" / "inside"):
        with refused(str(tmp_path / "file"), "permissions", "point cache_dir to another folder"):
            prepare(source, BINARY, STRONG, cache)


def test_a_cache_that_takes_no_more_is_refused(refused, source: Counted, cache: Path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
    try:
        with refused(str(cache), "free space", "cache_dir"):
            prepare(source, BINARY, STRONG, cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert prepared_files(cache) == []
