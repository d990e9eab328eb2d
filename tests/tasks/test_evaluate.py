"""Recommendations of any origin against the truth: files in, numbers out, nothing else loaded."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recsweep.app import run
from recsweep.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def evaluate(config: Any, tmp_path: Path) -> Any:
    """Evaluates two files of these contents and gives what it wrote."""

    def measured(
        recommendations: str, truth: str, *overrides: str, name: str = "rec.txt"
    ) -> dict[str, Any]:
        (tmp_path / name).write_text(recommendations, encoding="utf-8")
        (tmp_path / "truth.txt").write_text(truth, encoding="utf-8")
        files = {"recommendations": name, "truth": "truth.txt", "output": "measured.json"}
        given = [f"task.{key}='{tmp_path / path}'" for key, path in files.items()]
        changes = ["task.overwrite=true", *overrides]
        run(config("task=evaluate", *given, *changes), tmp_path / "out", [*given, *changes])
        found: dict[str, Any] = json.loads((tmp_path / "measured.json").read_text("utf-8"))
        return found

    return measured


TRUTH = "1 a 3\n1 c 1\n2 z 5\n2 y 0\n3 a 1\n"
"""User 1 wants a and c, user 2 z, user 3 a."""
LISTS = "1 a b c\n2 b z\n4 a\n"


def test_values_are_the_arithmetic_of_the_lists(
    evaluate: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluate(LISTS, TRUTH, "k=[1,10]", "metrics=[ndcg_full_ideal,ndcg,recall_all,mrr]")
    discount = [1 / math.log2(rank + 1) for rank in (1, 2, 3)]
    first = (discount[0] + discount[2]) / (discount[0] + discount[1])
    users = [first, discount[1], 0.0]  # user 3 has no list
    mean = sum(users) / 3
    variance = sum((value - mean) ** 2 for value in users) / 2
    assert found["mean"] == pytest.approx({
        "ndcg_full_ideal@1": discount[0] / (discount[0] + discount[1]) / 3,
        "ndcg_full_ideal@10": mean,
        "ndcg@1": 1 / 3,
        "ndcg@10": mean,
        "recall_all@1": 0.5 / 3,
        "recall_all@10": 2 / 3,
        "mrr@1": 1 / 3,
        "mrr@10": (1 + 1 / 2) / 3,
    }, abs=1e-15)  # fmt: skip
    assert found["standard_error"]["ndcg@10"] == pytest.approx(math.sqrt(variance / 3))
    assert (found["n_users"], found["n_without_recommendations"]) == (3, 1)
    assert set(found["definitions"]) == {"ndcg_full_ideal", "ndcg", "recall_all", "mrr"}
    said = capsys.readouterr().out
    assert f"{mean:.4f} ± {math.sqrt(variance / 3):.4f}" in said
    assert "mean ± standard error over 3 users of the truth" in said
    rec, truth = tmp_path / "rec.txt", tmp_path / "truth.txt"
    assert f"1 of 3 users of {truth} are not in {rec} ('3'): counted as 0" in said
    assert f"1 of 3 users of {rec} are not in {truth} ('4'): ignored" in said
    assert f"items of {truth}" not in said


def test_every_format_and_every_delimiter_gives_the_same(evaluate: Any) -> None:
    expected = evaluate(LISTS, TRUTH)
    as_csv = "item,user,score\nb,1,2\na,1,3\nc,1,1\nz,2,0.1\nb,2,0.2\na,4,1\n"
    as_jsonl = "".join(
        json.dumps({"user": user, "items": items}) + "\n"
        for user, *items in (line.split() for line in LISTS.splitlines())
    )
    header = "user,item,value\n"
    assert evaluate(as_csv, header + TRUTH.replace(" ", ","), name="rec.csv") == expected
    assert evaluate(as_jsonl, TRUTH.replace(" ", "\t"), name="rec.jsonl") == expected


def test_columns_of_both_files_go_by_name(evaluate: Any) -> None:
    lists = "user,item,score\nu1,i1,.9\nu2,i3,.7\n"
    truth = "customer_id\tstock_code\nu1\ti1\nu2\ti3\n"
    found = evaluate(lists, truth, "k=2", "metrics=[hit_rate]", name="rec.csv")
    assert (found["mean"], found["n_users"]) == ({"hit_rate@2": 1.0}, 2)
    lists, truth = "user,item,rank\n1,10,1\n2,12,1\n", "user,rating,item\n1,5,10\n2,4,12\n"
    found = evaluate(lists, truth, "k=2", "metrics=[hit_rate]", name="rec.csv")
    assert found["mean"] == {"hit_rate@2": 1.0}


@pytest.mark.parametrize("header", ["kunde,produkt", "id_user,id_item"])
def test_a_header_of_unknown_words_is_no_user(evaluate: Any, header: str) -> None:
    lists = "user,item,score\nanna,faust,.9\nben,emma,.7\n"
    truth = f"{header}\nanna,faust\nben,emma\n"
    if header == "kunde,produkt":
        with pytest.raises(InputError, match="'kunde,produkt' is a user and an item that occur no"):
            evaluate(lists, truth, name="rec.csv")
        truth = truth.replace(header, "user,item")
    found = evaluate(lists, truth, "k=2", "metrics=[hit_rate]", name="rec.csv")
    assert found["mean"] == {"hit_rate@2": 1.0}


@pytest.mark.parametrize(
    "first",
    ["carl,faust", "anna,dune", "carl,dune7", "carl,dune\ncarl,faust", "carl,dune\nben,dune"],
)
def test_a_first_pair_of_which_anything_is_known_is_a_pair(evaluate: Any, first: str) -> None:
    lists = "user,item,score\nanna,faust,.9\nben,emma,.7\n"
    found = evaluate(lists, f"{first}\nanna,emma\nben,emma\n", name="rec.csv")
    assert found["n_users"] == 3 - ("anna" in first)


def test_lists_that_end_before_k_are_told(
    evaluate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate("1 a b\n2 a\n", "1 a\n2 a\n", "k=[2]")
    assert "longest list" not in capsys.readouterr().out
    evaluate("1 a b\n2 a\n", "1 a\n2 a\n", "k=[2,3]")
    assert (
        "the longest list has 2 items: at a larger k, places without an item count as misses"
        in (capsys.readouterr().out)
    )


def test_ids_are_one_however_they_are_written(evaluate: Any) -> None:
    truth = "7.0, 10.0\n 7,11\n8 ,12.00\n"
    found = evaluate("7 10 11.0\n8 12\n", truth, "k=2", "metrics=recall")
    assert found["mean"] == {"recall@2": 1.0}


def test_items_that_nobody_is_recommended_are_counted(
    evaluate: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluate("1 a b\n", "1 a\n1 w\n1 x\n1 y\n1 z\n", "k=5", "metrics=recall_all")
    assert found["mean"] == {"recall_all@5": 1 / 5}
    expected = f"4 of 5 items of {tmp_path / 'truth.txt'} are not in {tmp_path / 'rec.txt'} "
    assert f"{expected}('w', 'x', 'y', …): missed by everybody" in capsys.readouterr().out


def test_lists_are_cut_at_k_and_may_be_shorter(evaluate: Any) -> None:
    long = "1 " + " ".join(map(str, range(500))) + "\n"
    found = evaluate(long, "1 1\n1 499\n", "k=[2,1000]", "metrics=recall_all")["mean"]
    assert found == {"recall_all@2": 0.5, "recall_all@1000": 1.0}


def test_coverage_is_refused_when_asked_for_and_left_out_when_it_only_comes_along(
    evaluate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not any(name.startswith("coverage") for name in evaluate(LISTS, TRUTH)["mean"])
    assert "coverage is left out: it needs the catalogue" in capsys.readouterr().out
    with pytest.raises(InputError, match="cannot compute coverage, which needs"):
        evaluate(LISTS, TRUTH, "metrics=[ndcg,coverage]")


def test_a_single_user_has_no_standard_error(evaluate: Any) -> None:
    assert evaluate("1 a\n", "1 a\n", "k=1", "metrics=ndcg")["standard_error"] == {"ndcg@1": None}


@pytest.mark.parametrize(
    ("recommendations", "truth", "expected"),
    [
        ("1 a\n", "2 a\n", "must have users in common, but 1 of 1 users of "),
        ("1 a\n", "1 b\n1 c\n", "must have items in common, but 2 of 2 items of "),
        ("1\n", "1 b\n", "rec.txt ('b'), which has none; check that both have the original ids"),
        ("1 a\n", "ann ten\nbob item_1\n7 ten\n", "users in common, but 3 of 3 users"),
        ("1 a\n", "kunde ware\n7 b\n", "name the columns user and item"),
        ("1 a\n", "1 a 0\n", "every value is 0"),
        ("1 a a\n", "1 a\n", "line 1 has 'a' twice"),
        ("1 a\n1 b\n", "1 a\n", "line 2 has '1' again"),
        ("1 a\n", "1 a 1\n1 b much\n", "line 2 has 'much'"),
        ("1 a\n", "1 a 1\n1 b -1\n", "line 2 has '-1'"),
        ("1 a\n", "1 a\n1 a\n", "each pair of user and item once"),
        ("", "1 a\n", "must hold recommendations of at least one user"),
    ],
)
def test_files_that_cannot_be_compared_are_one_line(
    evaluate: Any, tmp_path: Path, recommendations: str, truth: str, expected: str
) -> None:
    with pytest.raises(InputError) as caught:
        evaluate(recommendations, truth)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "measured.json").exists()


def test_files_that_are_not_given_or_in_the_way_are_one_line(
    config: Any, evaluate: Any, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"give task\.recommendations=FILE"):
        run(config("task=evaluate"), tmp_path, [])
    (tmp_path / "measured.json").write_text("precious", encoding="utf-8")
    with pytest.raises(InputError, match=r"set task\.overwrite=true"):
        evaluate("1 a\n", "1 a\n", "task.overwrite=false")
    assert (tmp_path / "measured.json").read_text("utf-8") == "precious"
    with pytest.raises(InputError, match=r"truth\.txt is read by this command"):
        evaluate("1 a\n", "1 a\n", f"task.output='{tmp_path / 'truth.txt'}'")
    assert (tmp_path / "truth.txt").read_text("utf-8") == "1 a\n"


def test_the_command_line_loads_neither_a_backend_nor_mlflow(tmp_path: Path) -> None:
    (tmp_path / "rec.txt").write_text(LISTS, encoding="utf-8")
    (tmp_path / "truth.txt").write_text(TRUTH, encoding="utf-8")
    code = (
        "import sys; from recsweep.command_line import main; main(); "
        "print({'jax', 'keras', 'tensorflow', 'mlflow', 'matplotlib'} & set(sys.modules))"
    )
    arguments = ["task=evaluate", "task.recommendations=rec.txt", "task.truth=truth.txt", "k=100"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "metrics=ndcg_full_ideal"], cwd=tmp_path,
        check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "set()"
    assert done.stderr == ""
    assert {path.name for path in tmp_path.iterdir()} == {"rec.txt", "truth.txt"}


@pytest.mark.parametrize("k", [10**13, 2**63])
def test_a_cut_off_beyond_memory_is_one_line(evaluate: Any, k: int) -> None:
    with pytest.raises(
        InputError, match=rf"the ranks of 3 users up to k={k} must have .*; lower k"
    ):
        evaluate(LISTS, TRUTH, f"k=[2,{k}]", "metrics=[ndcg,map]")
