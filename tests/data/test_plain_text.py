"""Lists of users and `user item [value]` lines, as people hand them in."""

from pathlib import Path

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


def test_users_are_kept_as_they_are_and_once(tmp_path: Path) -> None:
    assert read_users(file(tmp_path, "07\r\n7\n\nmy name\n7\n")) == ["07", "7", "my name"]


@pytest.mark.parametrize("text", ["1 a 2\n01 b 0.5\n", "1\ta\t2\n01\tb\t0.5\n", "1,a,2\n01,b,.5\n"])
def test_pairs_may_be_separated_by_spaces_tabs_or_commas(text: str, tmp_path: Path) -> None:
    assert rows(file(tmp_path, text)) == [("1", "a", 2.0), ("01", "b", 0.5)]


def test_an_id_may_hold_what_does_not_separate(tmp_path: Path) -> None:
    assert rows(file(tmp_path, "1\ta b,c\n")) == [("1", "a b,c")]
    assert rows(file(tmp_path, "1,a b\n")) == [("1", "a b")]


def test_a_header_is_recognised_and_ids_are_not_taken_for_one(tmp_path: Path) -> None:
    assert rows(file(tmp_path, "User_ID,song,count\n1,a,2\n")) == [("1", "a", 2.0)]
    assert rows(file(tmp_path, "ann,song\n")) == [("ann", "song")]


def test_without_values_there_is_no_column_of_them(tmp_path: Path) -> None:
    assert list(read_pairs(file(tmp_path, "1 a\n")).columns) == ["user", "item"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 a 2\n1 b\n", "line 2"),
        ("1 a 2\n1 b x\n", "line 2 has 'x'"),
        ("1 a 2\n1 b -1\n", "line 2 has '-1'"),
        ("1 a 2\n1 b inf\n", "line 2 has 'inf'"),
        ("1\n", "separated by a space, a tab or a comma, but the first is '1'"),
        ("1 a 2 9\n", "but the first is '1 a 2 9'"),
        ("1 a 2\n2 a 2\n1 a 5\n", "1 lines repeat one (first: user '1', item 'a')"),
        ("", "but is empty"),
        ("\n\n", "but is empty"),
        (b"1 a 2\n1 \xff 2\n", "must be UTF-8"),
    ],
)
def test_malformed_pairs_are_one_line(text: str | bytes, expected: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_pairs(file(tmp_path, text))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent must be a file that can be read"):
        read_users(tmp_path / "absent")
    with pytest.raises(InputError, match=r"Is a directory"):
        read_users(tmp_path)
    with pytest.raises(InputError, match="must be UTF-8 text"):
        read_users(file(tmp_path, b"\xff\n"))
    with pytest.raises(InputError, match="names none"):
        read_users(file(tmp_path, "\n"))
