"""Files of recommendations: three ways to write them, and anybody's to read."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from recsweep.errors import InputError
from recsweep.recommendations.files import (
    FORMATS,
    Ranking,
    encode_rankings,
    format_of,
    read_recommendations,
    refuse_spaces,
)

TENTH = np.array([0.1, -2.0], np.float32)
RANKINGS = [
    Ranking(np.int64(7), np.array([30, 5]), TENTH),
    Ranking("ä", np.array(["x,y", 'say "z"'], object), TENTH),
    Ranking("nobody", np.array([], np.int64), TENTH[:0]),
]


def written(file_format: str, rankings: list[Ranking]) -> str:
    return b"".join(encode_rankings(rankings, file_format)).decode()


def file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_recommendations(path)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_each_format_is_what_it_says() -> None:
    assert written("txt", RANKINGS[:1]) == "7 30 5\n"
    assert written("csv", RANKINGS) == (
        'user,rank,item,score\n7,1,30,0.1\n7,2,5,-2.0\nä,1,"x,y",0.1\nä,2,"say ""z""",-2.0\n'
    )
    first, second, third = written("jsonl", RANKINGS).splitlines()
    assert first == '{"user": 7, "items": [30, 5], "scores": [0.1, -2.0]}'
    assert json.loads(second) == {"user": "ä", "items": ["x,y", 'say "z"'], "scores": [0.1, -2.0]}
    assert json.loads(third) == {"user": "nobody", "items": [], "scores": []}


@pytest.mark.parametrize("name", FORMATS)
def test_a_packed_file_is_read_by_the_suffix_before(name: str, tmp_path: Path) -> None:
    (tmp_path / f"a.{name}.gz").write_bytes(gzip.compress(written(name, RANKINGS[:1]).encode()))
    assert read_recommendations(tmp_path / f"a.{name}.gz") == {"7": ["30", "5"]}


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_is_read(name: str, tmp_path: Path) -> None:
    rankings = RANKINGS[:2] if name == "csv" else RANKINGS
    if name == "txt":
        rankings = [RANKINGS[0], Ranking("ä", np.array(["x,y", '"z"'], object), TENTH), RANKINGS[2]]
    lists = read_recommendations(file(tmp_path, f"rec.{name}", written(name, rankings)))
    assert lists == {str(r.user): [str(item) for item in r.items] for r in rankings}


def test_a_csv_file_is_ordered_by_rank_else_by_score_else_as_it_is(tmp_path: Path) -> None:
    by_rank = file(tmp_path, "a.csv", "Rank,user,item,score\n2,u,b,9\n1,v,x,1\n1,u,a,1\n")
    assert read_recommendations(by_rank) == {"u": ["a", "b"], "v": ["x"]}
    by_score = file(tmp_path, "b.csv", "item,user,score\na,u,1\nb,u,9\nc,u,9\n")
    assert read_recommendations(by_score) == {"u": ["b", "c", "a"]}
    as_it_is = file(tmp_path, "c.csv", "user,item,extra\nu,b,2\nv,x,1\nu,a,1\n")
    assert read_recommendations(as_it_is) == {"u": ["b", "a"], "v": ["x"]}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "customer_id,stock_code,score\nu,a,1\nu,b,9\n", "user = customer_id, item = "),
        ("a.csv", "item_id:token,user_id:token,pred\na,u,1\nb,u,9\n", "score = pred"),
        ("a.csv", "\n user , item , score \n u , a , 1 \nu,b,9\n", ""),
        ("a.csv", "user\titem\trank\nu\ta\t2\nu\tb\t1\n", ""),
        ("a.tsv", "user\titem\trank\nu\ta\t2\nu\tb\t1\n", ""),
        ("a.txt", "user item score\nu a 1\nu b 9\n", ""),
        ("a.txt", "user,item\nu,b\nu,a\n", ""),
        ("a.csv", "nutzer,item_id,score\nu,a,1\nu,b,9\n", "user = nutzer, item = item_id"),
        ("a.csv", "position,track,uid,artist\n2,a,u,x\n1,b,u,y\n", "not used: artist"),
        ("a.txt", "user items\nu b a\n", "'user items', is treated as a header"),
        ("a.txt", "user_id item1 item2\nu b a\n", "is treated as a header"),
        ("a.txt", "user item item …\nu b a\n", "is treated as a header"),
        ("a.jsonl", '{"user_id": "u", "item_ids": ["b", "a"], "scores": [9, 1]}', "items = item_i"),
    ],
)
def test_columns_go_by_the_names_of_the_field(
    name: str, text: str, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_recommendations(file(tmp_path, name, text)) == {"u": ["b", "a"]}
    assert len(caplog.messages) == bool(told)
    assert told in caplog.text


@pytest.mark.parametrize("first", ["user1 item5 item6", "uid1 sid7 sid9", "user movie5"])
def test_ids_that_begin_like_names_of_columns_are_ids(first: str, tmp_path: Path) -> None:
    user, *items = first.split()
    lists = read_recommendations(file(tmp_path, "a.txt", f"{first}\nuser2 item7 item8\n"))
    assert lists == {user: items, "user2": ["item7", "item8"]}


def test_quotes_between_tabs_are_characters_as_others(tmp_path: Path) -> None:
    text = 'user\titem\nu\t"a\nu\tb\nv\tc"\n'
    assert read_recommendations(file(tmp_path, "a.tsv", text)) == {"u": ['"a', "b"], "v": ['c"']}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", " 7.0 10 11.00\n"),
        ("a.csv", "user,item\n7, 10.0\n7.00,11\n"),
        ("a.jsonl", '{"user": 7.0, "items": [10.0, " 11"]}'),
    ],
)
def test_ids_are_those_of_every_other_file(name: str, text: str, tmp_path: Path) -> None:
    assert read_recommendations(file(tmp_path, name, text)) == {"7": ["10", "11"]}


