"""The same table in text and parquet, as a whole and row by row."""

import csv
import gzip
from pathlib import Path

import pandas as pd
import pytest

from recsweep.data.formats import Layout, Parquet, TableFile, Text

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
    file = text_file(tmp_path, 'what,who,more,much\na,1,,2\n"b,c",007,"x\ny",3.5\n')
    assert file.names == ["what", "who", "more", "much"]
    assert whole(file) == {"who": ["1", "007"], "what": ["a", "b,c"], "much": [2.0, 3.5]}
    assert list(file.rows()) == [
        {"what": "a", "who": "1", "more": "", "much": "2"},
        {"what": "b,c", "who": "007", "more": "x\ny", "much": "3.5"},
    ]


def test_parquet_is_the_same_as_a_whole_and_row_by_row(tmp_path: Path):
    path = tmp_path / "table.parquet"
    table = pd.DataFrame({"what": ["a", "b"], "more": [0, 0], "who": [1, 7], "much": [2.0, 3.5]})
    table.to_parquet(path)
    file = Parquet(path, NAMED)
    assert file.names == ["what", "more", "who", "much"]
    assert whole(file) == {"who": [1, 7], "what": ["a", "b"], "much": [2.0, 3.5]}
    assert list(file.rows()) == [
        {"who": 1, "what": "a", "much": 2.0},
        {"who": 7, "what": "b", "much": 3.5},
    ]
    assert places(file) == [1, 2]


def test_two_colons_are_one_delimiter(tmp_path: Path):
    file = text_file(tmp_path, "1::a::5\n2::b::4", BARE)
    assert {name: whole(file)[name] for name in file.names} == {
        "who": ["1", "2"], "what": ["a", "b"], "much": [5.0, 4.0],
    }  # fmt: skip
    assert list(file.rows())[1] == {"who": "2", "what": "b", "much": "4"}
    assert places(file) == [1, 2]


def test_rows_are_placed_on_the_line_where_they_begin(tmp_path: Path):
    # line 1 is blank, 2 and 3 are the header, 5 is blank, 6 and 7 are one row
    file = text_file(tmp_path, '\nwho,"wh\nat",much,what\n1,2,3,4\n\n5,"6\n7",8,9\n1,1,1,1\n')
    assert places(file) == [4, 6, 8]
    assert whole(file)["what"] == ["4", "9", "1"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n", "\n\n"])
def test_newlines_of_any_system_and_blank_lines_are_no_content(
    tmp_path: Path, newline: str, last: str
):
    file = text_file(tmp_path, f"who,what,much\n1,2,3{last}".replace("\n", newline))
    assert whole(file) == {"who": ["1"], "what": ["2"], "much": [3.0]}
    assert [row["much"] for row in file.rows()] == ["3"]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path):
    file = text_file(tmp_path, '\ufeff"who", what ,much\n1,2,3\n')
    assert file.names == ["who", "what", "much"]
    assert whole(file)["who"] == ["1"]


def test_gzip_is_unpacked_whatever_the_file_is_called(tmp_path: Path):
    path = tmp_path / "table.txt"
    path.write_bytes(gzip.compress(b"who,what,much\n1,2,3\n4,5,6\n"))
    file = Text(path, NAMED)
    assert whole(file) == {"who": ["1", "4"], "what": ["2", "5"], "much": [3.0, 6.0]}
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
