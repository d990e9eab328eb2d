"""The launching process tells a dead worker and a lost device from an error that remains."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import TrialState
from plans import toy_config, toy_plan
from studies import COMPLETE, FAIL, PRUNED

from recsweep.sweeps.execution.worker import Worker, failures_folder
from recsweep.sweeps.execution.worker_errors import (
    DeviceLost,
    Killed,
    LossCounter,
    Unfit,
    WorkerErrors,
    first_error,
)

LOST = DeviceLost("the device was lost (INTERNAL: …)")


def study(states: list[TrialState], slots: int | None = None) -> Any:
    """A study whose trials have these states, and may be restarted once."""

    def trials() -> list[Any]:
        return [SimpleNamespace(state=state) for state in states]

    plan = SimpleNamespace(max_retries=1)
    return SimpleNamespace(trials=trials, plan=plan, agreed_slots=slots)


def test_a_lost_device_is_retried_as_a_killed_process_is() -> None:
    assert first_error([{"error": None, "n_trials": 3}, {"error": None}]) is None
    other = {"error": "no space left"}
    lost = {"error": "the device was lost (…)", "is_device_lost": True}
    assert not isinstance(first_error([{"error": None}, other, lost]), Killed)
    assert isinstance(first_error([lost, other]), DeviceLost)
    assert first_error([lost]) == "the device was lost (…)"
    unfit = {"error": "this host has other data", "is_unfit": True}
    assert isinstance(first_error([unfit]), Unfit)
    assert not isinstance(first_error([other]), Unfit)


def test_devices_that_are_lost_again_and_again_end_the_sweep(refused: Any) -> None:
    losses = LossCounter(study([]))
    losses.count(LOST)
    losses.count(LOST)
    with refused("the device was lost 3 times in a row (INT"):
        losses.count(LOST)


def test_a_trial_that_runs_alone_after_two_losses_may_then_be_retried(refused: Any) -> None:
    losses = LossCounter(study([], slots=3))
    for _ in range(2 + 2):
        losses.count(LOST)
    with refused("the device was lost 5 times in a row (INT"):
        losses.count(LOST)


@pytest.mark.parametrize(
    ("error", "state"), [(LOST, COMPLETE), (LOST, PRUNED), (None, FAIL), (Killed("dead"), FAIL)]
)
def test_a_scored_trial_or_another_error_begins_a_new_count(
    refused: Any, error: str | None, state: TrialState
) -> None:
    states: list[TrialState] = []
    losses = LossCounter(study(states))
    for _ in range(2):
        losses.count(LOST)
    states.append(state)
    losses.count(error)
    for _ in range(2):
        losses.count(LOST)
    with refused("the device was lost 3 times in a row"):
        losses.count(LOST)


def test_an_error_that_ends_some_workers_is_printed_once_and_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsweep.sweeps.execution.watchdog.attend", lambda _: None)
    plan = toy_plan(tmp_path / "toy", toy_config(tmp_path), n_workers=4)
    (tmp_path / "toy").mkdir()
    errors = WorkerErrors(plan)
    errors.look()
    elsewhere = {**plan.plain(), "parent_process": {**plan.parent_process, "place": "another"}}
    failed = Worker(elsewhere)(None)  # on a host without the journal
    assert list(failures_folder(plan.plain()).iterdir())
    for _ in range(2):
        errors.look()
    line = f"warning: a worker ended, the others continue: {failed['error']}\n"
    assert capsys.readouterr().err == line
    worked = {"error": None, "n_trials": 2}
    errors.note([failed, worked, failed, worked])
    assert capsys.readouterr().err == "workers   2 of 4 worked\n"
    assert not failures_folder(plan.plain()).exists()
    errors.note([worked, worked])
    errors.note([{"error": "of all"}, {"error": "of all"}])
    assert capsys.readouterr().err == ""
    errors.note([{"error": "another one"}, worked])
    assert "continue: another one\nworkers   1 of 2 worked" in capsys.readouterr().err
