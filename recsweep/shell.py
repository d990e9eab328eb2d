"""Commands: the typed one, and printed ones to paste into a terminal."""

import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise

_typed: ContextVar[Sequence[str] | None] = ContextVar("typed", default=None)
COMMAND = "python -m recsweep"
READ_AS_NO_TEXT = ("true", "false", "null", "nan", "inf", "none")


def command_line_arguments() -> list[str]:
    """The arguments typed after `python -m recsweep`, or their equivalent for an API call."""
    arguments = _typed.get()
    return list(sys.argv[1:] if arguments is None else arguments)


def config_flags() -> list[str]:
    """The typed option that names a folder of configurations, which printed commands need too."""
    return [
        f"--config-dir={folder}"
        for word, after in pairwise([*command_line_arguments(), ""])
        for name, sign, given in [word.partition("=")]
        if name in ("--config-dir", "-cd") and (folder := given if sign else after)
    ]


@contextmanager
def use_arguments(arguments: Sequence[str]) -> Iterator[None]:
    """Make `command_line_arguments` return these arguments in this context.

    Args:
        arguments: The equivalent arguments on the command line.
    """
    token = _typed.set(arguments)
    try:
        yield
    finally:
        _typed.reset(token)


def command(*words: str) -> str:
    """`python -m recsweep` with these words.

    Args:
        words: Options, and settings as returned by `setting`.
    """
    return shlex.join([*COMMAND.split(), *words])


def setting(key: str, value: str) -> str:
    """`key=value` with the quotes that Hydra needs; `command` adds those for the shell.

    Args:
        key: A key such as `task.run`.
        value: Any text.
    """
    is_plain = re.fullmatch(r"[A-Za-z0-9_./][A-Za-z0-9_./+:-]*", value)
    if is_plain and value.lower() not in READ_AS_NO_TEXT and not _is_number(value):
        return f"{key}={value}"
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', value)  # a backslash is literal except before a quote
    ending = re.search(r"\\*$", escaped)
    return f'{key}="{escaped}{ending[0] if ending else ""}"'


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
