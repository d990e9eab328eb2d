"""Times of interactions, compared exactly: whole numbers, decimals, ISO 8601 and Arrow's types.

A float64 has 53 bits, too few for nanoseconds since 1970, so decimals become one only where it
tells all of them apart.
"""

import logging
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

log = logging.getLogger(__name__)

NUMBER = re.compile(r"[ \t]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t]*")
"""A decimal number as text; no NaN, infinity, or digits of other scripts."""

_ISO = re.compile(
    r"[ \t]*(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"([T ](?P<hour>[0-9]{2})(:?(?P<minute>[0-9]{2})(:?(?P<second>[0-9]{2})"
    r"([.,](?P<fraction>[0-9]+))?)?)?)?"
    r" ?(?P<zone>[Zz]|[+-][0-9]{2}(:?[0-9]{2})?)?[ \t]*"
)
_AS_TEXT = (pa.int64(), pa.decimal128(38, 12), pa.timestamp("ns"), pa.timestamp("ns", "UTC"))

_PER_SECOND = ((1e11, 1), (1e14, 10**3), (1e17, 10**6), (math.inf, 10**9))
"""A bound of the latest time -> units in a second: 1e11 s are the year 5138, 1e11 ms are 1973."""
_PLAUSIBLE_S = (315_532_800, 4_102_444_800)
"""The years 1980 to 2099."""
_ORDER_ONLY = (
    "times have more digits than 64 bits hold, so only their order is kept: split by fractions or "
    "by the last interaction, not by a date, or round them"
)
_UNITS = {1: "seconds", 10**3: "milliseconds", 10**6: "microseconds", 10**9: "nanoseconds"}
_EPOCH_S = date(1970, 1, 1).toordinal() * 86_400

Instant = tuple[str, Any]
"""The kind of time, and the value by which times of that kind are compared."""


def in_order(times: pa.ChunkedArray) -> np.ndarray:
    """A number for each time: greater for a later time, equal for the same.

    Args:
        times: Numbers, text, dates or timestamps of any unit.

    Raises:
        ValueError: A time is missing, invalid, or cannot be compared with the others.
    """
    kind = times.type
    if pa.types.is_dictionary(kind):
        return in_order(times.cast(kind.value_type))
    if times.null_count:
        raise ValueError("a time is missing")
    if pa.types.is_timestamp(kind) or pa.types.is_date64(kind) or pa.types.is_integer(kind):
        return (times if kind == pa.uint64() else times.cast(pa.int64())).to_numpy()
    if pa.types.is_date32(kind):
        return in_order(times.cast(pa.timestamp("s")))
    if pa.types.is_decimal(kind):
        return _of_decimals(times)
    if pa.types.is_floating(kind):
        numbers = times.cast(pa.float64()).to_numpy()
        if np.isfinite(numbers).all():
            return numbers
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view():
        return _of_text(pc.utf8_trim(times.cast(pa.string()), " \t"))
    raise ValueError("a time is neither a number nor a date")


def _of_text(texts: pa.ChunkedArray) -> np.ndarray:
    for kind in _AS_TEXT:
        with suppress(pa.ArrowInvalid):
            return in_order(texts.cast(kind))
    # values without an Arrow type: years before 1677, a 13th decimal
    instants = [instant(text) for text in texts.to_pylist()]
    if None in instants or len({each[0] for each in instants if each}) > 1:
        raise ValueError("times cannot be compared")
    keys = [each[1] for each in instants if each]
    if isinstance(keys[0], Decimal):
        return _numbers(keys)
    return _numbers([seconds - _EPOCH_S + fraction for seconds, fraction in keys])


def _of_decimals(times: pa.ChunkedArray) -> np.ndarray:
    """Whole numbers, such as 978300760.0, as integers."""
    with suppress(pa.ArrowInvalid):
        return times.cast(pa.int64()).to_numpy()
    numbers = times.cast(pa.string()).cast(pa.float64())  # each the nearest float64
    n_distinct = len(times.unique())
    if len(numbers.unique()) == n_distinct:
        return numbers.to_numpy()
    nanoseconds = _nanoseconds(times)
    if nanoseconds is not None and len(np.unique(nanoseconds)) == n_distinct:
        log.info("times have more decimals than float64: read as nanoseconds since 1970")
        return nanoseconds
    log.warning(_ORDER_ONLY)
    return pc.rank(times, tiebreaker="dense").to_numpy().astype(np.int64)


def _nanoseconds(times: pa.ChunkedArray) -> np.ndarray | None:
    """Decimals that look like seconds since 1970, to the ninth decimal; None = they do not."""
    first, end = _PLAUSIBLE_S
    ends = pc.min_max(times).as_py()
    if ends["min"] < first or ends["max"] >= end:
        return None
    times = times.cast(pa.decimal128(30, 12), safe=False)
    whole = pc.floor(times)
    fraction = pc.subtract(times, whole).cast(pa.float64()).to_numpy()
    seconds = whole.cast(pa.int64()).to_numpy()
    return seconds * 10**9 + np.rint(fraction * 1e9).astype(np.int64)


def _numbers(keys: Sequence[Decimal]) -> np.ndarray:
    """Integers if all are whole, else float64 if it tells all of them apart, else their ranks."""
    distinct = sorted(set(keys))
    largest = max(-distinct[0], distinct[-1])
    if largest < 2**63 and not any(key % 1 for key in distinct):
        return np.array([int(key) for key in keys], np.int64)
    numbers = {key: float(key) for key in distinct}
    if len(set(numbers.values()) - {math.inf, -math.inf}) < len(distinct):
        log.warning(_ORDER_ONLY)
        numbers = dict(zip(distinct, range(len(distinct)), strict=True))
    return np.array([numbers[key] for key in keys])


def instant(entry: Any) -> Instant | None:
    """One time, or None if it is invalid: the same rule for a single row, slow and exact."""
    if isinstance(entry, str):
        number = NUMBER.fullmatch(entry)
        return ("a number", Decimal(entry.strip())) if number else _date(entry)
    if isinstance(entry, date):
        zoned = isinstance(entry, datetime) and entry.tzinfo is not None
        return _zone(zoned), str(entry)
    is_number = isinstance(entry, int | float | Decimal) and not isinstance(entry, bool)
    if not is_number or (isinstance(entry, Decimal) and not entry.is_finite()):  # sNaN is no float
        return None
    return ("a number", entry) if math.isfinite(entry) else None


def _zone(has_zone: bool) -> str:
    return f"a date {'with' if has_zone else 'without'} a time zone"


def _date(text: str) -> Instant | None:
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    hour, minute, second = (int(match[part] or 0) for part in ("hour", "minute", "second"))
    try:
        day = date.fromisoformat(match["day"]).toordinal()
    except ValueError:
        return None
    sign, *offset = re.findall(r"[+-]|[0-9]{2}", match["zone"] or "") or ["+"]
    hours, minutes = map(int, [*offset, "0", "0"][:2])
    if max(hour, hours) > 23 or max(minute, second, minutes) > 59:
        return None
    seconds = day * 86_400 + hour * 3_600 + minute * 60 + second
    seconds -= int(f"{sign}1") * (hours * 3_600 + minutes * 60)
    return _zone(match["zone"] is not None), (seconds, Decimal(f"0.{match['fraction'] or 0}"))


def comparable(given: float | str, times: np.ndarray) -> float:
    """A given time as a number that can be compared with `times`.

    Args:
        given: A number in the unit of `times`, or an ISO 8601 date; without a zone it is UTC.
        times: Numbers as of `in_order`; for a date they must be seconds, milli-, micro- or
            nanoseconds since 1970, told apart by their size.

    Raises:
        ValueError: The given time is neither.
    """
    if not isinstance(given, str):
        return given
    found = instant(given)
    if found is None:
        raise ValueError("it is neither a number nor an ISO 8601 date")
    kind, key = found
    if kind == "a number":
        return float(key) if key % 1 else int(key)
    seconds, fraction = key
    per_second = _per_second(times)
    return int((seconds - _EPOCH_S) * per_second + int(fraction * per_second))


def readable(time: float, times: np.ndarray) -> str:
    """A time for a message: a date if `times` look like times since 1970, else the number.

    Args:
        time: One of `times`, or near them.
        times: Numbers as of `in_order`.
    """
    seconds = int(time) // _per_second(times)
    if not _PLAUSIBLE_S[0] <= seconds < _PLAUSIBLE_S[1]:
        return f"{time:,}"
    at = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    return at.isoformat(" ").removesuffix(" 00:00:00")


def count_by_unit(times: np.ndarray) -> dict[str, int]:
    """How many times look like dates since 1970 in seconds, milliseconds and so on.

    Args:
        times: Numbers as of `in_order`.
    """
    first, end = _PLAUSIBLE_S
    counts = {
        name: int(np.count_nonzero((times >= first * units) & (times < end * units)))
        for units, name in _UNITS.items()
    }
    return {name: n for name, n in counts.items() if n}


def _per_second(times: np.ndarray) -> int:
    latest = float(np.max(times, initial=0))
    return next(units for bound, units in _PER_SECOND if latest < bound)
