"""What a configuration may name that did not come from this command line: it is data, not code.

Results folders, tracked runs, bundles and registered models bring a configuration along. It may
name recsweep's own classes, and those of modules that the user trusts: nothing else is imported.
Its names are names, not paths.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from recsweep.errors import InputError
from recsweep.messages import one_line, shorten

OURS = "recsweep."
VARIABLE = "RECSWEEP_TRUST"
"""Modules that are trusted where there is no command line: names with commas in between."""
ON_COMMAND_LINE = "add 'trust=[{modules}]', or name it: --config-dir=FOLDER {group}=ITS_FILE"
IN_ENVIRONMENT = f"set {VARIABLE}={{modules}}"
"""What to do about a class that is not trusted, with a command line and without."""
SHOWN_CHARACTERS = 80
DOTTED = r"[^\W\d]\w*(\.[^\W\d]\w*)*"

Modules = Annotated[
    list[Annotated[str, Field(pattern=f"^{DOTTED}$")]],
    BeforeValidator(lambda entry: [entry] if isinstance(entry, str) else entry),
]
"""Dotted names of modules, or of classes."""


def of_environment() -> list[str]:
    """The modules that `RECSWEEP_TRUST` names."""
    names = (name.strip() for name in os.environ.get(VARIABLE, "").split(","))
    return [name for name in names if re.fullmatch(DOTTED, name)]


def is_trusted(target: str, trusted: Collection[str]) -> bool:
    """Whether a class may be imported because a stored configuration names it.

    Args:
        target: The class's dotted name.
        trusted: Names of trusted modules, which include everything in them, or of classes.
    """
    if target.startswith(OURS):
        return _is_module_of_ours(target.rpartition(".")[0])
    return any(target == name or target.startswith(f"{name}.") for name in trusted)


def refuse_foreign(
    node: Any, trusted: Collection[str], whose: str, advice: str = ON_COMMAND_LINE
) -> None:
    """Check that a part of a stored configuration names trusted classes only; imports nothing.

    Args:
        node: Mappings, lists and plain values.
        trusted: See `is_trusted`.
        whose: Where it is from, such as `row ease` or a results folder.
        advice: How the user can trust a class.

    Raises:
        InputError: Another class is named, whose import could do anything.
    """
    named = list(_targets(node, ""))
    foreign = [(key, target) for key, target in named if not is_trusted(target, trusted)]
    if not foreign:
        return
    key, target = foreign[0]
    found = shorten(repr(one_line(target)), SHOWN_CHARACTERS)
    if target.startswith(OURS) or not re.fullmatch(rf"{DOTTED}\.\w+", target):
        raise InputError(
            f"{whose} must use classes of recsweep, but uses {found}, which is not one; use "
            "the version of recsweep that wrote it, or do not use it"
        )
    others = {name.rpartition(".")[0] for _, name in named if not name.startswith(OURS)}
    modules = ",".join(sorted(name for name in others if re.fullmatch(DOTTED, name)))
    how = advice.format(modules=shorten(modules, 3 * SHOWN_CHARACTERS), group=key.partition(".")[0])
    raise InputError(
        f"{whose} uses the class {found}, which is not recsweep's; if you trust your copy of it, "
        f"{how}"
    )


def plain_name(name: object, what: str) -> str:
    """Return a name if it cannot be a path.

    Args:
        name: A name from a stored configuration or a tracking store.
        what: What it names, for the message.

    Raises:
        InputError: It could be a path.
    """
    text = str(name)
    if re.search(r"[/\\:\0\r\n]", text) or text in ("", ".", "..") or text.startswith("~"):
        found = shorten(repr(text), SHOWN_CHARACTERS)
        raise InputError(f"{what} must be a name, but is {found}, which could be a path; rename it")
    return text


def path_below(name: object) -> str:
    """Return a relative path that does not leave its folder, with `/` between its parts.

    Args:
        name: A path from a bundle, a study's files or a list of artifacts.

    Raises:
        ValueError: It is absolute, or leaves its folder on some system.
    """
    text = str(name)
    path = PurePosixPath(text)
    is_plain = str(path) == text and not path.is_absolute() and ".." not in path.parts
    if not is_plain or not path.parts or "\\" in text or ":" in text or "\0" in text:
        raise ValueError(f"{text!r:.60} is not the name of a file in it")
    return text


def _is_module_of_ours(module: str) -> bool:
    """Whether recsweep has a file for this module; names that its modules import do not count."""
    place = Path(__file__).parent.joinpath(*module.split(".")[1:])
    is_plain = re.fullmatch(DOTTED, module) is not None and "__" not in module
    return is_plain and (place.with_suffix(".py").is_file() or (place / "__init__.py").is_file())


def _targets(node: Any, at: str) -> Iterator[tuple[str, str]]:
    """Where classes are named, and their dotted names."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield f"{at}._target_".strip("."), str(node["_target_"])
        for key, child in node.items():
            yield from _targets(child, f"{at}.{key}".strip("."))
    elif isinstance(node, list | tuple):
        for child in node:
            yield from _targets(child, at)
