"""A delimited or parquet file of your own, with named user, item and value columns."""

from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from recsweep.data.formats import Layout
from recsweep.data.source import TableSource
from recsweep.data.table import read_table
from recsweep.errors import InputError
from recsweep.interfaces import STRICT


def _delimiter(text: str) -> str:
    text = text.replace("\\t", "\t")
    if text != "::" and (len(text) != 1 or not text.isascii() or text in '"\r\n\0'):
        raise ValueError(
            f"the delimiter must be one ASCII character (\\t for a tab) or ::, but is {text!r}; "
            "give the character between the fields"
        )
    return text


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

    delimiter: Annotated[str, AfterValidator(_delimiter)]
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
        layout = Layout(
            delimiter=self.delimiter,
            columns=None,
            user=self.user_column,
            item=self.item_column,
            value=self.value_column,
            timestamp=self.timestamp_column,
        )
        table = read_table(files[0], layout)
        return table if self.duplicates == "error" else self._merged(table)

    def _merged(self, table: pd.DataFrame) -> pd.DataFrame:
        if self.duplicates == "last":
            if "timestamp" in table:
                table = table.sort_values("timestamp", kind="stable")
            return table.drop_duplicates(["user", "item"], keep="last").sort_index()
        pairs = table.groupby(["user", "item"], sort=False, observed=True)["value"]
        return pairs.agg(self.duplicates).reset_index()
