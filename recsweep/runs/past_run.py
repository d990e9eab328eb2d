"""A past run: its files, its configuration and its environment."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recsweep.app import PLACES, Config, Job, Settings
from recsweep.build import validate
from recsweep.errors import InputError
from recsweep.run_files import CONFIG, ENVIRONMENT, read_run_id, read_tags

if TYPE_CHECKING:
    from recsweep.tracking import MLflowTracker


class PastRun(NamedTuple):
    """A run's files.

    Args:
        name: Its id in MLflow, or its results folder.
        results: The folder with its files.
        tracker: The tracker that fetched them; None = they were on disk.
    """

    name: str
    results: Path
    tracker: "MLflowTracker | None" = None

    def settings(self, config: Config) -> Settings:
        """The run's configuration, checked.

        Args:
            config: The run's configuration, with changes applied.

        Raises:
            InputError: The configuration is from another version.
        """
        try:
            return validate(Settings, config, "")
        except InputError as error:
            raise of_another_version(self.name, error) from None

    def environment(self) -> dict[str, str]:
        """The run's environment; from its tags in MLflow if it wrote no such file.

        Raises:
            InputError: It is not recorded.
        """
        if (self.results / ENVIRONMENT).exists():
            return {"run_id": str(read_run_id(self.results)), **read_tags(self.results)}
        if self.tracker is None:
            raise InputError(
                f"a run must record its environment, but {self.results} has no {ENVIRONMENT}; give "
                "the id of its MLflow run, whose tags say so, or train again"
            )
        with self.tracker.store.errors_in_one_line("name the store that has the run"):
            return dict(self.tracker.store.client.get_run(self.name).data.tags)


def with_files(config: Config, job: Job) -> Config:
    """A run's configuration with the file paths and the address of the current command line.

    Args:
        config: The run's configuration.
        job: The current task's job.
    """
    typed = {re.split("[@=]", text.lstrip("+~"))[0] for text in job.overrides}
    moved = [key.split(".") for key in PLACES if key in typed]
    groups = {  # of the settings, which have an address with its secrets
        group: {**config.get(group, {}), leaf: getattr(job.settings, group)[leaf]}
        for group, leaf in moved
    }
    return {**config, **groups}


def objective_of(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """The metric that a run's epoch was chosen by; by default the first one at the largest k.

    Args:
        config: The run's configuration.
        metrics: See `recsweep.run_files.read_metrics`.
    """
    from recsweep import evaluation

    names = list(metrics["test"]["mean"])
    of_first = f"{names[0].partition('@')[0]}@"
    said = evaluation.objective_of(config)
    return said or [name for name in names if name.startswith(of_first)][-1]


def of_another_version(name: str, error: InputError) -> InputError:
    """The error about a value in the configuration of the run `name`."""
    return InputError(f"{name}: {CONFIG} cannot be used by this version: {error}")
