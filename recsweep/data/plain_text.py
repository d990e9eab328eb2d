"""Plain text input: lists of users, and `user item [value]` lines.

Ids are text here; the caller looks them up in a data set.
"""

import csv
import io
import logging
import lzma
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd
import pyarrow as pa

from recsweep.data.columns import KNOWN, by_name_or_place, looks_like_names, plain, roles, tell
from recsweep.data.formats import Columnar, Layout, Quoting
from recsweep.data.ids import id_text
from recsweep.data.interactions import quote
from recsweep.data.table import read_table, table_file
from recsweep.data.text_stream import open_text, other_format
from recsweep.errors import InputError
from recsweep.files import read_errors_in_one_line
from recsweep.messages import one_line, shorten

if TYPE_CHECKING:
    from _csv import Reader

log = logging.getLogger(__name__)

DELIMITERS = ("\t", ",", ";", " ")
PAIRS = Layout(",", None, "user", "item", None, has_settings=False)
N_JUDGED = 1_000
"""Number of lines used to detect a header."""


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line, with its line ending.

    The file may be packed and encoded as one of `data=csv`.

    Raises:
        InputError: The file is missing, cannot be read, or is not text.
    """
    number = 0
    try:
        with read_errors_in_one_line(path):
            stream = open_text(path) if path.is_file() else path.open("rb")  # a pipe has no start
            with io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
                for number, line in enumerate(text, 1):
                    yield number, line
    except UnicodeDecodeError as error:
        kind = other_format(path) if path.is_file() else None
        found = f"is {kind}" if kind else f"line {number + 1:,} or one soon after it is not"
        raise InputError(f"{path} must be UTF-8 text, but {found}; convert or unpack it") from error
    except (pa.ArrowException, EOFError, lzma.LZMAError) as error:
        reason = shorten(one_line(error), 250)
        raise InputError(
            f"{path} must be text, but is damaged ({reason}); give another file"
        ) from error


def read_users(path: Path) -> list[str]:
    """Read one user id per line; blank lines and repeated users are skipped.

    A first line such as `user_id` is a header.

    Raises:
        InputError: The file cannot be read, or has no users.
    """
    lines = [line.strip() for _, line in text_lines(path) if line.strip()]
    if len(lines) > 1 and plain(lines[0]).removesuffix("s") in KNOWN["user"]:
        log.warning("first line of %s, %r, is treated as a header", path, lines[0])
        del lines[0]
    users = dict.fromkeys(text for text in map(id_text, lines) if text)
    if not users:
        raise InputError(f"{path} must name at least one user, one per line, but names none")
    return list(users)


def read_pairs(path: Path) -> pd.DataFrame:
    """Read `user item [value]` lines, or a Parquet, Arrow or ORC file.

    Fields are separated by a tab, comma, semicolon or single space. With a header, the columns may
    be in any order and there may be others.

    Returns:
        `user` and `item` (text, as categories) and, if the file has it, `value` (at least 0), in
        file order.

    Raises:
        InputError: The file cannot be read, has a malformed line or a repeated pair, or it is
            unclear whether its first line is a header.
    """
    layout = _layout(path)
    table = read_table(path, layout)
    repeats = table.duplicated(["user", "item"])
    if repeats.any():
        user, item = table.loc[repeats, ["user", "item"]].iloc[0]
        raise InputError(
            f"{path} must hold each pair of user and item once, but {int(repeats.sum()):,} "
            f"lines repeat one (first: user {quote(user)}, item {quote(item)}); merge them"
        )
    return table if layout.value else table.drop(columns="value")


def _layout(path: Path) -> Layout:
    """The file's layout, detected from its schema or its first lines."""
    file = table_file(path, PAIRS)
    if isinstance(file, Columnar):
        return _layout_of_schema(file)
    lines = [text for _, text in islice(text_lines(path), N_JUDGED) if text.strip()]
    if not lines:
        raise InputError(f"{path} must hold at least one line of user item [value], but is empty")
    columns = columns_of(path, lines)
    if columns is None:
        raise InputError(
            f"every line of {path} must be user item [value], separated by a space, a tab, "
            f"a comma or a semicolon, but the first is {quote(lines[0].strip())}; fix it, or "
            "name the columns user and item in a first line"
        )
    delimiter, rows = columns
    names, ours = rows[0], ("user", "item", "value")[: len(rows[0])]
    layout = replace(PAIRS, delimiter=delimiter, quoting=_quoting(delimiter))
    is_header = looks_like_names(rows)
    if is_header is False:
        return replace(layout, columns=ours, value="value" if len(ours) == 3 else None)
    taken = by_name_or_place(names) if is_header else {}
    if not {"user", "item"} <= taken.keys():
        raise _unclear(path, lines[0].strip(), delimiter.join(ours), "could be either")
    return _with_columns(layout, path, names, taken)


