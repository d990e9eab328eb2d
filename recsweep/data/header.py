"""Detects whether the first line of a text file is a header by comparing it with the next line."""

import re
from collections.abc import Sequence

from recsweep.data.timestamps import instant


def looks_like_data(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether line 1 looks like data: it has numbers and dates in the same fields as line 2.

    Names that merely number the columns, as pandas writes them, are a header.

    Args:
        first: Fields of line 1.
        second: The same fields of line 2.
    """
    if not second or len(first) != len(second) or _counts_columns(first):
        return False
    kinds = [(_kind(a), _kind(b)) for a, b in zip(first, second, strict=True) if a and b]
    has_number = any(kind != "text" for kind, _ in kinds)
    return (has_number or _all_have_digits([*first, *second])) and all(a == b for a, b in kinds)


def looks_like_header(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether line 1 has names without digits where line 2 has numbers, dates or ids with digits.

    Args:
        first: Fields of line 1.
        second: The same fields of line 2.
    """
    has_names = bool(first) and not any(re.search("[0-9]", field) for field in first)
    is_data = _all_have_digits(second) or any(_kind(field) != "text" for field in second)
    return has_names and all(first) and is_data and len(first) == len(second)


def _all_have_digits(fields: Sequence[str]) -> bool:
    return all(re.search("[0-9]", field) for field in fields)


def _counts_columns(names: Sequence[str]) -> bool:
    """Whether each number among the names is its own position, from 0, from 1 or after an index."""
    numbers = {n - int(name) for n, name in enumerate(names) if re.fullmatch("[0-9]{1,9}", name)}
    return len(numbers) == 1 and numbers <= {-1, 0, 1}


def _kind(field: str) -> str:
    found = instant(field)
    return found[0] if found else "text"
