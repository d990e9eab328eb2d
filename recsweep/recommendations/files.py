"""Reads and writes files of recommendations; best item first.

.txt     user item item …                                separated by spaces
.csv     user,rank,item,score                            a header, then a line per item
.jsonl   {"user": …, "items": […], "scores": […]}        a line per user

Also read: .tsv, a table in .txt, other names of these columns (`recsweep.data.columns`).
"""

import csv
import io
import json
import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recsweep.data.columns import (
    KNOWN,
    PLAIN,
    by_name_or_place,
    looks_like_names,
    plain,
    roles,
    tell,
)
from recsweep.data.ids import id_text
from recsweep.data.interactions import quote
from recsweep.data.plain_text import N_JUDGED, columns_of, csv_reader, text_lines
from recsweep.errors import InputError

log = logging.getLogger(__name__)

FORMATS = ("txt", "csv", "jsonl")
PACKED = (".gz", ".bz2", ".xz", ".zst", ".lz4")
"""Suffixes after that of the format, in files to read."""


class Ranking(NamedTuple):
    """The recommendations for one user.

    Args:
        user: Original user id.
        items: Original item ids, best first.
        scores: Scores of the items, float32.
    """

    user: Any
    items: np.ndarray
    scores: np.ndarray


def format_of(path: Path, formats: Sequence[str] = FORMATS) -> str:
    """The format by the file's suffix.

    Args:
        path: The file.
        formats: The allowed formats.

    Raises:
        InputError: The suffix matches none of them.
    """
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in formats:
        endings = ", ".join(f".{name}" for name in formats)
        raise InputError(f"{path} must end in one of {endings}; give another name")
    return suffix


# --- writing ------------------------------------------------------------------------------------


def encode_rankings(rankings: Iterable[Ranking], file_format: str) -> Iterator[bytes]:
    """A file's content, in chunks.

    Args:
        rankings: One per user.
        file_format: One of `FORMATS`.
    """
    if file_format == "csv":
        yield b"user,rank,item,score\n"
    write = {"txt": _as_txt, "csv": _as_csv, "jsonl": _as_jsonl}[file_format]
    for ranking in rankings:
        yield write(ranking).encode()


def _as_txt(ranking: Ranking) -> str:
    return " ".join(map(str, [ranking.user, *ranking.items.tolist()])) + "\n"


def _as_csv(ranking: Ranking) -> str:
    text = io.StringIO()
    columns = zip(ranking.items.tolist(), _decimals(ranking.scores), strict=True)
    rows = ([ranking.user, rank, item, score] for rank, (item, score) in enumerate(columns, 1))
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _as_jsonl(ranking: Ranking) -> str:
    user = ranking.user.item() if isinstance(ranking.user, np.generic) else ranking.user
    scores = [float(score) for score in _decimals(ranking.scores)]
    content = {"user": user, "items": ranking.items.tolist(), "scores": scores}
    return json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n"


def _decimals(scores: np.ndarray) -> list[str]:
    """The fewest digits that round-trip each float32: 0.1, not 0.10000000149."""
    return [str(score) for score in scores]


def refuse_spaces(ids: np.ndarray, setting: str) -> None:
    """Raise InputError if `user item item …` lines could not be parsed again.

    Args:
        ids: Original ids of users or items.
        setting: The setting of the format.
    """
    for each in ids.tolist() if ids.dtype == object else []:
        if str(each).split() != [each]:
            raise InputError(
                f"ids in a txt file must have no spaces, but {quote(each)} has; set "
                f"{setting}=csv or {setting}=jsonl"
            )


# --- reading ------------------------------------------------------------------------------------


def read_recommendations(path: Path) -> dict[str, list[str]]:
    """Read each user's items, best first; ids as text.

    A table needs the columns `user` and `item`; it is sorted by `rank` (lowest first), else by
    `score` (highest first), and ties keep the order of the file.

    Args:
        path: One of the formats above, by its suffix.

    Raises:
        InputError: The file cannot be read, has no users or a malformed line, or repeats a user
            or an item within a list.
    """
    is_packed = path.suffix.lower() in PACKED
    file_format = format_of(path.with_suffix("") if is_packed else path, (*FORMATS, "tsv"))
    if file_format == "txt" and _is_table(path):
        file_format = "csv"
    read = {"txt": _from_txt, "csv": _from_table, "tsv": _from_table, "jsonl": _from_jsonl}
    text_of = cache(id_text)  # one object per id, since the lists share few items
    lists: dict[str, list[str]] = {}
    for number, user_id, item_ids in read[file_format](path):
        user, items = text_of(user_id), [text_of(item) or "" for item in item_ids]
        if not user or not all(items):
            raise _malformed(path, number, "name a user and items", "an empty id")
        if user in lists:
            raise _malformed(path, number, "name a user once", f"{quote(user)} again")
        if len(set(items)) < len(items):
            again = next(item for place, item in enumerate(items) if item in items[:place])
            raise _malformed(path, number, "name an item once a user", f"{quote(again)} twice")
        lists[user] = items
    if not lists:
        raise InputError(f"{path} must hold recommendations of at least one user, but has none")
    return lists


