"""What a device's errors mean: it was lost, which is not the trial's fault, or it is too small.

JAX and TensorFlow have one class for many causes, so that the message decides. After some of them
no computation of the process succeeds, such as after CUDA_ERROR_ILLEGAL_ADDRESS.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from recsweep import environment
from recsweep.errors import InputError
from recsweep.messages import one_line, shorten

JAX = {"JaxRuntimeError", "XlaRuntimeError"}
TENSORFLOW = "tensorflow.python.framework.errors_impl"
FULL = re.compile(
    r"RESOURCE_EXHAUSTED|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation|_STATUS_ALLOC_FAILED|"
    r"OOM when allocating|out of memory", re.IGNORECASE,
)  # fmt: skip
LOST = re.compile(
    r"^UNAVAILABLE|CUDA_ERROR_\w+|cudaError[A-Z]\w+|device (was |is )?lost|GPU is lost|"
    r"fallen off the bus|uncorrectable ECC|no CUDA-capable device|illegal memory access|"
    r"in an error state", re.IGNORECASE,
)  # fmt: skip
INTERNAL = "INTERNAL"
CHARACTERS = 200


class DeviceLostError(InputError):
    """The device of this process is unusable: the worker stops, but its trial has not failed."""


_lost: dict[int, str] = {}
"""Why this process lost its device, by process id."""


def refuse_lost_device() -> None:
    """Refuse further work in a process whose device was lost.

    Raises:
        DeviceLostError: It was.
    """
    if (reason := _lost.get(os.getpid())) is not None:
        raise DeviceLostError(reason)


@contextmanager
def device_errors() -> Iterator[None]:
    """Turn errors of the device into one line each, and leave all others as they are.

    Raises:
        DeviceLostError: The device was lost, or no longer computes.
        InputError: Its memory is too small.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        found = _of_device(error)
        if found is None:
            raise
        reason = shorten(one_line(found), CHARACTERS)
        if _is(found, FULL, "ResourceExhaustedError"):
            raise InputError(
                f"out of device memory ({reason}); reduce model.batch_size, "
                "evaluation_batch_size, sweep.n_workers or sweep.slots"
            ) from error
        is_internal = _is(found, re.compile(f"^{INTERNAL}"), "InternalError")
        if not _is(found, LOST, "UnavailableError") and (not is_internal or _computes()):
            raise
        _lost[os.getpid()] = f"the device was lost ({reason})"
        raise DeviceLostError(_lost[os.getpid()]) from error


def _of_device(error: BaseException | None) -> BaseException | None:
    """The error of JAX or TensorFlow that an error is or was caused by."""
    while error is not None:
        kind = type(error)
        if kind.__name__ in JAX or kind.__module__ == TENSORFLOW:
            return error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def _is(error: BaseException, message: re.Pattern[str], of_tensorflow: str) -> bool:
    return message.search(str(error)) is not None or type(error).__name__ == of_tensorflow


def _computes() -> bool:
    """Whether the device still adds two numbers."""
    try:
        if environment.device() == "cpu":
            return True
        from keras import ops  # the backend is loaded

        return float(ops.sum(ops.ones(2))) == 2.0
    except Exception:  # noqa: BLE001 - whatever it says, it does not compute
        return False
