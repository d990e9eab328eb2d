"""How often test was seen, and what the winner's trainings are averaged to."""

import json
from pathlib import Path

import pandas as pd
import pytest
from studies import make_study

from recsweep.sweeps.study.final_scores import TEST_SCORED, Looks, average_runs


def test_looks_at_test_are_counted_by_training_and_by_trial(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    assert Looks.of(study) == Looks(0, ())
    looks = [{"trial": t, "seed": s} for t, s in ((4, 1), (4, 2), (2, 1))]
    study.set_user_attr(TEST_SCORED, looks)
    assert Looks.of(study).plain() == {"n_times": 3, "n_configurations": 2, "trials": [2, 4]}
    assert str(Looks.of(study)) == "test was scored 3 times for this study (trials 2, 4)"
    assert str(Looks(1, (4,))) == "test was scored once for this study (trial 4)"


def run(folder: Path, values: dict[str, float], coverage: float) -> Path:
    """Results of a run whose users have these values of NDCG@10."""
    folder.mkdir()
    frame = pd.DataFrame({"ndcg@10": values})
    frame.to_parquet(folder / "test_metrics_per_user.parquet")
    mean = {"ndcg@10": frame["ndcg@10"].mean(), "coverage@10": coverage}
    told = {"test": {"mean": mean, "n_without_target": 1}}
    (folder / "metrics.json").write_text(json.dumps(told))
    return folder


def test_a_users_metrics_are_averaged_over_seeds(tmp_path: Path) -> None:
    runs = [
        run(tmp_path / "a", {"u": 0.25, "v": 0.5}, 0.2),
        run(tmp_path / "b", {"u": 0.75, "v": 0.0}, 0.4),
    ]
    found = average_runs(runs, "test")
    assert found.per_user["ndcg@10"].to_dict() == {"u": 0.5, "v": 0.25}
    assert found.means == {"ndcg@10": 0.375, "coverage@10": pytest.approx(0.3)}
    assert found.standard_errors["ndcg@10"] == pytest.approx(0.125)  # |.5 - .25| / 2
    assert found.n_without_target == 1
