"""The winner's replicates: which there are, what they are averaged to, how often test was seen."""

from dataclasses import replace
from pathlib import Path

import pytest
from plans import toy_config, toy_plan
from studies import COMPLETE

from recsweep.run_files import STDOUT
from recsweep.sweeps.execution.final_evaluation import FinalEvaluation
from recsweep.sweeps.execution.worker import Worker
from recsweep.sweeps.study.claims import next_claim
from recsweep.sweeps.study.final_scores import TEST_SCORED
from recsweep.sweeps.study.shared_study import SharedStudy
from recsweep.sweeps.study.status import StudyStatus


@pytest.fixture
def winner(tmp_path: Path) -> FinalEvaluation:
    """A study of one trial, trained with three seeds."""
    plan = toy_plan(tmp_path / "toy", toy_config(tmp_path))
    study = SharedStudy(plan)
    claim = next_claim(study)
    assert claim is not None
    study.finish(0, COMPLETE, [0.5], {})
    claim.lease.release()
    study.study.set_user_attr("objectives", ["ndcg@10"])
    study.study.set_user_attr("identity", {"fixed": ["model=toy", "seed=42"]})
    best = StudyStatus.of(study.study, 1).best
    assert best is not None
    return FinalEvaluation(study, best, 3)


def test_each_training_says_its_seeds(winner: FinalEvaluation) -> None:
    trainings = winner.finalist(Worker(winner.study.plan.plain())).trainings
    assert [(each["index"], each["config"]["seed"]) for each in trainings] == [
        (0, 42), (1, 43), (2, 44),
    ]  # fmt: skip
    assert {each["config"]["split"]["seed"] for each in trainings} == {98765}, "the trial's split"
    assert trainings[1]["overrides"] == ["model=toy", "model.quality=0.9", "seed=43"]
    assert trainings[1]["name"] == "best: plans quality=.9 seed=43"
    assert winner.study.space.config(winner.best.settings)["seed"] == 42


def test_only_what_is_missing_is_trained(winner: FinalEvaluation) -> None:
    assert winner.seeds_left == "3 seeds"
    assert replace(winner, n_seeds=1).seeds_left == "1 seed"
    winner.folders[1].mkdir(parents=True)
    (winner.folders[1] / STDOUT).touch()
    assert winner.missing == [0, 2]
    assert winner.seeds_left == "2 of 3 seeds"
    assert winner.scores() is None
    finalist = winner.finalist(Worker(winner.study.plan.plain()))
    assert [each["index"] for each in finalist.trainings] == [0, 2]
    assert finalist.n_seeds == 3  # of which its slots depend


def test_other_trials_that_were_scored_are_known(winner: FinalEvaluation) -> None:
    looks = [{"trial": t, "seed": s} for t, s in ((4, 1), (0, 1), (2, 1))]
    winner.study.study.set_user_attr(TEST_SCORED, looks)
    assert winner.others_scored() == [2, 4]
