from datetime import datetime
from pathlib import Path

import optuna
import pytest
from studies import COMPLETE, FAIL, PRUNED, RUNNING, add, make_study

from recsweep.sweeps.reporting.plot_data import LegibleStudy, label
from recsweep.sweeps.study.status import StudyStatus

BEGAN = 1e9


def legible(study: optuna.Study, *objectives: str) -> LegibleStudy:
    """Nobody runs the trials of the study that are running."""
    status = StudyStatus.of(study, 4, is_alive=lambda _: False)
    return LegibleStudy.of(study, status, objectives or status.objectives)


def test_names_are_short_and_choices_without_quotes(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    add(study, COMPLETE, [0.3])
    shown = legible(study)
    assert shown.params == ("beta", "dropout_rate", "hidden_dims")
    (trial,) = shown.study.trials
    assert repr(trial.params["hidden_dims"]) == "[600]"
    assert trial.params["beta"] == 0.2
    assert trial.value == 0.3


@pytest.mark.parametrize(
    ("objective", "called"),
    [("ndcg@100", "validation ndcg@100"), ("train_s", "training time (s)")],
)
def test_an_axis_is_called_by_what_it_shows(objective: str, called: str) -> None:
    assert label(objective) == called


def test_a_trial_that_began_again_starts_where_its_last_run_did(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    add(study, COMPLETE, [0.3], began=BEGAN, wall_s=60.0, worker="a:1")
    (trial,) = legible(study).study.trials
    assert trial.datetime_start == datetime.fromtimestamp(BEGAN)
    assert trial.datetime_complete == datetime.fromtimestamp(BEGAN + 60)


def test_a_trial_that_nobody_runs_is_to_begin_again(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    add(study, RUNNING)
    add(study, FAIL)
    shown = legible(study)
    assert shown.study.trials[0].state == optuna.trial.TrialState.WAITING
    assert shown.kinds == ["failed", "to be restarted"]


def test_the_best_trial_stands_out(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    add(study, COMPLETE, [0.3])
    add(study, COMPLETE, [0.4])
    add(study, PRUNED)
    shown = legible(study)
    assert [shown.kind(number) for number in range(3)] == ["complete", "best", "pruned"]
    assert shown.state(1) == "complete"


def test_one_objective_of_several_keeps_its_direction(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", "ndcg@100", "train_s")
    add(study, COMPLETE, [0.3, 7.0])
    shown = legible(study, "train_s")
    assert shown.study.direction == optuna.study.StudyDirection.MINIMIZE
    assert shown.values == [shown.study.trials[0].value] == [7.0]


def test_a_pruned_trial_is_as_good_as_its_best_epoch(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    add(study, PRUNED, train_s=5.0, metrics={"ndcg@100": 0.3})
    add(study, FAIL)
    shown = legible(study)
    assert shown.speeds("pruned") == [(5.0, 0.3, 0)]
    assert shown.speeds("failed") == []


def test_workers_stand_in_the_order_in_which_they_began(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    for name, began in (("b:1", 2.0), ("a:1", 3.0), ("c:1", 1.0), ("b:1", 4.0)):
        add(study, COMPLETE, [0.3], worker=name, began=BEGAN + began)
    assert legible(study).workers == {"c:1": 0, "b:1": 1, "a:1": 2}
