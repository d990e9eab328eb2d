"""How a table of interactions is stored: read as a whole by Arrow, or row by row."""

import csv
import io
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.dataset as pa_dataset

from recsweep.data.columns import settings_for
from recsweep.data.header import looks_like_data
from recsweep.data.interactions import quote
from recsweep.data.text_stream import COLONS, ONE_CHARACTER, CountedLines, open_text
from recsweep.data.timestamps import NUMBER
from recsweep.errors import InputError
from recsweep.unpack_limits import UnpackedSize

# Arrow's own pool keeps freed memory, 50 MiB for MovieLens-1M; the system's returns it
pa.set_memory_pool(pa.system_memory_pool())

CODED_TEXT = pa.dictionary(pa.int32(), pa.string())
LEAST_BYTES = 4
"""Memory that an id or a number takes at least."""
LONGEST_LINE = 1 << 20
csv.field_size_limit(LONGEST_LINE)  # the default is an eighth of Arrow's limit

Quoting = Literal["minimal", "none"]


@dataclass(frozen=True)
class Layout:
    """The columns to read from a file, and the syntax of a text file.

    Args:
        delimiter: Field separator of a text file: one character, or `::`.
        columns: Names of all fields in order; () = no header, and fields have only a position;
            None = the first line names them.
        user: Name of the user column, or its position from 0.
        item: Likewise the item column.
        value: Likewise the value column; None = every row has value 1.
        timestamp: Likewise the time column; None = no times.
        quoting: Whether a `"` at the start of a field encloses it (`minimal`) or is text (`none`);
            None = `none` where the delimiter is a tab, else `minimal`.
        has_settings: Whether advice may name the settings of `data=csv`.
    """

    delimiter: str
    columns: tuple[str, ...] | None
    user: str | int
    item: str | int
    value: str | int | None
    timestamp: str | int | None = None
    quoting: Quoting | None = None
    has_settings: bool = True

    @property
    def wanted(self) -> dict[str, str | int]:
        """Internal names -> the file's names or positions."""
        names = {
            "user": self.user, "item": self.item, "value": self.value, "timestamp": self.timestamp,
        }  # fmt: skip
        return {ours: theirs for ours, theirs in names.items() if theirs is not None}

    @property
    def has_quotes(self) -> bool:
        """Whether a `"` encloses a field."""
        return self.quoting == "minimal" or (self.quoting is None and self.delimiter != "\t")

    @property
    def about_quotes(self) -> str:
        """Advice for a file whose quotes are read as text."""
        do = "set data.quoting=minimal with data=csv" if self.has_settings else "remove them"
        return f"; if quotes enclose its fields, {do}"


