"""The winner's replicates: which there are, what they are averaged to, how often test was seen."""

import json
from pathlib import Path

import pandas as pd
import pytest
from plans import toy_config, toy_plan
from studies import COMPLETE

from recsweep.sweep.standing import Standing
from recsweep.sweep.study import SharedStudy
from recsweep.sweep.winner import Looks, Winner, averaged
from recsweep.sweep.worker import SAID, TEST_SCORED, Worker


@pytest.fixture
def winner(tmp_path: Path) -> Winner:
    """A study of one trial, trained with three seeds."""
    plan = toy_plan(tmp_path / "toy", toy_config(tmp_path))
    study = SharedStudy(plan)
    claim = study.claim()
    assert claim is not None
    study.finish(0, COMPLETE, [0.5], {})
    claim.lease.release()
    study.study.set_user_attr("objectives", ["ndcg@10"])
    study.study.set_user_attr("identity", {"fixed": ["model=toy", "seed=42"]})
    best = Standing.of(study.study, 1).best
    assert best is not None
    return Winner(study, best, 3)


def test_each_training_says_its_seeds(winner: Winner) -> None:
    trainings = winner.finalist(Worker(winner.study.plan.plain())).trainings
    assert [(each["index"], each["config"]["seed"]) for each in trainings] == [
        (0, 42), (1, 43), (2, 44),
    ]  # fmt: skip
    assert {each["config"]["split"]["seed"] for each in trainings} == {98765}, "the trial's split"
    assert trainings[1]["overrides"] == ["model=toy", "model.quality=0.9", "seed=43"]
    assert trainings[1]["name"] == "best: plans quality=.9 seed=43"
    assert winner.study.space.config(winner.best.settings)["seed"] == 42


def test_only_what_is_missing_is_trained(winner: Winner) -> None:
    winner.folders[1].mkdir(parents=True)
    (winner.folders[1] / SAID).touch()
    assert winner.missing == [0, 2]
    assert winner.scores() is None
    trainings = winner.finalist(Worker(winner.study.plan.plain())).trainings
    assert [each["index"] for each in trainings] == [0, 2]


def test_looks_at_test_are_counted_by_training_and_by_trial(winner: Winner) -> None:
    study = winner.study.study
    assert Looks.of(study) == Looks(0, ())
    looks = [{"trial": t, "seed": s} for t, s in ((4, 1), (4, 2), (2, 1))]
    study.set_user_attr(TEST_SCORED, looks)
    assert Looks.of(study).plain() == {"n_times": 3, "n_configurations": 2, "trials": [2, 4]}
    assert str(Looks.of(study)) == "test was scored 3 times for this study (trials 2, 4)"
    assert str(Looks(1, (4,))) == "test was scored once for this study (trial 4)"
    assert winner.others_scored() == [2, 4]


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
    found = averaged(runs, "test")
    assert found.per_user["ndcg@10"].to_dict() == {"u": 0.5, "v": 0.25}
    assert found.means == {"ndcg@10": 0.375, "coverage@10": pytest.approx(0.3)}
    assert found.standard_errors["ndcg@10"] == pytest.approx(0.125)  # |.5 - .25| / 2
    assert found.n_without_target == 1
