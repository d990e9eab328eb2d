"""Files of recommendations, written by us and read from anybody; best item first.

.txt     user item item …                                separated by spaces
.csv     user,rank,item,score                            a header, then a line per item
.jsonl   {"user": …, "items": […], "scores": […]}        a line per user
"""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recsweep.data.interactions import quoted
from recsweep.data.plain_text import text_lines
from recsweep.errors import InputError

FORMATS = ("txt", "csv", "jsonl")


class Ranking(NamedTuple):
    """What one user is recommended.

    Args:
        user: Original id.
        items: Original ids, best first.
        scores: Of the items, float32.
    """

    user: Any
    items: np.ndarray
    scores: np.ndarray


def format_of(path: Path) -> str:
    """The format that the file's suffix names.

    Raises:
        InputError: It names none.
    """
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        endings = ", ".join(f".{name}" for name in FORMATS)
        raise InputError(f"{path} must end in one of {endings}, but does not; give another name")
    return suffix


# --- writing ------------------------------------------------------------------------------------


def encoded(rankings: Iterable[Ranking], file_format: str) -> Iterator[bytes]:
    """A file's content, piece by piece.

    Args:
        rankings: A user each.
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
    """The fewest digits that give each float32 back: 0.1, not 0.10000000149."""
    return [str(score) for score in scores]


def refuse_spaces(ids: np.ndarray, setting: str) -> None:
    """Raise InputError when `user item item …` lines could not be taken apart again.

    Args:
        ids: Original ids of users or items.
        setting: Where the user can say another format.
    """
    for each in ids.tolist() if ids.dtype == object else []:
        if str(each).split() != [each]:
            raise InputError(
                f"ids in a txt file must have no spaces, but {quoted(each)} has; set "
                f"{setting}=csv or {setting}=jsonl"
            )


# --- reading ------------------------------------------------------------------------------------


def read_recommendations(path: Path) -> dict[str, list[str]]:
    """Each user's items, best first; ids as text.

    Of a CSV file the columns `user` and `item` are needed; a column `rank` gives the order
    (lowest first), else `score` (highest first), and the file's own order decides the rest.

    Args:
        path: One of the formats above, by its suffix.

    Raises:
        InputError: The file cannot be read, holds a malformed line or nobody, or names a user,
            or an item within a list, twice.
    """
    read = {"txt": _from_txt, "csv": _from_csv, "jsonl": _from_jsonl}[format_of(path)]
    known: dict[str, str] = {}  # one object per id, since every list names the same few items
    lists: dict[str, list[str]] = {}
    for number, user, items in read(path):
        if user in lists:
            raise _malformed(path, number, "name a user once", f"{quoted(user)} again")
        if len(set(items)) < len(items):
            again = next(item for place, item in enumerate(items) if item in items[:place])
            raise _malformed(path, number, "name an item once a user", f"{quoted(again)} twice")
        lists[user] = [known.setdefault(item, item) for item in items]
    if not lists:
        raise InputError(f"{path} must hold recommendations of at least one user, but has none")
    return lists


def _from_txt(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    for number, line in text_lines(path):
        if fields := line.split():
            yield number, fields[0], fields[1:]


def _from_jsonl(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    must = 'be like {"user": 7, "items": [3, 5]}, ids being texts or whole numbers'
    for number, line in text_lines(path):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
            user, items = content["user"], content["items"]
            is_good = isinstance(items, list) and all(type(i) in (str, int) for i in (user, *items))
        except (ValueError, KeyError, TypeError, RecursionError):
            is_good = False
        if not is_good:
            raise _malformed(path, number, must, quoted(line.strip()))
        yield number, str(user), [str(item) for item in items]


def _from_csv(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """All rows first, since they may come in any order."""
    keys: dict[str, dict[str, float]] = {}
    last_line: dict[str, int] = {}
    for number, row in _csv_rows(path):
        user, item = row["user"], row["item"]
        items = keys.setdefault(user, {})
        if item in items:
            found = f"item {quoted(item)} of user {quoted(user)} again"
            raise _malformed(path, number, "name an item once a user", found)
        items[item] = _key(path, number, row, len(items))
        last_line[user] = number
    for user, items in keys.items():
        yield last_line[user], user, sorted(items, key=items.__getitem__)


def _key(path: Path, number: int, row: Mapping[str, str], place: int) -> float:
    """What a user's rows are sorted by."""
    order = next((name for name in ("rank", "score") if name in row), None)
    if order is None:
        return float(place)
    try:
        key = float(row[order])
    except ValueError:
        key = math.nan
    if not math.isfinite(key):
        must = f"have a finite number in column {order}"
        raise _malformed(path, number, must, quoted(row[order]))
    return -key if order == "score" else key


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and fields by column, of a file with a header."""
    reader = csv.reader(line for _, line in text_lines(path))
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        if missing := {"user", "item"} - set(names):
            raise InputError(
                f"{path} must begin with a header that names the columns user and item, but "
                f"{' and '.join(sorted(missing))} is not in {quoted(','.join(names))}; add it"
            )
        for fields in reader:
            if fields and len(fields) != len(names):
                must, found = f"have {len(names)} fields", quoted(",".join(fields))
                raise _malformed(path, reader.line_num, must, found)
            if fields:
                yield reader.line_num, dict(zip(names, fields, strict=True))
    except csv.Error as error:
        raise _malformed(path, reader.line_num, "be CSV", f"({error})") from error


def _malformed(path: Path, number: int, must: str, found: str) -> InputError:
    return InputError(
        f"every line of {path} must {must}, but line {number:,} has {found}; mend or remove it"
    )