class TableFile(ABC):
    """A file in one format.

    Args:
        path: An existing file.
        layout: Its columns and syntax.
    """

    kind: str
    """The required kind of file, for messages."""
    unit: str
    """What `place` counts."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path = path
        self.layout = layout
        self.place = 1
        """Current position of `rows`, from 1."""

    @cached_property
    @abstractmethod
    def names(self) -> list[str]:
        """All columns."""

    @cached_property
    def positions(self) -> dict[str, int]:
        """Internal names -> positions of the wanted columns, from 0.

        Raises:
            InputError: A column is missing, occurs twice, or is requested twice.
        """
        positions = {ours: self._position(ours) for ours in self.layout.wanted}
        for ours, position in positions.items():
            other = next(name for name, taken in positions.items() if taken == position)
            if other != ours:
                raise InputError(
                    f"{other} and {ours} must be two columns of {self.path}, but both are "
                    f"{self.layout.wanted[ours]!r}; with data=csv set data.{other}_column and "
                    f"data.{ours}_column"
                )
        return positions

    def _position(self, ours: str) -> int:
        theirs = self.layout.wanted[ours]
        if isinstance(theirs, str):
            if self.names.count(theirs) != 1:
                raise InputError(
                    f"{self.path} must have one column {theirs!r}, but its columns are "
                    f"{quote(', '.join(self.names))}; {self._advice()}"
                )
            return self.names.index(theirs)
        if not 0 <= theirs < len(self.names):
            raise InputError(
                f"{self.path} must have a column {theirs} (the first is 0) for data.{ours}_column, "
                f"but has {len(self.names)}: {quote(', '.join(self.names))}; give another position"
            )
        if str(theirs) in self.names and self.names.index(str(theirs)) != theirs:
            raise InputError(
                f"data.{ours}_column={theirs} must be clear, but {self.path} has one column at "
                f"position {theirs} and another with the name '{theirs}'; write the name as "
                f"data.{ours}_column='\"{theirs}\"', or rename it"
            )
        return theirs

    def _advice(self) -> str:
        """What to do when columns are missing, or there are several of a name."""
        if not self.layout.has_settings:
            return "rename or remove columns, or give another file"
        return f"give the right file, or with data=csv set {self._settings}"

    @property
    def _settings(self) -> str:
        return settings_for(self.names, self.layout.wanted)

    @abstractmethod
    def read(self) -> pa.Table:
        """The wanted columns under internal names; fast, but with vague errors."""

    @abstractmethod
    def rows(self) -> Iterator[Mapping[str, Any]]:
        """Row by row, the wanted columns under internal names; slow, with exact errors."""


class Columnar(TableFile):
    """Apache Parquet, Arrow (Feather) or ORC.

    Args:
        path: See `TableFile`.
        layout: See `TableFile`; its text settings are ignored.
        file_format: The format's name in `pyarrow.dataset`.
    """

    unit = "row"

    def __init__(self, path: Path, layout: Layout, file_format: str = "parquet") -> None:
        super().__init__(path, layout)
        self.kind = f"{'an' if file_format != 'parquet' else 'a'} {file_format} file"
        self._format = file_format

    @cached_property
    def _dataset(self) -> pa_dataset.Dataset:
        return pa_dataset.dataset(self.path, format=self._format)

    @cached_property
    def names(self) -> list[str]:
        """All columns."""
        return list(self._dataset.schema.names)

    @property
    def _fields(self) -> dict[str, pa_dataset.Expression]:
        return {ours: pa_dataset.field(self.names[at]) for ours, at in self.positions.items()}

    def read(self) -> pa.Table:
        """The wanted columns."""
        scanner = self._dataset.scanner(columns=self._fields)
        return pa.Table.from_batches(self._batches(scanner), scanner.projected_schema)

    def _batches(self, scanner: pa_dataset.Scanner) -> Iterator[pa.RecordBatch]:
        """All rows in pieces, up to the limits on compressed files."""
        # a group of rows is decoded before it is counted, but their number is known
        UnpackedSize(self.path).add(LEAST_BYTES * self._dataset.count_rows() * len(self.positions))
        unpacked = UnpackedSize(self.path)
        for batch in scanner.to_batches():
            unpacked.add_batch(batch)
            yield batch

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """Row by row."""
        self.place = 1
        for batch in self._batches(self._dataset.scanner(columns=self._fields)):
            types = {ours: batch.schema.field(ours).type for ours in ("user", "item")}
            is_short = [ours for ours, kind in types.items() if pa.types.is_float32(kind)]
            for row in batch.to_pylist():
                yield row | {ours: np.float32(row[ours]) for ours in is_short if row[ours]}
                self.place += 1


def _likely_delimiter(line: str) -> str:
    """What most likely separates the fields of a line that was read as one; empty if nothing."""
    signs = sorted((COLONS, ";", "\t", ",", "|"), key=line.count)
    return next((sign for sign in (signs[-1], " ") if sign in line.strip()), "")


def _has_spaced_quotes(table: pa.Table, column: Mapping[str, str]) -> bool:
    """Whether an id has a quote after spaces, which Arrow takes for a part of it."""
    return any(
        pc.any(pc.match_substring_regex(chunk.dictionary, '^ +"')).as_py()
        for ours in ("user", "item")
        for chunk in table[column[ours]].chunks
    )


def _by_position(fields: list[str]) -> str:
    numbers = [at for at, field in enumerate(fields) if at > 1 and NUMBER.fullmatch(field)]
    last = numbers[0] if numbers else "null"
    return f"data.user_column=0 data.item_column=1 data.value_column={last} or as they stand"


class Text(TableFile):
    """Delimited text, plain or compressed; a quoted field may have delimiters but no line break."""

    unit = "line"

    def __init__(self, path: Path, layout: Layout) -> None:
        super().__init__(path, layout)
        self.kind = f"UTF-8 text with fields separated by {layout.delimiter!r}"
        self._has_colons = layout.delimiter == COLONS
        self._delimiter = ONE_CHARACTER if self._has_colons else layout.delimiter
        self._n_lines = 0

    # --- columns --------------------------------------------------------------------------------

    @cached_property
    def names(self) -> list[str]:
        """All columns; their positions if there is no header."""
        if self.layout.columns:
            return list(self.layout.columns)
        first, _ = self.first_records
        return [str(n) for n in range(len(first))] if self.is_bare else [n.strip() for n in first]

    @property
    def is_bare(self) -> bool:
        """Whether the first line is data."""
        return self.layout.columns is not None

    @cached_property
    def first_records(self) -> tuple[list[str], list[str]]:
        """The fields of the first two non-blank lines."""
        records = self._records()
        return next(records, []), next(records, [])

    @property
    def first_wanted(self) -> tuple[list[str], list[str]]:
        """The wanted fields of the first two non-blank lines, where present."""
        first, second = self.first_records
        at = self.positions.values()
        return [first[n] for n in at if n < len(first)], [second[n] for n in at if n < len(second)]

    @cached_property
    def _n_header_lines(self) -> int:
        """Lines before the data."""
        if self.is_bare:
            return 0
        next(self._records(), None)
        return self._n_lines

    def _position(self, ours: str) -> int:
        theirs = self.layout.wanted[ours]
        if isinstance(theirs, int) and theirs > 0 and (advice := self._delimiter_advice()):
            raise InputError(
                f"{self.path} must have a column {theirs} (the first is 0) for data.{ours}_column, "
                f"but line 1 is one field: {self._shown(self.first_records[0])}; {advice}"
            )
        if self.layout.columns == () and isinstance(theirs, str):
            raise InputError(
                f"without a header data.{ours}_column must be a position (the first is 0), but is "
                f"{theirs!r}; the first line of {self.path} is "
                f"{self._shown(self.first_records[0])}: give {_by_position(self.first_records[0])}"
            )
        return super()._position(ours)

    def _advice(self) -> str:
        if not self.layout.has_settings:
            return super()._advice()
        first, second = self.first_records
        if advice := self._delimiter_advice():
            return advice
        if looks_like_data(first, second):
            return (
                "line 1 looks like data, not like a header: with data=csv read it by position, "
                f"data.header=false {_by_position(first)}"
            )
        if not self.layout.has_quotes and any(name.startswith('"') for name in self.names):
            return f"its names are in quotes{self.layout.about_quotes}"
        return (
            f"give the right file, or with data=csv set {self._settings} or data.delimiter; "
            f"if line 1 is no header but data, set data.header=false {_by_position(first)}"
        )

    def _delimiter_advice(self) -> str:
        """What to do where a line is read as one field; empty if it has several."""
        first, second = (fields[0] if len(fields) == 1 else "" for fields in self.first_records)
        if not self.layout.has_settings or not first:
            return ""
        sign = _likely_delimiter(first)
        is_even = not self.first_records[1] or first.count(sign) == second.count(sign)
        if re.fullmatch("sep=.", first) or (first.startswith("#") and not (sign and is_even)):
            return "line 1 is a comment: remove it"
        if not sign or not is_even:
            return ""
        if sign == self.layout.delimiter:
            return "its lines are in quotes as a whole: remove these quotes"
        shown = sign.replace("\t", "\\t")
        advice = f"'data.delimiter=\"{shown}\"'"
        fields = first.split(sign)
        if self.layout.columns is None and looks_like_data(fields, second.split(sign)):
            advice += f" data.header=false {_by_position(fields)}"
        return f"its fields seem to be separated by {sign!r}: with data=csv set {advice}"

    def _shown(self, fields: list[str]) -> str:
        return quote(self.layout.delimiter.join(fields))

    # --- rows -----------------------------------------------------------------------------------

    def read(self) -> pa.Table:
        """The wanted columns; ids as coded text, values as float64, times as text."""
        names = [str(position) for position in range(len(self.names))]
        column = {ours: names[at] for ours, at in self.positions.items()}
        types = dict.fromkeys(column.values(), CODED_TEXT)
        types |= {column[ours]: pa.float64() for ours in ("value",) if ours in column}
        types |= {column[ours]: pa.string() for ours in ("timestamp",) if ours in column}
        with open_text(self.path) as stream:
            lines = CountedLines(stream, self._has_colons)
            table = None
            try:
                table = pa_csv.read_csv(
                    lines if self.layout.has_quotes or self._has_colons else stream,
                    pa_csv.ReadOptions(column_names=names, skip_rows=self._n_header_lines),
                    pa_csv.ParseOptions(
                        delimiter=self._delimiter,
                        quote_char='"' if self.layout.has_quotes else False,
                    ),
                    pa_csv.ConvertOptions(
                        column_types=types,
                        include_columns=list(column.values()),
                        null_values=[""],
                        strings_can_be_null=True,
                    ),
                )
            except pa.ArrowInvalid:
                if not self._skips_spaces:
                    raise
        if table is None or (self._skips_spaces and _has_spaced_quotes(table, column)):
            return self._read_rows()
        n_records = table.num_rows + (not self.is_bare)
        if self.layout.has_quotes and n_records != lines.n_lines:
            raise csv.Error(f"{lines.n_lines:,} lines hold {n_records:,} records")
        table = table.rename_columns(list(column))
        if self._has_colons and self.layout.has_quotes:  # an id that contains the delimiter
            for place, ours in enumerate(("user", "item")):
                texts = pc.replace_substring(table[ours].cast(pa.string()), ONE_CHARACTER, COLONS)
                table = table.set_column(place, ours, texts)
        return table

    @property
    def _skips_spaces(self) -> bool:
        """Whether a field in quotes may begin after spaces."""
        return self.layout.has_quotes and self.layout.delimiter != " "

    def _read_rows(self) -> pa.Table:
        """As `read`, slowly; knows quotes after spaces."""
        rows = [tuple(row.values()) for row in self.rows()]
        columns = dict(zip(self.positions, zip(*rows, strict=True), strict=True))
        texts = {ours: pa.array([each or None for each in some]) for ours, some in columns.items()}
        if "value" in texts:
            texts["value"] = pc.utf8_trim(texts["value"], " \t").cast(pa.float64())
        return pa.table({ours: pa.chunked_array([some]) for ours, some in texts.items()})

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """Row by row; a line with too many or too few fields raises `csv.Error`."""
        n_fields, positions = len(self.names), self.positions
        records = self._records()
        if not self.is_bare:
            next(records, None)
        for fields in records:
            if len(fields) != n_fields:
                is_quoted = '"' in "".join(fields) and not self.layout.has_quotes
                hint = self.layout.about_quotes * is_quoted
                raise csv.Error(
                    f"{len(fields)} fields instead of {n_fields} in {self._shown(fields)}{hint}"
                )
            row = {ours: fields[at] for ours, at in positions.items()}
            for field in row.values():
                field.encode(errors="surrogateescape").decode()  # names the byte that is not UTF-8
            yield row

    def _records(self) -> Iterator[list[str]]:
        """The fields of each non-blank line; `place` is its number."""
        self._n_lines, self.place = 0, 1
        with open_text(self.path) as stream:
            lines = self._lines(
                io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
            )
            for each in csv.reader(
                lines,
                delimiter=self._delimiter,
                quoting=csv.QUOTE_MINIMAL if self.layout.has_quotes else csv.QUOTE_NONE,
                skipinitialspace=self._skips_spaces,
            ):
                fields = each
                if self._has_colons:
                    fields = [field.replace(ONE_CHARACTER, COLONS) for field in each]
                if self._n_lines > self.place:
                    field = next((text for text in fields if {*text} & {*"\r\n"}), "")
                    raise csv.Error(
                        f"the quote that opens {quote(field)} is not closed on the same line: "
                        "remove the quote or the line break"
                        + ", or where quotes are text set data.quoting=none with data=csv"
                        * self.layout.has_settings
                    )
                if fields:
                    yield fields
                self.place = self._n_lines + 1

    def _lines(self, text: io.TextIOWrapper) -> Iterator[str]:
        while line := text.readline(LONGEST_LINE):
            self._n_lines += 1
            if len(line) == LONGEST_LINE and line[-1] not in "\r\n":
                raise csv.Error(f"longer than {LONGEST_LINE:,} characters")
            yield line.replace(COLONS, ONE_CHARACTER) if self._has_colons else line
