"""The right to run one trial, and whether a worker still has it."""

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from recsweep.sweeps.storage.errors import StorageError
from recsweep.sweeps.storage.locks import Lease
from recsweep.sweeps.study.shared_study import SharedStudy

ALONE = "is_alone"
"""Attribute of a trial: whether its process runs no other trial beside it."""
SETTLING_PAUSE_S, N_REGAINS = 1.0, 120
"""How long to wait before looking again for leases that an outage has taken, and how often a trial
tries to get its own back."""


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


class ClaimedTrial(Trial):
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


def new_marks(study: SharedStudy) -> dict[str, Any]:
    """Attributes of a trial that this process begins now."""
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


def confirm(claim: Claim) -> Claim:
    """A claim that is known to be stored."""
    _unconfirmed.discard(claim.began)
    return claim


def was_begun_here(attrs: Mapping[str, Any]) -> bool:
    """Whether this process began the trial, and an outage hid that it was stored."""
    return attrs.get("began") in _unconfirmed


_unconfirmed: set[float] = set()
"""When this process began the claims of which an outage hides whether they were stored. If it finds
one in the study, no process has died."""
