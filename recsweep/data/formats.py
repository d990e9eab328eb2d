"""How a table of interactions lies in a file: read as a whole by Arrow, or walked row by row."""

import csv
import gzip
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from recsweep.data.interactions import quoted

# Arrow's own pool keeps what a file needed, 50 MiB for MovieLens-1M; the system's gives it back
pa.set_memory_pool(pa.system_memory_pool())

CODED_TEXT = pa.dictionary(pa.int32(), pa.string())
LONGEST_LINE_BYTES = 1 << 20


@dataclass(frozen=True)
class Layout:
    """Which columns of a file are wanted, and how a text file is written.

    Args:
        delimiter: Between the fields of a text file: one character, or `::`.
        columns: Names of all fields in order, or None when the first line names them.
        user: Name of the user column.
        item: Name of the item column.
        value: Name of the value column; None = every row counts 1.
        timestamp: Name of the time column; None = there is none.
    """

    delimiter: str
    columns: tuple[str, ...] | None
    user: str
    item: str
    value: str | None
    timestamp: str | None = None

    @property
    def wanted(self) -> dict[str, str]:
        """Our names -> the file's names."""
        names = {
            "user": self.user, "item": self.item, "value": self.value, "timestamp": self.timestamp,
        }  # fmt: skip
        return {ours: theirs for ours, theirs in names.items() if theirs is not None}


class TableFile(ABC):
    """A file in one format.

    Args:
        path: An existing file.
        layout: Its columns.
    """

    kind: str
    """What the file must be, for messages."""
    unit: str
    """What `place` counts."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path = path
        self.layout = layout
        self.place = 1
        """Where `rows` is, counted from 1."""

    @cached_property
    @abstractmethod
    def names(self) -> list[str]:
        """All columns."""

    @abstractmethod
    def read(self) -> pa.Table:
        """The wanted columns; fast, and vague about what is wrong."""

    @abstractmethod
    def rows(self) -> Iterator[Mapping[str, Any]]:
        """One row after the other, at least the wanted columns; slow and exact."""


class Parquet(TableFile):
    """Apache Parquet."""

    kind = "a parquet file"
    unit = "row"

    @cached_property
    def names(self) -> list[str]:
        """All columns."""
        return list(pq.read_schema(self.path).names)

    def read(self) -> pa.Table:
        """The wanted columns."""
        return pq.read_table(self.path, columns=list(self.layout.wanted.values()))

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """One row after the other."""
        self.place = 1
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(columns=list(self.layout.wanted.values())):
                for row in batch.to_pylist():
                    yield row
                    self.place += 1


class Text(TableFile):
    """Delimited text, plain or packed by gzip; fields with delimiters or newlines in quotes."""

    unit = "line"

    def __init__(self, path: Path, layout: Layout) -> None:
        super().__init__(path, layout)
        self.kind = f"UTF-8 text with fields separated by {layout.delimiter!r}"
        self._n_lines = 0

    @cached_property
    def names(self) -> list[str]:
        """All columns."""
        return self._header[0]

    @cached_property
    def _header(self) -> tuple[list[str], int]:
        """The columns and the number of lines that name them."""
        if self.layout.columns is not None:
            return list(self.layout.columns), 0
        names = [name.strip() for name in next(self._records(), [])]
        return names, self._n_lines

    def read(self) -> pa.Table:
        """The wanted columns; ids as coded text, values as float64."""
        names, n_header_lines = self._header
        gaps, delimiter = [], self.layout.delimiter
        if delimiter == "::":  # read as ":" with an empty field between every two
            gaps = [f"::{name}" for name in names[1:]]
            names = [*(each for pair in zip(names, gaps, strict=False) for each in pair), names[-1]]
            delimiter = ":"
        types = dict.fromkeys(gaps, pa.null())
        types |= dict.fromkeys((self.layout.user, self.layout.item), CODED_TEXT)
        if self.layout.value is not None:
            types[self.layout.value] = pa.float64()
        compression = "gzip" if self._is_packed() else None
        with pa.input_stream(self.path, compression=compression) as stream:
            return pa_csv.read_csv(
                stream,
                pa_csv.ReadOptions(column_names=names, skip_rows=n_header_lines),
                pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                pa_csv.ConvertOptions(
                    column_types=types,
                    include_columns=[*self.layout.wanted.values(), *gaps],
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """One row after the other; a line with too many or too few fields is a `csv.Error`."""
        names, records = self.names, self._records()
        if self.layout.columns is None:
            next(records, None)
        for fields in records:
            if len(fields) != len(names):
                line = quoted(self.layout.delimiter.join(fields))
                raise csv.Error(f"{len(fields)} fields instead of {len(names)} in {line}")
            yield dict(zip(names, fields, strict=True))

    def _records(self) -> Iterator[list[str]]:
        """The fields of each line that is not blank; `place` is the line on which they begin."""
        self._n_lines, self.place = 0, 1
        delimiter = "\x1f" if self.layout.delimiter == "::" else self.layout.delimiter
        with gzip.open(self.path) if self._is_packed() else self.path.open("rb") as file:
            for fields in csv.reader(self._lines(file), delimiter=delimiter):
                if fields:
                    yield fields
                self.place = self._n_lines + 1

    def _lines(self, file: BufferedIOBase) -> Iterator[str]:
        while line := file.readline(LONGEST_LINE_BYTES):
            self._n_lines += 1
            text = line.decode("utf-8-sig" if self._n_lines == 1 else "utf-8")
            yield text.replace("::", "\x1f") if self.layout.delimiter == "::" else text

    def _is_packed(self) -> bool:
        with self.path.open("rb") as file:
            return file.read(2) == b"\x1f\x8b"
