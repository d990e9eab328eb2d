"""Reads YAML and JSON that others may have written: within limits, and as plain data only.

No text of a file makes a reader hang, recurse too deeply or fill the memory: size, depth, length of
numbers and the number of values after aliases are expanded are limited, tags and directives are
refused, and so is what is no regular file.
"""

import json
import math
import re
from os.path import exists, isfile  # which raise no error
from pathlib import Path
from typing import Any, NoReturn

import yaml

MAX_BYTES, MAX_JSON_BYTES = 1 << 24, 1 << 22
"""Size of a YAML document, and of a JSON document."""
MAX_DEPTH = 64
"""Mappings and lists inside one another."""
MAX_VALUES = 250_000
"""Values of a YAML document, those of an alias counted each time."""
MAX_NUMBER = 1_000
"""Characters of a number."""
MAX_NUMERIC_KEY = 15
"""Characters of a key that is a whole number: longer ones can all have the same hash."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The faster one, where PyYAML has it."""
_DIRECTIVE = re.compile(r"(?:\A|[\r\n\x85\u2028\u2029])\ufeff?%")
_LONG_NUMBER = re.compile(rf"[-+.:\w]{{{MAX_NUMBER},}}")


def read_yaml(file: Path) -> Any:
    """The content of a YAML file, see `parse_yaml`; OSError if it cannot be read."""
    return parse_yaml(read_bytes(file, MAX_BYTES))


def read_json(file: Path) -> Any:
    """The content of a JSON file, see `parse_json`; OSError if it cannot be read."""
    return parse_json(read_bytes(file, MAX_JSON_BYTES))


def parse_yaml(text: str | bytes) -> Any:
    """The content of a YAML document: mappings, lists, texts, numbers, booleans, dates and null.

    Args:
        text: The document; bytes are UTF-8.

    Raises:
        ValueError: It exceeds a limit, has a tag or a directive, or contains itself.
        yaml.YAMLError: It is no YAML.
    """
    text = _text(text, MAX_BYTES)
    if _DIRECTIVE.search(text):
        raise ValueError("no line of it may begin with %, as directives do")
    _Limits().hold(text)
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except (RecursionError, OverflowError) as error:
        raise ValueError(f"it cannot be read: {error}") from error


def parse_json(text: str | bytes) -> Any:
    """The content of a JSON document, all of whose numbers are finite.

    Args:
        text: The document; bytes are UTF-8.

    Raises:
        ValueError: It exceeds a limit, is no JSON, or has NaN, an infinity or a number beyond
            float64.
    """
    try:
        content = json.loads(
            _text(text, MAX_JSON_BYTES),
            parse_constant=_refuse_number,
            parse_float=_finite,
            parse_int=_whole,
        )
    except RecursionError as error:
        raise _too_deep() from error
    _refuse_depth(content)
    return content


def read_bytes(file: Path, max_bytes: int) -> bytes:
    """The content of a regular file.

    Args:
        file: A file, or a link to one: pipes and devices have no end.
        max_bytes: Its largest size.

    Raises:
        ValueError: It is no regular file, or larger.
        OSError: It cannot be read.
    """
    refuse_no_file(file)
    with file.open("rb") as stream:
        content = stream.read(max_bytes + 1)
    _refuse_size(content, max_bytes)
    return content


def refuse_no_file(file: Path) -> None:
    """Raise ValueError for a pipe or a device, which a reader could wait for or never end."""
    if exists(file) and not isfile(file):  # noqa: PTH110, PTH113
        raise ValueError("it must be a regular file, but is a folder, a pipe or a device")


def _refuse_size(content: str | bytes, n_most: int) -> None:
    if len(content) > n_most:
        raise ValueError(f"it must have at most {n_most:,} bytes, but has more")


def _text(content: str | bytes, n_most: int) -> str:
    _refuse_size(content, n_most)
    return content if isinstance(content, str) else content.decode("utf-8")


class _Loader(_LOADER):
    """Refuses keys that could all have the same hash: a mapping of them takes quadratic time."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # PyYAML's own signature
        """The mapping of a node."""
        self.flatten_mapping(node)
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:int" and len(key.value) > MAX_NUMERIC_KEY:
                _refuse_number(key.value)
        return super().construct_mapping(node, deep)


class _Limits:
    """Counts what a YAML document would become, from its events, which need no recursion."""

    def __init__(self) -> None:
        self.n_values = 0
        self.anchors: dict[str, int] = {}
        self.open: list[tuple[str | None, int]] = []
        """Anchors of the open mappings and lists, and the number of values before them."""

    def hold(self, text: str) -> None:
        """Raise ValueError if the document exceeds a limit."""
        for event in yaml.parse(text, _LOADER):
            if isinstance(event, yaml.AliasEvent):
                self._add(self._of_anchor(event.anchor))
            elif isinstance(event, yaml.ScalarEvent):
                _refuse_tag(event)
                if event.implicit[0] and _LONG_NUMBER.fullmatch(event.value):
                    _refuse_number(event.value)
                self._note(event.anchor, self.n_values)
                self._add(1)
            elif isinstance(event, yaml.CollectionStartEvent):
                _refuse_tag(event)
                self.open.append((event.anchor, self.n_values))
                self._add(1)
                if len(self.open) > MAX_DEPTH:
                    raise _too_deep()
            elif isinstance(event, yaml.CollectionEndEvent):
                self._note(*self.open.pop())

    def _add(self, n_values: int) -> None:
        self.n_values += n_values
        if self.n_values > MAX_VALUES:
            raise ValueError(f"it must have at most {MAX_VALUES:,} values, but has more")

    def _note(self, anchor: str | None, n_before: int) -> None:
        """Note how many values an alias of this anchor stands for."""
        if anchor is not None:
            self.anchors[anchor] = max(self.n_values - n_before, 1)

    def _of_anchor(self, anchor: str | None) -> int:
        if anchor is None or anchor not in self.anchors:
            raise ValueError(f"the alias {anchor!r:.40} must follow what it stands for")
        return self.anchors[anchor]


def _refuse_tag(event: Any) -> None:
    if event.tag is not None:
        raise ValueError(f"it must have no tags, but has {event.tag!r:.60}")


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"every number must be finite and short, but one is {text!r:.40}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _refuse_number(text)
    return number


def _whole(text: str) -> int:
    if len(text) > MAX_NUMBER or not math.isfinite(float(text)):
        _refuse_number(text)
    return int(text)


def _refuse_depth(content: Any) -> None:
    """Raise ValueError if mappings and lists are inside one another too deeply."""
    level = [content] if isinstance(content, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> ValueError:
    return ValueError(f"its values must be at most {MAX_DEPTH} levels deep, but are deeper")
