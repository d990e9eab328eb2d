"""Errors of a device: a lost one is the worker's failure, a small one is the trial's."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pytest
from compiled_programs import cache_in
from fake_gpus import UUIDS, put_gpus
from mlflow_runs import start
from small_runs import SMALL_DATA
from studies import COMPLETE

from recsweep.errors import InputError
from recsweep.sweeps.execution import device_errors as module
from recsweep.sweeps.execution.device_errors import DeviceLostError, device_errors
from recsweep.sweeps.storage.attempts import latest_attempts
from recsweep.sweeps.storage.backends import open_storage

JaxError: type[Exception] = jax.errors.JaxRuntimeError
ILLEGAL = "INTERNAL: CUDA error: Could not synchronize: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal …"


@pytest.fixture(autouse=True)
def _device_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_lost", {})


class XlaRuntimeError(RuntimeError):
    """The name in jaxlib before 0.9."""


def tensorflow_error(name: str, message: str) -> Exception:
    """As TensorFlow raises it, which one test process need not import beside JAX."""
    kind = type(name, (Exception,), {"__module__": "tensorflow.python.framework.errors_impl"})
    error: Exception = kind(message)
    return error


def outcome(error: Exception) -> Exception:
    with pytest.raises(Exception) as caught, device_errors():  # noqa: PT011
        raise error
    found: Exception = caught.value
    return found


@pytest.mark.parametrize(
    "error",
    [
        JaxError(ILLEGAL),
        XlaRuntimeError("INTERNAL: CUDA_ERROR_ECC_UNCORRECTABLE: uncorrectable ECC error"),
        JaxError("UNAVAILABLE: connection to the device was closed"),
        JaxError("FAILED_PRECONDITION: no CUDA-capable device is detected"),
        JaxError("UNKNOWN: CUDA_ERROR_DEVICE_UNAVAILABLE"),
        JaxError("ABORTED: device lost"),
        tensorflow_error("InternalError", "Failed launching: CUDA_ERROR_LAUNCH_FAILED"),
        tensorflow_error("UnavailableError", "gone"),
        tensorflow_error("FailedPreconditionError", "no CUDA-capable device is detected"),
    ],
    ids=str,
)
def test_a_lost_device_is_one_line_and_ends_the_process(error: Exception) -> None:
    found = outcome(error)
    assert isinstance(found, DeviceLostError)
    assert str(found) == f"the device was lost ({error})"
    with pytest.raises(DeviceLostError, match="the device was lost"):
        module.refuse_lost_device()


@pytest.mark.parametrize(
    "error",
    [
        JaxError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 80.00GiB."),
        JaxError("INTERNAL: CUDA error: CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
        JaxError("INTERNAL: CUBLAS_STATUS_ALLOC_FAILED"),
        tensorflow_error("ResourceExhaustedError", "OOM when allocating tensor"),
    ],
    ids=str,
)
def test_a_device_that_is_too_small_is_the_trials_failure(error: Exception) -> None:
    found = outcome(error)
    assert type(found) is InputError
    assert str(found) == (
        f"out of device memory ({error}); reduce model.batch_size, evaluation_batch_size, "
        "sweep.n_workers or sweep.slots"
    )
    module.refuse_lost_device()


@pytest.mark.parametrize(
    "error",
    [
        ValueError("CUDA_ERROR_ILLEGAL_ADDRESS"),  # not of a backend
        RuntimeError("UNAVAILABLE: a service"),
        MemoryError("out of memory"),
        InputError("a model's own line"),
        JaxError("INVALID_ARGUMENT: shapes"),
        JaxError("INTERNAL: a bug of the compiler"),  # the CPU still computes
        tensorflow_error("FailedPreconditionError", "a table is not initialized"),
    ],
    ids=str,
)
def test_other_errors_stay_as_they_are(error: Exception) -> None:
    assert outcome(error) is error
    module.refuse_lost_device()


def test_the_cause_of_an_error_counts_unless_a_model_has_explained_it() -> None:
    lost = JaxError(ILLEGAL)
    wrapped = RuntimeError("fit failed")
    wrapped.__cause__ = lost
    assert isinstance(outcome(wrapped), DeviceLostError)
    explained = InputError("ease needs more memory")
    explained.__cause__ = JaxError("RESOURCE_EXHAUSTED")
    assert outcome(explained) is explained


@pytest.mark.parametrize("still", [True, False])
def test_an_internal_error_on_a_gpu_is_a_lost_device_if_nothing_computes_any_more(
    monkeypatch: pytest.MonkeyPatch, still: bool
) -> None:
    def ones(*_: object) -> Any:
        raise JaxError("INTERNAL: again")

    monkeypatch.setattr("recsweep.environment.device", lambda: "NVIDIA H100")
    if not still:
        monkeypatch.setattr("keras.ops.ones", ones)
    kind = JaxError if still else DeviceLostError
    assert type(outcome(JaxError("INTERNAL: something"))) is kind


# --- a sweep ------------------------------------------------------------------------------------

MODEL = '''
"""Popularity that notes where it is fitted, and whose first fit of the study loses its device."""

import json, os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from pydantic.dataclasses import dataclass

from recsweep.interfaces import STRICT


@dataclass(kw_only=True, config=STRICT)
class Fragile:
    quality: float

    def fit(self, train: Any, on_epoch: Any, seeds: Any) -> None:
        names = ("CUDA_VISIBLE_DEVICES", "XLA_PYTHON_CLIENT_MEM_FRACTION")
        noted = [os.getpid(), *map(os.environ.get, names)]
        with Path("fits.txt").open("a") as file:
            file.write(json.dumps(noted) + "\\n")
        self.counts = self.quality * np.asarray(train.sum(axis=0)).ravel()
        on_epoch(0, {"loss": 1.0})
        try:
            Path("lost.txt").open("x").write(str(os.getpid()))
        except FileExistsError:
            return
        raise jax.errors.JaxRuntimeError("INTERNAL: CUDA_ERROR_ECC_UNCORRECTABLE: uncorrectable")

    def score(self, history: Any) -> Any:
        return np.tile(self.counts, (history.shape[0], 1))

    def state(self) -> Any:
        return {"counts": self.counts}

    def restore(self, state: Any) -> None:
        self.counts = state["counts"]
'''
SWEEP = (
    "-m", "--config-dir=.", "model=fragile", "sampler=random", "sweep.n_trials=6", "study=s",
    "sweep.final_seeds=2", "hydra/launcher=joblib", "tracking=off", "metrics=[ndcg]", *SMALL_DATA,
)  # fmt: skip
MAIN = "import sys; from recsweep.__main__ import main; sys.exit(main())"


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a whole sweep of `MODEL` in processes of its own on two GPUs; what it said."""
    folder = tmp_path / "mine"
    (folder / "model").mkdir(parents=True)
    (folder / "fragile.py").write_text(MODEL, encoding="utf-8")
    (folder / "model" / "fragile.yaml").write_text(
        "# @package _global_\nmodel: {_target_: fragile.Fragile, quality: 0.5}\n"
        "search: {model.quality: 'interval(0.1,1.0)'}\n", encoding="utf-8",
    )  # fmt: skip
    put_gpus(tmp_path, monkeypatch)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")

    def run(*options: str) -> str:
        cache = f"cache_dir={cache_in(tmp_path)}"
        process = start(folder, MAIN, *SWEEP, cache, *options)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        return out + err

    return run


