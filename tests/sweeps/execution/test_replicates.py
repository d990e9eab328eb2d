"""What the trainings of a trial differ in, and what they share."""

from pathlib import Path
from typing import Any

import pytest
from plans import toy_config

from recsweep import app
from recsweep.build import validate
from recsweep.experiment import Experiment
from recsweep.sweeps.execution.replicates import Replicates, tuning_folds
from recsweep.tracking import NullTracker


class Noted(NullTracker):
    """A tracker that notes the names of metrics."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[tuple[str, int]] = []

    def log_metrics(self, metrics: Any, step: int = 0) -> None:
        self.names += [(name, step) for name in metrics]


@pytest.fixture
def trial(tmp_path: Path) -> Experiment:
    settings = validate(app.Settings, toy_config(tmp_path, "seed=42"), "")
    return Experiment.prepare(settings, Noted())


def test_without_folds_and_seeds_a_trial_is_its_only_training(trial: Experiment) -> None:
    replicates = Replicates(None, 1)
    assert replicates.count(trial.settings.model) == 1
    assert replicates.experiment(trial, 0) is trial


def test_seeds_follow_the_trials_own_on_the_same_split(trial: Experiment) -> None:
    replicates = Replicates(None, 3)
    made = [replicates.experiment(trial, index) for index in range(3)]
    assert [each.settings.seed for each in made] == [42, 43, 44]
    assert all(each.split is trial.split for each in made), "trainings in slots share matrices"
    assert len({id(each.model) for each in [*made, trial]}) == 4
    assert {str(each.model) for each in made} == {str(trial.model)}, "and have its parameters"
    assert replicates.name(trial.settings, 2) == "seed 44"


def test_a_model_without_random_numbers_needs_one_seed_but_every_fold() -> None:
    ease = {"_target_": "recsweep.models.ease.EASE"}
    assert Replicates(None, 3).count(ease) == 1
    assert Replicates(3, 1).count(ease) == 3


def test_folds_are_the_splits_with_the_trials_seed(trial: Experiment) -> None:
    replicates = Replicates(3, 1)
    made = [replicates.experiment(trial, index) for index in range(3)]
    cut = tuning_folds(trial.settings, trial.split, 3)
    assert [each.split.fingerprint for each in made] == [cut.fold(i).fingerprint for i in range(3)]
    assert {each.settings.seed for each in made} == {42}
    assert made[1].split is replicates.experiment(trial, 1).split, "also for the next trial"
    assert replicates.name(trial.settings, 0) == "fold 1 of 3"


def test_folds_take_seed_and_share_from_the_split(trial: Experiment) -> None:
    cut = tuning_folds(trial.settings, trial.split, 3)
    assert (cut.target_fraction, cut.seed) == (0.2, trial.settings.split["seed"])
    assert cut.split is trial.split


def test_only_the_first_replicate_has_the_usual_names(trial: Experiment) -> None:
    replicates = Replicates(None, 2)
    for index in range(2):
        replicates.experiment(trial, index).tracker.log_metrics({"valid/ndcg@10": 0.5}, 3 + index)
    assert isinstance(trial.tracker, Noted)
    assert trial.tracker.names == [("valid/ndcg@10", 3), ("replicate_1/valid/ndcg@10", 4)]
