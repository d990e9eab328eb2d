"""Files of interactions, good ones read as they are and each kind of bad one in one line."""

import gzip
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
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


def test_ids_are_text_and_values_are_numbers(tmp_path: Path):
    table = read(tmp_path, "user,item,value\n007,12346.0,5\nNA,null, 1.5\nnan,'x,1e2\n")
    assert rows(table) == [("007", "12346", 5.0), ("NA", "null", 1.5), ("nan", "'x", 100.0)]
    assert table.dtypes.astype(str).tolist() == ["category", "category", "float64"]


def test_columns_are_found_by_name_in_any_order_among_others(tmp_path: Path):
    table = read(tmp_path, "title,value,item,user\nA b,1,i,u\n,2,j,v\n")
    assert rows(table) == [("u", "i", 1.0), ("v", "j", 2.0)]


def test_quotes_hold_delimiters_and_quotes(tmp_path: Path):
    table = read(tmp_path, 'user,item,value,title\n"a,b","c""d",1,"a ""b"", c"\ne,f,2,"x"\n')
    assert rows(table) == [("a,b", 'c"d', 1.0), ("e", "f", 2.0)]


def test_quotes_may_come_after_spaces(tmp_path: Path):
    content = 'user, item, value\n"u1", "i1", 1\n"u2","i1", "5"\n "u1",  "i, 2", 2\n'
    assert rows(read(tmp_path, content)) == [
        ("u1", "i1", 1.0), ("u2", "i1", 5.0), ("u1", "i, 2", 2.0),
    ]  # fmt: skip
    table = read(
        tmp_path, '"user"::  "item"\n"u1":: "i::1"\n', Layout("::", None, "user", "item", None)
    )
    assert rows(table) == [("u1", "i::1", 1.0)]


def test_quotes_after_spaces_within_a_field_are_a_part_of_it(tmp_path: Path):
    content = 'user,item,value,title\n"u, ""v""",i,1,"x, ""y"""\nu2,i2,2,""\n'
    assert rows(read(tmp_path, content)) == [('u, "v"', "i", 1.0), ("u2", "i2", 2.0)]


def test_a_bad_row_among_quotes_after_spaces_is_named(refused, tmp_path: Path):
    with refused("at least 0 in column 'value'", "line 3 has 'many'"):
        read(tmp_path, 'user, item, value\n"u1", "i1", 1\n"u2", "i1", "many"\n')
    with refused("every line", "line 3 has ''"):
        read(tmp_path, 'user, item, value\n"u1", "i1", 1\n"u2", "", 2\n')


def test_ids_in_quotes_where_quotes_are_text_are_told(tmp_path: Path, caplog):
    layout = Layout("\t", None, "user", "item", None)
    table = read(tmp_path, 'user\titem\n"u1"\ti1\nu1\ti"2"\n', layout)
    assert rows(table) == [('"u1"', "i1", 1.0), ("u1", 'i"2"', 1.0)]
    (told,) = caplog.messages
    assert told.startswith("1 of 2 user ids of ")
    assert told.endswith(
        'are in quotes, which are read as text (such as "u1"); if quotes enclose its fields, '
        "set data.quoting=minimal with data=csv"
    )


def test_a_stray_quote_in_a_file_with_tabs_is_text(tmp_path: Path):
    lines = 'uid\tmbid\tname\tplays\nu1\tm1\t"abc\t5\nu2\tm2\t"def\t7\nu1\tm3\tplain\t1\n'
    table = read(tmp_path, lines, Layout("\t", None, "uid", "mbid", "plays"))
    assert rows(table) == [("u1", "m1", 5.0), ("u2", "m2", 7.0), ("u1", "m3", 1.0)]


def test_a_stray_quote_that_swallows_a_line_is_refused_whichever_column_it_is_in(
    refused, tmp_path: Path
):
    content = 'user,item,value,name\nu1,m1,5,"abc\nu2,m2,7,"def\nu1,m3,1,plain\n'
    with refused("line 2 is not", "not closed on the same line", "data.quoting=none with data=csv"):
        read(tmp_path, content)
    table = read(tmp_path, content, replace(CSV, quoting="none"))
    assert rows(table) == [("u1", "m1", 5.0), ("u2", "m2", 7.0), ("u1", "m3", 1.0)]


