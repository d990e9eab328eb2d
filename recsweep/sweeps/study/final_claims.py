"""Who trains the winner with which seed: one process at a time, and one record of each training."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recsweep.run_files import STDOUT
from recsweep.sweeps.storage.locks import Lease
from recsweep.sweeps.study.claim import TrialLostError, is_unfinished, this_process
from recsweep.sweeps.study.final_scores import TEST_SCORED, FinalTrainings
from recsweep.sweeps.study.shared_study import SharedStudy

FINAL = 1 << 30
"""Offset of the lease numbers of the winner's final trainings."""
BEGAN = "final_training_began"
"""Attributes of a study, `final_training_began/TRIAL/INDEX`: process and time of the latest one
that has begun a training of the winner."""


@dataclass
class FinalClaim:
    """The right to train the winner with one of its seeds.

    Args:
        study: The study.
        trial: The winner's number.
        index: Index of the training.
        lease: Held until the training is recorded or the process dies.
        began: Process and time, which distinguish it from other claims of the training.
    """

    study: SharedStudy
    trial: int
    index: int
    lease: Lease
    began: list[Any]
    _n_known_gaps: int = field(default=0, init=False)

    def refuse_gap(self) -> None:
        """After a gap in the lease, check whether another process restarted the training.

        Raises:
            TrialLostError: One has.
        """
        n_gaps = self.lease.n_gaps
        if n_gaps != self._n_known_gaps:
            self._is_done()
            self._n_known_gaps = n_gaps

    def refuse_lost(self) -> bool:
        """Make sure that the training is still this process's.

        Returns:
            Whether it is to be recorded: an outage may hide that it was recorded before.

        Raises:
            TrialLostError: Another process has begun it.
            StorageError: The lease was lost.
        """
        name = f"training {self.index} of the winner, trial {self.trial},"
        return is_unfinished(self.lease, self._is_done, name)

    def record(self, write: Callable[[], object]) -> None:
        """Mark the training as done, unless another process has begun it.

        Args:
            write: Writes the file that marks its folder as whole.

        Raises:
            TrialLostError: One has.
            StorageError: The lease was lost.
        """
        done = FinalTrainings(self.study.study, self.study.plan)

        def finish() -> None:
            if self.refuse_lost():
                write()
                done.add(self.trial, self.index)

        self.study.at_once(finish)

    def _is_done(self) -> bool:
        """Whether the training was recorded; raises TrialLostError if it was begun again."""
        latest = self.study.study.user_attrs.get(_began(self.trial, self.index))
        if latest != self.began:
            raise TrialLostError("another worker restarted the training after an outage")
        return self.index in FinalTrainings(self.study.study, self.study.plan).read(self.trial)


def claim_training(study: SharedStudy, training: dict[str, Any]) -> FinalClaim | None:
    """Begin a training of the winner; None if it is done or another process runs it.

    Args:
        study: The study.
        training: See `recsweep.sweeps.execution.worker.FinalWorker`.
    """
    trial, index = training["trial"], training["index"]
    began = [this_process(), time.time()]

    def claim() -> FinalClaim | None:
        lease = study.locks.lease(FINAL + index)
        if lease is None:
            return None
        with ExitStack() as unless_claimed:
            unless_claimed.enter_context(lease)
            noted = FinalTrainings(study.study, study.plan).read(trial)
            if (Path(training["folder"]) / STDOUT).exists() or index in noted:
                return None
            note_look(study, training)
            study.study.set_user_attr(_began(trial, index), began)
            unless_claimed.pop_all()
            return FinalClaim(study, trial, index, lease, began)

    return study.alone(claim)


def note_look(study: SharedStudy, training: dict[str, Any]) -> None:
    """Record a test evaluation before it happens, once per training; inside `alone`."""
    look = {"trial": training["trial"], "seed": training["config"]["seed"]}
    looks = study.study.user_attrs.get(TEST_SCORED, [])
    if look not in looks:
        study.study.set_user_attr(TEST_SCORED, [*looks, look])


def _began(trial: int, index: int) -> str:
    return f"{BEGAN}/{trial:04d}/{index}"
