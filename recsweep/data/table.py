"""A file of interactions, read and checked; a bad one is explained by its first bad row.

Arrow reads the whole file and says little more than that something is wrong. Only then Python
walks through it row by row to name what must be mended.
"""

import csv
import math
import re
import zlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from recsweep.data.formats import Layout, Parquet, TableFile, Text
from recsweep.data.interactions import quoted
from recsweep.errors import InputError

LARGEST = float(np.finfo(np.float32).max)
UNREADABLE = (pa.ArrowException, OSError, EOFError, ValueError, zlib.error, csv.Error)


def read_table(path: Path, layout: Layout) -> pd.DataFrame:
    """Read and check a file.

    Args:
        path: Delimited text, plain or packed by gzip, or parquet when it ends in `.parquet`.
        layout: Its delimiter and columns.

    Returns:
        `user` and `item` (as written in the file, as categories), `value` (float64, at least 0
        and within float32) and, when the layout has one, `timestamp` (float64), in file order.

    Raises:
        InputError: The file is missing, cannot be read, lacks a column, or holds a bad row.
    """
    if not path.is_file():
        raise InputError(f"{path} must be a file with interactions, but there is none")
    if not path.stat().st_size:
        raise InputError(f"{path} must hold at least one interaction, but it is empty")
    file = Parquet(path, layout) if path.suffix == ".parquet" else Text(path, layout)
    try:
        _refuse_columns(file)
        table = _frame(file.read(), layout)
    except InputError:
        raise
    except UNREADABLE as error:
        raise _explained(file, str(error)) from error
    if table.empty or not _is_sound(table):
        raise _explained(file, "an id or a number is missing")
    return table


def _refuse_columns(file: TableFile) -> None:
    for ours, theirs in file.layout.wanted.items():
        if file.names.count(theirs) != 1:
            raise InputError(
                f"{file.path} must have one column {theirs!r}, but its columns are "
                f"{quoted(', '.join(file.names))}; give the right file, or with data=csv set "
                f"data.{ours}_column or data.delimiter"
            )


def _frame(raw: pa.Table, layout: Layout) -> pd.DataFrame:
    """The wanted columns under our names; what is missing becomes NaN."""
    table = pd.DataFrame(
        {
            "user": raw[layout.user].dictionary_encode().to_pandas(),
            "item": raw[layout.item].dictionary_encode().to_pandas(),
        }
    )
    table["value"] = 1.0 if layout.value is None else _numbers(raw[layout.value])
    if layout.timestamp is not None:
        times = raw[layout.timestamp]
        if pa.types.is_temporal(times.type):
            times = times.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
        table["timestamp"] = _numbers(times)
    return table


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    return column.cast(pa.float64(), safe=False).to_numpy()


def _is_sound(table: pd.DataFrame) -> bool:
    """Whether `_flaw` finds nothing, for the whole table at once."""
    for column in ("user", "item"):
        ids = table[column].cat.categories.astype(str)
        if table[column].hasnans or not ids.str.fullmatch(r"[^\r\n]+").all():
            return False
    if "timestamp" in table and not np.isfinite(table["timestamp"]).all():
        return False
    return bool(((table["value"] >= 0) & (table["value"] <= LARGEST)).all())


def _explained(file: TableFile, reason: str) -> InputError:
    """The error that names the first bad row, or else the reason for which Arrow gave up."""
    row = None
    try:
        for row in file.rows():
            if flaw := _flaw(row, file.layout):
                needed, found = flaw
                return InputError(
                    f"every {file.unit} of {file.path} must have {needed}, but {file.unit} "
                    f"{file.place:,} has {quoted(found)}; mend or remove it"
                )
    except UNREADABLE as error:
        reason = f"{file.unit} {file.place:,} is not ({error})"
    else:
        if row is None:
            return InputError(f"{file.path} must hold at least one interaction, but it has none")
    short = " ".join(reason.split())[:250]
    return InputError(f"{file.path} must be {file.kind}, but {short}; mend it or give another file")


def _flaw(row: Mapping[str, Any], layout: Layout) -> tuple[str, Any] | None:
    """What a row must have and what it has instead, or None when it is good."""
    for column in (layout.user, layout.item):
        if not _is_id(row[column]):
            return f"an id on one line in column {column!r}", row[column]
    if layout.value is not None and not 0 <= _number(row[layout.value]) <= LARGEST:
        return f"a finite number of at least 0 in column {layout.value!r}", row[layout.value]
    if layout.timestamp is not None and not _is_time(row[layout.timestamp]):
        return f"a number or an ISO 8601 date in column {layout.timestamp!r}", row[layout.timestamp]
    return None


def _is_id(entry: Any) -> bool:
    is_missing = entry is None or entry != entry  # noqa: PLR0124 - NaN
    return not is_missing and re.fullmatch(r"[^\r\n]+", str(entry)) is not None


def _number(entry: Any) -> float:
    try:
        return float(entry)
    except (TypeError, ValueError):
        return math.nan


def _is_time(entry: Any) -> bool:
    with suppress(ValueError):
        return isinstance(entry, date) or bool(datetime.fromisoformat(str(entry)))
    return math.isfinite(_number(entry))
