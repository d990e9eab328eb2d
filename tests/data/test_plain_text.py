"""Lists of users and `user item [value]` lines, as people hand them in."""

import gzip
import lzma
import os
from pathlib import Path

import pandas as pd
import pytest

from recsweep.data.plain_text import read_pairs, read_users, text_lines
from recsweep.errors import InputError


def file(folder: Path, text: str | bytes) -> Path:
    path = folder / "given.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def rows(path: Path) -> list[tuple[object, ...]]:
    return list(read_pairs(path).astype({"user": object, "item": object}).itertuples(index=False))


def test_lines_are_numbered_from_one_and_keep_their_ends(tmp_path: Path) -> None:
    path = file(tmp_path, "\ufeffa\r\n\nb")
    assert list(text_lines(path)) == [(1, "a\r\n"), (2, "\n"), (3, "b")]


def test_users_come_once_in_their_order(tmp_path: Path) -> None:
    text = "07\r\n7\n\nmy name\n 7.0\t\nmy name \n"
    assert read_users(file(tmp_path, text)) == ["07", "7", "my name"]


def test_a_header_of_users_is_no_user(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = file(tmp_path, "user_id\n1.0\n")
    assert read_users(path) == ["1"]
    assert caplog.messages == [f"first line of {path}, 'user_id', is treated as a header"]
    assert read_users(file(tmp_path, "users\n")) == ["users"]


@pytest.mark.parametrize("text", ["1 a 2\n01 b 0.5\n", "1\ta\t2\n01\tb\t0.5\n", "1,a,2\n01,b,.5\n"])
def test_pairs_may_be_separated_by_spaces_tabs_or_commas(text: str, tmp_path: Path) -> None:
    assert rows(file(tmp_path, text)) == [("1", "a", 2.0), ("01", "b", 0.5)]


def test_an_id_may_hold_what_does_not_separate(tmp_path: Path) -> None:
    assert rows(file(tmp_path, "1\ta b,c\n")) == [("1", "a b,c")]
    assert rows(file(tmp_path, "1,a b\n")) == [("1", "a b")]


def test_a_header_is_recognised_and_ids_are_not_taken_for_one(tmp_path: Path) -> None:
    assert rows(file(tmp_path, "User_ID,song,count\n1,a,2\n")) == [("1", "a", 2.0)]
    assert rows(file(tmp_path, "ann,song\n")) == [("ann", "song")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("customer_id\tstock_code\nu1\ti1\nu2\ti3\n", [("u1", "i1"), ("u2", "i3")]),
        ("user,rating,item\n1,5,10\n2,4,12\n", [("1", "10", 5.0), ("2", "12", 4.0)]),
        ("movieId rating userId timestamp\n10 5 1 99\n", [("1", "10", 5.0)]),
        ("item_id:token\tuser_id:token\n10\t1\n", [("1", "10")]),
        (",user,item\n0,u,i\n1,v,i\n", [("u", "i"), ("v", "i")]),
        ("user id, item id\nu1, i 1\n", [("u1", "i 1")]),
        ('"user","item","value"\n"a,b","c",2\n', [("a,b", "c", 2.0)]),
        ("kunde ware zahl\nann milk 2\nbob tea 1\n", [("ann", "milk", 2), ("bob", "tea", 1)]),
        ("user titel\nann x\n", [("ann", "x")]),
        ("user item name extra\nu i n e\n", [("u", "i")]),
        ("ann milk\nbob tea\n", [("ann", "milk"), ("bob", "tea")]),
        (" u1 , 10.0 \n u1,11\n", [("u1", "10"), ("u1", "11")]),
        ("u1,a book\nu1,a lamp\nu2,a bed\n", [("u1", "a book"), ("u1", "a lamp"), ("u2", "a bed")]),
        ("Ann Lee\tThe Book\nBob\tX\n", [("Ann Lee", "The Book"), ("Bob", "X")]),
        ("Member ID;Artikel Nr\nu1;a\n", [("u1", "a")]),
        ("user;item;value\nu1;a b;3\n", [("u1", "a b", 3.0)]),
        ("user,item,click\nu1,a,0\nu1,b,1\n", [("u1", "a", 0.0), ("u1", "b", 1.0)]),
    ],
)
def test_columns_go_by_name_where_they_are_named(
    text: str, expected: list[tuple[object, ...]], tmp_path: Path
) -> None:
    assert rows(file(tmp_path, text)) == expected


def test_what_was_guessed_and_what_is_not_used_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = file(tmp_path, "user_id,item_id,rating,timestamp\nu1,i1,5,9\n")
    assert rows(path) == [("u1", "i1", 5.0)]
    assert caplog.messages == []
    rows(file(tmp_path, "customer_id\tstock_code\tcolour\nu1\ti1\tred\n"))
    assert caplog.messages == [
        f"columns of {path}: user = customer_id, item = stock_code; not used: colour"
    ]


