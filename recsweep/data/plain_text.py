"""Plain text that people hand in: lists of users, and `user item [value]` lines.

Ids are text here; what they mean in a data set is for the caller to find out.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from recsweep.data.formats import Layout
from recsweep.data.interactions import quoted
from recsweep.data.table import read_table
from recsweep.errors import InputError

DELIMITERS = ("\t", ",", " ")
USER_HEADERS = {"user", "user_id", "userid", "uid"}
"""A first line that begins with one of these names the columns."""


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line, with what ends it.

    Raises:
        InputError: The file is missing, cannot be read, or is not UTF-8.
    """
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, line in enumerate(file, 1):
                yield number, line
    except OSError as error:
        raise InputError(
            f"{path} must be a file that can be read, but cannot ({error.strerror}); give another"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} must be UTF-8 text, but what follows line {number:,} is not; convert it"
        ) from error


def read_users(path: Path) -> list[str]:
    """One user id per line; blank lines are skipped, and a user who is named again.

    Raises:
        InputError: The file cannot be read, or names nobody.
    """
    users = dict.fromkeys(line.rstrip("\r\n") for _, line in text_lines(path) if line.strip())
    if not users:
        raise InputError(f"{path} must name at least one user, one per line, but names none")
    return list(users)


def read_pairs(path: Path) -> pd.DataFrame:
    """`user item [value]` lines, separated by tabs, commas or single spaces.

    A first line that begins with `user` (or `user_id`, `userid`, `uid`) is a header.

    Returns:
        `user` and `item` (text, as categories) and, if the file has it, `value` (at least 0), in
        file order.

    Raises:
        InputError: The file cannot be read, holds a malformed line, or a pair twice.
    """
    layout = _layout(path)
    table = read_table(path, layout)
    repeats = table.duplicated(["user", "item"])
    if repeats.any():
        user, item = table.loc[repeats, ["user", "item"]].iloc[0]
        raise InputError(
            f"{path} must hold each pair of user and item once, but {int(repeats.sum()):,} "
            f"lines repeat one (first: user {quoted(user)}, item {quoted(item)}); merge them"
        )
    return table if layout.value else table.drop(columns="value")


def _layout(path: Path) -> Layout:
    """How the file is written, judged by its first line."""
    line = next((text.rstrip("\r\n") for _, text in text_lines(path) if text.strip()), None)
    if line is None:
        raise InputError(f"{path} must hold at least one line of user item [value], but is empty")
    for delimiter in DELIMITERS:
        fields = [field.strip() for field in next(csv.reader([line], delimiter=delimiter))]
        if len(fields) in (2, 3):
            break
    else:
        raise InputError(
            f"every line of {path} must be user item [value], separated by a space, a tab or a "
            f"comma, but the first is {quoted(line)}; mend it"
        )
    has_header = fields[0].lower() in USER_HEADERS
    names = fields if has_header else ["user", "item", "value"][: len(fields)]
    return Layout(
        delimiter=delimiter,
        columns=None if has_header else tuple(names),
        user=names[0],
        item=names[1],
        value=names[2] if len(names) == 3 else None,
        quoting="minimal" if delimiter == "," else "none",
    )
