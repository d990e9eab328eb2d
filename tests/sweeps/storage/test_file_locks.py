import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from recsweep.sweeps.storage.file_locks import is_locked, lock, read_at, unlock, wait_for_lock


@pytest.fixture
def openers(tmp_path: Path) -> Iterator[list[int]]:
    """Three open files of one."""
    opened = [os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(3)]
    yield opened
    for each in opened:
        os.close(each)


def test_one_opener_at_a_time_has_the_lock(openers: list[int]) -> None:
    mine, other, _ = openers
    assert lock(mine)
    assert not lock(other)
    unlock(mine)
    assert lock(other)
    assert not lock(mine)


def test_looking_at_a_lock_neither_takes_nor_keeps_it(openers: list[int]) -> None:
    mine, spy, other_spy = openers
    assert not is_locked(spy)
    assert not is_locked(other_spy)
    assert lock(mine), "a look leaves nothing locked"
    assert is_locked(spy)
    assert is_locked(other_spy)
    unlock(mine)
    wait_for_lock(spy)
    assert is_locked(mine)


def test_a_closed_file_is_unlocked(tmp_path: Path) -> None:
    held = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    assert lock(held)
    other = os.open(tmp_path / "lock", os.O_RDWR)
    os.close(held)
    assert lock(other)
    os.close(other)


def test_others_read_and_write_what_is_locked(openers: list[int]) -> None:
    mine, other, _ = openers
    assert lock(mine)
    assert os.write(other, b"0123456789") == 10
    assert read_at(mine, 10, 0) == b"0123456789"


def test_a_read_at_an_offset_leaves_the_position(openers: list[int]) -> None:
    mine = openers[0]
    os.write(mine, b"0123456789")
    os.lseek(mine, 4, os.SEEK_SET)
    assert read_at(mine, 3, 7) == b"789"
    assert os.read(mine, 2) == b"45"