def test_quotes_that_the_layout_takes_for_text_are_pointed_out(refused, tmp_path: Path):
    layout = Layout("\t", None, "user", "item", "value")
    for content in (
        '"user"\t"item"\t"value"\nu\ti\t1\n',
        'user\titem\tvalue\nu\ti\t"1"\n',
        'user\titem\tvalue\nu\t"a\tb"\t1\n',
    ):
        with refused("set data.quoting=minimal with data=csv"):
            read(tmp_path, content, layout)


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
    "times",
    [
        ["1970-01-01", "1970-01-01 00:00:20"],
        ["1700000000123456788", "1700000000123456789"],  # nanoseconds: 61 bits
        ["1970-01-01T00:00:20Z", "1970-01-01T01:00:21+01:00"],
    ],
)
def test_timestamps_come_along_in_their_order(tmp_path: Path, times: list[str]):
    lines = "".join(f"u,{n},1,{time}\n" for n, time in enumerate(times))
    table = read(tmp_path, "user,item,value,at\n" + lines, TIMED)
    assert table["timestamp"][0] < table["timestamp"][1]


def test_times_of_two_units_are_told(tmp_path: Path, caplog):
    lines = [f"u,i{n},1,{1_700_000_000 + n}" for n in range(3)] + ["u,j,1,1700000000000"]
    read(tmp_path, "\n".join(["user,item,value,at", *lines]), TIMED)
    assert caplog.messages == [
        f"times of {tmp_path / 'clicks.csv'} must have one unit, but 3 look like seconds and "
        "1 like milliseconds since 1970; convert them"
    ]
    caplog.clear()
    read(tmp_path, "\n".join(["user,item,value,at", *lines[:3]]), TIMED)
    assert caplog.messages == []


@pytest.mark.parametrize("values", [[3, 4], [3.0, 4.0], ["3", "4"]])
@pytest.mark.parametrize("users", [[1, 2], ["1", "2"], pd.Categorical(["1", "2"])])
def test_parquet_may_hold_ids_and_values_of_any_plain_type(tmp_path: Path, users: Any, values: Any):
    path = tmp_path / "clicks.parquet"
    at = pd.to_datetime(["1970-01-02", "1970-01-01"]).as_unit("ns")
    per_s = 10**9
    pd.DataFrame({"user": users, "item": ["a", "b"], "value": values, "at": at}).to_parquet(path)
    found = [(str(user), *rest) for user, *rest in rows(read_table(path, TIMED))]
    assert found == [("1", "a", 3.0, 86_400 * per_s), ("2", "b", 4.0, 0)]


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
def test_a_value_is_the_decimal_that_its_type_stands_for(tmp_path: Path, kind: pa.DataType):
    values = pa.array(np.array([4.1, 0.5, 4.1]).astype(kind.to_pandas_dtype()), kind)
    table = read_table(
        parquet(tmp_path / "a.parquet", user=[1, 2, 3], item=[1, 2, 3], value=values), CSV
    )
    assert table["value"].tolist() == [4.1, 0.5, 4.1]


UUID_BYTES = bytes.fromhex("550e8400e29b41d4a716446655440000"), bytes(16)


