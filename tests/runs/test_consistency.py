"""Files of one run must say the same; those of two are noticed."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scored_runs import write_run

from recsweep.errors import InputError
from recsweep.metrics.groups import GROUPS
from recsweep.runs.consistency import check_curves, metrics_by_group, metrics_per_user
from recsweep.runs.results import final_metrics
from recsweep.runs.scored_run import read_run

USERS = {"ndcg@10": [0.5, 0.25, 0.0], "recall@10": [1.0, 0.5, 0.0]}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A run of three users; the means are .25 and .5."""
    return write_run(tmp_path / "r", "ease", USERS)


def change(file: Path, act: Callable[[Any], None]) -> None:
    told = json.loads(file.read_text("utf-8"))
    act(told)
    file.write_text(json.dumps(told), "utf-8")


def refused(results: Path, *expected: str, fold: str = "test") -> None:
    """One line that names both files."""
    with pytest.raises(InputError) as caught:
        metrics_per_user(results, fold)
    assert "\n" not in str(caught.value)
    for text in ("metrics.json and ", f"{fold}_metrics_per_user.parquet", *expected):
        assert text in str(caught.value)


def test_files_of_one_run_are_read(results: Path) -> None:
    assert metrics_per_user(results, "test").to_dict("list") == USERS
    assert [(epoch, each["valid/ndcg@10"]) for epoch, each in check_curves(results)] == [(1, 0.25)]


def test_the_order_of_users_does_not_matter(tmp_path: Path) -> None:
    values = [0.1 * n for n in range(1, 10)]
    results = write_run(tmp_path / "r", "ease", {"ndcg@10": values})
    file = results / "test_metrics_per_user.parquet"
    pd.read_parquet(file).iloc[::-1].to_parquet(file)
    assert len(metrics_per_user(results, "test")) == 9


def test_another_standard_error_is_refused(results: Path) -> None:
    file = results / "metrics.json"
    found = json.loads(file.read_text("utf-8"))
    found["test"]["standard_error"]["ndcg@10"] *= 0.5
    file.write_text(json.dumps(found), "utf-8")
    refused(results, "the standard error of test ndcg@10 is", fold="test")


@pytest.mark.parametrize("fold", ["valid", "test"])
def test_another_mean_is_refused(results: Path, fold: str) -> None:
    file = results / f"{fold}_metrics_per_user.parquet"
    frame = pd.read_parquet(file)
    frame.loc["a", "recall@10"] = 0.25  # mean .25 instead of .5
    frame.to_parquet(file)
    refused(results, f"the mean of {fold} recall@10 is 0.5 in the first and 0.25 in", fold=fold)


def test_other_users_are_refused(results: Path) -> None:
    file = results / "test_metrics_per_user.parquet"
    frame = pd.read_parquet(file)
    frame[frame.index != "b"].to_parquet(file)  # b is the mean: .25 and .5 stay
    refused(results, "the number of users is 3 in the first and 2 in the second")


def test_a_metric_that_only_one_file_has_is_refused(results: Path) -> None:
    file = results / "metrics.json"
    change(file, lambda told: told["test"]["mean"].update({"mrr@10": 0.5}))
    change(file, lambda told: told["test"]["standard_error"].update({"mrr@10": 0.1}))
    refused(results, "the mean of test mrr@10 is 0.5 in the first and absent in the second")
    for part in ("mean", "standard_error"):
        change(file, lambda told, part=part: told["test"][part].pop("mrr@10"))
    change(file, lambda told: told["test"]["mean"].update({"coverage@10": 0.5}))
    metrics_per_user(results, "test")  # of the catalogue: no user has it
    change(file, lambda told: told["test"]["mean"].pop("ndcg@10"))
    refused(results, "the mean of test ndcg@10 is absent in the first and 0.25 in the second")


def test_a_comparison_names_the_run_as_the_user_did(results: Path) -> None:
    change(results / "metrics.json", lambda told: told["test"].update(n_users=4))
    with pytest.raises(InputError, match=r"but in my run the number of users is 4 .* and 3"):
        read_run(results, "my run")


def test_curves_must_have_the_best_epoch_with_its_values(results: Path) -> None:
    file = results / "metrics.json"
    change(file, lambda told: told.update(best_epoch=2))
    with pytest.raises(InputError, match=r"^metrics.json and curves.csv .* epoch 2 .* one of 1"):
        check_curves(results)
    change(file, lambda told: told.update(best_epoch=1))
    (results / "curves.csv").write_text("epoch,valid/ndcg@10,valid/recall@10\n1,0.25,0.75\n")
    with pytest.raises(InputError, match=r"valid recall@10 of the best epoch, 1, is 0\.5 .* 0\.75"):
        check_curves(results)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"best_epoch": 1, "valid": 3, "test": 3}'])
def test_damaged_metrics_are_one_line(results: Path, content: str) -> None:
    (results / "metrics.json").write_text(content, "utf-8")
    with pytest.raises(InputError, match=r"must have a readable metrics\.json"):
        metrics_per_user(results, "test")


def test_the_best_epoch_must_have_the_largest_objective(results: Path) -> None:
    curves = "epoch,valid/ndcg@10,valid/recall@10\n1,0.25,0.5\n2,{},0.1\n"
    (results / "curves.csv").write_text(curves.format("0.26"))
    with pytest.raises(InputError, match=r"epoch of the best valid/ndcg@10 is 1 .* and 2 in"):
        check_curves(results)
    for as_good in ("0.25", "", "0.2"):  # the first of equals is the best
        (results / "curves.csv").write_text(curves.format(as_good))
        assert len(check_curves(results)) == 2


