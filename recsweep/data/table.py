"""Reads and checks a file of interactions; errors name the first bad row.

Arrow reads the whole file, but its errors are vague. If it fails, the file is read again row by
row in Python to find what must be fixed.
"""

import csv
import logging
import lzma
import math
import zlib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfoNotFoundError

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recsweep.data.formats import Columnar, Layout, TableFile, Text
from recsweep.data.header import looks_like_data, looks_like_header
from recsweep.data.ids import TIMES, as_ids, id_text, tell_missing
from recsweep.data.interactions import quote
from recsweep.data.magic_bytes import columnar
from recsweep.data.text_stream import first_bytes, refuse_other_formats
from recsweep.data.timestamps import NUMBER, count_by_unit, in_order, instant
from recsweep.errors import InputError
from recsweep.files import no_file, read_errors_in_one_line
from recsweep.messages import one_line, shorten

log = logging.getLogger(__name__)

LARGEST = float(np.finfo(np.float32).max)
SMALLEST = float(np.finfo(np.float32).smallest_subnormal)
UNREADABLE = (
    pa.ArrowException, OSError, EOFError, ValueError, OverflowError, ZoneInfoNotFoundError,
    zlib.error, lzma.LZMAError, csv.Error,
)  # fmt: skip


def read_table(path: Path, layout: Layout) -> pd.DataFrame:
    """Read and check a file.

    Args:
        path: Delimited text, plain or compressed (gzip, bz2, xz, zstd, lz4), Parquet, Arrow or ORC.
        layout: Its columns and syntax.

    Returns:
        `user` and `item` (text by the rule of `recsweep.data.ids`, as categories), `value`
        (float64, at least 0 and within float32) and, if the layout has one, `timestamp` (an exact
        number that increases with time), in file order.

    Raises:
        InputError: The file is missing, cannot be read, lacks a column, or has a bad row.
    """
    file = table_file(path, layout)
    if not path.stat().st_size:
        raise InputError(
            f"{path} must hold at least one interaction, but it is empty; give another file"
        )
    try:
        if isinstance(file, Text):
            refuse_other_formats(path)
            _refuse_data_as_header(file)
        table = _frame(file.read())
    except InputError:
        raise
    except UNREADABLE as error:
        raise _explained(file, str(error)) from error
    if table.empty or not _is_sound(table):
        raise _explained(file, "an id or a number is missing or inexact")
    for name in ("user", "item"):
        tell_missing(table[name])
    if "timestamp" in table:
        _report_two_units(file, table["timestamp"].to_numpy())
    if isinstance(file, Text):
        _report_header_as_data(file)
        _report_quotes_as_text(file, table)
    return table


def table_file(path: Path, layout: Layout) -> TableFile:
    """The file, in the format of its first bytes, or of its suffix if they are damaged."""
    with read_errors_in_one_line(path):
        if not path.is_file():
            raise InputError(f"{path} must be a file with interactions, but {no_file(path)}")
        found = columnar(first_bytes(path))
    if found or path.suffix.lower() == ".parquet":
        return Columnar(path, layout, found or "parquet")
    return Text(path, layout)


def _refuse_data_as_header(file: Text) -> None:
    is_sure = file.layout.columns is not None or not file.layout.has_settings
    if is_sure or not looks_like_data(*file.first_wanted):
        return
    found = f"line 1 of {file.path} looks like data, not like a header: "
    found += quote(file.layout.delimiter.join(file.first_wanted[0]))
    if any(isinstance(theirs, int) for theirs in file.layout.wanted.values()):
        raise InputError(
            f"{found}; set data.header=false to read it, or, if it is a header, name the columns"
        )
    log.warning("%s; unless it is one, set data.header=false and give positions", found)


def _report_header_as_data(file: Text) -> None:
    if file.layout.columns == () and looks_like_header(*file.first_wanted):
        log.warning(
            "line 1 of %s looks like a header, but was read as data: %s; if it is one, set "
            "data.header=true", file.path, quote(file.layout.delimiter.join(file.first_wanted[0])),
        )  # fmt: skip


def _report_two_units(file: TableFile, times: np.ndarray) -> None:
    """Warn about times some of which look like seconds since 1970 and others like milliseconds."""
    counts = count_by_unit(times)
    if len(counts) > 1:
        found = " and ".join(f"{n:,} like {unit}" for unit, n in counts.items())
        log.warning(
            "times of %s must have one unit, but %s since 1970; convert them", file.path,
            found.replace(" like", " look like", 1),
        )  # fmt: skip


def _report_quotes_as_text(file: Text, table: pd.DataFrame) -> None:
    """Warn about ids in quotes where quotes are text."""
    if file.layout.has_quotes:
        return
    for name in ("user", "item"):
        ids = table[name].cat.categories
        quoted = [each for each in ids if len(each) > 1 and each[0] == each[-1] == '"']
        if quoted:
            log.warning(
                "%s of %s %s ids of %s are in quotes, which are read as text (such as %s)%s",
                f"{len(quoted):,}", f"{len(ids):,}", name, file.path, quoted[0],
                file.layout.about_quotes,
            )  # fmt: skip


def _frame(raw: pa.Table) -> pd.DataFrame:
    """The wanted columns; missing values become NaN."""
    table = pd.DataFrame(
        {ours: as_ids(_coded(raw[ours]).rename(ours)) for ours in ("user", "item")}
    )
    table["value"] = _numbers(raw["value"]) if "value" in raw.column_names else 1.0
    if "timestamp" in raw.column_names:
        table["timestamp"] = in_order(raw["timestamp"])
    return table