@pytest.mark.parametrize(
    ("users", "expected"),
    [
        (pa.array([10.0, 7.0]), ["10", "7"]),
        (pa.array([10.0, 7.0], pa.float32()).dictionary_encode(), ["10", "7"]),
        (pa.array([10.0, 7.0], pa.float16()), ["10", "7"]),
        (pa.array([0.0, -0.0]), ["0", "0"]),
        (pa.array([Decimal("10.00"), Decimal("7.50")]), ["10", "7.50"]),
        (pa.array([2**63, 7], pa.uint64()), ["9223372036854775808", "7"]),
        (pa.array([0, 19_874], pa.date32()), ["1970-01-01", "2024-05-31"]),
        (pa.array([0, 19_874 * 86_400_000], pa.date64()), ["1970-01-01", "2024-05-31"]),
        (pa.array([b"u1 ", "é".encode()]), ["u1", "é"]),
        (pa.array([" u1", "u2\t"], pa.large_string()), ["u1", "u2"]),
        (
            pa.array(UUID_BYTES, pa.binary(16)),
            ["550e8400e29b41d4a716446655440000", "00000000000000000000000000000000"],
        ),
        (
            pa.array(UUID_BYTES, pa.uuid()),
            ["550e8400-e29b-41d4-a716-446655440000", "00000000-0000-0000-0000-000000000000"],
        ),
    ],
)
def test_parquet_ids_of_any_type_become_text(tmp_path: Path, users: Any, expected: list[str]):
    table = read_table(parquet(tmp_path / "a.parquet", user=users, item=[1, 2], value=[1, 1]), CSV)
    assert table["user"].tolist() == expected
    assert table["item"].tolist() == ["1", "2"]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_padded_numbers_of_every_type_of_text_are_read(tmp_path: Path, kind: pa.DataType):
    values = pa.array(["1", " 2\t"], kind)
    table = read_table(parquet(tmp_path / "a.parquet", user=[1, 2], item=[1, 2], value=values), CSV)
    assert table["value"].tolist() == [1.0, 2.0]


def test_white_space_around_ids_is_no_part_of_them(tmp_path: Path):
    table = read(tmp_path, "user, item, value\nu1, i1, 1\nu2,i1,5\n", CSV)
    assert rows(table) == [("u1", "i1", 1.0), ("u2", "i1", 5.0)]


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
    with refused("must hold at least one interaction", "give another file"):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        ("user;item;value", "'user'"),
        ("user,item", "'value'"),
        ("User,item,value", "'user'"),
        ("\n\n", "'user'"),
        ("user,item,value,item", "'item'"),
        ("x" * 3_000, "'user'"),
    ],
)
def test_a_file_without_a_wanted_column_shows_its_columns(
    refused, tmp_path: Path, header: str, missing: str
):
    with refused(f"must have one column {missing}", "its columns are '", "data.delimiter"):
        read(tmp_path, header + "\n1,2,3\n")


@pytest.mark.parametrize(
    "value", ["nan", "NaN", "inf", "-inf", "-1", "-0.1", "", "many", "1_0", "0x1"]
)
def test_a_value_that_is_no_count_or_rating_names_its_line(refused, tmp_path: Path, value: str):
    with refused("a finite number of at least 0 in column 'value'", f"line 4 has '{value}'"):
        read(tmp_path, f'user,item,value\nu,i,1\n\nu,j,"{value}"\nu,k,-5\n')


def test_decimals_after_a_comma_are_pointed_out(refused, tmp_path: Path):
    with refused("at least 0, its decimals after a point, in column 'value'", "line 2 has '3,5'"):
        read(tmp_path, 'user,item,value\nu,i,"3,5"\n')


def test_a_value_above_float32_names_its_line_and_the_largest(refused, tmp_path: Path):
    assert rows(read(tmp_path, "user,item,value\nu,i,3.4e38\n")) == [("u", "i", 3.4e38)]
    with refused("a number of at most 3.4028235e+38", "line 3 has '3.5e38'"):
        read(tmp_path, "user,item,value\nu,i,1\nu,j,3.5e38\n")


def test_a_value_that_float32_would_make_0_is_no_silent_0(refused, tmp_path: Path):
    assert rows(read(tmp_path, "user,item,value\nu,i,1.5e-45\n")) == [("u", "i", 1.5e-45)]
    with refused("0 or at least 1.4012985e-45", "line 3 has '1e-46'"):
        read(tmp_path, "user,item,value\nu,i,0\nu,j,1e-46\n")


@pytest.mark.parametrize(
    "users",
    [
        pa.DictionaryArray.from_arrays([0, 1, 2], ["a", "a", "b"]),
        pc.run_end_encode(pa.array(["a", "a", "b"])),
    ],
)
def test_ids_may_be_encoded_in_any_way(tmp_path: Path, users: pa.Array):
    table = pa.table({"user": users, "item": [1, 2, 3], "value": [1, 1, 1]})
    with (
        pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as file,
    ):
        file.write_table(table)
    assert read_table(tmp_path / "a.arrow", CSV)["user"].tolist() == ["a", "a", "b"]


