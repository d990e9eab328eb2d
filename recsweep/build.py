"""Turns `{_target_: dotted.Class, key: value}` into an object; errors name the wrong value.

Hydra's `instantiate` does the same, but hides pydantic's error in a chain of exceptions and
accepts any function as a class; also, layers below the application may not import Hydra.
"""

import re
from collections.abc import Mapping
from importlib import import_module
from inspect import isabstract
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ArgsKwargs, ErrorDetails

from recsweep.documents import parse_yaml
from recsweep.errors import InputError
from recsweep.known_keys import unknown_key
from recsweep.messages import closest, shorten
from recsweep.trust import DOTTED, OURS

_BOUNDS = {
    "ge": ("at least", "greater than or equal to"),
    "gt": ("above", "greater than"),
    "le": ("at most", "less than or equal to"),
    "lt": ("below", "less than"),
}
"""Bounds of a field: recsweep's words and pydantic's."""
_SHOWN_CHARACTERS = 80


def build(spec: Any, at: str) -> Any:
    """Build a configuration node, its children first.

    Args:
        spec: A mapping with `_target_`, or any plain value, which is returned unchanged.
        at: The node's path in the configuration, such as `model`.

    Raises:
        InputError: The class does not exist, or a value is missing, unknown or out of range.
    """
    if isinstance(spec, list):
        return [build(entry, at) for entry in spec]
    if not isinstance(spec, Mapping):
        return spec
    values = {key: build(value, f"{at}.{key}") for key, value in spec.items() if key != "_target_"}
    return validate(_locate(spec["_target_"], at), values, at) if "_target_" in spec else values


def _locate(target: Any, at: str) -> type:
    """The class with this dotted name; it must be one that validates its values."""
    module, _, name = str(target).rpartition(".")
    try:
        if not re.fullmatch(DOTTED, str(target)) or module.endswith(".__main__"):
            raise ValueError("it is not the dotted name of a class")  # noqa: TRY301 - like the others
        found = getattr(import_module(module), name)
        if module.startswith(OURS) and not getattr(found, "__module__", "").startswith(OURS):
            raise ValueError(f"{name} is not recsweep's")  # noqa: TRY301 - like the others
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"{at}._target_ must be the dotted name of a class that can be imported, but "
            f"{target!r} is not ({error}); check its spelling and that its extra is installed"
        ) from error
    is_class = isinstance(found, type) and not isabstract(found)
    if not (is_class and hasattr(found, "__pydantic_validator__")):
        raise InputError(
            f"{at}._target_ must be a class that checks its values, but {target!r} is not; "
            "decorate it with pydantic.dataclasses.dataclass and define all of its methods"
        )
    return found


def is_deterministic(model: Mapping[str, Any]) -> bool:
    """Whether a model's class says that its training draws no random number.

    Args:
        model: The group `model` of a configuration.
    """
    found = _locate(model.get("_target_"), "model")
    return getattr(found, "is_deterministic", False) is True


def validate(target: Any, values: Mapping[str, Any], at: str, instance: Any = None) -> Any:
    """Create an instance with exactly these values; pydantic's error becomes one sentence.

    Args:
        target: A pydantic dataclass.
        values: Its arguments.
        at: Their path in the configuration, such as `model`; empty at the top.
        instance: An uninitialised instance; None = a new one.

    Raises:
        InputError: A value is missing, unknown or out of range.
    """
    try:
        made = target.__new__(target) if instance is None else instance
        arguments = ArgsKwargs((), dict(values))
        target.__pydantic_validator__.validate_python(arguments, self_instance=made)
    except ValidationError as error:
        raise InputError(_sentence(error, at, target.__pydantic_fields__)) from error
    return made


def _sentence(error: ValidationError, at: str, fields: Mapping[str, FieldInfo]) -> str:
    first = error.errors(include_url=False)[0]
    key = at
    for part in first["loc"]:
        key += f"[{part}]" if isinstance(part, int) else f".{part}"
    key = key.strip(".")
    if first["type"] == "unexpected_keyword_argument":
        return unknown_key(key, [f"{at}.{name}".strip(".") for name in fields])
    if first["type"].startswith("missing"):
        return f"{key} must be given, but is missing; add {key}=VALUE"
    if first["type"] == "value_error":
        reason = str(first["ctx"]["error"])
        return reason if not key or reason.startswith(key) else f"{key}: {reason}"
    setting = key.partition("[")[0]
    if first["type"] == "too_short" and not first["input"]:
        n_least = first["ctx"]["min_length"]
        values = ",".join(["VALUE"] * n_least)
        return (
            f"{setting} must have at least {n_least} item{'s' * (n_least > 1)}, but is [], an "
            f"empty list; write '{setting}=[{values}]'"
        )
    requirement = _requirement(first, fields.get(setting.rpartition(".")[2]))
    found = shorten(repr(first["input"]), _SHOWN_CHARACTERS)
    return f"{key} {requirement}, but is {found}; {_hint(first, setting)}"


def _requirement(detail: ErrorDetails, field: FieldInfo | None) -> str:
    """The requirement: both ends of a range, else pydantic's own words."""
    bounds = [
        f"{words} {getattr(bound, name)}"
        for bound in getattr(field, "metadata", [])
        for name, (words, _) in _BOUNDS.items()
        if hasattr(bound, name)
    ]
    if bounds and detail["type"].startswith(("greater_than", "less_than")):
        return f"must be {' and '.join(bounds)}"
    if detail["type"] == "path_type":
        return "must be a path"
    message = re.sub(r"^\w+ should ", "must ", detail["msg"])
    for ours, theirs in _BOUNDS.values():
        message = message.replace(theirs, ours)
    return re.sub(r",? (unable to|got a|after) .*", "", message)


def _hint(detail: ErrorDetails, setting: str) -> str:
    """The closest choice, else the setting to change."""
    choices = re.findall(r"'([^']+)'", str(detail.get("ctx", {}).get("expected", "")))
    if close := closest(str(detail["input"]), choices):
        return f"did you mean {close}?"
    given = detail["input"]
    if detail["type"].startswith("bool"):
        return f"write {setting}=true or {setting}=false"
    if isinstance(given, str) and given.strip() and not isinstance(_read(given), str | None):
        return (
            f"change {setting}; it is text, not a number or a list: leave quotes out, and read a "
            f"variable with '{setting}=${{oc.decode:${{oc.env:NAME}}}}'"
        )
    if isinstance(given, list) and not detail["type"].startswith("too_"):
        searched = setting.startswith(("model.", "optimizer."))
        return f"give one value{f'; a search over several is -m {setting}=A,B' * searched}"
    return f"change {setting}"


def _read(text: str) -> Any:
    """The value of a text in YAML."""
    try:
        return parse_yaml(text)
    except (yaml.YAMLError, ValueError):
        return text
