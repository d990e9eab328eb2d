"""Where the YAML files are, and the defaults they give to classes instantiated directly.

A value is written once, in YAML. `EASE(l2=300)` in a notebook takes all other values from
`conf/model/ease.yaml`, as `python -m recsweep model=ease model.l2=300` does.
"""

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recsweep.build import build, validate
from recsweep.errors import InputError
from recsweep.messages import closest, one_line, shorten, suggest

T = TypeVar("T")


def conf_folder() -> Path:
    """The configuration folder: inside an installed package, else in the checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def main_file() -> Path:
    """The file that composes all groups."""
    return conf_folder() / "config.yaml"


def resolve(config: DictConfig) -> dict[str, Any]:
    """An OmegaConf configuration as plain values.

    Raises:
        InputError: A required value is missing.
    """
    try:
        return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException as error:
        reason, key = str(error).splitlines()[0], error.full_key
        raise InputError(f"{key} must have a value, but has none: {reason}; set {key}") from error


def build_choice(group: str, choice: str) -> Any:
    """Build the object that a file of a group describes.

    Args:
        group: The file's folder, such as `metrics`.
        choice: The file's stem.

    Raises:
        InputError: There is no such file.
    """
    files = {file.stem: file for file in sorted((conf_folder() / group).glob("*.yaml"))}
    if choice not in files:
        hint = suggest(closest(choice, files), f"set {group}=CHOICE")
        shown = shorten(one_line(choice), 80)
        raise InputError(f"{group} must be among {', '.join(files)}, but is {shown}; {hint}")
    return build(OmegaConf.to_container(OmegaConf.load(files[choice])), group)


def published_data(target: str, name: str) -> dict[str, Any]:
    """The settings of a data set in its YAML file; empty if there is no file for it.

    Args:
        target: Dotted name of its class.
        name: Its `name`.
    """
    for file in sorted((conf_folder() / "data").glob("*.yaml")):
        content: Any = OmegaConf.to_container(OmegaConf.load(file))
        found: dict[str, Any] = content.get("data", content)
        if (found.get("_target_"), found.get("name")) == (target, name):
            return found
    return {}


def with_defaults(group: str) -> Callable[[type[T]], type[T]]:
    """Let a class take missing arguments from the YAML file with its `_target_`.

    Objects built from a configuration do not use these defaults: a value missing there is an
    error.

    Args:
        group: The file's folder, such as `model`.

    Returns:
        A decorator for pydantic dataclasses. Invalid values then raise a one-line `InputError`, as
        on the command line.
    """

    def decorate(cls: type[T]) -> type[T]:
        @wraps(cls.__init__)
        def __init__(self: T, **values: Any) -> None:  # noqa: N807 - it becomes the method
            name = f"{cls.__module__}.{cls.__qualname__}"
            known = _values(group, name).items()
            missing = {key: node for key, node in known if key not in values}
            validate(cls, {**build(missing, group), **values}, group, self)

        setattr(cls, "__init__", __init__)  # noqa: B010 - a type checker knows the method as it was
        return cls

    return decorate


def _values(group: str, target: str) -> dict[str, Any]:
    """The values in a class's file, including choices of other groups it refers to."""
    for file in sorted((conf_folder() / group).glob("*.yaml")):
        content: Any = OmegaConf.load(file)
        if content.get(group, content).get("_target_") == target:
            for other, choice in _choices(content).items():
                content.setdefault(other, OmegaConf.load(conf_folder() / other / f"{choice}.yaml"))
            found: Any = OmegaConf.to_container(content, resolve=True)
            return {k: v for k, v in found.get(group, found).items() if k != "_target_"}
    return {}


def _choices(content: Any) -> dict[str, str]:
    """Groups that values such as `${optimizer}` refer to -> the file's choice or the default."""
    usual: Any = OmegaConf.load(main_file())
    choices: dict[str, str] = {}
    for entry in [*usual.defaults, *content.get("defaults", [])]:
        for key, choice in dict(entry).items() if entry != "_self_" else ():
            choices[str(key).removeprefix("override ").strip("/")] = str(choice)
    referred = re.findall(r"\$\{(\w+)\}", OmegaConf.to_yaml(content, resolve=False))
    return {group: choices[group] for group in referred if group in choices}
