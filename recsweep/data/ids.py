"""Ids of users and items: when two of them are one, whatever kind of file each comes from.

Every id becomes text by one rule, which depends on nothing but the id, so that two files of the
same data agree. White space around it is no part of it, and a whole number is written plainly:

    " u1 "                          u1
    10, 10.0, "10.00", Decimal 10   10     floats come from columns that once had gaps
    "007", "1e3", "+5", 10.5        the same text; nothing else is taken for a number
    bytes                           their text, else hexadecimal: 550e8400e29b41d4…
"""

import logging
import math
import re
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from recsweep.errors import InputError

log = logging.getLogger(__name__)

_WITH_EMPTY_FRACTION = re.compile(r"(0|-?[1-9][0-9]*)\.0+")


def id_text(entry: Any) -> str | None:
    """An id as text, or None when it is none: missing, empty, of several lines, or inexact.

    Args:
        entry: As a file or a table has it.
    """
    if isinstance(entry, (float, np.floating, Decimal)):
        return _number_text(entry)
    if entry is None or entry is pd.NA or entry is pd.NaT or isinstance(entry, (list, dict)):
        return None
    text = (_bytes_text(entry) if isinstance(entry, bytes) else str(entry)).strip()
    if _WITH_EMPTY_FRACTION.fullmatch(text):
        text = text.partition(".")[0]
    return text if text and "\n" not in text and "\r" not in text else None


def _number_text(number: Any) -> str | None:
    """From 2 ** 53 on a float64 stands for several whole numbers, so that it is no id."""
    if not math.isfinite(number):
        return None
    if number != int(number):
        return str(number)
    n_bits = np.finfo(number).nmant if isinstance(number, np.floating) else 52
    is_exact = isinstance(number, Decimal) or abs(number) < 2.0 ** (n_bits + 1)
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
        entries: Different ids, not a row each.
    """
    index = pd.Index(entries)
    if pd.api.types.is_integer_dtype(index.dtype):
        return index.astype(str).to_numpy(dtype=object)
    texts = np.empty(len(index), object)
    texts[:] = [id_text(entry) for entry in index.to_numpy()]
    return texts


def as_ids(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """A column as categories of text; what is no id becomes missing.

    Args:
        column: Ids of any kind, a row each. Only its different ids are looked at.

    Raises:
        InputError: An id is a list or something else that cannot be compared.
    """
    try:
        coded = column.astype("category").cat
    except TypeError as error:
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


def _tell_merged(name: Any, raw: "pd.Index[Any]", code: np.ndarray, n_ids: int) -> None:
    """Warn of ids that differ by more than white space and are one all the same."""
    written: dict[int, set[str]] = {}
    for entry, place in zip(raw.tolist(), code.tolist(), strict=True):
        if place >= 0:
            written.setdefault(place, set()).add(str(entry).strip())
    several = {place: forms for place, forms in written.items() if len(forms) > 1}
    if several:
        first = " and ".join(map(repr, sorted(next(iter(several.values())), key=len)))
        log.warning(
            "%s of %s %s ids are written in several ways (such as %s): taken for one each",
            f"{len(several):,}", f"{n_ids:,}", name, first,
        )  # fmt: skip
