"""Who runs which trial: takes over a dead worker's, retries a failed one, or begins a new one.

One trial is one atomic write, so that a process may die at any moment: a trial exists with all its
parameters or not at all, and a trial whose process died is restarted by the next worker that asks,
with the same number and the same parameters.
"""

import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from recsweep.sweeps.sampling.samplers import propose
from recsweep.sweeps.storage.attempts import RETRIES
from recsweep.sweeps.storage.errors import StorageError
from recsweep.sweeps.storage.locks import Lease
from recsweep.sweeps.study.shared_study import SharedStudy, directions

ALONE = "is_alone"
"""Attribute of a trial: whether its process runs no other trial beside it."""
MAX_SHARED_DEATHS = 2
"""After so many deaths beside other trials, which may have been to blame, a trial runs alone."""
DEVICE_ERROR = "device_error"
"""Attribute of a trial whose process lost its device: how."""
SETTLING_PAUSE_S, N_REGAINS = 1.0, 120
"""How long to wait before looking again for leases that an outage has taken, and how often a trial
tries to get its own back."""
QUICK_S = 1.0
"""A proposal that took less may be made while other processes wait."""
PATIENCE_S, N_TRIES = 5.0, 100
"""How long and how often a claim waits for the lock of a process that died while claiming."""


@dataclass(frozen=True)
class Claim:
    """The right to run one trial.

    Args:
        trial: Optuna's trial, for reports.
        frozen: The trial as it was claimed.
        lease: Held until the trial is finished or the process dies.
        began: When it was claimed, which distinguishes it from other claims of the trial.
        is_alone: Whether its process must run no other trial beside it, since processes that ran
            it beside others have died.
    """

    trial: Trial
    frozen: FrozenTrial
    lease: Lease
    began: float
    is_alone: bool = False


class TrialLostError(Exception):
    """Another process has begun the same trial or training, since this one had lost its lease."""


class _OutrunError(Exception):
    """Another process has added a trial meanwhile."""


def next_claim(study: SharedStudy) -> Claim | None:
    """The next trial to run; None if no trial is left or none may start.

    Trials whose process died come first, then failed ones to retry, then new ones. Parameters are
    proposed before the study is locked. If another process has added a trial meanwhile, they are
    proposed again: while the study is locked if that is quick, so that each of many processes that
    ask at once waits for its turn only once.

    Args:
        study: The study.

    Raises:
        StorageError: Another process does not release the lock of a new trial.
    """
    while True:
        attempts = study.attempts()
        trials = study.latest(attempts)
        if _may_not_begin(study, trials):
            return None
        unfinished = [trial.number for trial in trials if not trial.state.is_finished()]
        dead = study.locks.lease_candidates(unfinished)
        if dead and (is_settled := study.locks.is_settled()):
            if claim := study.alone(partial(_take_over_one, study, dead)):
                return _confirmed(claim)
            if study.unfinished_numbers() != unfinished:
                continue
        started = time.monotonic()
        template = _next_template(study, trials)
        is_quick = time.monotonic() - started < QUICK_S
        if template is None and dead and not is_settled:
            time.sleep(SETTLING_PAUSE_S)
            continue
        if template is None:
            return None
        with suppress(_OutrunError):
            add = partial(_add, study, template, len(attempts), is_quick)
            return _confirmed(study.alone(add))


def refuse_lost(study: SharedStudy, claim: Claim) -> bool:
    """Make sure that a trial is still this process's, inside `SharedStudy.at_once`.

    Args:
        study: The study.
        claim: The claim, whose session may have been lost and replaced.

    Returns:
        Whether the trial is unfinished: an outage may hide that it was finished before.

    Raises:
        TrialLostError: Another process has begun it.
        StorageError: The lease was lost.
    """
    return is_unfinished(
        claim.lease,
        lambda: refuse_begun(study, claim).is_finished(),
        f"trial {claim.frozen.number}",
    )


def is_unfinished(lease: Lease, is_finished: Callable[[], bool], name: str) -> bool:
    """Whether what a lease stands for is still to be finished, by the process that holds it.

    Args:
        lease: The lease, whose session may have been lost and replaced.
        is_finished: Whether this process has finished it before; raises if another has begun it.
        name: What the lease stands for.

    Raises:
        StorageError: The lease was lost.
    """
    for _ in range(N_REGAINS):
        is_held = lease.is_held()
        was_finished = is_finished()
        if is_held or was_finished:
            return not was_finished
        if not lease.n_gaps:
            break
        time.sleep(SETTLING_PAUSE_S)  # the server has not yet ended the former session
    raise StorageError(
        f"lost the lease of {name}, so another worker may have taken it over; make sure that "
        "sweep.storage or sweep.folder stays reachable"
    )


def refuse_begun(study: SharedStudy, claim: Claim) -> TrialState:
    """The trial's state; raises TrialLostError if another process has begun it."""
    state, began = study.state_and_start(claim.frozen)
    if began != claim.began:
        raise TrialLostError("another worker restarted the trial after an outage")
    return state


