"""Jobs of Hydra as tasks of Ray, on an existing cluster or on one that lives as long as they do.

Ray itself restarts a task whose process or node died.
"""

import os
import signal
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, configure_log, run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from recsweep.errors import InputError
from recsweep.sweeps.execution.gpu_lease import SHARED_BY
from recsweep.sweeps.execution.interrupt import SIGNALS

PASSED_ON = ("PG", "MLFLOW_", "RECSWEEP_")
"""Beginnings of variables that tasks get from the command, beside those of their node."""
POLL_S, CONNECT_S = 0.5, 10.0
OBJECT_STORE = 78_643_200
"""Bytes of shared memory: results of tasks are small, and Ray takes no less."""


class _Place(NamedTuple):
    """What a task has in common with the command."""

    folder: Path
    variables: dict[str, str]


class Jobs(NamedTuple):
    """What all jobs of a launch have in common.

    Args:
        context: Hydra's context.
        task: Hydra's task function.
        config: Hydra's configuration.
    """

    context: HydraContext
    task: Any
    config: DictConfig

    def run(
        self, settings: Mapping[str, Any], overrides: Sequence[Sequence[str]], first: int
    ) -> list[JobReturn]:
        """Run one job per line of overrides, and wait until all have ended.

        Args:
            settings: See `hydra_plugins.recsweep_ray.RayConfig`.
            overrides: The overrides of each job.
            first: The number of the first job.

        Raises:
            InputError: Ray is not installed, or cannot run such jobs.
            Exception: The first error of a job.
        """
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        ray = _ray()
        n_cpus = settings["num_cpus"] or 1
        with _cluster(ray, settings["address"], n_cpus * len(overrides)):
            n_gpus = _gpus(settings["num_gpus"], len(overrides), ray.cluster_resources())
            _refuse_too_large({"CPU": n_cpus, "GPU": n_gpus}, ray.nodes())
            # a process runs one task: another study may need another backend
            task = ray.remote(max_calls=1, max_retries=settings["max_retries"])(_run)
            task = task.options(num_cpus=n_cpus, num_gpus=n_gpus)
            place = _Place(Path.cwd(), _variables(n_gpus))
            state = Singleton.get_state()
            started = [
                task.remote(self.context, self.task, self._of_job(line, number), state, place)
                for number, line in enumerate(overrides, first)
            ]
            return _results(ray, started)

    def _of_job(self, overrides: Sequence[str], number: int) -> DictConfig:
        config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = f"job_id_for_{number}"
            config.hydra.job.num = number
        return config


def _ray() -> Any:
    try:
        import ray  # takes seconds
    except ImportError as error:
        raise InputError(
            "hydra/launcher=ray needs Ray, which is not installed; run pip install 'recsweep[ray]'"
        ) from error
    return ray


@contextmanager
def _cluster(ray: Any, address: str | None, n_cpus: int) -> Iterator[None]:
    """Connect to a cluster, or start one for the block: with so many CPUs, all jobs can run."""
    if ray.is_initialized():
        yield
        return
    wanted = address or os.environ.get("RAY_ADDRESS", "auto")
    _refuse_unreachable(wanted)
    try:
        with _signals_put_back():
            _connect(ray, wanted, n_cpus)
        yield
    finally:
        ray.shutdown()


@contextmanager
def _signals_put_back() -> Iterator[None]:
    """Take Ctrl-C and the like back from Ray, whose handlers end the process."""
    is_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in SIGNALS if is_main}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if handler is not None:  # not from Python
                signal.signal(number, handler)


def _refuse_unreachable(address: str) -> None:
    """Raise InputError if nothing listens at HOST:PORT: Ray retries for minutes."""
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not (separator and port.isdigit()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except OSError as error:
        raise InputError(
            f"no cluster of Ray answers at {address} ({error.strerror or error}); start one with "
            "ray start, or set hydra.launcher.address=local"
        ) from error


def _connect(ray: Any, address: str, n_cpus: int) -> None:
    if address != "local":
        try:
            ray.init(address=address, logging_level="WARNING")
        except ConnectionError:  # there is none on this machine
            if address != "auto":
                raise
        else:
            return
    _start(ray, n_cpus)


def _start(ray: Any, n_cpus: int) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it sends usage statistics
    n_all = max(n_cpus, os.cpu_count() or 1)
    with warnings.catch_warnings():
        # of JAX, if it has trained here: Ray forks only to start other programs, which is safe
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        ray.init(
            address="local", num_cpus=n_all, include_dashboard=False, logging_level="WARNING",
            object_store_memory=OBJECT_STORE,
        )  # fmt: skip


def _gpus(asked: float | None, n_jobs: int, resources: Mapping[str, float]) -> float:
    """GPUs of a job: as asked, else one, or an equal share of one where there are fewer."""
    n_all = int(resources.get("GPU", 0))
    if asked is not None or not n_all:
        return asked or 0
    return 1 / -(-n_jobs // n_all)


def _refuse_too_large(needed: Mapping[str, float], nodes: Sequence[Mapping[str, Any]]) -> None:
    """Raise InputError if no node of the cluster can run a job: it would wait forever."""
    own = [node["Resources"] for node in nodes if node["Alive"]]
    if not any(all(node.get(kind, 0) >= n for kind, n in needed.items()) for node in own):
        most = {kind: max(node.get(kind, 0) for node in own) for kind in needed}
        raise InputError(
            f"a node of Ray's cluster must have {needed['CPU']:g} CPUs and {needed['GPU']:g} GPUs "
            f"for a worker, but the largest has {most['CPU']:g} and {most['GPU']:g}; set "
            "threads, hydra.launcher.num_cpus and hydra.launcher.num_gpus"
        )


def _variables(n_gpus: float) -> dict[str, str]:
    shared = {SHARED_BY: str(max(1, round(1 / n_gpus)))} if n_gpus else {}
    return {k: v for k, v in os.environ.items() if k.startswith(PASSED_ON)} | shared


def _run(
    context: HydraContext,
    task: Any,
    config: DictConfig,
    state: dict[Any, Any],
    place: _Place,
) -> JobReturn:
    """What a process of Ray does."""
    os.environ.update(place.variables)
    with suppress(OSError):  # another machine may not have it
        os.chdir(place.folder)
    setup_globals()
    Singleton.set_state(state)
    return run_job(
        hydra_context=context, task_function=task, config=config, job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )  # fmt: skip


def _results(ray: Any, started: Sequence[Any]) -> list[JobReturn]:
    """Wait for all, also when one fails: else its successor would run beside the others."""
    try:
        left = list(started)
        while left:  # an interrupt that Ray receives has lost its message
            _, left = ray.wait(left, num_returns=len(left), timeout=0)
            time.sleep(POLL_S * bool(left))
        return list(ray.get(started))
    except KeyboardInterrupt:
        for task in started:
            ray.cancel(task, force=True)
        raise