@pytest.mark.extended
@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_lost_device_costs_a_sweep_no_trial(
    tmp_path: Path, sweep: Callable[..., str], n_workers: int
) -> None:
    said = sweep(f"sweep.n_workers={n_workers}")
    assert "6 of 6 trials done: 6 complete, 0 pruned, 0 failed" in said
    line = "warning: a worker ended: the device was lost (INTERNAL: CUDA_ERROR_ECC_UNCORRECTABLE"
    assert said.count(line) == 1
    folder = tmp_path / "mine"
    (journal,) = folder.glob("sweeps/s/*.log")
    import optuna

    study = optuna.load_study(study_name="s", storage=open_storage(None, journal.parent))
    trials = latest_attempts(study.get_trials())
    assert [trial.state for trial in trials] == 6 * [COMPLETE]
    assert [t.user_attrs.get("n_deaths", 0) for t in trials].count(1) == 1
    (lost,) = [t.user_attrs["device_error"] for t in trials if "device_error" in t.user_attrs]
    assert lost.startswith("the device was lost (INTERNAL: ")

    fits = [json.loads(line) for line in (folder / "fits.txt").read_text().splitlines()]
    assert len(fits) == 6 + 1 + 2, "the trials, one of them twice, and the winner's trainings"
    broken = int((folder / "lost.txt").read_text())
    assert [pid for pid, _, _ in fits].count(broken) == 1, "it runs nothing more"
    assert {gpu for _, gpu, _ in fits} <= set(UUIDS[:2])
    assert {share for _, _, share in fits} == {None}, "each has a whole GPU"
    if n_workers == 1:
        assert [gpu for _, gpu, _ in fits] == [UUIDS[0], *8 * [UUIDS[1]]], "a lost one comes last"
        searching, training = ({pid for pid, _, _ in part} for part in (fits[:7], fits[7:]))
        assert not searching & training, "an idle process would keep its GPU's memory"
