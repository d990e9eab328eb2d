"""Any delimited or parquet file with named user, item and value columns."""

from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.data.source import TableSource
from recsweep.errors import InputError
from recsweep.interfaces import STRICT


@plain_dataclass(frozen=True)
class Layout:
    """How a delimited file is written.

    Args:
        delimiter: Between fields; `::` is understood too.
        columns: Names of all fields in order, or None when the first line names them.
        user: Name of the user column.
        item: Name of the item column.
        value: Name of the value column; None = every row counts 1.
        time: Name of the time column, used to tell the last of several rows of a pair.
    """

    delimiter: str
    columns: tuple[str, ...] | None
    user: str
    item: str
    value: str | None
    time: str | None = None

    @property
    def wanted(self) -> dict[str, str]:
        """Our names -> the file's names."""
        names = {"user": self.user, "item": self.item, "value": self.value, "time": self.time}
        return {ours: theirs for ours, theirs in names.items() if theirs is not None}


def read_table(path: Path, layout: Layout) -> pd.DataFrame:
    """Read and check a file.

    Args:
        path: Delimited text, or parquet when it ends in `.parquet`.
        layout: Its delimiter and columns.

    Returns:
        `user`, `item` (strings as written in the file, as categories), `value` (float64,
        finite and not negative) and, when the layout has one, `time` (as a sortable value).

    Raises:
        InputError: The file is missing, cannot be read, lacks a column, or holds a bad value.
    """
    if not path.is_file():
        raise InputError(f"{path} must be a file with interactions, but there is none")
    raw = _read_parquet(path, layout) if path.suffix == ".parquet" else _read_text(path, layout)
    if raw.empty:
        raise InputError(f"{path} must hold at least one interaction, but it has none")
    first_line = 1 if layout.columns else 2
    table = pd.DataFrame({"user": raw[layout.user], "item": raw[layout.item]})
    for column in ("user", "item"):
        _refuse_rows(path, table[column].isna(), first_line, f"a {column} id", table[column])
        table[column] = table[column].astype("category")
    table["value"] = _values(path, raw, layout, first_line)
    if layout.time is not None:
        table["time"] = _times(path, raw[layout.time], first_line)
    return table


def _read_parquet(path: Path, layout: Layout) -> pd.DataFrame:
    import pyarrow as pa  # slow to import, and only this format needs it
    import pyarrow.parquet as pq

    try:
        _refuse_missing(path, pq.read_schema(path).names, layout)
        return pq.read_table(path, columns=list(layout.wanted.values())).to_pandas()
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} must be a parquet file, but: {reason}") from error


def _read_text(path: Path, layout: Layout) -> pd.DataFrame:
    names = list(layout.columns) if layout.columns else _header(path, layout)
    _refuse_missing(path, names, layout)
    delimiter = layout.delimiter
    if delimiter == "::":  # read as ':' with an empty field between two, which C parses 10 x faster
        delimiter = ":"
        names = [name for pair in zip(names, [f"_{n}" for n in names], strict=True) for name in pair]
        names.pop()
    try:
        frame = pd.read_csv(
            path,
            sep=delimiter,
            names=names,
            header=None,
            skiprows=0 if layout.columns else 1,
            usecols=list(layout.wanted.values()),
            dtype={layout.user: "category", layout.item: "category"},
            on_bad_lines="error",
            skip_blank_lines=False,
            index_col=False,
            encoding="utf-8",
            engine="c",
        )
    except (pd.errors.ParserError, UnicodeDecodeError, pd.errors.EmptyDataError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} must be text with the fields {', '.join(names)} separated by "
            f"{layout.delimiter!r}, but: {reason}"
        ) from error
    return frame


def _header(path: Path, layout: Layout) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        return [name.strip().strip('"') for name in next(lines, "").rstrip("\r\n").split(layout.delimiter)]


def _refuse_missing(path: Path, names: list[str], layout: Layout) -> None:
    for ours, theirs in layout.wanted.items():
        if theirs not in names:
            raise InputError(
                f"{path} must have a column {theirs!r} for data.{ours}_column, but its columns are "
                f"{', '.join(names)[:300]}; name the right one or set data.delimiter"
            )


def _refuse_rows(
    path: Path, bad: "pd.Series[bool]", first_line: int, needed: str, values: Any
) -> None:
    if bad.any():
        row = int(np.argmax(bad.to_numpy()))
        raise InputError(
            f"every line of {path} must have {needed}, but {int(bad.sum()):,} have not (first: line "
            f"{row + first_line}, found {values.iloc[row]!r}); mend or remove them"
        )


def _values(path: Path, raw: pd.DataFrame, layout: Layout, first_line: int) -> Any:
    if layout.value is None:
        return np.ones(len(raw))
    found = raw[layout.value]
    values = pd.to_numeric(found, errors="coerce").astype(float)
    bad = ~np.isfinite(values) | (values < 0)
    _refuse_rows(path, bad, first_line, f"a finite {layout.value} of at least 0", found)
    return values


def _times(path: Path, found: "pd.Series[Any]", first_line: int) -> Any:
    times = pd.to_numeric(found, errors="coerce")
    if times.isna().all():
        times = pd.to_datetime(found, errors="coerce")
    _refuse_rows(path, times.isna(), first_line, f"a number or a date as {found.name}", found)
    return times


@dataclass(kw_only=True, config=STRICT)
class Delimited(TableSource):
    """A file of your own.

    Args:
        delimiter: Between fields, such as `,` or a tab.
        user_column: Name of the user column.
        item_column: Name of the item column.
        value_column: Name of the rating or count column; None = every row counts 1.
        timestamp_column: Name of the time column; None = there is none.
        duplicates: What several rows of one pair become: `error`, or the `last` (by time, else
            by place in the file), the `sum` or the `max` of their values.
    """

    delimiter: Annotated[str, Field(min_length=1)]
    user_column: str
    item_column: str
    value_column: str | None
    timestamp_column: str | None
    duplicates: Literal["error", "last", "sum", "max"]

    def files(self, cache: Path) -> list[Path]:  # noqa: ARG002 - nothing to download
        """The file that `path` names."""
        if self.path is None:
            raise InputError(
                "data=csv needs the file to read; give data.path=FILE (and data.user_column=…, "
                "data.item_column=…, data.value_column=… if they are not user, item and value)"
            )
        return [self.path]

    def table(self, files: list[Path]) -> pd.DataFrame:
        """Its rows, one per pair."""
        delimiter = self.delimiter.replace("\\t", "\t")
        layout = Layout(
            delimiter, None, self.user_column, self.item_column, self.value_column,
            self.timestamp_column,
        )  # fmt: skip
        table = read_table(files[0], layout)
        return table if self.duplicates == "error" else self._merged(table)

    def _merged(self, table: pd.DataFrame) -> pd.DataFrame:
        if "time" in table and self.duplicates == "last":
            table = table.sort_values("time", kind="stable")
        pairs = table.groupby(["user", "item"], sort=False, observed=True)["value"]
        return pairs.agg(self.duplicates).reset_index()
