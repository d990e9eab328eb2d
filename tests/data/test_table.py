"""Files of interactions, good ones read as they are and each kind of bad one in one line."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsweep.data.formats import Layout
from recsweep.data.table import read_table

CSV = Layout(",", None, "user", "item", "value")
TIMED = Layout(",", None, "user", "item", "value", "at")
RATINGS_DAT = Layout("::", ("user", "item", "value", "at"), "user", "item", "value")

GARBAGE = np.random.default_rng(0).bytes(50_000)


def read(tmp_path: Path, content: str | bytes, layout: Layout = CSV) -> pd.DataFrame:
    path = tmp_path / "clicks.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path, layout)


def rows(table: pd.DataFrame) -> list[tuple[Any, ...]]:
    return list(table.itertuples(index=False, name=None))


# --- what is read as it is ------------------------------------------------------------------------


def test_ids_are_text_as_written_and_values_are_numbers(tmp_path: Path):
    table = read(tmp_path, "user,item,value\n007,12346.0,5\nNA,null, 1.5\nnan,'x,1e2\n")
    assert rows(table) == [("007", "12346.0", 5.0), ("NA", "null", 1.5), ("nan", "'x", 100.0)]
    assert table.dtypes.astype(str).tolist() == ["category", "category", "float64"]


def test_columns_are_found_by_name_in_any_order_among_others(tmp_path: Path):
    table = read(tmp_path, "title,value,item,user\nA b,1,i,u\n,2,j,v\n")
    assert rows(table) == [("u", "i", 1.0), ("v", "j", 2.0)]


def test_quotes_hold_delimiters_quotes_and_newlines_of_other_columns(tmp_path: Path):
    table = read(tmp_path, 'user,item,value,title\n"a,b","c""d",1,"two\nlines"\ne,f,2,"x"\n')
    assert rows(table) == [("a,b", 'c"d', 1.0), ("e", "f", 2.0)]


def test_without_a_value_column_every_row_counts_one(tmp_path: Path):
    table = read(tmp_path, "user,item\nu,i\nu,j\n", Layout(",", None, "user", "item", None))
    assert rows(table) == [("u", "i", 1.0), ("u", "j", 1.0)]


def test_tabs_and_bare_columns_are_understood(tmp_path: Path):
    layout = Layout("\t", ("user", "item", "value", "at"), "user", "item", "value")
    assert rows(read(tmp_path, "1\t2\t3\t4\n5\t6\t7\t8\n", layout)) == [
        ("1", "2", 3.0),
        ("5", "6", 7.0),
    ]
    assert rows(read(tmp_path, "1::2::3::4\n", RATINGS_DAT)) == [("1", "2", 3.0)]


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        (["20", "3.5"], [20, 3.5]),
        (["1970-01-01 00:00:20", "1970-01-01"], [20e6, 0]),  # dates become microseconds
        (["1970-01-01T00:00:20Z", "1970-01-01T01:00:00+01:00"], [20e6, 0]),
    ],
)
def test_timestamps_are_numbers_or_iso_dates_and_can_be_sorted(
    tmp_path: Path, times: list[str], seconds: list[float]
):
    lines = "".join(f"u,{n},1,{time}\n" for n, time in enumerate(times))
    assert read(tmp_path, "user,item,value,at\n" + lines, TIMED)["timestamp"].tolist() == seconds


@pytest.mark.parametrize("users", [[1, 2], ["1", "2"], pd.Categorical(["1", "2"])])
@pytest.mark.parametrize("values", [[3, 4], [3.0, 4.0], ["3", "4"]])
def test_parquet_may_hold_ids_and_values_of_any_plain_type(tmp_path: Path, users: Any, values: Any):
    path = tmp_path / "clicks.parquet"
    at = pd.to_datetime(["1970-01-02", "1970-01-01"])
    pd.DataFrame({"user": users, "item": ["a", "b"], "value": values, "at": at}).to_parquet(path)
    found = [(str(user), *rest) for user, *rest in rows(read_table(path, TIMED))]
    assert found == [("1", "a", 3.0, 86_400e6), ("2", "b", 4.0, 0.0)]


def test_a_gzipped_file_is_read(tmp_path: Path):
    packed = gzip.compress(b"user,item,value\nu,i,1\n")
    assert rows(read(tmp_path, packed)) == [("u", "i", 1.0)]


def test_blocks_that_arrow_reads_apart_become_one_table(tmp_path: Path):
    n_rows = 100_000  # 1.4 MB: more than one block of 1 MB
    lines = "".join(f"u{n % 7},i{n:06},{n % 5}\n" for n in range(n_rows))
    table = read(tmp_path, "user,item,value\n" + lines)
    assert table["user"].astype(str).tolist() == [f"u{n % 7}" for n in range(n_rows)]
    assert table["item"].astype(str).tolist() == [f"i{n:06}" for n in range(n_rows)]
    assert table["value"].tolist() == [n % 5 for n in range(n_rows)]


# --- what is refused ------------------------------------------------------------------------------


def test_a_missing_file_and_a_folder_are_refused(refused, tmp_path: Path):
    for path in (tmp_path / "absent.csv", tmp_path):
        with refused(str(path), "must be a file with interactions"):
            read_table(path, CSV)


@pytest.mark.parametrize(
    "content", ["", "user,item,value", "user,item,value\n", "user,item,value\n\n"]
)
def test_a_file_without_interactions_is_refused(refused, tmp_path: Path, content: str):
    with refused("must hold at least one interaction"):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        ("user;item;value", "'user'"),
        ("user,item", "'value'"),
        ("User,item,value", "'user'"),
        ("\n\n", "'user'"),
        ("user,item,value,item", "'item'"),
        ("1,2,3", "'user'"),
        ("x" * 3_000, "'user'"),
        ('"us\ner",item,value', "'user'"),
    ],
)
def test_a_file_without_a_wanted_column_shows_its_columns(
    refused, tmp_path: Path, header: str, missing: str
):
    with refused(f"must have one column {missing}", "its columns are '", "data.delimiter"):
        read(tmp_path, header + "\n1,2,3\n")


@pytest.mark.parametrize(
    "value", ["nan", "NaN", "inf", "-inf", "-1", "-0.1", "", "many", "1e39", "3,5"]
)
def test_a_value_that_is_no_count_or_rating_names_its_line(refused, tmp_path: Path, value: str):
    with refused("a finite number of at least 0 in column 'value'", f"line 4 has '{value}'"):
        read(tmp_path, f'user,item,value\nu,i,1\n\nu,j,"{value}"\nu,k,-5\n')


@pytest.mark.parametrize(
    ("line", "column"), [(",i,1", "user"), ('u,"",1', "item"), ('"u\nv",i,1', "user")]
)
def test_an_empty_id_or_one_of_two_lines_names_its_line(
    refused, tmp_path: Path, line: str, column: str
):
    with refused(f"an id on one line in column '{column}'", "line 3 has '"):
        read(tmp_path, f"user,item,value\nu,i,1\n{line}\n")


@pytest.mark.parametrize(
    ("time", "found"), [("yesterday", "'yesterday'"), ("", "''"), ("nan", "'nan'")]
)
def test_a_time_that_is_none_names_its_line(refused, tmp_path: Path, time: str, found: str):
    with refused("a number or an ISO 8601 date in column 'at'", f"line 3 has {found}"):
        read(tmp_path, f"user,item,value,at\nu,i,1,5\nu,j,1,{time}\n", TIMED)


def test_numbers_and_dates_mixed_as_times_are_refused(refused, tmp_path: Path):
    with refused("clicks.csv", "2011-01-18"):
        read(tmp_path, "user,item,value,at\nu,i,1,5\nu,j,1,2011-01-18\n", TIMED)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("u,j", "2 fields instead of 3 in 'u,j'"),
        ("u,j,k,1", "4 fields instead of 3 in 'u,j,k,1'"),
        ('u,"j,1\nv,i,1', "2 fields instead of 3"),  # a quote that nothing closes
        ("u,j,1," + "x" * 100_000, "(100,008 characters)"),
        ("u," + "x" * 5_000_000 + ",1", "field larger than"),
    ],
    ids=["few", "many", "quote", "long", "too long"],
)
def test_a_malformed_line_is_named_and_shown_in_short(
    refused, tmp_path: Path, line: str, found: str
):
    with refused("UTF-8 text with fields separated by ','", "line 3 is not", found):
        read(tmp_path, f"user,item,value\nu,i,1\n{line}\n")


@pytest.mark.parametrize("line", ["1::2::3", "1::2::3::4::5", "1:2:3:4", "1,2,3,4", "1:x:2::3::4"])
def test_a_malformed_line_of_ratings_dat_is_named(refused, tmp_path: Path, line: str):
    with refused("separated by '::'", "line 2 is not", "instead of 4"):
        read(tmp_path, f"1::1::5::9\n{line}\n", RATINGS_DAT)


def test_a_quote_that_swallows_lines_as_an_id_is_refused(refused, tmp_path: Path):
    with refused("line 3 has 'i\\nu,1,j\\n'"):
        read(tmp_path, 'user,value,item\nu,1,h\nu,1,"i\nu,1,j\n')


@pytest.mark.parametrize(
    "content",
    [
        GARBAGE,
        b"PK\x03\x04" + GARBAGE,
        b"\x1f\x8b" + GARBAGE,
        b"\x00" * 5_000,
        "user,item,value\nu,i,1\n".encode("utf-16"),
        gzip.compress(b"user,item,value\n" + 9_999 * b"u,i,1\n")[:-50],
    ],
    ids=["random", "zip", "gzip", "zeros", "utf-16", "truncated gzip"],
)
@pytest.mark.parametrize("layout", [CSV, RATINGS_DAT], ids=["header", "bare"])
def test_what_is_no_text_is_one_short_line(refused, tmp_path: Path, content: bytes, layout: Layout):
    with refused("clicks.csv"):
        read(tmp_path, content, layout)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_byte_that_is_no_utf_8_names_its_line(refused, tmp_path: Path, place: int):
    lines = [b"u,i,1", b"u,j,1", b"u,k,1"]
    lines[place] = lines[place].replace(b"u", "ü".encode("latin-1"))
    with refused(f"line {place + 2} is not", "can't decode byte 0xfc"):
        read(tmp_path, b"user,item,value\n" + b"\n".join(lines))


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"user": [1, None]}, "row 2 has None"),
        ({"user": [1.0, float("nan")]}, "row 2 has nan"),
        ({"item": ["a", ""]}, "row 2 has ''"),
        ({"value": [1.0, float("inf")]}, "row 2 has inf"),
        ({"value": [1, -1]}, "row 2 has -1"),
        ({"value": ["1", "x"]}, "row 2 has 'x'"),
        ({"value": pd.to_datetime(["2011-01-01", "2011-01-02"])}, "row 1 has datetime"),
        ({"value": [[1], [2]]}, "row 1 has [1]"),
        ({"user": [[1], [2]]}, "must be a parquet file, but"),
    ],
)
def test_a_bad_row_of_a_parquet_file_is_named(
    refused, tmp_path: Path, change: dict[str, Any], found: str
):
    columns = {"user": [1, 2], "item": ["a", "b"], "value": [1.0, 2.0]} | change
    path = parquet(tmp_path / "clicks.parquet", **columns)
    with refused(str(path), found):
        read_table(path, CSV)


def test_a_damaged_parquet_file_is_refused_wherever_the_damage_is(refused, tmp_path: Path):
    numbers = np.random.default_rng(0).random(5_000)
    good = parquet(tmp_path / "good.parquet", user=numbers, item=numbers, value=numbers)
    content, path = good.read_bytes(), tmp_path / "clicks.parquet"
    for damaged in (
        content[:-30],
        content[: len(content) // 2],
        content[100:],
        b"user,item\n1,2\n",
    ):
        path.write_bytes(damaged)
        with refused(str(path), "must be a parquet file"):
            read_table(path, CSV)


def test_a_parquet_file_without_rows_or_columns_is_refused(refused, tmp_path: Path):
    path = tmp_path / "clicks.parquet"
    with refused("must have one column 'value'", "'user, item'"):
        read_table(parquet(path, user=[1], item=[2]), CSV)
    with refused("must hold at least one interaction"):
        read_table(parquet(path, user=[], item=[], value=[]), CSV)
    path.write_bytes(b"")
    with refused("must hold at least one interaction"):
        read_table(path, CSV)
