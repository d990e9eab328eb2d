"""A run that is used again: where its files are, and what it was made with."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from recsweep.app import FILES, Config, Job, Settings
from recsweep.build import validate
from recsweep.errors import InputError
from recsweep.run_files import CONFIG, ENVIRONMENT, read_run_id, read_tags


class PastRun(NamedTuple):
    """A run's files.

    Args:
        name: What people call it: its id in MLflow, or its results folder.
        results: The folder with its files.
        tracker: That fetched them; None = they were on disk.
    """

    name: str
    results: Path
    tracker: Any = None

    def settings(self, config: Config) -> Settings:
        """The run's configuration, checked.

        Args:
            config: Its own, with what is to be different now.

        Raises:
            InputError: It is the configuration of another version.
        """
        try:
            return validate(Settings, config, "")
        except InputError as error:
            raise of_another_version(self.name, error) from None

    def environment(self) -> dict[str, str]:
        """What the run ran with; from its tags in MLflow when it wrote no file about it.

        Raises:
            InputError: Nobody knows.
        """
        if (self.results / ENVIRONMENT).exists():
            return {"run_id": str(read_run_id(self.results)), **read_tags(self.results)}
        if self.tracker is None:
            raise InputError(
                f"a run must say what it ran with, but {self.results} has no {ENVIRONMENT}; give "
                "the id of its MLflow run, whose tags say so, or train again"
            )
        with self.tracker.store.errors_in_one_line("name the store that has the run"):
            return dict(self.tracker.store.client.get_run(self.name).data.tags)


def with_files(config: Config, job: Job) -> Config:
    """A run's configuration with the places of its files that the command line gives now.

    Args:
        config: Its own.
        job: The task's.
    """
    typed = {re.split("[@=]", text.lstrip("+~"))[0] for text in job.overrides}
    moved = [key.split(".") for key in FILES if key in typed]
    groups = {
        group: {**config.get(group, {}), leaf: job.config[group][leaf]} for group, leaf in moved
    }
    return {**config, **groups}


def objective_of(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """The metric that a run's epoch was chosen by: the first one at the largest k, if not said.

    Args:
        config: The run's.
        metrics: See `recsweep.run_files.read_metrics`.
    """
    from recsweep import evaluation

    names = list(metrics["test"]["mean"])
    of_first = f"{names[0].partition('@')[0]}@"
    said = evaluation.objective_of(config)
    return said or [name for name in names if name.startswith(of_first)][-1]


def of_another_version(name: str, error: InputError) -> InputError:
    """The complaint about a value in the configuration of the run called `name`."""
    return InputError(f"{name}: {CONFIG} cannot be used by this version: {error}")
