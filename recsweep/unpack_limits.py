"""Limits on what a compressed file may unpack to: a size, and a ratio to the file's own size.

A small file can stand for terabytes. Whoever unpacks counts what comes out and stops at a limit, so
that nothing depends on the sizes that the file itself states.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

from recsweep.errors import InputError
from recsweep.memory import GIB

FREE_BYTES = 1 << 28
"""Below this the ratio does not count: long runs of the same value are ordinary, and harmless."""
SIZE, RATIO = "RECSWEEP_MAX_UNPACKED_GIB", "RECSWEEP_MAX_COMPRESSION_RATIO"
"""Variables with the chosen limits, which child processes inherit."""


class Limits(NamedTuple):
    """What a file may unpack to.

    Args:
        max_unpacked_gib: Its unpacked size, in GiB.
        max_compression_ratio: Its unpacked size by its own, once the former is above `FREE_BYTES`.
    """

    max_unpacked_gib: float = 4
    max_compression_ratio: float = 200


def choose_limits(limits: Limits) -> None:
    """Set the limits of this process and of its children."""
    os.environ[SIZE], os.environ[RATIO] = map(str, limits)


def read_limits() -> Limits:
    """The limits of this process."""
    default = Limits()
    return Limits(
        float(os.environ.get(SIZE, default.max_unpacked_gib)),
        float(os.environ.get(RATIO, default.max_compression_ratio)),
    )


class UnpackedSize:
    """Counts what a file has unpacked to.

    Args:
        file: The file, for messages.
        packed_bytes: The compressed size; None = the file's.
    """

    def __init__(self, file: Path, packed_bytes: int | None = None) -> None:
        self._file, self._limits = file, read_limits()
        self._packed_bytes = file.stat().st_size if packed_bytes is None else packed_bytes
        self._n_bytes = 0
        self._dictionaries: dict[str, list[int]] = {}

    def add(self, n_bytes: int) -> None:
        """Count bytes that were, or are about to be, unpacked.

        Raises:
            InputError: They are more than a limit allows.
        """
        self._n_bytes += n_bytes
        size, ratio = self._limits
        if self._n_bytes > size * GIB:
            raise InputError(
                f"{self._file} must unpack to at most {size:g} GiB, but has more; if you trust the "
                f"file, set max_unpacked_gib={_above(size)}"
            )
        if self._n_bytes > max(FREE_BYTES, ratio * self._packed_bytes):
            raise InputError(
                f"{self._file} must unpack to at most {ratio:g} times its compressed "
                f"{self._packed_bytes:,} bytes, but has more; if you trust the file, set "
                f"max_compression_ratio={_above(ratio)}"
            )

    def add_batch(self, batch: Any, least_bytes: int = 0) -> None:
        """Count a record batch of Arrow; dictionaries that batches share count once.

        Args:
            batch: The batch.
            least_bytes: Bytes that each row of each column counts at least.

        Raises:
            InputError: See `add`.
        """
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            codes = column
            if hasattr(column, "dictionary"):
                codes, values = column.indices, column.dictionary
                addresses = [buffer.address for buffer in values.buffers() if buffer]
                if self._dictionaries.get(name) != addresses:
                    self._dictionaries[name] = addresses
                    self.add(values.nbytes)
            self.add(max(codes.nbytes, least_bytes * batch.num_rows))


def _above(limit: float) -> str:
    return f"{10 * limit:g}"
