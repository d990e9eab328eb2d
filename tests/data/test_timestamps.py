"""Times in every form, compared exactly."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recsweep.data.timestamps import comparable, in_order, instant, readable

BIG = 2**60  # float64 holds only every 256th whole number here


def order(entries: list[Any], kind: pa.DataType | None = None) -> list[int]:
    """Places of the entries, earliest first; equal ones stay as they are."""
    return np.argsort(in_order(pa.chunked_array([entries], type=kind)), kind="stable").tolist()


@pytest.mark.parametrize(
    ("entries", "kind"),
    [
        ([BIG + 1, BIG, BIG + 2], None),
        ([2**63 + 1, 2**63, 2**64 - 1], pa.uint64()),
        ([1.5, -2.0, 2.0], None),
        ([Decimal("1.000000000000000000001"), Decimal(1), Decimal(2)], None),
        ([BIG + 1, BIG, BIG + 2], pa.timestamp("ns")),
        ([BIG // 1000 + 1, BIG // 1000, BIG // 1000 + 2], pa.timestamp("us", "Asia/Tokyo")),
        ([1, -1, 2], pa.timestamp("s", "no/such place")),
        ([date(2020, 1, 2), date(2020, 1, 1), date(2020, 1, 3)], pa.date32()),
        ([date(2020, 1, 2), date(2020, 1, 1), date(2020, 1, 3)], pa.date64()),
        (["1.1234567890123456789", "1.1234567890123456788", "2e0"], None),
        ([f"2020-01-01T00:00:00.00000000000{digit}" for digit in (2, 1, 3)], None),
        (["2020-01-02", "2020-01-01", "2020-01-03"], pa.large_string()),
        (["10", "9", " 11 "], pa.dictionary(pa.int8(), pa.string())),
    ],
)
def test_times_of_every_type_are_put_in_order(entries: list[Any], kind: pa.DataType | None):
    if kind is not None and pa.types.is_dictionary(kind):
        kind, entries = None, pa.array(entries).dictionary_encode()
    assert order(entries, kind) == [1, 0, 2]


@pytest.mark.parametrize(
    "entries",
    [
        ["2020-01-01", "2020-01-01T00:00", "2020-01-01 00:00:00.000"],
        ["2020-01-01T00:00Z", "2020-01-01T02:00+02:00", "2019-12-31T19:00:00-0500"],
        ["1", "1.0", "10e-1"],
        ["1", "1.00000000000000000", "10e-1"],
        ["0900-01-01T01:00+01", "0900-01-01Z"],
    ],
)
def test_times_that_are_the_same_stay_in_their_order(entries: list[str]):
    assert len(set(in_order(pa.chunked_array([entries])).tolist())) == 1


@pytest.mark.parametrize(
    "entries",
    [
        ["5", None], ["5", "2020-01-01"], ["2020-01-01", "2020-01-01T00:00Z"], ["yesterday"],
        [[5]], [True], [1.0, float("nan")], [float("inf")], ["nan"], ["1_0"], ["2020-13-01"],
    ],
)  # fmt: skip
def test_what_is_missing_or_no_time_or_of_two_kinds_is_refused(entries: list[Any]):
    with pytest.raises(ValueError, match=r"time|Failed"):
        in_order(pa.chunked_array([entries]))


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ("5", "a number"), ("-1.5e3", "a number"), (5, "a number"), (Decimal("1.5"), "a number"),
        ("2020-02-29", "a date without a time zone"),
        (date(2020, 1, 1), "a date without a time zone"),
        ("2020-02-29T10:00:00.123456789012", "a date without a time zone"),
        ("2020-02-29 10:00:00Z", "a date with a time zone"),
        (datetime(2020, 1, 1, tzinfo=UTC), "a date with a time zone"),
    ],
)  # fmt: skip
def test_one_time_is_a_number_or_a_date_with_or_without_a_zone(entry: Any, kind: str):
    found = instant(entry)
    assert found is not None
    assert found[0] == kind


@pytest.mark.parametrize(
    "entry",
    ["", "nan", "inf", "1_0", "0x10", "٣", "2021-02-29", "2020-01-01T24:00", "2020-01-01T10:60",
     "10:00", "2020/01/01", "1,5", None, True, float("nan"), [5], b"5"],
)  # fmt: skip
def test_what_is_no_time_is_none(entry: Any):
    assert instant(entry) is None


def test_dates_as_text_are_compared_as_they_are_read_at_a_glance():
    # 01:00 in a zone two hours ahead is 23:00 of the day before
    texts = ["2020-01-01T01:00:00+02:00", "2019-12-31T22:59:59.9Z", "2020-01-01T00:00:00Z"]
    keys = [key for _, key in filter(None, map(instant, texts))]
    assert sorted(range(3), key=keys.__getitem__) == [1, 0, 2]
    assert order(texts) == [1, 0, 2]


# --- given times ----------------------------------------------------------------------------------

NOON_S = 1_700_049_600  # 2023-11-15 12:00 UTC


@pytest.mark.parametrize(
    ("kind", "noon"),
    [
        (pa.int64(), NOON_S), (pa.timestamp("s"), datetime(2023, 11, 15, 12)),
        (pa.timestamp("ms", "UTC"), datetime(2023, 11, 15, 12, tzinfo=UTC)),
        (pa.timestamp("ns"), datetime(2023, 11, 15, 12)), (pa.string(), "2023-11-15T12:00"),
        (pa.string(), str(NOON_S)), (pa.float64(), float(NOON_S)),
    ],
)  # fmt: skip
def test_a_date_is_compared_with_times_of_any_unit(kind: pa.DataType, noon: Any):
    times = in_order(pa.chunked_array([[noon]], type=kind))
    for same in ("2023-11-15 12:00", "2023-11-15T12:00:00Z", "2023-11-15T13:00:00+01:00"):
        assert comparable(same, times) == times[0]
    assert comparable("2023-11-15", times) < times[0] < comparable("2023-11-16", times)
    assert comparable("2023-11-15 11:59:59.5", times) <= times[0]
    assert readable(times[0], times) == "2023-11-15 12:00:00"
    assert comparable(times[0], times) == times[0]


@pytest.mark.parametrize(
    "texts",
    [
        ["978300760.0", "978300761"], ["978300760.250", "978300761.1"],
        ["0.1234567890123", "0.1234567890124"], ["1e3", "2.5"],
    ],
)  # fmt: skip
def test_decimals_are_the_numbers_that_they_are(texts: list[str]):
    times = in_order(pa.chunked_array([texts]))
    assert times.tolist() == [float(text) for text in texts]
    assert [comparable(text, times) for text in texts] == times.tolist()


@pytest.mark.parametrize("kind", [pa.decimal128(20, 4), pa.decimal256(50, 4)])
def test_decimals_of_a_typed_column_are_numbers_too(kind: pa.DataType):
    whole = in_order(pa.chunked_array([[Decimal("978300760.0000")]], type=kind))
    assert (whole.dtype, whole.tolist()) == (np.int64, [978300760])
    some = [Decimal("978300760.25"), Decimal("978300761.10")]
    assert in_order(pa.chunked_array([some], type=kind)).tolist() == [978300760.25, 978300761.1]


def test_decimals_beyond_64_bits_are_ranks():
    closer = ["1700000000.0000000010001", "1700000000.0000000020001"]  # a 13th decimal
    assert in_order(pa.chunked_array([closer[::-1]])).tolist() == [1, 0]
    closest = ["1700000000.0000000001", "1700000000.0000000002"]
    assert in_order(pa.chunked_array([closest[::-1]])).tolist() == [2, 1]


def test_years_before_1677_are_seconds():
    times = in_order(pa.chunked_array([["1000-01-01", "1970-01-02"]]))
    assert times.tolist() == [-30_610_224_000, 86_400]
    assert comparable("1000-01-01", times) == times[0]


def test_a_day_of_a_date_column_is_that_days_midnight():
    times = in_order(pa.chunked_array([[date(2023, 11, 15)]], type=pa.date32()))
    assert comparable("2023-11-15", times) == times[0]
    assert readable(times[0], times) == "2023-11-15"


def test_numbers_that_are_no_dates_stay_numbers():
    times = np.array([1, 2, 30])
    assert readable(30, times) == "30"
    assert comparable("12", times) == 12
    assert comparable("1.5", times) == 1.5
    assert comparable(7, times) == 7
    with pytest.raises(ValueError, match="neither a number nor an ISO 8601 date"):
        comparable("noon", times)


@pytest.mark.parametrize("kind", [pa.string(), pa.decimal128(19, 9), pa.decimal128(38, 9)])
def test_seconds_with_nine_decimals_are_nanoseconds_and_compare_with_a_date(kind: pa.DataType):
    texts = ["1577836800.000000001", "1577836800.000000002", "1577836799.999999999"]
    entries = texts if kind == pa.string() else [Decimal(text) for text in texts]
    times = in_order(pa.chunked_array([entries], type=kind))
    assert times.tolist() == [int(text.replace(".", "")) for text in texts]
    assert times.dtype == np.int64
    assert comparable("2020-01-01", times) == 1577836800 * 10**9
    assert readable(times[1], times).startswith("2020-01-01")


@pytest.mark.parametrize(
    "texts",
    [
        ["1577836800.0000000001", "1577836800.0000000002"],  # the tenth decimal differs
        ["1.00000000000000001", "1.00000000000000002"],  # beyond Arrow's decimals, too
        ["15778.000000000001", "1577836800000.000000000002", "1577836800000.000000000003"],
    ],
)
def test_times_of_which_only_the_order_is_kept_are_told(
    texts: list[str], caplog: pytest.LogCaptureFixture
):
    assert in_order(pa.chunked_array([texts])).argsort().tolist() == list(range(len(texts)))
    assert len(caplog.messages) == 1
    assert "only their order is kept" in caplog.text
