"""Turns `{_target_: dotted.Class, key: value}` into an object, or says which value is wrong.

Hydra's `instantiate` does the same, but hides what pydantic says of a value in a chain of
exceptions, and layers below the application may not import Hydra.
"""

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from recsweep.errors import InputError


def build(spec: Any, at: str) -> Any:
    """Build a configuration node, its children first.

    Args:
        spec: A mapping with `_target_`, or any plain value, which is returned as it is.
        at: Where the node stands in the configuration, such as `model`.

    Raises:
        InputError: The class does not exist, or a value is missing, unknown or out of range.
    """
    if isinstance(spec, list):
        return [build(entry, at) for entry in spec]
    if not isinstance(spec, Mapping):
        return spec
    values = {key: build(value, f"{at}.{key}") for key, value in spec.items() if key != "_target_"}
    return validated(_locate(spec["_target_"], at), values, at) if "_target_" in spec else values


def _locate(target: str, at: str) -> Any:
    module, _, name = str(target).rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"{at}._target_ must be the dotted name of a class that can be imported, but {target!r} "
            f"is not ({error}); check its spelling and that its extra is installed"
        ) from error


def validated(target: Any, values: Mapping[str, Any], at: str) -> Any:
    """`target(**values)`; pydantic's complaint becomes one sentence.

    Raises:
        InputError: A value is missing, unknown or out of range.
    """
    try:
        return target(**values)
    except ValidationError as error:
        known = list(getattr(target, "__pydantic_fields__", {}))
        raise InputError(_sentence(error, at, known)) from error


def _sentence(error: ValidationError, at: str, known: list[str]) -> str:
    first = error.errors(include_url=False)[0]
    key = ".".join([at, *(str(part) for part in first["loc"])]).strip(".")
    if "unexpected" in first["type"] or first["type"] == "extra_forbidden":
        return f"{unknown_key(key, [f'{at}.{name}'.strip('.') for name in known])}"
    if "missing" in first["type"]:
        return f"{key} must be given, but is missing; add {key}=VALUE"
    reason = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
    if first["type"] == "value_error":
        return f"{key}: {reason}"
    return f"{key} {reason}, but {first['input']!r} was found; change {key}"


def unknown_key(key: str, known: list[str]) -> str:
    """A sentence about a key that nobody knows.

    Args:
        key: As written, with its path.
        known: The keys that exist, with their paths.
    """
    close = difflib.get_close_matches(key, known, n=1)
    leaf = key.rpartition(".")[2]
    close = close or [name for name in known if name.rpartition(".")[2] == leaf][:1]
    hint = f"did you mean {close[0]}?" if close else "python -m recsweep --help lists all keys"
    return f"a key must exist in the configuration, but {key} does not; {hint}"
