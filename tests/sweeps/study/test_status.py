"""What a study has reached, read from a real one."""

import time
from pathlib import Path

import optuna
import pytest
from studies import COMPLETE, FAIL, PRUNED, RUNNING, add, make_study

from recsweep.sweeps.study.status import StudyStatus, format_duration, format_value


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return make_study(tmp_path / "vae")


def reached(study: optuna.Study, n_trials: int = 4) -> StudyStatus:
    """Nobody works any more."""
    return StudyStatus.of(study, n_trials, lambda _: False)


# --- one study ------------------------------------------------------------------------------------


def test_an_empty_study_has_no_best_trial_and_no_time_left(study: optuna.Study) -> None:
    status = reached(study)
    assert (status.study, status.objectives) == ("vae", ("ndcg@100",))
    assert (status.rows, status.front, status.best) == ((), (), None)
    assert (status.seconds_left, status.last_change, status.default) == (None, None, None)


def test_every_trial_is_counted_once_by_what_became_of_it(study: optuna.Study) -> None:
    add(study, COMPLETE, [0.4])
    add(study, PRUNED, [0.3])
    add(study, FAIL)
    add(study, RUNNING)
    add(study, RUNNING)
    add(study, RUNNING, is_interrupted=True)
    status = StudyStatus.of(study, 6, lambda number: number == 3)
    assert [row.state for row in status.rows] == [
        "complete", "pruned", "failed", "running", "lost", "interrupted"
    ]  # fmt: skip
    assert status.n_finished == 3
    assert [status.count(state) for state in ("complete", "running", "lost")] == [1, 1, 1]


def test_without_anybody_to_ask_what_is_running_is_alive(study: optuna.Study) -> None:
    add(study, RUNNING)
    assert StudyStatus.of(study, 4).count("running") == 1


def test_a_trial_that_ends_while_it_is_looked_at_is_not_lost(study: optuna.Study) -> None:
    add(study, RUNNING)

    def is_alive(number: int) -> bool:
        study.tell(number, 0.5)  # its worker ends it and gives the lease back
        return False

    assert [row.state for row in StudyStatus.of(study, 4, is_alive).rows] == ["complete"]


def test_a_row_says_what_the_trial_noted(study: optuna.Study) -> None:
    metrics = {"ndcg@100": 0.4, "recall@20": 0.3}
    add(study, COMPLETE, [0.4], beta=0.25, best_epoch=3, n_epochs=5, train_s=1.5, wall_s=2.5,
        metrics=metrics, worker="host:1")  # fmt: skip
    row = reached(study).rows[0]
    assert (row.number, row.values, row.settings["model.beta"]) == (0, (0.4,), 0.25)
    assert (row.best_epoch, row.n_epochs, row.train_s, row.wall_s) == (3, 5, 1.5, 2.5)
    assert (row.metrics, row.worker, row.reason) == (metrics, "host:1", None)


def test_a_failed_trial_keeps_its_reason_and_has_no_value(study: optuna.Study) -> None:
    add(study, FAIL, reason="the loss is no longer finite")
    row = reached(study).rows[0]
    assert (row.reason, row.values) == ("the loss is no longer finite", ())


def test_a_pruned_trial_has_its_best_epochs_value_and_apart_from_it_its_last(
    study: optuna.Study,
) -> None:
    reported = {1: 0.3, 2: 0.45, 3: 0.4}
    add(study, PRUNED, [0.4], reported=reported, best_epoch=2, n_epochs=3,
        metrics={"ndcg@100": 0.45, "recall@20": 0.6})  # fmt: skip
    add(study, COMPLETE, [0.45], reported=reported, best_epoch=2, n_epochs=3,
        metrics={"ndcg@100": 0.45})  # fmt: skip
    add(study, PRUNED, [0.2])  # noted by nobody
    pruned, complete, bare = reached(study).rows
    assert (pruned.values, pruned.best_epoch, pruned.metrics["ndcg@100"]) == ((0.45,), 2, 0.45)
    assert (pruned.last_value, pruned.n_epochs) == (0.4, 3)
    assert (complete.values, complete.last_value) == ((0.45,), 0.4)
    assert (bare.values, bare.last_value) == ((0.2,), 0.2)


def test_what_an_attempt_noted_before_its_trial_failed_is_no_result(study: optuna.Study) -> None:
    add(study, FAIL, best_epoch=2, metrics={"ndcg@100": 0.45}, reported={1: 0.45})
    row = reached(study).rows[0]
    assert (row.values, row.best_epoch, dict(row.metrics)) == ((), None, {})


