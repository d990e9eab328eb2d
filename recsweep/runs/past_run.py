"""A past run: its files, its configuration and its environment."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recsweep.app import FILES, OF_NOW, PLACES, Config, Job, Settings
from recsweep.build import validate
from recsweep.credentials import HIDDEN
from recsweep.defaults import published_data
from recsweep.errors import InputError
from recsweep.run_files import CONFIG, ENVIRONMENT, read_config, read_run_id, read_tags
from recsweep.trust import IN_ENVIRONMENT, ON_COMMAND_LINE, plain_name, refuse_foreign

if TYPE_CHECKING:
    from recsweep.tracking import MLflowTracker

TRAINS = "recsweep.tasks.train.Train"
"""The only task that a stored configuration may have."""
NO_COMMAND_LINE: Config = {
    "tracking": {}, "sweep": {}, "sampler": {}, "pruner": {}, "study": None, "debug": False,
}  # fmt: skip
"""What of `OF_NOW` a configuration must have, where no command line says it."""
ORIGIN = ("url", "sha256", "wheel")
"""Settings of `data` that say where it is downloaded from."""


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

    def config(self, trusted: Collection[str], own: Config | None = None) -> Config:
        """The run's configuration, as data: it names no code, path or address that could do harm.

        The cache, and addresses of data sets, are those of this command line or of recsweep's own
        YAML. Texts such as `${oc.env:NAME}` stay as they are.

        Args:
            trusted: Modules and classes whose code may be imported, see `Job.trusted`.
            own: The configuration of this command line; None = there is none.

        Raises:
            InputError: It is no training, or names a class that is not trusted, or a path.
        """
        advice, own = (ON_COMMAND_LINE if own else IN_ENVIRONMENT), own or {}
        stored = read_config(self.results)
        task = stored.get("task")
        target = task.get("_target_") if isinstance(task, Mapping) else task
        if "task" in stored and target != TRAINS:
            raise InputError(
                f"a stored run must be a training, but {self.name} has the task {target!r:.80}; "
                "give a run of task=train"
            )
        config = {
            **{name: node for name, node in stored.items() if name not in OF_NOW},
            **NO_COMMAND_LINE,
            **{name: own[name] for name in OF_NOW if name in own},
            "cache_dir": own.get("cache_dir"),
            "task": {"_target_": TRAINS},
        }
        if isinstance(stored.get("data"), Mapping):
            config["data"] = _with_known_origin(stored["data"], own.get("data") or {}, self.name)
        refuse_foreign(config, trusted, self.name, advice)  # all of what is used
        return config

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
                "the id of its MLflow run, whose tags record it, or train again"
            )
        with self.tracker.store.errors_in_one_line("name the store that has the run"):
            return dict(self.tracker.store.client.get_run(self.name).data.tags)


def _with_known_origin(data: Config, own: Config, run: str) -> Config:
    """The settings of a data set, with the addresses of recsweep's own YAML or the command line."""
    name = plain_name(data.get("name", "data"), f"data.name of {run}")
    is_same = all(own.get(key) == data.get(key) for key in ("_target_", "name"))
    known = own if is_same else published_data(str(data.get("_target_")), name)
    url = known.get("url", HIDDEN)
    if HIDDEN in str(data.get("url")):  # it cannot be used, and a message says so
        url = data["url"]
    known = {"wheel": None, "sha256": data.get("sha256"), **known, "url": url}
    origin = {key: known[key] for key in ORIGIN if key in data}
    return {**data, **origin}


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


def without_files(config: Config) -> Config:
    """A configuration that names no file of data: those are of the machine that wrote it.

    Args:
        config: A run's configuration.
    """
    kept = dict(config)
    for group, leaf in (key.split(".") for key in FILES):
        if leaf in (kept.get(group) or {}):
            kept[group] = {**kept[group], leaf: None}
    return kept


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