@pytest.mark.parametrize("epochs", [(1, 1), (2, 1), (1, 3), (0, 1)])
def test_epochs_must_be_counted(results: Path, epochs: tuple[int, int]) -> None:
    rows = "".join(f"{epoch},0.25,0.5\n" for epoch in epochs)
    (results / "curves.csv").write_text(f"epoch,valid/ndcg@10,valid/recall@10\n{rows}")
    with pytest.raises(InputError, match=r"curves\.csv is not \(its epochs must be 1, 2, 3"):
        check_curves(results)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("test", "mean", "ndcg@10"), "0.25", "must be a number, but is '0.25'"),
        (("test", "mean", "ndcg@10"), [], "must be a number"),
        (("test", "standard_error", "ndcg@10"), {}, "must be a number"),
        (("test", "standard_error"), 3, "readable metrics.json"),
        (("test", "standard_error"), [1], "test standard_error must hold numbers by name"),
        (("test", "mean"), [], "test mean must hold numbers by name, but is []"),
        (("test", "n_users"), "3", "the number of users is 3 in the first and 3 in the second"),
        (("test", "n_users"), 10**12, "the number of users is 1000000000000 in the first and 3"),
        (("test",), None, "readable metrics.json"),
    ],
)
def test_metrics_of_another_kind_are_refused_in_one_line(
    results: Path, path: tuple[str, ...], value: Any, expected: str
) -> None:
    def act(told: Any) -> None:
        for name in path[:-1]:
            told = told[name]
        told[path[-1]] = value

    change(results / "metrics.json", act)
    with pytest.raises(InputError) as caught:
        metrics_per_user(results, "test")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


DAMAGE: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    "text": lambda frame, file: frame.astype(str).to_parquet(file),
    "lists": lambda frame, file: frame.assign(a=[[1], [2], [3]]).to_parquet(file),
    "a user twice": lambda frame, file: frame.set_axis(["a", "a", "c"]).to_parquet(file),
    "nothing": lambda _, file: file.write_bytes(b""),
    "a half": lambda _, file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "a pickle": lambda frame, file: frame.to_pickle(file),
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("name", ["test_metrics_per_user", "test_groups_per_user"])
def test_a_tampered_table_per_user_is_refused_in_one_line(
    grouped: Path, name: str, kind: str
) -> None:
    file = grouped / f"{name}.parquet"
    DAMAGE[kind](pd.read_parquet(file), file)
    with pytest.raises(InputError, match=rf"readable {name}\.parquet") as caught:
        read_run(grouped, "r")
    assert "\n" not in str(caught.value)


@pytest.fixture
def grouped(tmp_path: Path) -> Path:
    """A run with groups: a and b in the head, c in the tail, nobody in another."""
    results = write_run(tmp_path / "g", "ease", USERS, objective="ndcg@10")
    values = {group: [math.nan] * 3 for group in GROUPS}
    values |= {"head": [0.5, 0.25, math.nan], "tail": [math.nan, math.nan, 0.0]}
    frame = pd.DataFrame({f"ndcg@10 {group}": values[group] for group in GROUPS}, list("abc"))
    frame.to_parquet(results / "test_groups_per_user.parquet")
    table = pd.DataFrame({"n_users": [2, 0, 1, 0, 0, 0]}, pd.Index(GROUPS, name="group"))
    table["ndcg@10"] = [0.375, math.nan, 0.0, math.nan, math.nan, math.nan]
    table.to_csv(results / "test_groups.csv")
    return results


def test_groups_are_read_and_older_runs_have_none(grouped: Path) -> None:
    found = read_run(grouped, "r").groups
    assert found is not None
    assert found.table["ndcg@10"]["head"] == 0.375
    assert final_metrics(grouped)[0]["test_ndcg@10_head"] == 0.375
    assert "test_ndcg@10_mid" not in final_metrics(grouped)[0], "it has no users"
    (grouped / "test_groups.csv").unlink()
    assert read_run(grouped, "r").groups is None
    assert not [name for name in final_metrics(grouped)[0] if "head" in name]


def test_groups_of_another_run_or_damaged_ones_are_refused(grouped: Path) -> None:
    users = pd.Index(list("abc"))
    with pytest.raises(InputError, match="the number of users is 2 in the first and 3, of which 1"):
        metrics_by_group(grouped, users[:2], "r")
    file = grouped / "test_groups.csv"
    text = file.read_text("utf-8")
    file.write_text(text.replace("0.375", "0.5"), "utf-8")
    with pytest.raises(InputError, match=r"test_groups.csv and test_groups_per_user.parquet must"):
        metrics_by_group(grouped, users, "r")
    table = pd.read_csv(file.with_name("test_groups.csv"), index_col="group")
    table["ndcg@10"] = [0.375, math.nan, 0.0, math.nan, math.nan, math.nan]
    for error in (0.125, 0.12):  # of .5 and .25, and another one
        table["se ndcg@10"] = [error, *[math.nan] * 5]
        table.to_csv(file)
        if error == 0.125:
            assert metrics_by_group(grouped, users, "r") is not None
    with pytest.raises(InputError, match=r"the standard error of ndcg@10 head is 0\.12 in"):
        metrics_by_group(grouped, users, "r")
    file.write_text(text.replace("0.375", "?"), "utf-8")
    with pytest.raises(InputError, match=r"readable test_groups\.csv"):
        metrics_by_group(grouped, users, "r")
