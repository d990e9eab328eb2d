"""MLflow's system metrics: utilization, memory and power of the GPUs while a run computes on one.

MLflow's monitor sees the machine and not the run: all of its GPUs, with its processors, disks and
network. So a sweep logs them once, to its own run, and not to each of the trials that share a GPU.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any

LIBRARIES = ("pynvml", "pyrsmi")
"""What MLflow reads GPUs with: NVIDIA's, from nvidia-ml-py, and AMD's."""
POLL_S = 1.0
LAST_S = 10.0
"""How long the end of a run waits for an unresponsive store."""


@contextmanager
def system_metrics(run_id: str, uri: str, is_on_gpu: Callable[[], bool | None]) -> Iterator[None]:
    """Log the machine's load to a run while the block runs, if possible: errors are ignored.

    Args:
        run_id: The run.
        uri: Its store.
        is_on_gpu: Whether the run computes on a GPU; None = not yet known.
    """
    if not any(map(find_spec, LIBRARIES)):
        yield
        return
    is_over = threading.Event()
    thread = threading.Thread(
        target=_monitor, args=(run_id, uri, is_on_gpu, is_over), name="system metrics", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(LAST_S)


def _monitor(
    run_id: str, uri: str, is_on_gpu: Callable[[], bool | None], is_over: threading.Event
) -> None:
    with suppress(Exception):  # whatever the driver or the store says: the run is not about this
        while (known := is_on_gpu()) is None:
            if is_over.wait(POLL_S):
                return
        monitor = _make_monitor(run_id, uri) if known else None
        if monitor is not None:
            monitor.start()
            is_over.wait()
            monitor.finish()


def _make_monitor(run_id: str, uri: str) -> Any:
    """MLflow's monitor, which continues at the run's last step; None if it sees no GPU."""
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.rocm_monitor import ROCMMonitor
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=uri)
    sees_gpu = any(isinstance(each, GPUMonitor | ROCMMonitor) for each in monitor.monitors)
    return monitor if sees_gpu else None
