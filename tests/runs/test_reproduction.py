"""What differs between a run and its repeat, and what follows from it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scored_runs import SPLIT, write_run

from recsweep.errors import InputError
from recsweep.runs.reproduction import (
    Comparison,
    Difference,
    Measured,
    compare_curves,
    compare_metrics,
    environment_differences,
    may_change_metrics,
    table_of_differences,
)

NOW = {"git.commit": "a", "version.numpy": "2.3.1", "device": "cpu", "threads": "2"}


Make = Callable[..., Measured]


@pytest.fixture
def measured(tmp_path: Path) -> Make:
    """Makes what a run measured: two users in each fold, the second one's value is 0.25."""

    def made(valid: float = 0.25, test: float = 0.5, coverage: float = 0.75) -> Measured:
        frames = {
            fold: pd.DataFrame({"ndcg@10": [2 * mean - 0.25, 0.25]}, index=pd.Index([1, 2]))
            for fold, mean in (("valid", valid), ("test", test))
        }
        means = {
            "valid": {"ndcg@10": valid, "coverage@10": 0.5},
            "test": {"ndcg@10": test, "coverage@10": coverage},
        }
        curves = pd.DataFrame({"train/loss": [9.0, 8.0, 7.5], "valid/ndcg@10": [0.125, 0.2, 0.25]},
                              index=[1, 2, 3])  # fmt: skip
        weights = tmp_path / "weights.npz"
        np.savez(weights, kernel=np.zeros((2, 3), np.float32), bias=np.ones(2, np.float32))
        counts = {"valid": 0, "test": 0}
        return Measured("5" * 64, 3, means, frames, curves, weights, {"ndcg": "it"}, counts)

    return made


# --- what a repeat runs with ----------------------------------------------------------------------


def test_fields_that_changed_are_named_with_both_values() -> None:
    was = {**NOW, "version.numpy": "2.2.0", "threads": "8", "run_id": "abc", "note": "kept by some"}
    assert environment_differences(NOW, NOW) == []
    assert environment_differences(was, NOW) == [
        Difference("version.numpy", "2.2.0", "2.3.1"),
        Difference("threads", "8", "2"),
    ]


def test_a_difference_is_one_line_that_fingerprints_do_not_fill() -> None:
    line = str(Difference("data.fingerprint", "a" * 64, "b" * 64))
    assert line == f"data.fingerprint: {'a' * 40} → {'b' * 40}"


def test_a_library_that_only_one_of_them_notes_differs() -> None:
    was = {**NOW, "version.keras": "3.1"}
    del was["threads"]
    assert environment_differences(was, NOW) == [
        Difference("threads", "unknown", "2"),
        Difference("version.keras", "3.1", "unknown"),
    ]


def test_the_commit_is_not_compared_since_the_code_is() -> None:
    assert environment_differences({**NOW, "git.commit": "b"}, NOW) == []


def test_the_users_own_code_is_named() -> None:
    was, now = ({**NOW, "code": "ab", "code.my_model.MyModel": text} for text in ("0123", "4567"))
    (change,) = environment_differences(was, now)
    assert str(change) == "code of my_model.MyModel: 0123 → 4567"
    assert may_change_metrics([change], "cpu") == "code of my_model.MyModel may change them"


def test_every_bit_must_be_the_same_where_nothing_that_computes_differs() -> None:
    threads = Difference("threads", "8", "2")
    torch = Difference("version.torch", "not installed", "2.9")
    assert may_change_metrics([], "cpu") == may_change_metrics([torch], "cpu") == ""
    assert may_change_metrics([torch, threads], "cpu") == "threads may change them"
    assert may_change_metrics([], "NVIDIA H200") == "NVIDIA H200 adds in any order"


# --- what it measured -----------------------------------------------------------------------------


def test_the_same_numbers_are_identical(measured: Make) -> None:
    found = Comparison(measured(), measured(), None)
    assert found.verdict == "identical"
    assert found.summary() == "identical: 4 metrics of 4 users, bit for bit"
    assert found.lines() == ["the same: split, best epoch, 2 curves over 3 epochs, every weight"]
    assert found.plain() == {
        "verdict": "identical", "tolerance": 0.0, "split": {"was": "5" * 64, "is": "5" * 64},
        "best_epoch": {"was": 3, "is": 3}, "n_epochs": {"was": 3, "is": 3},
        "metrics": {}, "curves": {}, "weights": {},
    }  # fmt: skip


def test_a_last_bit_is_seen_and_forgiven_only_within_a_tolerance(measured: Make) -> None:
    now = measured(test=float(np.nextafter(0.5, 1)))
    exact, near = (Comparison(measured(), now, tolerance) for tolerance in (None, 0.01))
    assert (exact.verdict, near.verdict) == ("not reproduced", "reproduced")
    assert near.summary() == (
        "reproduced within 0.01: 1 of 4 metrics differ, largest difference 1.1e-16 (test ndcg@10)"
    )
    assert list(near.plain()["metrics"]) == ["test ndcg@10"]


