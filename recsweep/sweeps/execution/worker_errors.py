"""How workers end early, as the process that launches them sees it."""

from collections.abc import Iterable, Mapping
from typing import Any

from optuna.trial import TrialState

from recsweep.errors import InputError
from recsweep.sweeps.study.claims import MAX_SHARED_DEATHS
from recsweep.sweeps.study.shared_study import SharedStudy


class Killed(str):
    """The error of a process that was killed and could not report it itself."""


class DeviceLost(Killed):
    """The error of a process whose device was lost: another one may have a device that works."""


class Unfit(str):
    """The error of a process whose host may not work on the study, however often it tries."""


def first_error(results: Iterable[Mapping[str, Any]]) -> str | None:
    """The first error that workers have returned, if any.

    Args:
        results: See `recsweep.sweeps.execution.worker.Worker`.
    """
    return next((_error(each) for each in results if each["error"]), None)


def _error(result: Mapping[str, Any]) -> str:
    if result.get("is_device_lost"):
        return DeviceLost(result["error"])
    return Unfit(result["error"]) if result.get("is_unfit") else str(result["error"])


class LossCounter:
    """Ends a sweep whose workers lose their devices and score no trial in between.

    Args:
        study: The study of the sweep.
    """

    def __init__(self, study: SharedStudy) -> None:
        self._study = study
        self._n_losses, self._n_scored = 0, 0

    def count(self, error: str | None) -> None:
        """Count one launch of workers.

        Args:
            error: The error of one of them.

        Raises:
            InputError: Devices were lost too often in a row.
        """
        states = [trial.state for trial in self._study.trials()]
        n_scored = states.count(TrialState.COMPLETE) + states.count(TrialState.PRUNED)
        is_in_vain = isinstance(error, DeviceLost) and n_scored == self._n_scored
        self._n_losses, self._n_scored = (self._n_losses + 1) * is_in_vain, n_scored
        # after so many losses a trial itself has failed, and the next one may keep its device
        n_shared = MAX_SHARED_DEATHS if (self._study.agreed_slots or 1) > 1 else 0
        if self._n_losses > n_shared + self._study.plan.max_retries + 1:
            raise InputError(
                f"a device must survive a trial, but {self._n_losses} times in a row {error}; see "
                "nvidia-smi, choose others with CUDA_VISIBLE_DEVICES and re-run the same command"
            )
