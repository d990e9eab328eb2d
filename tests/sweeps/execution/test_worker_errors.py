"""The launching process tells a dead worker and a lost device from an error that remains."""

from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import TrialState
from studies import COMPLETE, FAIL, PRUNED

from recsweep.sweeps.execution.worker_errors import (
    DeviceLost,
    Killed,
    LossCounter,
    Unfit,
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
    with refused("a device must survive a trial, but 3 times in a row the device was lost (INT"):
        losses.count(LOST)


def test_a_trial_that_runs_alone_after_two_losses_may_then_be_retried(refused: Any) -> None:
    losses = LossCounter(study([], slots=3))
    for _ in range(2 + 2):
        losses.count(LOST)
    with refused("a device must survive a trial, but 5 times in a row the device was lost (INT"):
        losses.count(LOST)


@pytest.mark.parametrize(
    ("error", "state"), [(LOST, COMPLETE), (LOST, PRUNED), (None, FAIL), (Killed("dead"), FAIL)]
)
def test_a_scored_trial_or_another_error_begins_a_new_count(
    error: str | None, state: TrialState
) -> None:
    states: list[TrialState] = []
    losses = LossCounter(study(states))
    for _ in range(2):
        losses.count(LOST)
    states.append(state)
    losses.count(error)
    for _ in range(2):
        losses.count(LOST)