def _from_txt(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    is_first = True
    for number, line in text_lines(path):
        fields = line.split()
        if is_first and _names_lists(fields):
            log.warning("first line of %s, %s, is treated as a header", path, quote(line.strip()))
        elif fields:
            yield number, fields[0], fields[1:]
        is_first = is_first and not fields


def _names_lists(fields: list[str]) -> bool:
    """Whether a line is like `user items` or `user item1 item2`."""
    if len(fields) < 2:
        return False
    user, *items = map(plain, fields)
    names = [re.sub(r"s?[0-9]*$", "", item) for item in items]
    numbers = [re.sub(r"[^0-9]", "", item) for item in items]
    are_counted = any(numbers == [str(n + i) for i in range(len(items))] for n in (0, 1))
    return (
        user.removesuffix("s") in PLAIN["user"]
        and all(name in (*KNOWN["item"], "", "recommendation") for name in names)
        and (are_counted or not any(numbers))
    )


def _is_table(path: Path) -> bool:
    """Whether the first line names a user and an item column, and the next has as many fields."""
    lines = list(islice((line for _, line in text_lines(path) if line.strip()), 2))
    columns = columns_of(path, lines) if lines else None
    if columns is None:
        return False
    names, *rest = columns[1]
    n_items = sum(plain(name) in KNOWN["item"] for name in names)
    is_named = len(roles(names, ("user", "item"))) == 2 and n_items == 1
    return is_named and all(len(row) == len(names) for row in rest)


def _from_jsonl(path: Path) -> Iterator[tuple[int, Any, list[Any]]]:
    must = 'be like {"user": 7, "items": [3, 5]}, ids being texts or whole numbers'
    keys: tuple[str, ...] = ()
    for number, line in text_lines(path):
        if not line.strip():
            continue
        try:
            content = json.loads(line, object_pairs_hook=_record)
            if "\\u" in line:  # half of a surrogate pair is no text, which the next line refuses
                json.dumps(content, ensure_ascii=False).encode()
            if not set(keys) <= content.keys() or not keys:
                keys = _keys(path, list(content))
            user, items = (content[key] for key in keys)
            is_good = isinstance(items, list) and all(map(_is_id, (user, *items)))
        except _RepeatedKeyError as error:
            raise _malformed(
                path, number, "name a key once", f"{quote(str(error))} twice"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            is_good = False
        if not is_good:
            raise _malformed(path, number, must, quote(line.strip()))
        yield number, user, items


class _RepeatedKeyError(ValueError):
    """A key that a record has several times."""


def _record(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for key, value in pairs:
        if key in record:
            raise _RepeatedKeyError(key)
        record[key] = value
    return record


def _keys(path: Path, names: list[str]) -> tuple[str, str]:
    """The keys of user and items in a line of JSON."""
    found = roles(names, ("user", "items"))
    user, items = (names[found[role]] for role in ("user", "items"))
    tell(path, [user, items], {"user": 0, "items": 1})
    return user, items


def _is_id(entry: object) -> bool:
    return type(entry) in (str, int) or (type(entry) is float and entry.is_integer())


def _from_table(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Read all rows first, since they may be in any order."""
    keys: dict[str, dict[str, float]] = {}
    last_line: dict[str, int] = {}
    text_of = cache(id_text)
    for number, row in _rows(path):
        user, item = (text_of(row[role]) or "" for role in ("user", "item"))
        items = keys.setdefault(user, {})
        if item in items:
            found = f"item {quote(item)} of user {quote(user)} again"
            raise _malformed(path, number, "name an item once a user", found)
        items[item] = _key(path, number, row, len(items))
        last_line[user] = number
    for user, items in keys.items():
        yield last_line[user], user, sorted(items, key=items.__getitem__)


def _key(path: Path, number: int, row: Mapping[str, str], place: int) -> float:
    """The sort key of a user's row."""
    order = next((name for name in ("rank", "score") if name in row), None)
    if order is None:
        return float(place)
    try:
        key = float(row[order])
    except ValueError:
        key = math.nan
    if not math.isfinite(key):
        must = f"have a finite number in column {order}"
        raise _malformed(path, number, must, quote(row[order]))
    return -key if order == "score" else key


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and fields by role, in a table with a header."""
    lines = (line for _, line in text_lines(path))
    first = list(islice(lines, N_JUDGED))
    delimiter, names, taken = _header(path, first)
    reader = csv_reader(chain(first, lines), delimiter)
    try:
        next(fields for fields in reader if any(fields))
        for fields in reader:
            if any(fields) and len(fields) != len(names):
                must, found = f"have {len(names)} fields", quote(delimiter.join(fields))
                raise _malformed(path, reader.line_num, must, found)
            if any(fields):
                yield reader.line_num, {role: fields[place] for role, place in taken.items()}
    except csv.Error as error:
        raise _malformed(path, reader.line_num, "be CSV", f"({error})") from error


def _header(path: Path, first: list[str]) -> tuple[str, list[str], dict[str, int]]:
    """Delimiter, columns, and role -> position in a table of recommendations."""
    columns = columns_of(path, first) if any(map(str.strip, first)) else None
    delimiter, rows = columns or (",", [[line.strip() for line in first[:1]]])
    taken = by_name_or_place(rows[0], ("rank", "score")) if looks_like_names(rows) else {}
    if missing := [role for role in ("user", "item") if role not in taken]:
        raise InputError(
            f"{path} must begin with a header that names the columns user and item, but "
            f"{' and '.join(missing)} cannot be found in {quote(delimiter.join(rows[0]))}; add it"
        )
    names = [rows[0][place] for place in taken.values()]
    if again := next((name for name in names if rows[0].count(name) > 1), None):
        raise InputError(
            f"{path} must have one column {quote(again)}, but its columns are "
            f"{quote(', '.join(rows[0]))}; rename or remove the others"
        )
    tell(path, rows[0], taken)
    return delimiter, rows[0], taken


def _malformed(path: Path, number: int, must: str, found: str) -> InputError:
    return InputError(
        f"every line of {path} must {must}, but line {number:,} has {found}; fix or remove it"
    )
