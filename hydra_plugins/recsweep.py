"""Makes recsweep's sweeper visible to Hydra, which imports this at every start: keep it light."""

from typing import Any

from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext
from omegaconf import DictConfig


class RecsweepSweeper(Sweeper):
    """Hands `-m` over to `recsweep.sweeps.sweeper`."""

    def setup(self, *, hydra_context: HydraContext, task_function: Any, config: DictConfig) -> None:
        """Note what Hydra gives."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> Any:
        """Search what the overrides of the command line ask for."""
        try:
            from recsweep.sweeps.sweeper import sweep

            return sweep(self.hydra_context, self.config, arguments)
        except HydraException:
            raise
        except Exception as error:
            self.task_function.error = error  # command_line.py tells bugs from bad input
            raise
