"""The load of GPUs in MLflow: where there are some, once per run, and never at a run's expense."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from mlflow_runs import history, run_of, tracker

from recsweep.interfaces import Part
from recsweep.tracking import MLflowTracker, NullTracker
from recsweep.tracking import system_metrics as module

Faked = Callable[..., None]


class NVMLError(Exception):
    """What NVIDIA's library raises."""


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Faked:
    """Fakes NVIDIA's library on a machine with a GPU, or with a driver that fails."""

    def init(error: Exception | None) -> None:
        if error:
            raise error

    def fake(error: Exception | None = None) -> None:
        from mlflow.system_metrics.metrics import gpu_monitor

        library: Any = ModuleType("pynvml")
        library.__spec__ = SimpleNamespace()
        library.NVMLError = NVMLError
        library.nvmlInit = lambda: init(error)
        library.nvmlDeviceGetCount = lambda: 1
        library.nvmlDeviceGetHandleByIndex = str
        library.nvmlDeviceGetMemoryInfo = lambda _: SimpleNamespace(used=2e9, total=8e9)
        library.nvmlDeviceGetUtilizationRates = lambda _: SimpleNamespace(gpu=75)
        library.nvmlDeviceGetPowerUsage = lambda _: 350_000
        library.nvmlDeviceGetEnforcedPowerLimit = lambda _: 700_000
        monkeypatch.setitem(sys.modules, "pynvml", library)
        monkeypatch.setattr(gpu_monitor, "pynvml", library, raising=False)
        monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")

    return fake


@pytest.fixture
def one(tmp_path: Path) -> MLflowTracker:
    return tracker(f"sqlite:///{tmp_path}/mlflow.db")


def wait_for(name: str, one: MLflowTracker, n: int = 1) -> list[tuple[int, float]]:
    """The first `n` values of a metric."""
    for _ in range(200):
        if len(found := history(one, name)) >= n:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{name} was never logged")


def system(one: MLflowTracker) -> list[str]:
    return [name for name in run_of(one).data.metrics if name.startswith("system/")]


def test_a_run_on_a_gpu_has_its_utilization_memory_and_power(
    nvml: Faked, one: MLflowTracker
) -> None:
    nvml()
    with one:
        with one.monitored(lambda: True):
            wait_for("system/gpu_0_power_usage_watts", one, 2)
        n_values = len(history(one, "system/gpu_0_power_usage_watts"))
        time.sleep(0.2)
        assert len(history(one, "system/gpu_0_power_usage_watts")) == n_values, "it has ended"
    found = run_of(one).data.metrics
    assert found["system/gpu_0_utilization_percentage"] == 75
    assert found["system/gpu_0_memory_usage_percentage"] == 25
    assert found["system/gpu_0_power_usage_watts"] == 350


@pytest.mark.extended
def test_a_sweep_logs_them_once_its_device_is_known_and_continues_when_resumed(
    nvml: Faked, one: MLflowTracker
) -> None:
    nvml()
    answers = [None, True]
    for _ in range(2):
        one.open_sweep("toy", "sweep toy", {}, {})
        with one.monitored(lambda: answers.pop(0) if len(answers) > 1 else answers[0]):
            last = wait_for("system/gpu_0_power_usage_watts", one, 2)[-1][0]
            wait_for("system/gpu_0_power_usage_watts", one, last + 2)
        one.close_sweep("KILLED", "stopped")
    steps = [step for step, _ in history(one, "system/gpu_0_power_usage_watts")]
    assert steps == list(range(len(steps))), "the second command continues after the first"


@pytest.mark.extended
@pytest.mark.parametrize("reason", ["a CPU", "a part of a sweep", "not known in time"])
def test_nothing_is_logged_for(nvml: Faked, one: MLflowTracker, reason: str) -> None:
    nvml()
    run: Any = one
    one.open_sweep("toy", "sweep toy", {}, {})
    if reason == "a part of a sweep":
        run = one.nested(one.run_id, "toy", Part(0), "#0")
    on_gpu = {"a CPU": False, "a part of a sweep": True, "not known in time": None}[reason]
    with run if run is not one else NullTracker(), run.monitored(lambda: on_gpu):
        time.sleep(0.3)
    assert (system(one), system(run)) == ([], [])


@pytest.mark.extended
def test_without_the_library_nothing_is_started(
    monkeypatch: pytest.MonkeyPatch, one: MLflowTracker
) -> None:
    monkeypatch.setattr(module, "LIBRARIES", ("not_installed",))
    with one, one.monitored(lambda: True):
        assert "system metrics" not in [thread.name for thread in threading.enumerate()]
    assert system(one) == []
    with NullTracker().monitored(lambda: True):
        pass


@pytest.mark.extended
@pytest.mark.parametrize("broken", ["driver", "psutil", "store", "device"])
def test_what_breaks_ends_no_run(
    nvml: Faked, one: MLflowTracker, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str], broken: str,
) -> None:  # fmt: skip
    nvml(NVMLError("driver/library version mismatch") if broken == "driver" else None)
    if broken == "psutil":
        monkeypatch.setitem(sys.modules, "mlflow.system_metrics.system_metrics_monitor", None)

    def unknown() -> bool:
        raise OSError("the study's storage is gone")

    with one:
        if broken == "store":
            monkeypatch.setattr(one.store, "uri", "http://127.0.0.1:9")
            monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with one.monitored(unknown if broken == "device" else lambda: True):
            time.sleep(0.3)
        monkeypatch.undo()
    assert run_of(one).info.status == "FINISHED"
    assert system(one) == []
    assert capfd.readouterr() == ("", "")
