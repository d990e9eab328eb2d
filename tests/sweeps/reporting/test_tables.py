"""The table of the best trials."""

from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from studies import COMPLETE, FAIL, PRUNED, RUNNING, add, make_study

from recsweep.sweeps.reporting.result_files import trial_records, write_optimization_results
from recsweep.sweeps.reporting.tables import best_rows, best_table
from recsweep.sweeps.study.status import StudyStatus


def reached(study: optuna.Study) -> StudyStatus:
    return StudyStatus.of(study, 5, lambda _: False)


def test_the_table_has_the_best_first_and_marks_the_default(study: optuna.Study) -> None:
    assert best_table(reached(study)).splitlines() == [
        "rank  trial           ndcg@100  epoch   time    beta  dropout_rate  hidden_dims",
        "─" * 79,
        "   1      2             0.4123     31  2 min  0.3146           0.5        [600]",
        "   2      0  default    0.4000     12   34 s     0.2           0.5        [600]",
        "          1   pruned    0.3750      3   10 s     0.7           0.5        [600]",
        "4 of 5 trials done: 2 complete, 1 pruned, 1 failed",
    ]


def test_a_default_that_is_not_among_the_best_is_shown_below_them(study: optuna.Study) -> None:
    lines = best_table(reached(study), n=1).splitlines()
    assert [line.split()[:3] for line in lines[2:4]] == [
        ["1", "2", "0.4123"], ["2", "0", "default"]
    ]  # fmt: skip
    assert lines[4] == "the best 2 of 3 trials; all are in trials.csv"


def test_a_pruned_trial_above_the_winner_is_no_winner_and_that_is_said(
    tmp_path: Path,
) -> None:
    study = make_study(tmp_path / "vae")
    add(study, COMPLETE, [0.25], is_default=True)
    add(study, COMPLETE, [0.375])
    for value in (0.5, 0.4375):
        add(study, PRUNED, [0.125], metrics={"ndcg@100": value}, best_epoch=2, n_epochs=3)
    lines = best_table(reached(study)).splitlines()
    assert [line.split()[:4] for line in lines[2:6]] == [
        ["2", "pruned", "0.5000", "2"], ["3", "pruned", "0.4375", "2"],
        ["1", "1", "0.3750", "0.2"], ["2", "0", "default", "0.2500"],
    ]  # fmt: skip
    assert lines[6:] == [
        "the winner is trial 1: pruned trials were stopped early and have no rank",
        "4 of 5 trials done: 2 complete, 2 pruned, 0 failed",
    ]
    head, rows = best_rows(reached(study), n=2)
    assert [row[head.index("trial")] for row in rows] == ["2", "3", "1", "0"], "and the winner"
    file = tmp_path / "results.yaml"
    write_optimization_results(file, study, reached(study), "the command")
    assert yaml.safe_load(file.read_text("utf-8"))["best_trial"] == 1


def test_pruned_trials_are_shown_before_one_is_complete(tmp_path: Path) -> None:
    study = make_study(tmp_path / "vae")
    add(study, PRUNED, [0.125], metrics={"ndcg@100": 0.5})
    assert best_table(reached(study)).splitlines()[2].split()[:3] == ["0", "pruned", "0.5000"]


def test_a_default_that_was_pruned_has_no_rank(tmp_path: Path) -> None:
    study = make_study(tmp_path / "vae")
    add(study, COMPLETE, [0.4])
    add(study, PRUNED, [0.3], is_default=True)
    assert best_table(reached(study)).splitlines()[3].split()[:4] == [
        "1", "default,", "pruned", "0.3000"
    ]  # fmt: skip


def test_of_several_objectives_the_table_is_the_front(tmp_path: Path) -> None:
    study = make_study(tmp_path / "vae", "ndcg@100", "train_s")
    for values in ([0.3, 1.0], [0.5, 50.0], [0.1, 60.0]):
        add(study, COMPLETE, values)
    title, note, head, _, *rows = best_table(reached(study)).splitlines()
    assert title == "Pareto front of ndcg@100 and train_s: 2 of 3 complete trials"
    assert note == "several objectives have no single winner, so test is not scored"
    assert head.split()[:3] == ["trial", "ndcg@100", "train_s"]
    assert [row.split()[:3] for row in rows[:2]] == [
        ["1", "0.5000", "50.0"],
        ["0", "0.3000", "1.0"],
    ]


@pytest.mark.parametrize(
    ("state", "values", "mark"),
    [
        (COMPLETE, [0.2, 2.0], "default, not on the front"),
        (COMPLETE, [0.2, 0.5], "default"),
        (FAIL, None, "default, failed"),
    ],
)
def test_a_default_beside_the_front_is_marked(
    tmp_path: Path, state: Any, values: list[float] | None, mark: str
) -> None:
    study = make_study(tmp_path / "vae", "ndcg@100", "train_s")
    add(study, state, values, is_default=True)
    add(study, COMPLETE, [0.3, 1.0])
    head, rows = best_rows(reached(study))
    assert {row[head.index("trial")]: row[head.index("")] for row in rows} == {"0": mark, "1": ""}


def test_before_anything_is_complete_there_are_only_counts(tmp_path: Path) -> None:
    study = make_study(tmp_path / "vae")
    add(study, RUNNING)
    assert best_table(reached(study)) == (
        "0 of 5 trials done: 0 complete, 0 pruned, 0 failed, 1 lost"
    )


def test_trials_of_several_replicates_show_their_spread_and_complete_ones_are_first(
    tmp_path: Path,
) -> None:
    """Of 0.3 and 0.5: mean 0.4, standard deviation √0.02 = 0.1414."""
    study = make_study(tmp_path / "vae")
    add(study, COMPLETE, [0.4], is_default=True, replicates=[0.3, 0.5])
    for replicates, value in (([0.6], 0.6), ([], 0.5)):
        noted = {"replicates": replicates} if replicates else {}
        metrics = {"ndcg@100": value}
        add(study, PRUNED, [0.125], metrics=metrics, best_epoch=2, n_epochs=3, **noted)
    lines = best_table(reached(study)).splitlines()
    assert [line.split() for line in lines[2:5]] == [
        ["1", "0", "default", "0.4000", "±", "0.1414", "0.2", "0.5", "[600]"],
        ["1", "pruned", "after", "1", "0.6000", "2", "0.2", "0.5", "[600]"],
        ["2", "pruned", "0.5000", "2", "0.2", "0.5", "[600]"],
    ]
    assert lines[5:] == [
        "ndcg@100 is the mean ± standard deviation over a trial's folds or seeds",
        "3 of 5 trials done: 1 complete, 2 pruned, 0 failed",
    ]
    file = tmp_path / "results.yaml"
    write_optimization_results(file, study, reached(study), "the command")
    found = yaml.safe_load(file.read_text("utf-8"))
    assert found["best_replicates"] == [0.3, 0.5]
    assert found["best_standard_deviation"] == pytest.approx(0.02**0.5, rel=1e-12)
    _, rows = trial_records(reached(study))
    assert [row.get("ndcg@100_replicates") for row in rows] == [[0.3, 0.5], [0.6], None]
    assert rows[0]["ndcg@100_standard_deviation"] == pytest.approx(0.02**0.5, rel=1e-12)
    assert rows[1]["ndcg@100_at_last_epoch"] == 0.6, "the mean when it was pruned"