@pytest.mark.parametrize(
    ("text", "above", "is_data"),
    [
        ("user_id,thing,number\nu1,i1,5\n", "user,item,value", False),
        ("ann song\nbob tune\n", "user item", True),
        ("ann,milk\n7,tea\n", "user,item", True),
    ],
)
def test_a_first_line_that_may_be_either_is_a_question(
    text: str, above: str, is_data: bool, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="must name the columns or be an interaction") as caught:
        read_pairs(file(tmp_path, text))
    assert f"put the line '{above}' above it" in str(caught.value)
    assert len(rows(file(tmp_path, f"{above}\n{text.partition(chr(10))[2]}"))) == 1
    if is_data:
        assert len(rows(file(tmp_path, f"{above}\n{text}"))) == 2


def test_pairs_may_be_a_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "truth.parquet"
    table = {"rating": [5, 0], "product_id": [10.0, 11.0], "uid": [b"u1", b"\x00"], "x": [1, 1]}
    pd.DataFrame(table).to_parquet(path)
    assert rows(path) == [("u1", "10", 5.0), ("00", "11", 0.0)]
    pd.DataFrame({"user": [1], "b": [1], "c": [1]}).to_parquet(path)
    with pytest.raises(InputError, match="user and item, but names 'user, b, c'; rename columns"):
        read_pairs(path)
    path.write_bytes(b"no parquet")
    with pytest.raises(InputError, match="must be a parquet file, but"):
        read_pairs(path)


def test_a_file_may_be_packed_and_encoded_as_those_of_data_csv(tmp_path: Path) -> None:
    for content in ("u1,i1,2\n".encode("utf-16"), gzip.compress(b"u1,i1,2\n")):
        assert rows(file(tmp_path, content)) == [("u1", "i1", 2.0)]
        assert read_users(tmp_path / "given.txt") == ["u1,i1,2"]
    table = pd.DataFrame({"item": ["i1"], "user": ["u1"], "value": [2.0]})
    table.to_feather(tmp_path / "given.txt")
    assert rows(tmp_path / "given.txt") == [("u1", "i1", 2.0)]


def test_users_may_come_through_a_pipe() -> None:
    end, other_end = os.pipe()
    os.write(other_end, b"u1\nu2\n")
    os.close(other_end)
    pipe = Path(f"/dev/fd/{end}")
    if not pipe.exists():
        pytest.skip("this system has no /dev/fd")
    assert read_users(pipe) == ["u1", "u2"]
    with pytest.raises(InputError, match="but is a pipe or a device"):
        read_pairs(pipe)
    os.close(end)


def test_without_values_there_is_no_column_of_them(tmp_path: Path) -> None:
    assert list(read_pairs(file(tmp_path, "1 a\n")).columns) == ["user", "item"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 a 2\n1 b\n", "line 2"),
        ("1 a 2\n1 b x\n", "line 2 has 'x'"),
        ("1 a 2\n1 b -1\n", "line 2 has '-1'"),
        ("1 a 2\n1 b inf\n", "line 2 has 'inf'"),
        ("1\n", "separated by a space, a tab, a comma or a semicolon, but the first is '1'"),
        ("1 a 2 9\n", "but the first is '1 a 2 9'"),
        ("1 a 2\n2 a 2\n1 a 5\n", "1 lines repeat one (first: user '1', item 'a')"),
        ("", "but is empty"),
        ("\n\n", "but is empty"),
        ("\r\r\r,", "but the first is ','"),
        (";;;\n;;;\n", "but the first is ';;;'"),
        (b"1 a 2\n1 \xff 2\n", "must be UTF-8 text, but line 1 or one soon after it is not"),
        (b"PK\x03\x04\xff", "must be UTF-8 text, but is a zip archive; convert or unpack it"),
        (
            gzip.compress(bytes(range(256)))[:-9],
            "given.txt (Truncated",
        ),
        (lzma.compress(b"1 a 2\n")[:-9], "must be text, but is damaged (Compressed file ended"),
        (lzma.compress(b"1 a 2\n")[:9] + bytes(99), "must be text, but is damaged (Corrupt input"),
        ('1\ta\t2\n1\tb\t"2"\n', "if quotes enclose its fields, remove them"),
        ('1,a,2\n"1,b,2\n2",c,3\n', "remove the quote or the line break); fix it"),
        ("user,item,rating,rating\n1,a,2,3\n", "rename or remove columns, or give another file"),
    ],
)
def test_malformed_pairs_are_one_line(text: str | bytes, expected: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_pairs(file(tmp_path, text))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "data." not in str(caught.value), "such a file has no settings"


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*absent \("):
        read_users(tmp_path / "absent")
    with pytest.raises(InputError, match=r"Is a directory"):
        read_users(tmp_path)
    with pytest.raises(InputError, match="must be UTF-8 text"):
        read_users(file(tmp_path, b"\xff\n"))
    with pytest.raises(InputError, match="names none"):
        read_users(file(tmp_path, "\n"))
