"""First lines that name columns, and first lines that are data."""

import pytest

from recsweep.data.header import looks_like_data, looks_like_header


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("u1 m1 name 5", "u2 m1 other 7"),
        ("196 242 3 881250949", "186 302 3 891717742"),
        ("alice book 4.5", "bob pen 3"),
        ("alice book 2020-01-01", "bob pen 2020-01-02"),
        ("u1 i1", "u2 i2"),
        ("0 17 5", "1 2 5"),
    ],
)
def test_data_looks_like_data(first: str, second: str):
    assert looks_like_data(first.split(), second.split())
    assert not looks_like_header(first.split(), second.split())


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("user item value", "1 2 3"),
        ("user item value", "alice book 3"),
        ("userId movieId rating timestamp", "1 2 3.5 1112486027"),
        ("user item", "u1 i1"),
    ],
)
def test_a_header_looks_like_a_header(first: str, second: str):
    assert looks_like_header(first.split(), second.split())
    assert not looks_like_data(first.split(), second.split())


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("user item", "alice book"),  # nothing to tell them apart
        ("0 1 2", "7 8 5"),  # as pandas names columns without names
        ("1 2 3", "7 8 5"),
        ("col1 col2 col3", "alice book 5"),
        ("u1 m1 name 5", "u2 m1 other"),
        ("", ""),
        ("5 6", ""),
    ],
)
def test_what_may_be_either_is_neither(first: str, second: str):
    assert not looks_like_data(first.split(), second.split())
    assert not looks_like_header(first.split(), second.split())