def _coded(column: pa.ChunkedArray) -> "pd.Series[Any]":
    """A column of ids as categories; UUIDs in their usual notation."""
    if not isinstance(column.type, pa.BaseExtensionType):
        return _with_distinct_values(column).dictionary_encode().to_pandas()
    bare = pa.chunked_array([each.storage for each in column.chunks], column.type.storage_type)
    coded = bare.dictionary_encode().to_pandas()
    if column.type.extension_name != "arrow.uuid":
        return coded
    return coded.cat.rename_categories([str(UUID(bytes=each)) for each in coded.cat.categories])


def _with_distinct_values(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """In a form in which `dictionary_encode` gives every value once, as pandas needs it."""
    if pa.types.is_run_end_encoded(column.type):
        column = pa.chunked_array([pc.run_end_decode(chunk) for chunk in column.chunks])
    if pa.types.is_dictionary(column.type):
        values = [chunk.dictionary for chunk in column.chunks]
        if any(len(each.unique()) < len(each) for each in values):
            column = column.cast(column.type.value_type)
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    if pa.types.is_floating(column.type):
        column = pc.add(column, pa.scalar(0, column.type))  # -0.0 becomes 0.0
    return column


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string_view(column.type):  # for which Arrow has no trimming
        column = column.cast(pa.string())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.utf8_trim(column, " \t")
    if pa.types.is_floating(column.type):
        return as_float64(column.to_numpy())
    return column.cast(pa.float64(), safe=False).to_numpy()


def as_float64(numbers: np.ndarray) -> np.ndarray:
    """Numbers as float64, the shorter floats by their decimals: 4.1, not 4.0999999.

    Thresholds are float64, so a float32 of 4.1 would be below the threshold 4.1.
    """
    if numbers.dtype in (np.float16, np.float32):
        distinct, place = np.unique(numbers, return_inverse=True)
        return distinct.astype(str).astype(np.float64)[place]
    return numbers.astype(np.float64, copy=False)


def _is_sound(table: pd.DataFrame) -> bool:
    """Whether no row has a flaw, times not checked; vectorized, unlike `_flaw`."""
    if table["user"].hasnans or table["item"].hasnans:
        return False
    values = table["value"]
    return bool(((values == 0) | ((values >= SMALLEST) & (values <= LARGEST))).all())


def _explained(file: TableFile, reason: str) -> InputError:
    """An error that names the first bad row, or else Arrow's reason."""
    row = first_time = None
    try:
        for row in file.rows():
            if flaw := _flaw(row, file.layout):
                return _bad_row(file, row, *flaw)
            time = instant(row["timestamp"]) if "timestamp" in row else None
            if time is None:
                continue
            first_time = first_time or (time[0], f"{file.unit} {file.place:,} has")
            if time[0] != first_time[0]:
                must = f"{first_time[0]} in column {file.layout.timestamp!r}, as {first_time[1]}"
                return _bad_row(file, row, must, row["timestamp"])
    except InputError as error:
        return error
    except UNREADABLE as error:
        reason = f"{file.unit} {file.place:,} is not ({error})"
    else:
        if row is None:
            must = "must hold at least one interaction, but it has none; give another file"
            return InputError(f"{file.path} {must}")
    short = shorten(one_line(reason), 300)
    return InputError(f"{file.path} must be {file.kind}, but {short}; fix it or give another file")


def _bad_row(file: TableFile, row: Mapping[str, Any], needed: str, found: object) -> InputError:
    advice = "fix or remove it"
    if isinstance(found, TIMES):
        advice = "use another column, or convert this one to text or numbers"
    if not file.layout.has_quotes and str(found).startswith('"'):
        advice += file.layout.about_quotes
    if isinstance(file, Text) and file.layout.columns == ():
        first, second = file.first_wanted
        if list(row.values()) == first and looks_like_header(first, second):
            advice = "it looks like a header: set data.header=true, which is the default"
    return InputError(
        f"every {file.unit} of {file.path} must have {needed}, but {file.unit} {file.place:,} has "
        f"{quote(found)}; {advice}"
    )


def _flaw(row: Mapping[str, Any], layout: Layout) -> tuple[str, object] | None:
    """What a row must have and what it has instead, or None if it is valid."""
    for ours in ("user", "item"):
        if id_text(entry := row[ours]) is None:
            kind = "an id on one line"
            if isinstance(entry, float | np.floating) and math.isfinite(entry):
                kind = f"an id below 2**{np.finfo(entry).nmant + 1}, since it is a float,"
            elif isinstance(entry, TIMES):
                kind = "an id, a text or a number,"
            return f"{kind} in column {layout.wanted[ours]!r}", entry
    if "value" in row:
        value = _number(row["value"])
        if LARGEST < value < math.inf:
            return f"a number of at most {LARGEST:.8g} in column {layout.value!r}", row["value"]
        if 0 < value < SMALLEST:
            return f"0 or at least {SMALLEST:.8g} in column {layout.value!r}", row["value"]
        if not 0 <= value < math.inf:
            point = ", its decimals after a point," if "," in str(row["value"]) else ""
            return f"a finite number of at least 0{point} in column {layout.value!r}", row["value"]
    if "timestamp" in row and instant(row["timestamp"]) is None:
        return f"a number or an ISO 8601 date in column {layout.timestamp!r}", row["timestamp"]
    return None


def _number(entry: object) -> float:
    if isinstance(entry, str):
        return float(entry) if NUMBER.fullmatch(entry) else math.nan
    return float(entry) if isinstance(entry, int | float | Decimal) else math.nan