@pytest.mark.parametrize(("line", "column"), [(",i,1", "user"), ('u,"",1', "item")])
def test_an_empty_id_names_its_line(refused, tmp_path: Path, line: str, column: str):
    with refused(f"an id on one line in column '{column}'", "line 3 has '"):
        read(tmp_path, f"user,item,value\nu,i,1\n{line}\n")


@pytest.mark.parametrize(
    ("time", "found"), [("yesterday", "'yesterday'"), ("", "''"), ("nan", "'nan'")]
)
def test_a_time_that_is_none_names_its_line(refused, tmp_path: Path, time: str, found: str):
    with refused("a number or an ISO 8601 date in column 'at'", f"line 3 has {found}"):
        read(tmp_path, f"user,item,value,at\nu,i,1,5\nu,j,1,{time}\n", TIMED)


@pytest.mark.parametrize(
    ("first", "other", "kind"),
    [
        ("5", "2011-01-18", "a number"),
        ("2011-01-18", "2011-01-18T10:00Z", "a date without a time zone"),
        ("2011-01-18T10:00+01:00", "2011-01-18", "a date with a time zone"),
    ],
)
def test_times_that_cannot_be_compared_name_both_lines(
    refused, tmp_path: Path, first: str, other: str, kind: str
):
    with refused(f"{kind} in column 'at', as line 2 has, but line 4 has '{other}'"):
        read(tmp_path, f"user,item,value,at\nu,i,1,{first}\nu,j,1,{first}\nu,k,1,{other}\n", TIMED)


# --- headers and data that look like each other ---------------------------------------------------

BARE = "u1\tm1\tname\t5\nu2\tm1\tother\t7\n"


def test_a_file_without_a_header_is_read_by_position(tmp_path: Path):
    table = read(tmp_path, BARE, Layout("\t", (), 0, 1, 3))
    assert rows(table) == [("u1", "m1", 5.0), ("u2", "m1", 7.0)]


def test_where_the_header_is_missing_the_advice_keeps_the_first_row(refused, tmp_path: Path):
    with refused("'user'", "line 1 looks like data", "data.header=false data.user_column=0"):
        read(tmp_path, BARE, Layout("\t", None, "user", "item", "value"))
    with refused("line 1 of", "looks like data", "set data.header=false"):
        read(tmp_path, BARE, Layout("\t", None, 0, 1, 3))


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        ("u1\tm1\tname\t5\nu2\tm1\tother\t7\n", r"""'data.delimiter="\t"' data.header=false"""),
        ("u1\tm1\tname\t5\nu2\tm1\tother\t7\n", "data.value_column=3 or as they stand"),
        (
            "1::1193::5::978300760\n1::661::3::978302109\n",
            """'data.delimiter="::"' data.header=f""",
        ),
        ("1 1193 5\n1 661 3\n", """'data.delimiter=" "' data.header=false data.user_column=0"""),
        (
            "user;item;value\nu1;i1;5\n",
            "separated by ';': with data=csv set 'data.delimiter=\";\"'",
        ),
        ('"u1,i1,5"\n"u2,i1,5"\n', "its lines are in quotes as a whole: remove these quotes"),
        ("sep=;\nuser;item;value\nu1;i1;5\n", "line 1 is a comment: remove it"),
        ("# of 2024\nuser,item,value\nu1,i1,5\n", "line 1 is a comment: remove it"),
        ("#user\titem\tvalue\nu1\ti1\t5\n", r"""'data.delimiter="\t"'"""),
    ],
)
def test_where_a_line_is_one_field_the_advice_says_why(
    refused, tmp_path: Path, content: str, advice: str
):
    with refused("must have one column 'user'", advice):
        read(tmp_path, content)
    with refused(
        "but line 1 is one field", advice.partition(" data.header")[0].partition(" or")[0]
    ):
        read(tmp_path, content, Layout(",", None, 0, 1, None))


