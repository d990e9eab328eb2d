"""Ids of users and items: when two of them are the same, whatever their file formats.

Every id is converted to text by one rule, which depends only on the id, so that two files of
the same data agree. Surrounding white space is removed and whole numbers are written plainly:

    " u1 "                          u1
    10, 10.0, "10.00", Decimal 10   10     floats come from columns that once had gaps
    "007", "1e3", "+5", 10.5        the same text; nothing else is read as a number
    bytes                           their text, else hexadecimal: 550e8400e29b41d4…
    a date                          2024-05-31

Times and durations are no ids: each format spells them in its own way, with or without the zone.
"""

import logging
import math
import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from recsweep.errors import InputError

log = logging.getLogger(__name__)

MISSING = frozenset({"null", "none", "nan", "na", "n/a", "<na>", r"\n"})
"""Words, in lower case, that other programs write where an entry is missing."""
TIMES = (datetime, timedelta, np.datetime64, np.timedelta64)
_WITH_EMPTY_FRACTION = re.compile(r"(0|-?[1-9][0-9]*)\.0+")


def id_text(entry: object) -> str | None:
    """An id as text, or None if invalid: missing, empty, of several lines, inexact or a time.

    Args:
        entry: The value in a file or a table.
    """
    if isinstance(entry, (float, np.floating, Decimal)):
        return _number_text(entry)
    if entry is None or entry is pd.NA or isinstance(entry, (list, dict, *TIMES)):
        return None
    text = (_bytes_text(entry) if isinstance(entry, bytes) else str(entry)).strip()
    if _WITH_EMPTY_FRACTION.fullmatch(text):
        text = text.partition(".")[0]
    return text if text and "\n" not in text and "\r" not in text else None


def _number_text(number: Any) -> str | None:
    """A float64 of at least 2 ** 53 stands for several whole numbers, so it is not a valid id."""
    is_decimal = isinstance(number, Decimal)  # whose signalling NaN is no float
    if not (number.is_finite() if is_decimal else math.isfinite(number)):
        return None
    if number != int(number):
        return str(number)
    n_bits = np.finfo(number).nmant if isinstance(number, np.floating) else 52
    is_exact = is_decimal or abs(number) < 2.0 ** (n_bits + 1)
    return str(int(number)) if is_exact else None


def _bytes_text(entry: bytes) -> str:
    try:
        text = entry.decode()
    except UnicodeDecodeError:
        return entry.hex()
    return text if text.isprintable() else entry.hex()


def id_texts(entries: Any) -> np.ndarray:
    """`id_text` of each entry, as an array of objects.

    Args:
        entries: Distinct ids.
    """
    index = pd.Index(entries)
    if pd.api.types.is_integer_dtype(index.dtype):
        return index.astype(str).to_numpy(dtype=object)
    texts = np.empty(len(index), object)
    texts[:] = [id_text(entry) for entry in index.to_numpy()]
    return texts


def as_ids(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """A column as categories of text; invalid ids become missing.

    Args:
        column: Ids of any kind, one per row; only distinct ones are converted.

    Raises:
        InputError: An id is a list or something else that cannot be compared, or no Unicode text.
    """
    if column.dtype == np.float16:  # which pandas makes no categories of
        column = column.astype(np.float32)
    try:
        coded = column.astype("category").cat
    except (TypeError, UnicodeError) as error:  # no hash, or half of a surrogate pair
        raise InputError(
            f"every {column.name} id must be text or a number, but some are not ({error}); "
            "convert them"
        ) from error
    raw = coded.categories
    code, names = pd.factorize(id_texts(raw))
    texts = pd.Index(names, dtype=object)
    if np.array_equal(code, np.arange(len(raw))):
        return coded.rename_categories(texts)
    if len(names) < (code >= 0).sum():
        _tell_merged(column.name, raw, code, len(names))
    codes = np.append(code, -1).astype(np.int32)[coded.codes]
    return pd.Series(pd.Categorical.from_codes(codes, texts), column.index, name=column.name)


def tell_missing(column: "pd.Series[Any]") -> None:
    """Warn about ids that other programs write where there is none.

    Args:
        column: See `as_ids`; named `user` or `item`.
    """
    found = [text for text in column.cat.categories if text.lower() in MISSING]
    if found:
        log.warning(
            "%s rows have the %s id %s, which often means that it is missing: each is treated as "
            "one %s; if so, remove these rows", f"{int(column.isin(found).sum()):,}", column.name,
            " or ".join(map(repr, found)), column.name,
        )  # fmt: skip


def _tell_merged(name: object, raw: "pd.Index[Any]", code: np.ndarray, n_ids: int) -> None:
    """Warn about ids that differ by more than white space but are the same by the rule."""
    written: dict[int, set[str]] = {}
    for entry, place in zip(raw.tolist(), code.tolist(), strict=True):
        if place >= 0:
            written.setdefault(place, set()).add(str(entry).strip())
    several = {place: forms for place, forms in written.items() if len(forms) > 1}
    if several:
        first = " and ".join(map(repr, sorted(next(iter(several.values())), key=len)))
        log.warning(
            "%s of %s %s ids are spelled in several ways (such as %s): treated as one id each",
            f"{len(several):,}", f"{n_ids:,}", name, first,
        )  # fmt: skip
