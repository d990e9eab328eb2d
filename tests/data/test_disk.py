"""Files that are there whole or not at all, on a real disk."""

from pathlib import Path

import pytest

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


def test_what_the_disk_refuses_names_the_file_and_the_setting(refused, tmp_path: Path):
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "inside"
    with (
        refused(str(tmp_path / "file"), "permissions", "cache_dir"),
        disk_errors_in_one_line(target, "cache_dir"),
        sole_writer(target),
    ):
        pytest.fail("there is no such folder")
