"""When two ids are one: by what they are, not by the file that they come from."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest

from recsweep.data.ids import as_ids, id_text, id_texts, tell_missing
from recsweep.errors import InputError


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (" u 1\t", "u 1"),
        ("10.0", "10"),
        ("10.000 ", "10"),
        ("-10.0", "-10"),
        ("0.0", "0"),
        ("123456789012345678901.0", "123456789012345678901"),
        (10, "10"),
        (np.int8(-10), "-10"),
        (2**70, str(2**70)),
        (10.0, "10"),
        (-0.0, "0"),
        (2.0**53 - 1, "9007199254740991"),
        (np.float32(2**24 - 1), "16777215"),
        (np.float16(7), "7"),
        (Decimal("10.00"), "10"),
        (Decimal(2**70), str(2**70)),
        (b" u1", "u1"),
        ("ü".encode(), "ü"),
        (b"10.0", "10"),
        (b"\x00\xff", "00ff"),
        (b"a\x00", "6100"),
        (np.bytes_(b"u"), "u"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (date(2024, 5, 31), "2024-05-31"),
    ],
)
def test_one_id_has_one_text_whatever_it_is_written_as(entry: Any, text: str):
    assert id_text(entry) == text
    assert id_text(text) == text


@pytest.mark.parametrize(
    "text",
    ["007", "007.0", "+5", "+5.0", "-0", "-0.0", "1e3", "1E+05", "10.5", "10.", ".0", "1.0.0",
     "nan", "NULL", "1,0", "1_0", "١.0", "0x10", "True", "u10.0"],
)  # fmt: skip
def test_text_that_is_no_plain_number_stays_as_it_is(text: str):
    assert id_text(text) == text


@pytest.mark.parametrize(
    "entry",
    ["", " \t", "a\nb", "a\rb", b"", None, pd.NA, pd.NaT, np.nan, float("inf"), Decimal("NaN"),
     2.0**53, -(2.0**60), np.float32(2**24), [1], {"a": 1}, datetime(2024, 5, 31),
     pd.Timestamp("2024-05-31", tz="UTC"), np.datetime64("2024-05-31"), timedelta(1),
     np.timedelta64(1, "s")],
)  # fmt: skip
def test_what_is_missing_of_several_lines_inexact_or_a_time_is_no_id(entry: Any):
    assert id_text(entry) is None


def test_texts_of_many_are_those_of_each():
    entries = ["a ", 1.0, b"x", None, 7, "nan"]
    assert id_texts(np.array(entries, object)).tolist() == [id_text(entry) for entry in entries]
    assert id_texts(np.array([3, 10])).tolist() == ["3", "10"]
    assert id_texts(np.array([2**24 - 1, 2**24], np.float32)).tolist() == ["16777215", None]
    assert id_texts(np.array([], object)).tolist() == []


@pytest.mark.parametrize("kind", [object, "category"])
def test_rows_of_one_id_have_one_category_and_keep_their_place(
    kind: Any, caplog: pytest.LogCaptureFixture
):
    column = pd.Series(["b", " a", None, "a", "", "b "], [9, 8, 7, 6, 5, 4], kind, name="user")
    ids = as_ids(column)
    assert ids.astype(object).fillna("?").tolist() == ["b", "a", "?", "a", "?", "b"]
    assert sorted(ids.cat.categories) == ["a", "b"]
    assert ids.index.tolist() == [9, 8, 7, 6, 5, 4]
    assert ids.name == "user"
    assert caplog.messages == [], "white space is not worth a word"
    assert as_ids(ids).equals(ids)


def test_numbers_that_are_written_in_several_ways_are_told(caplog: pytest.LogCaptureFixture):
    column = pd.Series(["7.00", "5", "7.0", "7", " 5", "6.0"], name="item")
    assert as_ids(column).tolist() == ["7", "5", "7", "7", "5", "6"]
    assert caplog.messages == [
        "1 of 3 item ids are spelled in several ways (such as '7' and '7.0' and '7.00'): "
        "treated as one id each"
    ]


@pytest.mark.parametrize("word", ["NULL", "nan", "None", r"\N", "N/A", "<NA>"])
def test_an_id_that_means_there_is_none_is_told_and_kept(
    word: str, caplog: pytest.LogCaptureFixture
):
    column = as_ids(pd.Series([word, "u1", f" {word}", "nano"], name="user"))
    assert column.tolist() == [word, "u1", word, "nano"]
    tell_missing(column)
    assert caplog.messages == [
        f"2 rows have the user id {word!r}, which often means that it is missing: each is treated "
        "as one user; if so, remove these rows"
    ]


@pytest.mark.parametrize("entries", [[[1], [2]], ["a\ud800", "b"]])
def test_ids_that_cannot_be_compared_or_written_are_one_line(entries: list[Any]):
    with pytest.raises(InputError, match="every user id must be text or a number") as caught:
        as_ids(pd.Series(entries, dtype=object, name="user"))
    assert "\n" not in str(caught.value)


def test_short_floats_are_ids_like_others():
    short = pd.Series([1.0, 0.5, 1.0], dtype=np.float16)
    assert as_ids(short).tolist() == as_ids(short.astype(float)).tolist() == ["1", "0.5", "1"]
