"""Building blocks of messages and tables: one line, a close name, aligned columns."""

import difflib
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from recsweep.credentials import redact

_CONTROL = re.compile(r"[\x00-\x08\n-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What a terminal obeys instead of showing it: escape sequences, line breaks, the direction of
text; a tab is text."""


def one_line(text: object) -> str:
    """A text or an error on one line; runs of white space become one space."""
    return escape_controls(" ".join(str(text).split()))


def escape_controls(text: str) -> str:
    r"""A text that a terminal shows as it is: an escape character becomes `\x1b`."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def describe_error(error: BaseException) -> str:
    """An error on one line, after its class and without credentials: `KeyError: 'model'`."""
    return one_line(f"{type(error).__name__}: {redact(error)}")


def shorten(text: str, n_characters: int) -> str:
    """The text, cut to so many characters with … at its end."""
    return text if len(text) <= n_characters else f"{text[: n_characters - 1]}…"


def closest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that was probably meant, in whatever case; None = none is similar.

    Args:
        name: As typed.
        known: The existing names.
        cutoff: How similar it must be, from 0 to 1.
    """
    names = {each.lower(): each for each in known}
    return next(map(names.get, difflib.get_close_matches(name.lower(), names, 1, cutoff)), None)


def alike(name: str, known: Sequence[str]) -> list[str]:
    """Known names that contain the typed one, or else resemble it."""
    names, typed = {each.lower(): each for each in known}, name.lower()
    found = [each for each in names if typed in each] or difflib.get_close_matches(typed, names)
    return [names[each] for each in found]


def suggest(meant: str | None, otherwise: str) -> str:
    """The end of an error: `did you mean X?`, or what else to do if no name is similar."""
    return f"did you mean {meant}?" if meant else otherwise


def print_to_stdout(*lines: str) -> None:
    """Print lines of a result at once, see `print_to`."""
    print_to(sys.stdout, *lines)


def print_to_stderr(*lines: str) -> None:
    """Print lines of progress or a warning at once, see `print_to`; stdout is for results."""
    print_to(sys.stderr, *lines)


def print_to(stream: TextIO, *lines: str) -> None:
    """Print lines at once; those of a text that another wrote cannot become several.

    Args:
        stream: Where to.
        lines: One line each: control characters and line breaks in it are escaped.
    """
    print("\n".join(map(escape_controls, lines)), file=stream, flush=True)


def align_columns(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table with right-aligned columns as wide as needed.

    Args:
        head: A title per column.
        body: A list of cells per line, at least one line; empty columns are dropped.
    """
    rows = [[escape_controls(cell) for cell in cells] for cells in (head, *body)]
    columns = [c for c in zip(*rows, strict=True) if any(c[1:])]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in zip(*columns, strict=True)
    ]
    return [lines[0], "─" * max(map(len, lines)), *lines[1:]]