def _may_not_begin(study: SharedStudy, trials: list[FrozenTrial]) -> bool:
    plan = study.plan
    is_late = plan.deadline is not None and time.time() > plan.deadline
    return is_late or plan.is_stopped or len(study.failed_trials(trials)) > plan.max_failures


def _take_over_one(study: SharedStudy, numbers: list[int]) -> Claim | None:
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
        is_ours = attrs.get("began") in _unconfirmed  # written, but an outage hid that
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
        who = _who(study)
        study.set_attrs(frozen, {**noted, **who})
        at_the_end.pop_all()
        trial = _ClaimedTrial(study.study, frozen)
        return Claim(trial, frozen, lease, who["began"], n_shared >= MAX_SHARED_DEATHS)


def _next_template(study: SharedStudy, trials: list[FrozenTrial]) -> FrozenTrial | None:
    """A failed trial to retry, or else a new one; None if neither is left."""
    if failed := study.to_retry(trials):
        return _again(failed[0])
    return _proposed(study, trials) if len(trials) < study.plan.n_trials else None


def _again(failed: FrozenTrial) -> FrozenTrial:
    """Another attempt at a failed trial, with the same parameters."""
    kept = {name: failed.user_attrs[name] for name in ("settings", "is_default")}
    template = optuna.trial.create_trial(
        state=TrialState.RUNNING, params=failed.params, distributions=failed.distributions,
        user_attrs={**kept, RETRIES: failed.number}, system_attrs=failed.system_attrs,
    )  # fmt: skip
    template.number = failed.number
    return template


def _proposed(study: SharedStudy, trials: list[FrozenTrial]) -> FrozenTrial | None:
    """A new trial proposed by the sampler; None when the space is exhausted."""
    plan, number = study.plan, len(trials)
    with _proposing:
        template = propose(
            study.sampler, study.space, trials, directions(plan.objectives), plan.seed,
            plan.try_defaults,
        )  # fmt: skip
    if template is None:
        study.study.set_user_attr("exhausted", True)
        return None
    settings, own = study.space.settings(template.params), study.space.default_settings()
    if plan.try_defaults and number == 0 and template.params == study.space.default_params():
        settings = own or settings  # the sampler sees a value outside clipped to its interval
    template.user_attrs.update(settings=settings, is_default=settings == own)
    return template


def _add(study: SharedStudy, template: FrozenTrial, n_attempts: int, is_quick: bool) -> Claim:
    """Take the lease of a new trial and add it to the study.

    Raises:
        _OutrunError: It was proposed for a study with fewer trials, and cannot be quickly again.
    """
    if study.n_attempts != n_attempts:
        if not is_quick:
            raise _OutrunError
        template = _proposed_again(study)
    template.user_attrs.update(_who(study))
    lease = _new_lease(study, template.number)
    with ExitStack() as at_the_end:
        at_the_end.enter_context(lease)
        frozen = study.add(template)
        at_the_end.pop_all()
        began = template.user_attrs["began"]
        return Claim(_ClaimedTrial(study.study, frozen), frozen, lease, began)


def _proposed_again(study: SharedStudy) -> FrozenTrial:
    """What is next now that others have added trials; raises _OutrunError if nothing is."""
    trials = study.trials()
    template = None if _may_not_begin(study, trials) else _next_template(study, trials)
    if template is None:
        raise _OutrunError
    return template


class _ClaimedTrial(Trial):
    """A trial whose parameters are known; Optuna's own one is read again first.

    Args:
        study: Optuna's study.
        frozen: The trial as it was claimed.
    """

    def __init__(self, study: optuna.Study, frozen: FrozenTrial) -> None:
        self.study, self.storage = study, study._storage
        self._trial_id, self._cached_frozen_trial = frozen._trial_id, frozen
        self.relative_search_space = self._relative_params = None
        self._fixed_params = {}


def _new_lease(study: SharedStudy, number: int) -> Lease:
    """The lease of a trial that does not exist yet; a process that just died may still hold it.

    Raises:
        StorageError: Another process does not release it.
    """
    for _ in range(N_TRIES):
        if (lease := study.locks.lease(number)) is not None:
            return lease
        time.sleep(PATIENCE_S / N_TRIES)
    raise StorageError(
        f"the lock of new trial {number} of {study.plan.study} must be free, but another "
        "process holds it; end that process"
    )


def _who(study: SharedStudy) -> dict[str, Any]:
    began = time.time()
    _unconfirmed.add(began)
    return {
        "worker": this_process(),
        "parent": study.plan.parent_process,
        "began": began,
        ALONE: study.n_slots == 1,
    }


def this_process() -> str:
    """Host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _confirmed(claim: Claim) -> Claim:
    """A claim that is known to be stored."""
    _unconfirmed.discard(claim.began)
    return claim


_proposing = Lock()
"""Proposals silence warnings, which threads cannot do at the same time."""
_unconfirmed: set[float] = set()
"""When this process began the claims of which an outage hides whether they were stored. If it finds
one in the study, no process has died."""