def test_other_peoples_white_space_blank_lines_and_marks_are_no_fault(tmp_path: Path) -> None:
    expected = {"1": ["2", "3"], "4": []}
    assert read_recommendations(file(tmp_path, "a.txt", "\ufeff1\t2  3 \r\n\n4\n")) == expected
    text = '\ufeff{"user": "1", "items": [2, "3"]}\r\n\n{"items": [], "user": 4, "more": 1}\n'
    assert read_recommendations(file(tmp_path, "a.JSONL", text)) == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.txt", "1 2\n3 4\n1 5\n", "name a user once, but line 3 has '1' again"),
        ("a.txt", "1 2\n3 4 5 4\n", "name an item once a user, but line 2 has '4' twice"),
        ("a.txt", "\n", "must hold recommendations of at least one user"),
        ("a.csv", "user,item\n1,2\n3,4\n1,2\n", "line 4 has item '2' of user '1' again"),
        ("a.csv", "user,item\n1,2\n1\n", "have 2 fields, but line 3 has '1'"),
        ("a.csv", "user,item,rank\n1,2,first\n", "column rank, but line 2 has 'first'"),
        ("a.csv", "user,item,score\n1,2,nan\n", "column score, but line 2 has 'nan'"),
        ("a.csv", "1,2,3\n", "but user and item cannot be found in '1,2,3'"),
        ("a.csv", "u1,i1,.9\nu2,i1,.8\n", "but user and item cannot be found in 'u1,i1,.9'"),
        ("a.csv", "user,item\n1,2\n 1,2.0\n", "name an item once a user, but line 3 has "),
        ("a.txt", "7 8\n7.0 9\n", "name a user once, but line 2 has '7' again"),
        ("a.csv", "user,item\n1, \n", "line 2 has an empty id"),
        ("a.jsonl", '{"user": null, "items": []}', "line 1 has"),
        ("a.csv", "", "names the columns user and item"),
        ("a.csv", "user,item\n", "must hold recommendations of at least one user"),
        ("a.jsonl", '{"user": 1, "items": [2]}\n{"user": 1}\n', "line 2 has '{\"user\": 1}'"),
        ("a.jsonl", '{"user": 1, "items": [2.5]}', "line 1 has"),
        ("a.jsonl", '{"user": true, "items": []}', "line 1 has"),
        ("a.jsonl", '{"user": "\\ud800", "items": []}', "line 1 has"),
        ("a.jsonl", '{"user": 1, "items": [2]}\n{"user": 1, "items": [], "user": 2}\n', "line 2"),
        (
            "a.jsonl",
            '{"user": 1, "items": [2], "items": [3]}',
            "name a key once, but line 1 has 'i",
        ),
        ("a.csv", "user,item,item,score\n1,2,3,1\n", "one column 'item', but its columns are"),
        ("a.csv", "user,item,score,score\n1,2,3,1\n", "one column 'score', but its columns are"),
        ("a.jsonl", "[1]", "line 1 has '[1]'"),
        ("a.jsonl", "7 8 9", "line 1 has '7 8 9'"),
        ("a.jsonl", "[" * 100_000, "(100,002 characters)"),
        ("a.parquet", "", "must end in one of .txt, .csv, .jsonl"),
    ],
)
def test_a_malformed_file_is_one_line(name: str, text: str, expected: str, tmp_path: Path) -> None:
    assert expected in refused(file(tmp_path, name, text))


def test_the_suffix_says_the_format() -> None:
    assert [format_of(Path(f"a.b.{name}")) for name in ("txt", "CSV", "jsonl")] == [*FORMATS]
    with pytest.raises(InputError, match="a must end in one of"):
        format_of(Path("a"))


def test_ids_with_spaces_do_not_go_into_txt() -> None:
    refuse_spaces(np.array([1, 2]), "task.format")
    refuse_spaces(np.array(["a,b", "ä"], object), "task.format")
    for wrong in ("a b", " a", "a\t", "a\u00a0b"):
        with pytest.raises(InputError, match=r"set task\.format=csv or task\.format=jsonl"):
            refuse_spaces(np.array(["a", wrong], object), "task.format")
