"""Attempts at a trial: a failed trial may be retried under the same number.

Optuna never reopens a finished trial, so for Optuna each attempt is a new trial. Everything else
sees only the latest attempt, at the position and with the number of the first.
"""

import copy
from collections.abc import Sequence

from optuna.trial import FrozenTrial

RETRIES = "retries"
"""Attribute of a second or later attempt: the number of the retried trial."""


def latest_attempts(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The latest attempt at each trial, by number.

    Args:
        trials: All trials of a study, in Optuna's order of creation.
    """
    latest: list[FrozenTrial] = []
    for trial in trials:
        number = trial.user_attrs.get(RETRIES, len(latest))
        latest[number : number + 1] = [renumber(trial, number)]
    return latest


def renumber(trial: FrozenTrial, number: int) -> FrozenTrial:
    """A trial under the number that everything but Optuna knows it by."""
    if trial.number == number:
        return trial
    renamed = copy.copy(trial)
    renamed.number = number
    return renamed