def test_a_title_above_the_header_is_no_line_of_fields(refused, tmp_path: Path):
    with refused("must have one column 'user'", "give the right file"):
        read(tmp_path, "Exported on 2024\nuser,item,value\nu1,i1,5\n")


def test_by_position_the_delimiter_is_advised_too(refused, tmp_path: Path):
    with refused("must have a column 1", "line 1 is one field", r"""set 'data.delimiter="\t"'"""):
        read(tmp_path, BARE, Layout(",", (), 0, 1, 3))


def test_data_that_is_named_as_a_header_is_reported(tmp_path: Path, caplog):
    assert len(read(tmp_path, BARE, Layout("\t", None, "u1", "m1", "5"))) == 1
    assert "looks like data, not like a header: 'u1\\tm1\\t5'" in caplog.text
    caplog.clear()
    read(tmp_path, "user,item,value\nu1,m1,5\n")
    assert caplog.text == ""


def test_a_header_that_is_read_as_data_is_pointed_out(refused, tmp_path: Path, caplog):
    with refused("line 1 has 'value'; it looks like a header: set data.header=true"):
        read(tmp_path, "user,item,value\nu1,m1,5\n", Layout(",", (), 0, 1, 2))
    assert len(read(tmp_path, "user,item\nu1,m1\n", Layout(",", (), 0, 1, None))) == 2
    assert "looks like a header, but was read as data: 'user,item'" in caplog.text


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("u,j", "2 fields instead of 3 in 'u,j'"),
        ("u,j,k,1", "4 fields instead of 3 in 'u,j,k,1'"),
        ('u,"j,1\nv,i,1', "the quote that opens 'j,1\\nv,i,1"),
        ("u,j,1," + "x" * 100_000, "(100,008 characters)"),
        ("u," + "x" * 5_000_000 + ",1", "longer than 1,048,576 characters"),
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


@pytest.mark.parametrize(
    "content",
    [
        GARBAGE,
        b"PK\x03\x04" + GARBAGE,
        b"\x1f\x8b" + GARBAGE,
        b"\x00" * 5_000,
        "user,item,value\nu,i,1\n".encode("utf-16-le"),
        gzip.compress(b"user,item,value\n" + 9_999 * b"u,i,1\n")[:-50],
    ],
    ids=["random", "zip", "gzip", "zeros", "utf-16", "truncated gzip"],
)
@pytest.mark.parametrize("layout", [CSV, RATINGS_DAT], ids=["header", "bare"])
def test_what_is_no_text_is_one_short_line(refused, tmp_path: Path, content: bytes, layout: Layout):
    with refused("clicks.csv"):
        read(tmp_path, content, layout)


def test_bytes_that_are_no_utf_8_do_not_matter_where_nothing_is_read(refused, tmp_path: Path):
    content = "user,title,item,value\nu,Ünder,i,1\nu,x,j,2\n".encode("latin-1")
    assert rows(read(tmp_path, content)) == [("u", "i", 1.0), ("u", "j", 2.0)]
    with refused("line 3 has '-2'"):
        read(tmp_path, content.replace(b",2", b",-2"))


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
        ({"user": [[1], [2]]}, "row 1 has [1]"),
        ({"user": ["a", " "]}, "row 2 has ' '"),
        ({"user": [1.0, float("inf")]}, "row 2 has inf"),
        (
            {"user": pa.array([1.0, 2.0**24], pa.float32())},
            "an id below 2**24, since it is a float,",
        ),
        ({"user": [1.0, 2.0**53]}, "an id below 2**53, since it is a float, in column 'user'"),
        *(
            ({"user": pa.array([0, 1], kind)}, "a text or a number, in column 'user', but row 1")
            for kind in (
                *(pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")),
                *(pa.timestamp("us", zone) for zone in ("UTC", "Europe/Berlin", "+02:00")),
                pa.duration("us"),
            )
        ),
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
    with refused("must hold at least one interaction", "give another file"):
        read_table(parquet(path, user=[], item=[], value=[]), CSV)
    path.write_bytes(b"")
    with refused("must hold at least one interaction", "give another file"):
        read_table(path, CSV)
