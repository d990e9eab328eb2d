"""The same table in text and by column, as a whole and row by row."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather, orc

from recsweep import unpack_limits
from recsweep.data.formats import Columnar, Layout, Quoting, TableFile, Text
from recsweep.errors import InputError
from recsweep.unpack_limits import Limits, choose_limits

NAMED = Layout(",", None, "who", "what", "much")
BARE = Layout("::", ("who", "what", "much"), "who", "what", "much")


def text_file(tmp_path: Path, content: str, layout: Layout = NAMED) -> Text:
    path = tmp_path / "table.csv"
    path.write_bytes(content.encode())
    return Text(path, layout)


def whole(file: TableFile) -> dict[str, list[object]]:
    return file.read().to_pydict()


def places(file: TableFile) -> list[int]:
    return [file.place for _ in file.rows()]


def test_text_is_the_same_as_a_whole_and_row_by_row(tmp_path: Path):
    file = text_file(tmp_path, 'what,who,more,much\na,1,,2\n"b,c",007,"x,y",3.5\n')
    assert file.names == ["what", "who", "more", "much"]
    assert file.positions == {"user": 1, "item": 0, "value": 3}
    assert whole(file) == {"user": ["1", "007"], "item": ["a", "b,c"], "value": [2.0, 3.5]}
    assert list(file.rows()) == [
        {"user": "1", "item": "a", "value": "2"},
        {"user": "007", "item": "b,c", "value": "3.5"},
    ]


def test_parquet_is_the_same_as_a_whole_and_row_by_row(tmp_path: Path):
    path = tmp_path / "table.parquet"
    table = pd.DataFrame({"what": ["a", "b"], "more": [0, 0], "who": [1, 7], "much": [2.0, 3.5]})
    table.to_parquet(path)
    file = Columnar(path, NAMED)
    assert file.names == ["what", "more", "who", "much"]
    assert whole(file) == {"user": [1, 7], "item": ["a", "b"], "value": [2.0, 3.5]}
    assert list(file.rows()) == [
        {"user": 1, "item": "a", "value": 2.0},
        {"user": 7, "item": "b", "value": 3.5},
    ]
    assert places(file) == [1, 2]
    assert whole(Columnar(path, Layout(",", None, 2, 0, 3))) == whole(file)


def test_two_colons_are_one_delimiter(tmp_path: Path):
    file = text_file(tmp_path, "1::a::5\n2::b::4", BARE)
    assert whole(file) == {"user": ["1", "2"], "item": ["a", "b"], "value": [5.0, 4.0]}
    assert list(file.rows())[1] == {"user": "2", "item": "b", "value": "4"}
    assert places(file) == [1, 2]


def test_rows_are_placed_on_the_line_where_they_begin(tmp_path: Path):
    # line 1 is blank, 2 is the header, 4 and 5 are blank
    file = text_file(tmp_path, "\nwho,more,much,what\n1,2,3,4\n\n\r\n5,6,8,9\n1,1,1,1\n")
    assert places(file) == [3, 6, 7]
    assert whole(file)["item"] == ["4", "9", "1"]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", ["", "\n", "\n\n"])
def test_newlines_of_any_system_and_blank_lines_are_no_content(
    tmp_path: Path, newline: str, last: str
):
    file = text_file(tmp_path, f"who,what,much\n1,2,3{last}".replace("\n", newline))
    assert whole(file) == {"user": ["1"], "item": ["2"], "value": [3.0]}
    assert [row["value"] for row in file.rows()] == ["3"]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path):
    file = text_file(tmp_path, '\ufeff"who", what ,much\n1,2,3\n')
    assert file.names == ["who", "what", "much"]
    assert whole(file)["user"] == ["1"]


def test_gzip_is_unpacked_whatever_the_file_is_called(tmp_path: Path):
    path = tmp_path / "table.txt"
    path.write_bytes(gzip.compress(b"who,what,much\n1,2,3\n4,5,6\n"))
    file = Text(path, NAMED)
    assert whole(file) == {"user": ["1", "4"], "item": ["2", "5"], "value": [3.0, 6.0]}
    assert places(file) == [2, 3]


def test_a_file_is_read_again_after_a_walk_through_it(tmp_path: Path):
    file = text_file(tmp_path, "who,what,much\n1,2,3\n4,5,6\n")
    first = whole(file)
    assert places(file) == places(file) == [2, 3]
    assert whole(file) == first


@pytest.mark.parametrize(("line", "n_fields"), [("4,5", 2), ("4,5,6,7", 4), ("4", 1)])
def test_a_walk_stops_at_the_first_line_with_another_number_of_fields(
    tmp_path: Path, line: str, n_fields: int
):
    file = text_file(tmp_path, f"who,what,much\n1,2,3\n{line}\n")
    rows = file.rows()
    next(rows)
    with pytest.raises(csv.Error, match=f"^{n_fields} fields instead of 3 in '{line}'$"):
        next(rows)
    assert file.place == 3


# --- quotes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delimiter", "quoting", "item"),
    [
        ("\t", None, '"i'), (",", None, "i"), ("::", None, "i"),
        ("\t", "minimal", "i"), (",", "none", '"i'), ("::", "none", '"i'), (";", "none", '"i'),
    ],
)  # fmt: skip
def test_a_quote_is_text_in_files_with_tabs_and_wherever_the_layout_says_so(
    tmp_path: Path, delimiter: str, quoting: Quoting | None, item: str
):
    content = 'u,"i",1\n' if item == "i" else 'u,"i,1\n'
    layout = Layout(delimiter, (), 0, 1, 2, quoting=quoting)
    file = text_file(tmp_path, content.replace(",", delimiter), layout)
    assert whole(file)["item"] == [item]
    assert [row["item"] for row in file.rows()] == [item]


def test_two_colons_within_quotes_are_part_of_a_field(tmp_path: Path):
    file = text_file(tmp_path, '"a::b"::x:y::1\nq::r::2\n', Layout("::", (), 0, 1, 2))
    assert whole(file) == {"user": ["a::b", "q"], "item": ["x:y", "r"], "value": [1.0, 2.0]}
    assert next(iter(file.rows())) == {"user": "a::b", "item": "x:y", "value": "1"}


@pytest.mark.parametrize(
    ("lines", "n_before"),
    [
        (['a,b,1,"x', 'c,d,2,y"'], 0),  # the fourth column is not wanted
        (['a,b,1,"x', "c,d,2,y"], 0),  # never closed
        (['a,b,1,"', "", '"'], 0),
        (['"a', 'b",b,1,x'], 0),
        (['a,b,1,"x', 'c,d,2,y"'], 150_000),  # 1.2 MB: in the second block that Arrow reads
    ],
)
def test_a_quote_that_swallows_a_line_is_an_error_on_its_line(
    tmp_path: Path, lines: list[str], n_before: int
):
    content = "who,what,much,more\n" + "u,i,1,z\n" * n_before + "\n".join(lines) + "\nu,i,1,z\n"
    file = text_file(tmp_path, content)
    with pytest.raises((csv.Error, pa.ArrowInvalid)):
        file.read()
    with pytest.raises(csv.Error, match=r"not closed on the same line.*data\.quoting=none"):
        list(file.rows())
    assert file.place == n_before + 2


# --- both readers agree on anything ---------------------------------------------------------------


def outcome(file: TableFile) -> tuple[list[object], list[object]]:
    """Users and items read as a whole and row by row; what is refused is one word."""
    found: list[list[object]] = []
    for read in (
        lambda: list(zip(*(whole(file)[name] for name in ("user", "item")), strict=True)),
        lambda: [(row["user"], row["item"]) for row in file.rows()],
    ):
        try:
            found.append([tuple((each or "").strip(" ") for each in pair) for pair in read()])
        except (csv.Error, pa.ArrowInvalid, UnicodeDecodeError):
            found.append(["refused"])
    return found[0], found[1]


@pytest.mark.parametrize("delimiter", [",", "\t", "::"])
@pytest.mark.parametrize("quoting", ["minimal", "none"])
def test_a_file_is_the_same_for_both_readers_whatever_is_in_it(
    tmp_path: Path, delimiter: str, quoting: Quoting
):
    rng = np.random.default_rng(5)
    pieces = ["a", "b", '"', '"', ",", "\n", "\n", "\r\n", "\r", ":", "\u2028", "\x85", "é", " "]
    layout = Layout(delimiter, (), 0, 1, None, quoting=quoting)
    seen = set()
    for _ in range(150):
        text = "".join(rng.choice(pieces, rng.integers(1, 12)))
        text = "u,i\n" + text.replace("\n", ",i\n") + "\nu,i\n"
        fast, slow = outcome(text_file(tmp_path, text.replace(",", delimiter), layout))
        assert fast == slow, repr(text)
        seen.add(fast == ["refused"])
    assert seen == {True, False}


# --- columns --------------------------------------------------------------------------------------


def test_without_a_header_columns_are_positions(tmp_path: Path):
    file = text_file(tmp_path, "x,7,5\ny,8,4\n", Layout(",", (), 1, 0, 2))
    assert file.names == ["0", "1", "2"]
    assert whole(file) == {"user": ["7", "8"], "item": ["x", "y"], "value": [5.0, 4.0]}
    assert places(file) == [1, 2]


def test_with_a_header_columns_may_be_positions_even_where_names_repeat(tmp_path: Path):
    file = text_file(tmp_path, "id,id,n\nu,i,3\n", Layout(",", None, 0, 1, "n"))
    assert whole(file) == {"user": ["u"], "item": ["i"], "value": [3.0]}


@pytest.mark.parametrize(
    ("columns", "parts"),
    [
        ((0, 1, 4), ["a column 4 (the first is 0) for data.value_column", "has 3"]),
        ((0, 0, 2), ["user and item must be two columns", "both are 0"]),
        (("user", 1, 2), ["data.user_column must be a position", "is 'user'", "first line of"]),
    ],
)
def test_positions_that_are_none_are_refused(
    refused, tmp_path: Path, columns: tuple[str | int, ...], parts: list[str]
):
    user, item, value = columns
    file = text_file(tmp_path, "u,i,5\n", Layout(",", (), user, item, value))
    with refused(*parts):
        file.read()


def test_a_position_that_is_also_the_name_of_another_column_is_refused(refused, tmp_path: Path):
    file = text_file(tmp_path, "1,0,n\nu,i,3\n", Layout(",", None, 0, "1", "n"))
    with refused("data.user_column=0 must be clear", "another with the name '0'"):
        file.read()


@pytest.mark.parametrize("file_format", ["parquet", "ipc", "orc"])
@pytest.mark.parametrize("is_coded", [True, False])
def test_a_columnar_file_that_unpacks_to_far_more_than_its_size_is_refused(
    file_format: str, is_coded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # the number of rows is enough for the refusal, or only what they unpack to, 54 MiB, is
    monkeypatch.setattr(unpack_limits, "FREE_BYTES", 1 << 18 if is_coded else 1 << 24)
    choose_limits(Limits(max_compression_ratio=3))
    n_rows, path = 1 << 18, tmp_path / "table"
    codes = pa.array(np.zeros(n_rows, np.int32))
    ids = pa.DictionaryArray.from_arrays(codes, pa.array(["7" * 100]))
    ids = ids if is_coded and file_format != "orc" else ids.cast(pa.string())
    table = pa.table({"who": ids, "what": ids})
    if file_format == "parquet":
        pq.write_table(table, path)
    elif file_format == "ipc":
        feather.write_feather(table, path, compression="zstd")
    else:
        orc.write_table(table, path, compression="zstd")
    file = Columnar(path, Layout(",", None, "who", "what", None), file_format)
    for read in (file.read, lambda: list(file.rows())):
        with pytest.raises(InputError, match=r"at most 3 times .* max_compression_ratio=30$"):
            read()
    choose_limits(Limits(max_compression_ratio=1e9))
    assert file.read().num_rows == n_rows


def test_a_dictionary_that_all_batches_share_counts_once(tmp_path: Path):
    """Ids of pandas' categories: 300,000 texts, in each of a dozen batches."""
    n_rows, names = 1 << 20, pa.array([f"user {n}" for n in range(300_000)])
    codes = pa.array(np.arange(n_rows, dtype=np.int32) % len(names))
    ids = pa.DictionaryArray.from_arrays(codes, names)
    feather.write_feather(pa.table({"who": ids, "what": ids}), tmp_path / "t", "uncompressed")
    in_memory = 2 * (codes.nbytes + names.nbytes)
    choose_limits(Limits(max_unpacked_gib=1.01 * in_memory / 2**30))
    file = Columnar(tmp_path / "t", Layout(",", None, "who", "what", None), "ipc")
    assert file.read().num_rows == n_rows
