"""A run that is used again: where its files are, and what they say."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml

from recsweep.app import Config, Settings, made
from recsweep.build import validated
from recsweep.errors import InputError
from recsweep.tracking import LATEST, MODEL

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


def find(run: str, setting: str, settings: Settings, folder: Path) -> PastRun:
    """A finished run, fetched when it is tracked.

    Args:
        run: Its id in MLflow, `latest`, or its results folder.
        setting: Where the user has named it, such as `task.run`.
        settings: Say where runs are tracked.
        folder: An existing, empty one for files that are fetched.

    Raises:
        InputError: There is no such run, it did not finish, or it has no model.
    """
    path = Path(os.path.expanduser(run))  # noqa: PTH111 - unknown ~user: not found
    is_name = path.name == run and not path.is_dir()
    if is_name or run == LATEST:
        tracker = made(settings, "tracking", "download")
        try:
            return PastRun(tracker.download(run, folder), folder, tracker)
        except InputError as error:
            raise InputError(str(error).replace("task.run", setting)) from error
    if path.absolute().parent.name == "trials" and path.is_dir():
        raise InputError(
            f"{setting} must be a run with a model and a test, but {run} is a trial of a sweep, "
            "which has neither; give the winner's results folder, or train what task=best prints"
        )
    if not (path / MODEL).is_dir():
        raise InputError(
            f"{setting} must be the results folder of a run, but {run} has no folder {MODEL}; give "
            "OUTPUT_FOLDER/results, the id of a run, or latest"
        )
    return PastRun(run, path)


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
