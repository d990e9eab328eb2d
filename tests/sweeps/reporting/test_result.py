"""What is said when a sweep ends."""

from pathlib import Path

import pandas as pd
import pytest
from studies import COMPLETE, PRUNED, add, make_study

from recsweep.evaluation import Evaluation
from recsweep.sweeps.reporting.result import StudyOutcome
from recsweep.sweeps.study.final_scores import FinalScores, Looks
from recsweep.sweeps.study.status import StudyStatus


def scores(*by_seed: float) -> FinalScores:
    """A winner with two users, trained with a seed per value."""
    frame = pd.DataFrame({"ndcg@100": [0.25, 0.75]}, index=["u", "v"])
    replicates = [{"seed": n, "test": {"ndcg@100": value}} for n, value in enumerate(by_seed)]
    evaluation = Evaluation(frame, {}, 0)
    return FinalScores(evaluation, evaluation, replicates, Looks(len(by_seed), (0,)))


@pytest.fixture
def status(tmp_path: Path) -> StudyStatus:
    study = make_study(tmp_path / "vae")
    add(study, COMPLETE, [0.5])
    return StudyStatus.of(study, 1)


def test_every_seeds_score_is_said_with_their_spread(status: StudyStatus) -> None:
    lines = StudyOutcome(status, scores(0.25, 0.75), Looks(2, (0,))).lines()
    assert "\nwinner: trial 0, trained again with seeds 0, 1\n" in lines
    assert lines[-2:] == [
        "test ndcg@100 by seed: 0.2500 0.7500; standard deviation 0.3536",  # .5 / √2
        "test was scored 2 times for this study (trial 0)",
    ]


def test_one_seed_has_no_spread(status: StudyStatus) -> None:
    lines = StudyOutcome(status, scores(0.5), Looks(1, (0,))).lines()
    assert not any("deviation" in line for line in lines)
    assert lines[-1] == "test was scored once for this study (trial 0)"


def test_a_locked_test_says_what_would_score_it(status: StudyStatus) -> None:
    outcome = StudyOutcome(status, None, Looks(5, (3,)))
    assert "sweep.score_another=true scores it too" in outcome.lines()[-1]
    assert outcome.cells()[-1] == ""


def test_before_the_end_nothing_is_said_of_test(tmp_path: Path) -> None:
    study = make_study(tmp_path / "two")
    add(study, COMPLETE, [0.5])
    assert len(StudyOutcome(StudyStatus.of(study, 2), None, Looks(0, ())).lines()) == 2


def test_a_default_that_was_pruned_is_marked_beside_its_best_epochs_value(tmp_path: Path) -> None:
    study = make_study(tmp_path / "pruned")
    add(study, PRUNED, [0.25], metrics={"ndcg@100": 0.375}, is_default=True)
    add(study, COMPLETE, [0.5])
    cells = StudyOutcome(StudyStatus.of(study, 2), None, Looks(0, ())).cells()
    assert cells[3:5] == ["0.5000", "0.3750 pruned"]
