"""The composition root: configuration -> objects -> one run."""

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.build import build, validated
from recsweep.errors import InputError
from recsweep.interfaces import STRICT

# The rest is imported where it is used: --help must not wait for pandas, MLflow or a backend.

Config = dict[str, Any]
DATA_STEPS = (("data", "load"), ("transform", "apply"), ("split", "split"))
"""Groups on the way from files to a split, and what each must be able to do."""


@dataclass(kw_only=True, config=STRICT)
class Settings:
    """The top of the configuration; groups and metrics are checked where they are built.

    Args:
        seed: Of initial weights, order of users and noise.
        backend: What trains and ranks.
        threads: CPU threads of the backend; None = all cores.
        patience: Epochs without gain after which training stops; None = never.
        cache_dir: Downloads and prepared splits; None = the user's cache folder.
        debug: Show tracebacks.
        evaluation_batch_size: Users who are scored at a time.
        refit: After the best epoch is known, train anew on training and validation together.
    """

    seed: Annotated[int, Field(ge=0)]
    backend: Literal["jax", "tensorflow"]
    threads: Annotated[int, Field(ge=1, le=1024)] | None
    patience: Annotated[int, Field(ge=1)] | None
    cache_dir: Annotated[Path, Field(strict=False)] | None
    debug: bool
    k: Any
    metrics: Any
    objective: Any
    evaluation_batch_size: Annotated[int, Field(ge=1)]
    refit: bool
    task: Config
    data: Config
    transform: Config
    split: Config
    optimizer: Config
    model: Config
    search: Config
    tracking: Config

    @property
    def cache(self) -> Path:
        """Folder for downloads and prepared splits."""
        import platformdirs

        return (self.cache_dir or Path(platformdirs.user_cache_dir("recsweep"))).expanduser()


class Job(NamedTuple):
    """What a task is given.

    Args:
        settings: The checked top of the configuration.
        config: All of it, resolved, to be written down: without passwords.
        overrides: What the command line changed, without passwords.
        results: The folder that the task may make.
    """

    settings: Settings
    config: Config
    overrides: list[str]
    results: Path


def run(config: Config, folder: Path, overrides: list[str]) -> None:
    """Do what `task=` says.

    Args:
        config: Resolved; see `conf/config.yaml`.
        folder: For what the run writes.
        overrides: What the command line changed.

    Raises:
        InputError: Something in the configuration or the data cannot be used.
    """
    from recsweep.tracking import without_passwords

    settings = validated(Settings, config, "")
    config, overrides = without_passwords([config, overrides])
    made(settings, "task", "run").run(Job(settings, config, overrides, folder / "results"))


def made(settings: Settings, group: str, method: str) -> Any:
    """What a group of the configuration describes.

    Args:
        settings: The top of the configuration.
        group: One of its groups, such as `model`.
        method: What the object must be able to do.
    """
    thing = build(getattr(settings, group), group)
    if not callable(getattr(thing, method, None)):
        raise InputError(
            f"{group}._target_ must name a class with a method {method}, but "
            f"{type(thing).__name__} has none; choose one with {group}=CHOICE"
        )
    return thing


def prepared(settings: Settings) -> Any:
    """The split that `data`, `transform` and `split` describe, from the cache if it is there."""
    from recsweep.data.cache import prepare

    source, transform, splitter = (made(settings, *step) for step in DATA_STEPS)
    return prepare(source, transform, splitter, settings.cache)


def data_name(settings: Settings) -> str:
    """What tables and MLflow call the data set."""
    return str(settings.data.get("name", "data"))


def sizes(settings: Settings, split: Any) -> str:
    """One line about how large a split is."""
    n = split.profile()
    return (
        f"{data_name(settings)}: {n['n_train_interactions']:,} interactions of "
        f"{n['n_train_users']:,} users on {n['n_items']:,} items; {n['n_valid_users']:,} users to "
        f"validate, {n['n_test_users']:,} to test"
    )


def parameters(node: Any, prefix: str = "") -> dict[str, Any]:
    """Every leaf of the configuration under its dotted name."""
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    leaves = {}
    for key, value in node.items():
        leaves.update(parameters(value, f"{prefix}.{key}".strip(".")))
    return leaves
