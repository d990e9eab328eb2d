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
from recsweep.runs.consistency import checked_curves, metrics_by_group, metrics_per_user
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
    assert [(epoch, each["valid/ndcg@10"]) for epoch, each in checked_curves(results)] == [
        (1, 0.25)
    ]


def test_the_order_of_users_does_not_matter(tmp_path: Path) -> None:
    values = [0.1 * n for n in range(1, 10)]
    results = write_run(tmp_path / "r", "ease", {"ndcg@10": values})
    file = results / "test_metrics_per_user.parquet"
    pd.read_parquet(file).iloc[::-1].to_parquet(file)
    assert len(metrics_per_user(results, "test")) == 9


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
        checked_curves(results)
    change(file, lambda told: told.update(best_epoch=1))
    (results / "curves.csv").write_text("epoch,valid/ndcg@10,valid/recall@10\n1,0.25,0.75\n")
    with pytest.raises(InputError, match=r"valid recall@10 of the best epoch, 1, is 0\.5 .* 0\.75"):
        checked_curves(results)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"best_epoch": 1, "valid": 3, "test": 3}'])
def test_damaged_metrics_are_one_line(results: Path, content: str) -> None:
    (results / "metrics.json").write_text(content, "utf-8")
    with pytest.raises(InputError, match=r"must have a readable metrics\.json"):
        metrics_per_user(results, "test")


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
    with pytest.raises(InputError, match="the number of users is 2 in the first and 3, of whom 1"):
        metrics_by_group(grouped, users[:2], "r")
    file = grouped / "test_groups.csv"
    text = file.read_text("utf-8")
    file.write_text(text.replace("0.375", "0.5"), "utf-8")
    with pytest.raises(InputError, match=r"test_groups.csv and test_groups_per_user.parquet must"):
        metrics_by_group(grouped, users, "r")
    file.write_text(text.replace("0.375", "?"), "utf-8")
    with pytest.raises(InputError, match=r"readable test_groups\.csv"):
        metrics_by_group(grouped, users, "r")