def test_users_whose_values_changed_are_counted_even_where_the_mean_is_the_same(
    measured: Make,
) -> None:
    now = measured()
    now.per_user["test"]["ndcg@10"] = [0.25, 0.75]
    found = Comparison(measured(), now, None)
    assert found.verdict == "not reproduced"
    assert found.plain()["metrics"] == {"test ndcg@10": {"was": 0.5, "is": 0.5, "n_users": 2}}
    assert Comparison(measured(), now, 0.01).verdict == "reproduced"


def test_the_largest_difference_decides_and_comes_first(measured: Make) -> None:
    found = Comparison(measured(), measured(valid=0.26, coverage=0.7), 0.02)
    assert found.verdict == "not reproduced"
    assert found.summary() == (
        "not reproduced within 0.02: 1 of 4 metrics differ by more, largest difference "
        "0.05 (test coverage@10)"
    )
    assert table_of_differences(found.table).splitlines() == [
        "                          was         is  difference   users",
        "test coverage@10     0.750000   0.700000    -5.0e-02       0",
        "validation ndcg@10   0.250000   0.260000    +1.0e-02       1",
    ]
    assert Comparison(measured(), measured(valid=0.26, coverage=0.7), 0.06).verdict == "reproduced"


def test_a_difference_is_relative_where_a_metric_is_above_1(measured: Make) -> None:
    def of(entropy: float) -> Measured:
        found = measured()
        found.means["test"]["entropy@10"] = entropy
        return found

    assert Comparison(of(20.0), of(20.19), 0.01).verdict == "reproduced"
    assert Comparison(of(20.0), of(20.21), 0.01).verdict == "not reproduced"
    both = Comparison(of(20.0), of(20.19)._replace(means=measured(coverage=0.7).means), 0.01)
    assert both.table.iloc[0]["metric"] == "test entropy@10", "only one of them has it"


def test_groups_without_users_are_the_same(measured: Make) -> None:
    def of(value: float) -> Measured:
        found = measured()
        found.means["test"]["ndcg@10 tail"] = value
        return found

    assert Comparison(of(np.nan), of(np.nan), None).verdict == "identical"
    assert Comparison(of(np.nan), of(0.5), 0.9).verdict == "not reproduced"


def test_a_metric_or_a_user_that_only_one_of_them_has_differs(measured: Make) -> None:
    now = measured()
    del now.means["test"]["coverage@10"]
    assert Comparison(measured(), now, 0.5).verdict == "not reproduced"
    now = measured()
    now.per_user["test"].index = pd.Index([1, 3])
    (row,) = compare_metrics(measured(), now).query("n_users > 0").itertuples()
    assert (row.metric, row.difference, row.n_users) == ("test ndcg@10", 0, 2)


# --- what else came out ---------------------------------------------------------------------------


def other(measured: Make, tmp_path: Path, what: str) -> Measured:
    """A repeat with the same metrics that differs in one thing."""
    now = measured()
    fields: dict[str, Any] = {
        "best epoch": {"best_epoch": 2},
        "split": {"split": "6" * 64},
        "definitions": {"definitions": {"ndcg": "another", "mine": "new"}},
        "users without target": {"n_without_target": {"valid": 0, "test": 77}},
    }
    if what in fields:
        return now._replace(**fields[what])
    if what == "curves":
        curves = now.curves.copy()
        curves.loc[2, "train/loss"] = 8.25
        curves.loc[3, "train/loss"] = 7.0
        return now._replace(curves=curves)
    if what == "length":
        return now._replace(curves=now.curves.iloc[:2])
    kernel = np.array([[0, 0, 0], [0, 0.25, 0]], np.float32)
    np.savez(tmp_path / "now.npz", kernel=kernel, bias=np.ones(2, np.float32))
    return now._replace(weights=tmp_path / "now.npz")


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("best epoch", "best epoch  3 → 2"),
        ("split", f"split  {'5' * 12} → {'6' * 12}"),
        ("curves", "curves  1 of 2 differ, from epoch 2 on, largest difference 0.5 (train/loss)"),
        ("length", "curves  3 epochs → 2; 2 of 2 differ, from epoch 3 on, largest difference inf "
                   "(train/loss)"),
        ("definitions", "definitions  ndcg differ"),
        ("users without target", "users without target  validation 0 → 0, test 0 → 77"),
        ("weights", "weights  1 of 2 arrays differ, in 1 number, largest difference 0.25 (kernel)"),
    ],
)  # fmt: skip
def test_what_differs_beside_metrics_is_never_identical_and_said_with_how_much(
    measured: Make, tmp_path: Path, what: str, line: str
) -> None:
    now = other(measured, tmp_path, what)
    exact, near = (Comparison(measured(), now, tolerance) for tolerance in (None, 0.01))
    assert exact.lines() == near.lines() == [line]
    name = line.partition("  ")[0]
    assert (exact.verdict, exact.summary()) == ("not reproduced", f"not reproduced: other {name}")
    assert (near.verdict, near.summary()) == ("reproduced", f"reproduced within 0.01: other {name}")


