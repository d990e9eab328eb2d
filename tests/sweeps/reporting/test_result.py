"""What is said when a sweep ends."""

from pathlib import Path
from types import SimpleNamespace

import optuna
import pandas as pd
import pytest
from studies import COMPLETE, FAIL, PRUNED, SPACE, add, final_scores, make_study

from recsweep.evaluation import Evaluation
from recsweep.sweeps.reporting.result import StudyOutcome
from recsweep.sweeps.study.final_scores import FinalScores, Looks
from recsweep.sweeps.study.shared_study import PARENT_RUN
from recsweep.sweeps.study.status import StudyStatus


@pytest.fixture
def status(tmp_path: Path) -> StudyStatus:
    study = make_study(tmp_path / "vae")
    add(study, COMPLETE, [0.5])
    return StudyStatus.of(study, 1)


def test_every_seeds_score_is_said_with_their_spread(status: StudyStatus) -> None:
    lines = StudyOutcome(status, final_scores(0.25, 0.75), Looks(2, (0,))).lines()
    assert "\nwinner: trial 0, trained again with seeds 0, 1\n" in lines
    assert lines[-2:] == [
        "test ndcg@100 by seed: 0.2500 0.7500; standard deviation 0.3536",  # .5 / √2
        "test was scored 2 times for this study (trial 0)",
    ]


def test_one_seed_has_no_spread(status: StudyStatus) -> None:
    lines = StudyOutcome(status, final_scores(0.5), Looks(1, (0,))).lines()
    assert not any("deviation" in line for line in lines)
    assert lines[-1] == "test was scored once for this study (trial 0)"


def test_a_single_test_user_has_no_standard_error(status: StudyStatus) -> None:
    evaluation = Evaluation(pd.DataFrame({"ndcg@100": [0.25]}, index=["u"]), {}, 0)
    found = FinalScores(evaluation, evaluation, final_scores(0.25).replicates, Looks(1, (0,)))
    assert StudyOutcome(status, found, Looks(1, (0,))).cells()[-1] == "0.2500"
    assert StudyOutcome(status, final_scores(0.5), Looks(1, (0,))).cells()[-1] == "0.5000 ± 0.2500"


def test_a_locked_test_says_what_would_score_it(status: StudyStatus) -> None:
    outcome = StudyOutcome(status, None, Looks(5, (3,)))
    assert "sweep.score_another=true scores it too" in outcome.lines()[-1]
    assert outcome.cells()[-1] == ""


def test_before_the_end_nothing_is_said_of_test(tmp_path: Path) -> None:
    study = make_study(tmp_path / "two")
    add(study, COMPLETE, [0.5])
    assert len(StudyOutcome(StudyStatus.of(study, 2), None, Looks(0, ())).lines()) == 2


def report(study: optuna.Study, n_trials: int, lost: str | None, run_id: str | None) -> list[str]:
    """What is printed of a study below the table of its best trials."""
    shared = SimpleNamespace(
        plan=SimpleNamespace(folder="here/vae"), study=study, trials=study.get_trials, space=SPACE,
        is_finished=lambda: n_trials <= len(study.trials), last_failure=lambda: "the last (why)",
    )  # fmt: skip
    tracker = SimpleNamespace(
        lost=lost, run_id=run_id, ui_command="python -m recsweep task=ui",
        ui_command_of=lambda run: f"python -m recsweep task=ui task.run={run}",
    )  # fmt: skip
    outcome = StudyOutcome(StudyStatus.of(study, n_trials), None, Looks(0, ()))
    told = outcome.report(shared, "python -m recsweep -m again", tracker)
    assert told[: len(outcome.lines())] == outcome.lines()
    return told[len(outcome.lines()) + 1 :]


def test_a_finished_sweep_says_what_matters_what_is_best_and_where_to_look(tmp_path: Path) -> None:
    study = make_study(tmp_path / "vae")
    for value, beta in ((0.5, 0.2), (0.25, 0.4), (0.375, 0.9)):
        add(study, COMPLETE, [value], beta=beta)  # the others stay the same
    matters, best, *rest = report(study, 3, None, "7f")
    assert matters.startswith("matters   beta 1.00, ")
    assert matters.count(" 0.00") == 2
    assert matters.endswith(" (share of the variance)")
    assert best.startswith("best      python -m recsweep ")
    assert rest == [
        f"results   {Path('here/vae/results/optimization_results.yaml')}",
        "open UI   python -m recsweep task=ui",
    ]


def test_a_sweep_that_was_finished_before_says_where_to_look(tmp_path: Path) -> None:
    study = make_study(tmp_path / "vae")
    add(study, COMPLETE, [0.5])
    assert not any(line.startswith("open UI") for line in report(study, 1, None, None))
    study.set_user_attr(PARENT_RUN, "7f")
    assert report(study, 1, None, None)[-1] == "open UI   python -m recsweep task=ui task.run=7f"


def test_an_unfinished_sweep_says_how_to_resume_retry_and_upload(tmp_path: Path) -> None:
    study = make_study(tmp_path / "vae")
    add(study, COMPLETE, [0.5])
    add(study, FAIL, reason="of its data")
    best, _, *rest = report(study, 3, "unreachable", "7f")
    assert best.startswith("best"), "one trial cannot say what matters"
    assert rest == [
        "resume    python -m recsweep -m again",
        "failed    1 trial, the last (why); sweep.retry_failed=true retries them",
        "tracking  the store was lost; "
        "python -m recsweep task=upload task.run=vae uploads the rest",
    ]


def test_a_default_that_was_pruned_is_marked_beside_its_best_epochs_value(tmp_path: Path) -> None:
    study = make_study(tmp_path / "pruned")
    add(study, PRUNED, [0.25], metrics={"ndcg@100": 0.375}, is_default=True)
    add(study, COMPLETE, [0.5])
    cells = StudyOutcome(StudyStatus.of(study, 2), None, Looks(0, ())).cells()
    assert cells[3:5] == ["0.5000", "0.3750 pruned"]
