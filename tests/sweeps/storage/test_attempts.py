"""A trial that failed and was run again is seen once, under its first number."""

from optuna.trial import FrozenTrial, TrialState, create_trial

from recsweep.sweeps.storage.attempts import RETRIES, latest_attempts

FAIL, RUNNING, COMPLETE = TrialState.FAIL, TrialState.RUNNING, TrialState.COMPLETE


def study(*trials: tuple[TrialState, int | None]) -> list[FrozenTrial]:
    """Trials as Optuna numbers them; each a state, and which one it runs again."""
    made = []
    for number, (state, retries) in enumerate(trials):
        value = 0.5 if state == COMPLETE else None
        attrs = {} if retries is None else {RETRIES: retries}
        made.append(create_trial(state=state, value=value, user_attrs=attrs))
        made[-1].number = number
    return made


def test_without_a_retry_trials_are_what_they_were() -> None:
    trials = study((COMPLETE, None), (FAIL, None), (RUNNING, None))
    latest = latest_attempts(trials)
    assert all(one is other for one, other in zip(latest, trials, strict=True))
    assert latest_attempts([]) == []


def test_the_latest_attempt_has_the_place_and_the_number_of_the_first() -> None:
    trials = study(
        (FAIL, None), (COMPLETE, None), (FAIL, None),  # 0 1 2
        (FAIL, 2), (COMPLETE, 0),
        (RUNNING, None), (COMPLETE, 2), (COMPLETE, None),  # 3, 2 once more, 4
    )  # fmt: skip
    latest = latest_attempts(trials)
    assert [trial.number for trial in latest] == [0, 1, 2, 3, 4]
    assert [trial.state for trial in latest] == [COMPLETE, COMPLETE, COMPLETE, RUNNING, COMPLETE]
    assert latest[2].user_attrs == {RETRIES: 2}
    assert [trial.number for trial in trials] == list(range(8)), "Optuna's own are as they were"