def test_a_file_says_every_difference_of_curves_and_weights(measured: Make, tmp_path: Path) -> None:
    curves = Comparison(measured(), other(measured, tmp_path, "curves"), None).plain()
    assert curves["curves"] == {
        "train/loss": {"n_epochs": 2, "first_epoch": 2, "difference": 0.5}
    }  # fmt: skip
    weights = Comparison(measured(), other(measured, tmp_path, "weights"), None).plain()
    assert weights["weights"] == {
        "kernel": {"was": "float32 2 x 3", "is": "float32 2 x 3", "n_changed": 1, "n_numbers": 6,
                   "difference": 0.25},
    }  # fmt: skip


def test_a_curve_that_only_one_of_them_has_differs_by_infinity() -> None:
    was = pd.DataFrame({"valid/loss": [2.0, np.nan], "a": [1.0, 1.0]}, index=[1, 2])
    (row,) = compare_curves(was, was[["valid/loss"]]).to_dict("records")
    assert row == {"curve": "a", "n_epochs": 2, "first_epoch": 1, "difference": np.inf}
    assert compare_curves(was, was.copy()).empty, "a NaN is the same as a NaN"


# --- files ----------------------------------------------------------------------------------------


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """What a run writes."""
    folder = write_run(tmp_path / "r", "ease", {"ndcg@10": [0.5, 0.25]})
    (folder / "model").mkdir()
    np.savez(folder / "model" / "weights.npz", kernel=np.ones(3))
    return folder


def test_files_give_back_the_very_numbers(results: Path) -> None:
    found = Measured.of(results)
    assert (found.split, found.best_epoch) == (SPLIT, 1)
    assert found.means["test"] == {"ndcg@10": 0.375}
    assert found.per_user["valid"]["ndcg@10"].to_list() == [0.5, 0.25]
    assert found.curves.to_dict("index") == {1: {"valid/ndcg@10": 0.375}}
    assert Comparison(found, Measured.of(results), None).verdict == "identical"


def test_a_mean_that_is_null_is_no_number_and_the_same_as_itself(results: Path) -> None:
    was = Measured.of(results)
    told = json.loads((results / "metrics.json").read_text())
    told["test"]["mean"]["coverage@10"] = None
    (results / "metrics.json").write_text(json.dumps(told))
    now = Measured.of(results)
    assert compare_metrics(now, now)["difference"].max() == 0
    assert compare_metrics(was, now)["difference"].max() == np.inf


def test_metrics_by_group_are_compared_where_both_have_them(results: Path) -> None:
    groups = ("head", "mid", "tail", "short", "medium", "long")
    frame = pd.DataFrame({f"ndcg@10 {group}": [0.5, 0.25] for group in groups}, list("ab"))
    frame.to_parquet(results / "test_groups_per_user.parquet")
    table = pd.DataFrame({"n_users": 2, "ndcg@10": 0.375}, pd.Index(groups, name="group"))
    older = Measured.of(results)
    table.to_csv(results / "test_groups.csv")
    found = Measured.of(results)
    assert found.means["test"]["ndcg@10 mid"] == 0.375
    forged = found._replace(
        means={**found.means, "test": {**found.means["test"], "ndcg@10 mid": 1}}
    )
    comparison = Comparison(forged, found, 0.01)
    assert comparison.table["metric"].to_list() == ["test ndcg@10 mid"]
    assert comparison.verdict == "not reproduced"
    assert Comparison(older, found, None).verdict == "identical", "it tells of no groups"


def test_seconds_are_no_part_of_a_curve(results: Path) -> None:
    text = "epoch,valid/ndcg@10,epoch_s\n1,0.375,7.5\n"
    (results / "curves.csv").write_text(text, "utf-8")
    assert list(Measured.of(results).curves) == ["valid/ndcg@10"]


@pytest.mark.parametrize("content", [None, "", "{}", '{"best_epoch": 1, "valid": 3}'])
@pytest.mark.parametrize(
    "name", ["metrics.json", "test_metrics_per_user.parquet", "curves.csv", "split.yaml"]
)
def test_a_folder_that_is_not_complete_is_refused(
    results: Path, name: str, content: str | None
) -> None:
    (results / name).unlink()
    if content is not None:
        (results / name).write_text(content, "utf-8")
    with pytest.raises(InputError, match=name) as caught:
        Measured.of(results)
    assert "\n" not in str(caught.value)
