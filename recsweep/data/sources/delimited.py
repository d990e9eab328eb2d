"""A text or Parquet file of your own, its user, item and value columns by name or position."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import AfterValidator, BeforeValidator
from pydantic.dataclasses import dataclass

from recsweep.data.formats import Layout, Quoting
from recsweep.data.interactions import quote
from recsweep.data.sources.source import TableSource
from recsweep.data.table import LARGEST, read_table
from recsweep.errors import InputError
from recsweep.interfaces import STRICT


def _delimiter(text: str) -> str:
    text = text.replace("\\t", "\t")
    if text != "::" and (len(text) != 1 or not text.isascii() or text in '"\r\n\0'):
        raise ValueError(
            f"the delimiter must be one ASCII character (\\t for a tab) or ::, but is {text!r}; "
            "give the character between the fields, in quotes such as 'data.delimiter=\";\"'"
        )
    return text


def _column(entry: Any) -> Any:
    is_position = isinstance(entry, int) and not isinstance(entry, bool) and entry >= 0
    if not is_position and not isinstance(entry, str):
        raise ValueError(f"a column must be a name, or a position from 0 on, but is {entry!r}")
    return entry


Column = Annotated[str | int, BeforeValidator(_column)]


@dataclass(kw_only=True, config=STRICT)
class Delimited(TableSource):
    """A file of your own.

    Args:
        delimiter: Field separator, such as `,` or a tab.
        quoting: Whether a `"` at the start of a field encloses it (`minimal`) or is text (`none`);
            None = `none` where the delimiter is a tab, else `minimal`.
        header: Whether the first line names the columns; if not, columns are given by position.
        user_column: Name of the user column, or its position from 0.
        item_column: Likewise the item column.
        value_column: Likewise the rating or count column; None = every row has value 1.
        timestamp_column: Likewise the time column; None = no times.
        duplicates: How several rows of one pair are merged: `error` (not allowed), `last` (by time,
            else by file order), `sum` or `max` of their values. The pair has the last one's time
            and place.
    """

    delimiter: Annotated[str, AfterValidator(_delimiter)]
    quoting: Quoting | None
    header: bool
    user_column: Column
    item_column: Column
    value_column: Column | None
    timestamp_column: Column | None
    duplicates: Literal["error", "last", "sum", "max"]

    def files(self, cache: Path) -> list[Path]:  # noqa: ARG002 - nothing to download
        """The file at `path`."""
        if self.path is None:
            raise InputError(
                "data=csv needs the file to read; give data.path=FILE (and data.user_column=…, "
                "data.item_column=…, data.value_column=… if they are not user, item and value)"
            )
        if self.path.is_dir():
            n_parts = len([*self.path.rglob("*.parquet")])
            found = f"a folder with {n_parts:,} Parquet files" if n_parts else "a folder"
            raise InputError(
                f"data.path must name a file, but {self.path} is {found}; give the file"
                + ', or make one: pandas.read_parquet("FOLDER").to_parquet("FILE")' * bool(n_parts)
            )
        return [self.path]

    def table(self, files: list[Path]) -> pd.DataFrame:
        """Its rows, one per pair."""
        layout = Layout(
            delimiter=self.delimiter,
            columns=None if self.header else (),
            user=self.user_column,
            item=self.item_column,
            value=self.value_column,
            timestamp=self.timestamp_column,
            quoting=self.quoting,
        )
        table = read_table(files[0], layout)
        return table if self.duplicates == "error" else self._merged(table)

    def _merged(self, table: pd.DataFrame) -> pd.DataFrame:
        in_time = table.sort_values("timestamp", kind="stable") if "timestamp" in table else table
        merged = in_time.drop_duplicates(["user", "item"], keep="last").sort_index()
        if self.duplicates == "last":
            return merged
        values = table.groupby(["user", "item"], observed=True)["value"]
        is_sum = self.duplicates == "sum"
        merged = merged.assign(value=values.transform("sum") if is_sum else values.transform("max"))
        largest = merged.iloc[merged["value"].argmax()]
        if largest["value"] > LARGEST:
            raise InputError(
                f"the values of a pair must add up to at most {LARGEST:.8g}, but those of user "
                f"{quote(largest['user'])}, item {quote(largest['item'])} make "
                f"{largest['value']:.8g}; scale the values down"
            )
        return merged