def refuse_unknown_names(path: Path, table: pd.DataFrame) -> None:
    """Refuse a first line that was read as a pair of unknown ids, but may be a header.

    Args:
        path: See `read_pairs`.
        table: Its pairs, of which nothing else names the first one's user and item.

    Raises:
        InputError: The file has no header, and neither word of the first pair has a digit or
            occurs again in the file.
    """
    user, item = map(str, table.iloc[0][["user", "item"]])
    recurs = (table["user"] == user).sum() > 1 or (table["item"] == item).sum() > 1
    if len(table) == 1 or recurs or any(map(str.isdigit, user + item)):
        return
    layout = _layout(path)
    if layout.columns:
        ours = layout.delimiter.join(layout.columns)
        pair = layout.delimiter.join((user, item))
        raise _unclear(path, pair, ours, "is a user and an item that occur nowhere else")


def _unclear(path: Path, line: str, ours: str, found: str) -> InputError:
    return InputError(
        f"the first line of {path} must name the columns or be an interaction, but {quote(line)} "
        f"{found}; if it is a header, name the columns user and item; if it is data, put the line "
        f"{quote(ours)} above it"
    )


def _layout_of_schema(file: Columnar) -> Layout:
    try:
        names = file.names
    except (pa.ArrowException, OSError) as error:
        reason = shorten(one_line(error), 250)
        raise InputError(
            f"{file.path} must be {file.kind}, but {reason}; give another file"
        ) from error
    taken = by_name_or_place(names)
    if not {"user", "item"} <= taken.keys():
        raise InputError(
            f"the schema of {file.path} must name the columns user and item, but names "
            f"{quote(', '.join(names))}; rename columns"
        )
    return _with_columns(PAIRS, file.path, names, taken)


def _with_columns(layout: Layout, path: Path, names: list[str], taken: Mapping[str, int]) -> Layout:
    tell(path, names, taken)
    value = names[taken["value"]] if "value" in taken else None
    user, item = (names[taken[ours]] for ours in ("user", "item"))
    return replace(layout, user=user, item=item, value=value)


def columns_of(path: Path, lines: list[str]) -> tuple[str, list[list[str]]] | None:
    """A file's delimiter and the fields of its first lines; None = no delimiter fits.

    Args:
        path: The file, for messages.
        lines: Its first lines, at least one not blank.

    Raises:
        InputError: A quoted field is not closed.
    """
    found = []
    for delimiter in DELIMITERS:
        try:
            reader = csv_reader(lines, delimiter)
            rows = [[field.strip() for field in row] for row in reader if any(row)]
        except csv.Error as error:
            raise InputError(f"cannot read columns from {path} ({error}); fix it") from error
        if not rows:  # nothing but delimiters
            continue
        n_roles = len(roles(rows[0], ("user", "item")))
        if len(rows[0]) in (2, 3) or (n_roles and len(rows[0]) > 1):
            are_even = all(len(row) == len(rows[0]) for row in rows)
            found.append(((n_roles == 2, are_even), delimiter, rows))
    if not found:
        return None
    _, delimiter, rows = max(found, key=lambda each: each[0])  # the first one of equals
    return delimiter, rows


def csv_reader(lines: Iterable[str], delimiter: str) -> "Reader":
    """Fields by line; with tabs and spaces as delimiters a quote is an ordinary character.

    A field in quotes may begin after spaces.
    """
    has_quotes = _quoting(delimiter) == "minimal"
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if has_quotes else csv.QUOTE_NONE
    return csv.reader(lines, delimiter=delimiter, quoting=quoting, skipinitialspace=has_quotes)


def _quoting(delimiter: str) -> Quoting:
    return "minimal" if delimiter in (",", ";") else "none"
