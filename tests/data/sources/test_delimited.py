"""A CSV file of one's own, with every option, and the one that ships beside the project."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from recsweep.data.interactions import Interactions
from recsweep.data.sources.delimited import Delimited

CsvSource = Callable[..., Delimited]

# user 1 rates item 7 three times; by time, the row of 4 comes last, in the file the row of 1
REPEATED = """user,item,value,at
1,7,2,2020-01-02
2,7,5,2020-01-01
1,7,4,2020-01-03
1,8,3,2020-01-05
1,7,1,2020-01-01
"""


@pytest.fixture
def load(csv_source: CsvSource, tmp_path: Path) -> Callable[..., Interactions]:
    """Interactions in a file with this content, before any filter."""

    def read(content: str, **changes: Any) -> Interactions:
        path = tmp_path / "clicks.csv"
        path.write_text(content, encoding="utf-8")
        source = csv_source(path, **changes)
        return Interactions.from_table(source.table(source.files(tmp_path)))

    return read


def rows_of(data: Interactions) -> list[tuple[Any, Any, float]]:
    users = np.repeat(data.user_ids, np.diff(data.matrix.indptr))
    entries = zip(users, data.item_ids[data.matrix.indices], data.matrix.data, strict=True)
    return [(user, item, float(value)) for user, item, value in entries]


# --- duplicates -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({"duplicates": "last"}, 1),
        ({"duplicates": "last", "timestamp_column": "at"}, 4),
        ({"duplicates": "sum"}, 7),
        ({"duplicates": "max"}, 4),
    ],
)
def test_several_rows_of_a_pair_become_one(load, changes: dict[str, Any], value: float):
    data = load(REPEATED, **changes)
    assert sorted(rows_of(data)) == [(1, 7, value), (1, 8, 3), (2, 7, 5)]


def test_of_rows_with_one_time_the_later_in_the_file_is_the_last(load):
    content = "user,item,value,at\n1,7,2,5\n1,7,4,5\n1,7,3,4\n"
    assert rows_of(load(content, duplicates="last", timestamp_column="at")) == [(1, 7, 4)]


def test_rows_that_are_left_keep_the_order_of_the_file(load):
    content = "user,item,value,at\n1,9,1,30\n1,8,2,20\n1,9,3,10\n1,7,4,5\n"
    data = load(content, duplicates="last", timestamp_column="at")
    assert rows_of(data) == [(1, 9, 1), (1, 8, 2), (1, 7, 4)]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("1700000000123456788", "1700000000123456789"),  # float64 has one number for both
        ("1700000000.123456788", "1700000000.123456789"),
        ("1.7e9", "1700000000.000000001"),
        ("9", "10"),
        ("2020-01-01T00:00:00.123456788", "2020-01-01T00:00:00.123456789"),
        ("2020-01-01", "2020-01-01 00:00:00.000000001"),
        ("2020-01-01T00:00:00.9+02:00", "2020-01-01T00:00:00Z"),
        ("1066-10-14", "1066-10-14 12:00"),  # before what nanoseconds in 64 bits reach
    ],
)
@pytest.mark.parametrize("is_later_first", [False, True])
def test_times_are_compared_to_the_last_digit(load, earlier: str, later: str, is_later_first: bool):
    rows = [f"1,7,2,{earlier}\n", f"1,7,4,{later}\n"]
    content = "user,item,value,at\n" + "".join(rows[::-1] if is_later_first else rows)
    assert rows_of(load(content, duplicates="last", timestamp_column="at")) == [(1, 7, 4)]


@pytest.mark.parametrize("duplicates", ["last", "sum", "max"])
@pytest.mark.parametrize("times", ["55555", "95552"])
def test_a_merged_pair_stands_where_its_last_row_is(load, duplicates: str, times: str):
    rows = zip("CADBA", times, strict=True)
    content = "user,item,value,at\n" + "".join(f"1,{item},1,{time}\n" for item, time in rows)
    data = load(content, duplicates=duplicates, timestamp_column="at")
    # with the times 9 5 5 5 2, A's last row is the earlier one
    expected = {"55555": "CDBA", "95552": "CADB"}[times]
    assert "".join(data.item_ids[data.matrix.indices]) == expected


@pytest.mark.parametrize("duplicates", ["last", "sum", "max"])
def test_the_time_of_a_merged_pair_is_its_latest(load, duplicates: str):
    content = "user,item,value,at\n1,7,2,5\n1,8,1,6\n1,7,4,9\n1,7,3,4\n"
    data = load(content, duplicates=duplicates, timestamp_column="at")
    times = dict(zip(data.item_ids[data.matrix.indices].tolist(), data.times, strict=True))
    assert times == {7: 9, 8: 6}


@pytest.mark.parametrize("value", [3e38, 3.4028234e38])
def test_a_sum_that_float32_cannot_hold_names_the_pair(load, refused, value: float):
    content = f"user,item,value\n1,7,1\n2,8,{value}\n2,8,{value}\n"
    with refused("at most 3.4028235e+38", "user '2', item '8'", f"make {2 * value:.8g}"):
        load(content, duplicates="sum")
    assert [row[2] for row in rows_of(load(content, duplicates="max"))][1] == np.float32(value)


def test_several_rows_of_a_pair_are_refused_unless_something_else_is_said(load, refused):
    with refused("1 occur more than once", "user 1, item 7", "data.duplicates=last, sum or max"):
        load(REPEATED)


# --- columns and delimiters -----------------------------------------------------------------------


def test_columns_are_the_ones_that_are_named(load):
    data = load(
        "sku,who,n\na b,x,2\n", user_column="who", item_column="sku", value_column="n"
    )  # fmt: skip
    assert rows_of(data) == [("x", "a b", 2)]


def test_without_a_value_column_repeats_can_be_counted(load):
    content = "user,item\n1,7\n1,7\n2,7\n"
    assert rows_of(load(content, value_column=None, duplicates="sum")) == [(1, 7, 2), (2, 7, 1)]


@pytest.mark.parametrize("delimiter", [",", "\t", "\\t", ";", "|", " ", "::"])
def test_fields_are_cut_at_the_delimiter(load, delimiter: str):
    content = "user,item,value\n1,7,2\n".replace(",", delimiter.replace("\\t", "\t"))
    assert rows_of(load(content, delimiter=delimiter)) == [(1, 7, 2)]


def test_columns_without_a_header_are_positions(load):
    content = "u1\tm1\tname\t5\nu2\tm1\tother\t7\n"
    columns = {"user_column": 0, "item_column": 1, "value_column": 3}
    data = load(content, delimiter="\t", header=False, **columns)
    assert rows_of(data) == [("u1", "m1", 5), ("u2", "m1", 7)]


@pytest.mark.parametrize(
    ("changes", "item"), [({}, '"i'), ({"quoting": "none"}, '"i'), ({"quoting": "minimal"}, "i")]
)
def test_quotes_are_text_between_tabs_unless_something_else_is_said(
    load, changes: dict[str, Any], item: str
):
    content = f"user\titem\tvalue\nu\t{item if item != 'i' else item.join(chr(34) * 2)}\t1\n"
    assert rows_of(load(content, delimiter="\t", **changes)) == [("u", item, 1)]


@pytest.mark.parametrize(
    "changes",
    [{"quoting": "all"}, {"header": 0}, {"user_column": -1}, {"user_column": True},
     {"item_column": 1.0}, {"user_column": None}],
)  # fmt: skip
def test_settings_of_columns_are_typed(csv_source: CsvSource, changes: dict[str, Any]):
    with pytest.raises(ValidationError):
        csv_source("clicks.csv", **changes)


@pytest.mark.parametrize("column", [-1, 1.5, True])
def test_a_column_is_a_name_or_a_position(csv_source: CsvSource, column: Any):
    with pytest.raises(ValidationError, match=f"a position from 0 on, but is {column}"):
        csv_source("clicks.csv", timestamp_column=column)


@pytest.mark.parametrize("delimiter", ["", ",,", "\n", '"', "é", "\\x"])
def test_what_cannot_be_a_delimiter_is_refused_before_data_is_read(
    csv_source: CsvSource, delimiter: str
):
    with pytest.raises(ValidationError, match=r"must be one ASCII character \(\\t for a tab\)"):
        csv_source("clicks.csv", delimiter=delimiter)


@pytest.mark.parametrize("duplicates", ["first", "mean", None])
def test_an_unknown_way_with_duplicates_is_refused(csv_source: CsvSource, duplicates: Any):
    with pytest.raises(ValidationError, match="'error', 'last', 'sum' or 'max'"):
        csv_source("clicks.csv", duplicates=duplicates)


# --- ids ------------------------------------------------------------------------------------------


def test_ids_are_numbers_only_where_all_of_them_are(load):
    data = load("user,item,value\n12346.0,007,1\n12347.0,10,1\n12346.0,9,1\n")
    assert data.user_ids.tolist() == [12346, 12347]
    assert data.item_ids.tolist() == ["007", "10", "9"]
    numbers = load("user,item,value\n10,100,1\n9,20,1\n")
    assert numbers.user_ids.tolist() == [9, 10]
    assert numbers.item_ids.tolist() == [20, 100]


def test_rows_of_a_pair_whose_ids_are_written_in_two_ways_are_merged(load, caplog):
    data = load("user,item,value\nu,10,1\nu ,10.0,5\nv,9,1\n", duplicates="sum")
    assert rows_of(data) == [("u", 10, 6), ("v", 9, 1)]
    assert caplog.messages == [
        "1 of 2 item ids are spelled in several ways (such as '10' and '10.0'): treated as one id "
        "each"
    ]


@pytest.mark.parametrize(
    ("column", "remedy"),
    [
        ("value", "set data.value_column=null (null: every row counts 1) or data.delimiter"),
        ("item", "set data.item_column=NAME or data.delimiter"),
    ],
)
def test_a_column_that_is_missing_is_named_with_its_setting(
    load, refused, column: str, remedy: str
):
    names = [name for name in ("user", "item", "value") if name != column]
    with refused(f"must have one column '{column}'", remedy):
        load(f"{','.join(names)}\na,b\n")


# --- files ----------------------------------------------------------------------------------------


def test_without_a_path_there_is_nothing_to_read(refused, csv_source: CsvSource, tmp_path: Path):
    with refused("data=csv needs the file", "data.path=FILE", "data.user_column="):
        csv_source(None).files(tmp_path)


def test_a_folder_is_refused_and_one_of_parquet_files_with_what_to_do(
    refused, csv_source: CsvSource, tmp_path: Path
):
    with refused("must name a file", "is a folder; give the file"):
        csv_source(tmp_path).files(tmp_path)
    (tmp_path / "month=1").mkdir()
    (tmp_path / "month=1" / "part-0.parquet").touch()
    with refused("a folder with 1 Parquet files", "pandas.read_parquet"):
        csv_source(tmp_path).files(tmp_path)


@pytest.mark.realdata
def test_purchases_of_a_shop_are_read(shared_data: Path, csv_source: CsvSource, tmp_path: Path):
    source = csv_source(
        shared_data / "online-retail" / "purchases.csv",
        user_column="customer_id",
        item_column="stock_code",
        value_column="quantity",
        timestamp_column="last_purchase",
    )
    data = source.load(source.files(tmp_path))
    assert (data.matrix.nnz, *data.matrix.shape) == (266_802, 4_339, 3_665)
    assert data.user_ids[:2].tolist() == [12346, 12347]  # the file has 12346.0
    assert data.item_ids[data.matrix[0].indices].tolist() == ["23166"]
