"""`hydra/launcher=ray`: Hydra imports this at every start, with or without Ray: keep it light."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig


@dataclass
class RayConfig:
    """The settings below `hydra.launcher`."""

    _target_: str = "hydra_plugins.recsweep_ray.RayLauncher"
    # of a cluster that runs; null = RAY_ADDRESS or one on this machine, else a new one here
    address: str | None = None
    # CPUs that Ray reserves for a worker; null = its threads
    num_cpus: int | None = None
    # GPUs of a worker, also a fraction; null = one, or an equal share where there are fewer
    num_gpus: float | None = None
    # how often Ray restarts a worker that was killed or whose node died
    max_retries: int = 3


ConfigStore.instance().store("ray", RayConfig(), group="hydra/launcher", provider="recsweep")


class RayLauncher(Launcher):
    """Hands jobs over to `recsweep.sweeps.ray_jobs`."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: Any, config: DictConfig) -> None:
        """Note what Hydra gives."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run one job per line of overrides."""
        from recsweep.sweeps.ray_jobs import Jobs

        jobs = Jobs(self.hydra_context, self.task_function, self.config)
        return jobs.run(self.settings, job_overrides, initial_job_idx)
