"""What differs between a run and its repeat, and what follows from it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsweep.comparison.replay import (
    Comparison,
    Difference,
    Measured,
    compared,
    differences,
    may_change_metrics,
    table_of_differences,
)
from recsweep.errors import InputError

NOW = {"git.commit": "a", "version.numpy": "2.3.1", "device": "cpu", "threads": "2"}


def measured(valid: float = 0.25, test: float = 0.5, coverage: float = 0.75) -> Measured:
    """Two users in each fold; the second one's value is 0.25."""
    frames = {
        fold: pd.DataFrame({"ndcg@10": [2 * mean - 0.25, 0.25]}, index=pd.Index([1, 2]))
        for fold, mean in (("valid", valid), ("test", test))
    }
    means = {
        "valid": {"ndcg@10": valid, "coverage@10": 0.5},
        "test": {"ndcg@10": test, "coverage@10": coverage},
    }
    return Measured(3, means, frames)


# --- what a repeat runs with ----------------------------------------------------------------------


def test_fields_that_changed_are_named_with_both_values() -> None:
    was = {**NOW, "version.numpy": "2.2.0", "threads": "8", "run_id": "abc", "note": "kept by some"}
    assert differences(NOW, NOW) == []
    assert differences(was, NOW) == [
        Difference("version.numpy", "2.2.0", "2.3.1"),
        Difference("threads", "8", "2"),
    ]


def test_a_difference_is_one_line_that_fingerprints_do_not_fill() -> None:
    line = str(Difference("data.fingerprint", "a" * 64, "b" * 64))
    assert line == f"data.fingerprint: {'a' * 40} → {'b' * 40}"


def test_a_library_that_only_one_of_them_notes_differs() -> None:
    was = {**NOW, "version.keras": "3.1"}
    del was["threads"]
    assert differences(was, NOW) == [
        Difference("threads", "unknown", "2"),
        Difference("version.keras", "3.1", "unknown"),
    ]


def test_only_the_commit_may_differ_when_every_bit_must_be_the_same() -> None:
    commit, threads = Difference("git.commit", "b", "a"), Difference("threads", "8", "2")
    assert may_change_metrics([commit], "cpu") == ""
    assert may_change_metrics([commit, threads], "cpu") == "threads may change them"
    assert may_change_metrics([], "NVIDIA H200") == "NVIDIA H200 adds in any order"


# --- what it measured -----------------------------------------------------------------------------


def test_the_same_numbers_are_identical() -> None:
    found = Comparison(measured(), measured(), None)
    assert found.verdict == "identical"
    assert found.summary() == "identical: 4 metrics of 4 users, bit for bit"
    assert found.plain() == {
        "verdict": "identical", "tolerance": 0.0, "best_epoch": {"was": 3, "is": 3}, "metrics": {},
    }  # fmt: skip


def test_a_last_bit_is_seen_and_forgiven_only_within_a_tolerance() -> None:
    now = measured(test=float(np.nextafter(0.5, 1)))
    exact, near = (Comparison(measured(), now, tolerance) for tolerance in (None, 0.01))
    assert (exact.verdict, near.verdict) == ("not reproduced", "reproduced")
    assert near.summary() == (
        "reproduced within 0.01: 1 of 4 metrics differ, largest difference 1.1e-16 (test ndcg@10)"
    )
    assert list(near.plain()["metrics"]) == ["test ndcg@10"]


def test_users_whose_values_changed_are_counted_even_where_the_mean_is_the_same() -> None:
    now = measured()
    now.per_user["test"]["ndcg@10"] = [0.25, 0.75]
    found = Comparison(measured(), now, None)
    assert found.verdict == "not reproduced"
    assert found.plain()["metrics"] == {"test ndcg@10": {"was": 0.5, "is": 0.5, "n_users": 2}}
    assert Comparison(measured(), now, 0.01).verdict == "reproduced"


def test_the_largest_difference_decides_and_comes_first() -> None:
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


def test_a_metric_or_a_user_that_only_one_of_them_has_differs() -> None:
    now = measured()
    del now.means["test"]["coverage@10"]
    assert Comparison(measured(), now, 0.5).verdict == "not reproduced"
    now = measured()
    now.per_user["test"].index = pd.Index([1, 3])
    (row,) = compared(measured(), now).query("n_users > 0").itertuples()
    assert (row.metric, row.difference, row.n_users) == ("test ndcg@10", 0, 2)


# --- files ----------------------------------------------------------------------------------------


def write(folder: Path) -> None:
    """What a run writes of its metrics."""
    was = measured()
    summary = {fold: {"mean": means} for fold, means in was.means.items()}
    (folder / "metrics.json").write_text(json.dumps({"best_epoch": 3, **summary}), "utf-8")
    for fold, frame in was.per_user.items():
        frame.to_parquet(folder / f"{fold}_metrics_per_user.parquet")


def test_files_give_back_the_very_numbers(tmp_path: Path) -> None:
    write(tmp_path)
    assert Comparison(measured(), Measured.of(tmp_path), None).verdict == "identical"


@pytest.mark.parametrize("content", [None, "", "{}", '{"best_epoch": 1, "valid": 3}'])
def test_a_folder_that_is_not_complete_is_refused(tmp_path: Path, content: str | None) -> None:
    write(tmp_path)
    for name in ("metrics.json", "test_metrics_per_user.parquet"):
        (tmp_path / name).unlink()
        if content is not None:
            (tmp_path / name).write_text(content, "utf-8")
        with pytest.raises(InputError, match=f"must come with a readable {name}") as caught:
            Measured.of(tmp_path)
        assert "\n" not in str(caught.value)
        write(tmp_path)
