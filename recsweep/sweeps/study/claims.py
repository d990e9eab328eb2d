"""Who runs which trial next: a dead worker's, a failed one, or a new one.

One trial is one atomic write, so that a process may die at any moment: a trial exists with all its
parameters or not at all, and a trial whose process died is restarted by the next worker that asks,
with the same number and the same parameters.
"""

import time
from contextlib import ExitStack, suppress
from functools import partial
from threading import Lock

import optuna
from optuna.trial import FrozenTrial, TrialState

from recsweep.sweeps.sampling.samplers import propose
from recsweep.sweeps.storage.attempts import RETRIES
from recsweep.sweeps.storage.errors import StorageError
from recsweep.sweeps.storage.locks import Lease
from recsweep.sweeps.study.claim import SETTLING_PAUSE_S, Claim, ClaimedTrial, confirm, new_marks
from recsweep.sweeps.study.shared_study import SharedStudy, directions
from recsweep.sweeps.study.takeover import take_over_one

QUICK_S = 1.0
"""A proposal that took less may be made while other processes wait."""
PATIENCE_S, N_TRIES = 5.0, 100
"""How long and how often a claim waits for the lock of a process that died while claiming."""


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
            if claim := study.alone(partial(take_over_one, study, dead)):
                return confirm(claim)
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
            return confirm(study.alone(add))


def _may_not_begin(study: SharedStudy, trials: list[FrozenTrial]) -> bool:
    plan = study.plan
    is_late = plan.deadline is not None and time.time() > plan.deadline
    return is_late or plan.is_stopped or len(study.failed_trials(trials)) > plan.max_failures


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
    template.user_attrs.update(new_marks(study))
    lease = _new_lease(study, template.number)
    with ExitStack() as at_the_end:
        at_the_end.enter_context(lease)
        frozen = study.add(template)
        at_the_end.pop_all()
        began = template.user_attrs["began"]
        return Claim(ClaimedTrial(study.study, frozen), frozen, lease, began)


def _proposed_again(study: SharedStudy) -> FrozenTrial:
    """What is next now that others have added trials; raises _OutrunError if nothing is."""
    trials = study.trials()
    template = None if _may_not_begin(study, trials) else _next_template(study, trials)
    if template is None:
        raise _OutrunError
    return template


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


_proposing = Lock()
"""Proposals silence warnings, which threads cannot do at the same time."""
