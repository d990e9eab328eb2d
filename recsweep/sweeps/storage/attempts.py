"""Attempts at a trial: one that failed may be run again, under the same number.

Optuna never opens a finished trial again, so another attempt is another trial to it. Everything
else sees the latest attempt only, in the place and with the number of the first.
"""

import copy
from collections.abc import Sequence

from optuna.trial import FrozenTrial

RETRIES = "retries"
"""Attribute of a second or later attempt: the trial's number."""


def latest_attempts(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that count, each at the place of its number.

    Args:
        trials: All of a study, in the order in which Optuna made them.
    """
    latest: list[FrozenTrial] = []
    for trial in trials:
        number = trial.user_attrs.get(RETRIES, len(latest))
        latest[number : number + 1] = [_numbered(trial, number)]
    return latest


def _numbered(trial: FrozenTrial, number: int) -> FrozenTrial:
    if trial.number == number:
        return trial
    renamed = copy.copy(trial)
    renamed.number = number
    return renamed
