"""Who runs which trial: takes over a dead worker's, retries a failed one, or begins a new one.

One trial is one atomic write, so that a process may die at any moment: a trial exists with all its
parameters or not at all, and a trial whose process died is restarted by the next worker that asks,
with the same number and the same parameters.
"""

import os
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass
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
PATIENCE_S, N_TRIES = 5.0, 100
"""How long and how often a claim waits for the lock of a process that died while claiming."""


@dataclass(frozen=True)
class Claim:
    """The right to run one trial.

    Args:
        trial: Optuna's trial, for reports.
        frozen: The trial as it was claimed.
        lease: Held until the trial is finished or the process dies.
        is_alone: Whether its process must run no other trial beside it, since processes that ran
            it beside others have died.
    """

    trial: Trial
    frozen: FrozenTrial
    lease: Lease
    is_alone: bool = False


def next_claim(study: SharedStudy) -> Claim | None:
    """The next trial to run; None if no trial is left or none may start.

    Trials whose process died come first, then failed ones to retry, then new ones.

    Args:
        study: The study.

    Raises:
        StorageError: Another process does not release the lock of a new trial.
    """
    with study.locks.mutex():
        if _may_not_begin(study):
            return None
        for number in study.unfinished():
            if claim := _take_over(study, number):
                return claim
        if failed := study.to_retry():
            return _retry(study, failed[0])
        trials = study.trials()
        return None if len(trials) >= study.plan.n_trials else _begin(study, trials)


def _may_not_begin(study: SharedStudy) -> bool:
    plan = study.plan
    is_late = plan.deadline is not None and time.time() > plan.deadline
    return is_late or plan.is_stopped or len(study.failed()) > plan.max_failures


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
        has_died = not attrs.get("is_interrupted", False)
        was_alone = attrs.get(ALONE, True)
        n_deaths = attrs.get("n_deaths", 0) + (has_died and was_alone)
        n_shared = attrs.get("n_shared_deaths", 0) + (has_died and not was_alone)
        if n_deaths > study.plan.max_retries:
            died = " or ".join(filter(None, ["its process died", attrs.get(DEVICE_ERROR)]))
            reason = f"{died} {n_deaths} times; see sweep.max_retries"
            study.finish(number, TrialState.FAIL, None, {"reason": reason})
            return None
        noted = {"n_deaths": n_deaths, "n_shared_deaths": n_shared, "is_interrupted": False}
        study.set_attrs(frozen, {**noted, **_who(study)})
        at_the_end.pop_all()
        trial = Trial(study.study, frozen._trial_id)
        return Claim(trial, frozen, lease, n_shared >= MAX_SHARED_DEATHS)


def _retry(study: SharedStudy, failed: FrozenTrial) -> Claim:
    """Another attempt at a failed trial, with the same parameters."""
    kept = {name: failed.user_attrs[name] for name in ("settings", "is_default")}
    template = optuna.trial.create_trial(
        state=TrialState.RUNNING, params=failed.params, distributions=failed.distributions,
        user_attrs={**kept, RETRIES: failed.number}, system_attrs=failed.system_attrs,
    )  # fmt: skip
    return _add(study, failed.number, template)


def _begin(study: SharedStudy, trials: list[FrozenTrial]) -> Claim | None:
    """A new trial proposed by the sampler; None when the space is exhausted."""
    plan, number = study.plan, len(trials)
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
    return _add(study, number, template)


def _add(study: SharedStudy, number: int, template: FrozenTrial) -> Claim:
    """Take the lease of a new trial and add it to the study."""
    template.user_attrs.update(_who(study))
    lease = _new_lease(study, number)
    with ExitStack() as at_the_end:
        at_the_end.enter_context(lease)
        study.study.add_trial(template)
        frozen = study.trials()[number]
        at_the_end.pop_all()
        return Claim(Trial(study.study, frozen._trial_id), frozen, lease)


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
    return {
        "worker": f"{socket.gethostname()}:{os.getpid()}",
        "parent": study.plan.parent_process,
        "began": time.time(),
        ALONE: study.n_slots == 1,
    }
