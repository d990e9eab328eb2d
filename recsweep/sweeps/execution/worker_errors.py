"""How workers end early, as the process that launches them sees it."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import Any

from optuna.trial import TrialState

from recsweep.errors import InputError
from recsweep.messages import print_to_stderr
from recsweep.sweeps.execution.worker import failures_folder
from recsweep.sweeps.study.shared_study import Plan, SharedStudy
from recsweep.sweeps.study.takeover import MAX_SHARED_DEATHS


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


class WorkerErrors:
    """Prints each error that ends a worker while others continue, once and without delay.

    A launcher returns when all its workers have ended. Until then, those that share the sweep's
    folder leave their errors there.

    Args:
        plan: The sweep's plan.
    """

    def __init__(self, plan: Plan) -> None:
        self._folder = failures_folder(plan.plain())
        self._n_workers = plan.n_workers
        self._printed: set[str] = set()
        self._lock = Lock()

    def look(self) -> None:
        """Print what workers have left since the last look."""
        with suppress(OSError):
            left = [file.read_text(encoding="utf-8") for file in sorted(self._folder.iterdir())]
            if self._n_workers > 1:
                self._print(left)

    def note(self, results: Sequence[Mapping[str, Any]]) -> None:
        """Print the errors of workers that have ended, and how many had none.

        Args:
            results: What the workers of one launch returned, see
                `recsweep.sweeps.execution.worker.Worker`.
        """
        with suppress(OSError):
            for file in self._folder.iterdir():
                file.unlink()
            self._folder.rmdir()
        failed = [each for each in results if each["error"]]
        if not failed or len(failed) == len(results):
            return  # the sweep itself ends with the error of all
        self._print([each["error"] for each in failed if not each.get("is_device_lost")])
        n_worked = len(results) - len(failed)
        print_to_stderr(f"workers   {n_worked} of {len(results)} worked")

    def _print(self, errors: Iterable[str]) -> None:
        with self._lock:
            for error in errors:
                if error and error not in self._printed:
                    self._printed.add(error)
                    line = f"warning: a worker ended, the others continue: {error}"
                    print_to_stderr(line)


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
            reason = str(error).removeprefix("the device was lost ")
            raise InputError(
                f"the device was lost {self._n_losses} times in a row {reason}; see nvidia-smi, "
                "choose other devices with CUDA_VISIBLE_DEVICES and re-run the same command"
            )
