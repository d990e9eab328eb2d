"""A dead worker's trial is taken over: restarted with the same number and the same parameters."""

from contextlib import ExitStack

from optuna.trial import TrialState

from recsweep.sweeps.study.claim import ALONE, Claim, ClaimedTrial, new_marks, was_begun_here
from recsweep.sweeps.study.shared_study import SharedStudy

DEVICE_ERROR = "device_error"
"""Attribute of a trial whose process lost its device: how."""
MAX_SHARED_DEATHS = 2
"""After so many deaths beside other trials, which may have been to blame, a trial runs alone."""


def take_over_one(study: SharedStudy, numbers: list[int]) -> Claim | None:
    """The first of some trials whose process died; None if all are alive or died too often."""
    claims = (_take_over(study, number) for number in numbers)
    return next(filter(None, claims), None)


def _take_over(study: SharedStudy, number: int) -> Claim | None:
    """A trial to restart, as its process died; None if it is alive or died too often."""
    lease = study.locks.lease(number)
    if lease is None:
        return None
    with ExitStack() as at_the_end:
        at_the_end.enter_context(lease)
        frozen = study.trials()[number]
        if frozen.state.is_finished():  # just before its process released the lease
            return None
        attrs = frozen.user_attrs
        is_ours = was_begun_here(attrs)  # written, but an outage hid that
        has_died = not attrs.get("is_interrupted", False) and not is_ours
        was_alone = attrs.get(ALONE, True)
        n_deaths = attrs.get("n_deaths", 0) + (has_died and was_alone)
        n_shared = attrs.get("n_shared_deaths", 0) + (has_died and not was_alone)
        if n_deaths > study.plan.max_retries:
            died = " or ".join(filter(None, ["its process died", attrs.get(DEVICE_ERROR)]))
            reason = f"{died} {n_deaths} times; see sweep.max_retries"
            study.finish(number, TrialState.FAIL, None, {"reason": reason})
            return None
        noted = {"n_deaths": n_deaths, "n_shared_deaths": n_shared, "is_interrupted": False}
        who = new_marks(study)
        study.set_attrs(frozen, {**noted, **who})
        at_the_end.pop_all()
        trial = ClaimedTrial(study.study, frozen)
        return Claim(trial, frozen, lease, who["began"], n_shared >= MAX_SHARED_DEATHS)