def test_pruned_trials_have_a_place_but_do_not_compete(study: optuna.Study) -> None:
    add(study, COMPLETE, [0.3])
    add(study, PRUNED, [0.1], metrics={"ndcg@100": 0.5})
    add(study, PRUNED, [0.4], metrics={"ndcg@100": 0.4})
    add(study, COMPLETE, [0.4])
    add(study, FAIL)
    status = reached(study)
    assert [row.number for row in status.leaderboard] == [1, 3, 2, 0]
    assert [row.number for row in status.ranking] == [3, 0]
    assert status.best == status.rows[3] == status.rows[study.best_trial.number]


def test_of_equal_trials_the_first_is_best_and_a_pruned_one_never(study: optuna.Study) -> None:
    for value in (0.3, 0.5, 0.5):
        add(study, COMPLETE, [value])
    add(study, PRUNED, [0.9])
    status = reached(study)
    assert status.best == status.rows[1]
    assert [row.number for row in status.ranking] == [1, 2, 0]


def test_seconds_are_best_when_they_are_few(tmp_path: Path) -> None:
    study = make_study(tmp_path / "vae", "train_s")
    for value in (3.0, 2.0, 4.0):
        add(study, COMPLETE, [value])
    status = reached(study)
    assert status.best == status.rows[1]
    assert status.best_so_far == {0: 3.0, 1: 2.0, 2: 2.0}


def test_the_best_so_far_rises_with_complete_trials_only(study: optuna.Study) -> None:
    for state, value in ((PRUNED, 0.9), (COMPLETE, 0.3), (COMPLETE, 0.2), (COMPLETE, 0.4)):
        add(study, state, [value])
    assert reached(study).best_so_far == {1: 0.3, 2: 0.3, 3: 0.4}


def test_of_several_objectives_the_front_is_what_nobody_beats_in_both(tmp_path: Path) -> None:
    study = make_study(tmp_path / "vae", "ndcg@100", "train_s")
    for values in ([0.3, 1.0], [0.5, 5.0], [0.4, 6.0], [0.4, 3.0]):  # the third: worse, and slower
        add(study, COMPLETE, values)
    status = reached(study)
    assert status.best is None
    assert [row.number for row in status.front] == [1, 3, 0]
    assert status.format_row(status.front[0]) == "ndcg@100 0.5000, train_s 5.0"


def test_the_default_configurations_trial_is_known(study: optuna.Study) -> None:
    add(study, COMPLETE, [0.3], is_default=False)
    add(study, COMPLETE, [0.3], is_default=True)
    assert reached(study).default == reached(study).rows[1]


def test_a_space_without_further_points_asks_for_no_more(study: optuna.Study) -> None:
    add(study, COMPLETE, [0.3])
    study.set_user_attr("exhausted", True)
    assert reached(study, n_trials=30).n_trials == 1


# --- time left ------------------------------------------------------------------------------------


def test_the_time_left_is_the_mean_time_of_all_that_are_left(study: optuna.Study) -> None:
    add(study, COMPLETE, [0.3], wall_s=30.0)
    add(study, PRUNED, [0.3], wall_s=10.0)
    assert reached(study, n_trials=7).seconds_left == 5 * 20.0


def test_workers_share_the_time_left_and_what_they_have_done_is_done(study: optuna.Study) -> None:
    for _ in range(4):
        add(study, COMPLETE, [0.3], wall_s=100.0)
    now = time.time()
    add(study, RUNNING, worker="host:1", began=now - 60)
    add(study, RUNNING, worker="host:2", began=now - 1000)  # longer than the mean: all but done
    left = StudyStatus.of(study, 8).seconds_left
    assert left == pytest.approx((4 * 100 - 60 - 100) / 2, abs=2)


def test_before_every_worker_has_ended_two_trials_nobody_knows_the_time_left(
    study: optuna.Study,
) -> None:
    for worker in ("host:1", "host:2"):
        add(study, RUNNING, worker=worker, began=time.time())
    for _ in range(3):
        add(study, COMPLETE, [0.3], wall_s=10.0)
        assert StudyStatus.of(study, 9).seconds_left is None
    add(study, COMPLETE, [0.3], wall_s=10.0)
    assert StudyStatus.of(study, 9).seconds_left is not None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (34.4, "34 s"), (89, "89 s"), (90, "2 min"), (720, "12 min"),
        (5399, "90 min"), (5400, "1.5 h"), (172799, "48.0 h"), (172800, "2.0 days"),
    ],
)  # fmt: skip
def test_durations_are_rounded_to_what_one_plans_with(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_metrics_have_four_decimals_and_times_one() -> None:
    assert format_value("ndcg@100", 0.41234) == "0.4123"
    assert format_value("train_s", 12.34) == "12.3"


def test_the_best_so_far_is_by_the_order_in_which_trials_ended(tmp_path: Path) -> None:
    study = make_study(tmp_path / "vae")
    first, second = add(study, RUNNING), add(study, RUNNING)
    study.tell(second.number, 0.3)
    study.tell(first.number, 0.2)
    assert reached(study).best_so_far == {0: 0.3, 1: 0.3}
