"""Building blocks of messages and tables: one line, a close name, aligned columns."""

import difflib
import sys
from collections.abc import Iterable, Sequence

from recsweep.credentials import redact


def one_line(text: object) -> str:
    """A text or an error on one line; runs of white space become one space."""
    return " ".join(str(text).split())


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


def print_to_stderr(line: str) -> None:
    """Print a line of progress or a warning at once; stdout is for results."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - the one place that prints progress


def align_columns(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table with right-aligned columns as wide as needed.

    Args:
        head: A title per column.
        body: A list of cells per line, at least one line; empty columns are dropped.
    """
    columns = [c for c in zip(head, *body, strict=True) if any(c[1:])]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in zip(*columns, strict=True)
    ]
    return [lines[0], "─" * max(map(len, lines)), *lines[1:]]
