"""Files that are there whole or not at all, on a real disk."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from recsweep.data import disk
from recsweep.data.disk import disk_errors_in_one_line, file_sha256, sole_writer, whole_file


def test_the_checksum_of_nothing_is_the_published_one(tmp_path: Path):
    (tmp_path / "empty").touch()
    assert file_sha256(tmp_path / "empty") == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )


def test_a_file_takes_its_name_only_when_it_is_written(tmp_path: Path):
    target = tmp_path / "deep" / "file"
    with whole_file(target) as file:
        file.write(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


def test_an_old_file_survives_a_failure_to_write_the_new_one(tmp_path: Path):
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def write_and_fail() -> None:
        with whole_file(target) as file:
            file.write(b"new")
            raise KeyError

    with pytest.raises(KeyError):
        write_and_fail()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_two_at_once_who_write_one_file_do_not_write_into_each_others(tmp_path: Path):
    target = tmp_path / "file"
    with whole_file(target) as first:
        first.write(b"first")
        with whole_file(target) as second:
            second.write(b"second")
        assert target.read_bytes() == b"second"
        first.write(b" and last")
    assert target.read_bytes() == b"first and last"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_is_on_the_disk_before_it_takes_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    target, synced = tmp_path / "file", []

    def watched(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_size, target.exists()))
        os.fsync(descriptor)

    monkeypatch.setattr(disk, "fsync", watched)
    with whole_file(target) as file:
        file.write(b"new")
    assert synced == [(3, False)], "all three bytes, and no name yet"


def fail_to_write(target: Path) -> None:
    with sole_writer(target), whole_file(target):
        raise KeyError


def test_a_failure_leaves_no_folder_that_was_not_there_and_no_lock(tmp_path: Path):
    with pytest.raises(KeyError):
        fail_to_write(tmp_path / "deep" / "cache" / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_what_others_have_in_the_folder(tmp_path: Path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "other").touch()
    with pytest.raises(KeyError):
        fail_to_write(tmp_path / "cache" / "file")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["other"]


def test_a_folder_that_was_there_stays_though_it_is_empty(tmp_path: Path):
    (tmp_path / "cache").mkdir()
    with pytest.raises(KeyError):
        fail_to_write(tmp_path / "cache" / "deep" / "file")
    assert list(tmp_path.iterdir()) == [tmp_path / "cache"]


def count_up(target: Path) -> None:
    """Fail to write often, and in between raise the number in a file by one under the lock."""
    for _ in range(30):
        with pytest.raises(KeyError):
            fail_to_write(target)
        with sole_writer(target):
            number = target.with_name("number")
            number.write_text(str(int(number.read_text()) + 1))


def test_a_lock_that_goes_after_a_failure_still_keeps_others_out(tmp_path: Path):
    (tmp_path / "number").write_text("0")
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        for run in [pool.submit(count_up, tmp_path / "file") for _ in range(3)]:
            run.result()
    assert (tmp_path / "number").read_text() == "90"


def test_what_the_disk_refuses_names_the_file_and_the_setting(refused, tmp_path: Path):
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "inside"
    with (
        refused(str(tmp_path / "file"), "permissions", "cache_dir"),
        disk_errors_in_one_line(target, "cache_dir"),
        sole_writer(target),
    ):
        pytest.fail("there is no such folder")
