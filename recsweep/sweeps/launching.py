"""Runs a task in parallel through the launcher that `hydra/launcher` names."""

import atexit
import multiprocessing
import multiprocessing.util
import sys
from typing import TYPE_CHECKING, Any, cast

from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from recsweep import environment
from recsweep.errors import InputError
from recsweep.sweeps import slurm_jobs
from recsweep.sweeps.execution import watchdog
from recsweep.sweeps.execution.watchdog import Process
from recsweep.sweeps.execution.worker import FinalWorker, Worker, plan_of
from recsweep.sweeps.space.dimension import encode

if TYPE_CHECKING:
    from joblib.executor import MemmappingExecutor

N_SEMAPHORES = 16
"""More than joblib needs for its processes."""


def launches_with(config: DictConfig, name: str) -> bool:
    """Whether the launcher is of this class.

    Args:
        config: Hydra's configuration.
        name: The name of a class, such as `JoblibLauncher`.
    """
    return str(config.hydra.launcher.get("_target_")).endswith(f".{name}")


def default_threads(config: DictConfig, n_workers: int) -> int:
    """Threads of a worker if the command sets none.

    Args:
        config: Hydra's configuration.
        n_workers: Workers of the command.
    """
    if launches_with(config, "SlurmLauncher"):  # its jobs run elsewhere
        return int(config.hydra.launcher.cpus_per_task or 1)
    if launches_with(config, "RayLauncher") and config.hydra.launcher.num_cpus:
        return int(config.hydra.launcher.num_cpus)
    return max(1, environment.n_cores() // n_workers)


def current_pool() -> "MemmappingExecutor | None":
    """Joblib's current pool of processes; None if there is none."""
    loky = sys.modules.get("joblib.externals.loky.reusable_executor")
    return loky and loky._executor


def end_processes(executor: "MemmappingExecutor | None") -> None:
    """End joblib's idle processes: the next study may need another backend.

    Shared resources are released here and not at exit: after Ctrl-C this process ends at once, and
    loky would warn about leaked resources.

    Args:
        executor: See `current_pool`.
    """
    if executor is None:
        return
    executor.terminate(kill_workers=True)
    cast("Any", multiprocessing.util)._run_finalizers(0)  # semaphores
    for remove_folder in executor._temp_folder_manager._finalizers.values():
        remove_folder()
        atexit.unregister(remove_folder)


def _refuse_few_semaphores() -> None:
    """Raise InputError if workers cannot be started, such as in a container with 4 kB of shm."""
    spawn = multiprocessing.get_context("spawn")
    try:
        for _ in [spawn.Semaphore() for _ in range(N_SEMAPHORES)]:
            pass
    except OSError as error:
        raise InputError(
            f"workers need {N_SEMAPHORES} semaphores, but the system provides fewer "
            f"({error.strerror}); give /dev/shm at least 1 MB (docker run --shm-size=64m), or "
            "set hydra/launcher=basic, which needs none"
        ) from error


def launch(
    context: HydraContext,
    config: DictConfig,
    task: Worker | FinalWorker,
    n: int,
    folder: str,
) -> list[dict[str, Any]]:
    """Run a task in `n` parallel processes and return their results.

    Args:
        context: Hydra's context.
        config: Hydra's configuration.
        task: The task.
        n: The number of processes.
        folder: For what the launcher writes.

    Raises:
        InputError: The launcher cannot start processes here.
        Exception: A process was killed.
    """
    own = config.copy()
    OmegaConf.set_readonly(own.hydra, False)  # Hydra 1.4 hands it over read-only
    with open_dict(own.hydra):
        own.hydra.sweep.dir = folder
        own.hydra.overrides.task = []  # may hold credentials; the task brings its own settings
    if launches_with(config, "SlurmLauncher"):
        return slurm_jobs.run(_of_slurm(own), task, n)
    if launches_with(config, "JoblibLauncher"):
        _refuse_few_semaphores()
    if launches_with(config, "LocalLauncher"):  # submitit's, which keeps pickles on disk
        task = task.seal()
    # from 1.4 on Hydra refuses jobs if hydra.launcher is not what the command line composes
    launcher: Any = Plugins.instance().instantiate_launcher(
        hydra_context=context, task_function=task, config=own
    )
    if launches_with(config, "JoblibLauncher"):
        launcher.joblib.update(
            n_jobs=max(2, n),  # with 1, joblib starts no process
            # some of its processes may never get a task
            initializer=watchdog.attend,
            initargs=(Process.current(),),
        )
    if launches_with(config, "RayLauncher"):
        _reserve(launcher.settings, plan_of(task))
    line = [f"hydra.sweep.dir={encode(folder)}", "hydra.sweep.subdir=.", "hydra.job.chdir=false"]
    jobs = launcher.launch([line for _ in range(n)], initial_job_idx=0)
    results = [job.return_value for job in jobs]
    if any(result.get("is_device_lost") or result.get("has_gpu") for result in results):
        # nothing succeeds without its device, and an idle process keeps its GPU's memory
        end_processes(current_pool())
    return results


def _reserve(settings: dict[str, Any], plan: dict[str, Any]) -> None:
    """Let Ray reserve what a worker uses, unless the command says how much."""
    if settings["num_cpus"] is None:
        settings["num_cpus"] = plan["threads"]
    if settings["num_gpus"] is None and plan["device"] == "cpu":
        settings["num_gpus"] = 0


def _of_slurm(config: DictConfig) -> dict[str, Any]:
    """The plugin's settings; its time limit only if the command sets it."""
    found = cast("dict[str, Any]", OmegaConf.to_container(config.hydra.launcher, resolve=True))
    is_typed = any("hydra.launcher.timeout_min=" in line for line in config.hydra.overrides.hydra)
    if found["timeout_min"] == slurm_jobs.DEFAULT_MINUTES and not is_typed:
        found["timeout_min"] = None
    return found
