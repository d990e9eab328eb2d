"""A run that is used again: where its files are, and what they say."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml

from recsweep.app import FILES, Config, Job, Settings
from recsweep.build import validated
from recsweep.errors import InputError

Content = TypeVar("Content")


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
            config: What `config.yaml` says, with what is to be different now.

        Raises:
            InputError: It is the configuration of another version.
        """
        try:
            return validated(Settings, config, "")
        except InputError as error:
            raise of_another_version(self.name, error) from None

    def environment(self) -> dict[str, str]:
        """What the run ran with; from its tags in MLflow when it wrote no file about it.

        Raises:
            InputError: Nobody knows.
        """
        file = self.results / "environment.yaml"
        if file.exists():
            return {str(name): str(value) for name, value in read_yaml(file).items()}
        if self.tracker is None:
            raise InputError(
                f"a run must say what it ran with, but {self.results} has no {file.name}; give the "
                "id of its MLflow run, whose tags say so, or train again"
            )
        with self.tracker.store.one_line("name the store that has the run"):
            return dict(self.tracker.store.client.get_run(self.name).data.tags)


def with_files(config: Config, job: Job) -> Config:
    """A run's configuration with the places of its files that the command line gives now.

    Args:
        config: What `config.yaml` says.
        job: The task's.
    """
    typed = {re.split("[@=]", text.lstrip("+~"))[0] for text in job.overrides}
    moved = [key.split(".") for key in FILES if key in typed]
    groups = {
        group: {**config.get(group, {}), leaf: job.config[group][leaf]} for group, leaf in moved
    }
    return {**config, **groups}


def read_metrics(results: Path) -> Config:
    """What a run's `metrics.json` says."""
    return read(
        results / "metrics.json", lambda file: json.loads(file.read_text(encoding="utf-8")), dict
    )


def objective_of(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """The metric that a run's epoch was chosen by: the first one at the largest k, if not said.

    Args:
        config: The run's.
        metrics: See `read_metrics`.
    """
    from recsweep import evaluation

    names = list(metrics["test"]["mean"])
    of_first = f"{names[0].partition('@')[0]}@"
    said = evaluation.objective_of(config)
    return said or [name for name in names if name.startswith(of_first)][-1]


def of_another_version(name: str, error: InputError) -> InputError:
    """The complaint about a value in the configuration of the run called `name`."""
    return InputError(f"{name}: config.yaml cannot be used by this version: {error}")


def read_yaml(file: Path) -> Config:
    """A mapping that a run wrote as YAML."""
    return read(file, parse_yaml, dict)


def parse_yaml(file: Path) -> Any:
    """The content of a YAML file."""
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def read(file: Path, parse: Callable[[Path], Any], kind: type[Content]) -> Content:
    """What a file of a run holds.

    Args:
        file: One that every run has.
        parse: Reads it.
        kind: What must come out.

    Raises:
        InputError: It is not there, or damaged.
    """
    try:
        content = parse(file)
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        content = error
    if not isinstance(content, kind):
        raise InputError(
            f"a run must come with a readable {file.name}, but {file} is not "
            f"({' '.join(str(content).split())}); copy the run's whole folder again, or train again"
        )
    return content
