"""Text files of any compression and encoding as streams of UTF-8 that count lines."""

import io
import lzma
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from recsweep.data.magic_bytes import N_BYTES, columnar, encoding, foreign, packer
from recsweep.errors import InputError
from recsweep.files import CHUNK_BYTES
from recsweep.unpack_limits import UnpackedSize

COLONS, ONE_CHARACTER = "::", "\x1f"
"""A delimiter that CSV readers do not support, and its replacement."""
_MARK = "\ufeff".encode()


def first_bytes(path: Path) -> bytes:
    """The first bytes of the file, as stored on disk."""
    with path.open("rb") as file:
        return file.read(N_BYTES)


def open_text(path: Path) -> pa.NativeFile:
    """The decompressed text as UTF-8; without a byte order mark it is not converted."""
    found = encoding(_unpacked_head(path))
    stream = _unpacked(path)
    return pa.transcoding_input_stream(stream, found, "utf-8") if found else stream


def refuse_other_formats(path: Path) -> None:
    """Raise InputError if the first bytes show that this is not delimited text."""
    packed_by, head = packer(first_bytes(path)), _unpacked_head(path)
    packed = f", packed by {packed_by}" if packed_by else ""
    if found := foreign(head):
        what, advice = found
        raise InputError(
            f"{path} must be delimited text or Parquet, but is {what}{packed}; {advice}"
        )
    if packed_by and columnar(head):
        raise InputError(
            f"{path} must be delimited text or Parquet, but is {columnar(head)}{packed}; unpack it"
        )


def other_format(path: Path) -> str | None:
    """What a file that is not UTF-8 text is instead, if its first bytes show it."""
    found = foreign(head := _unpacked_head(path))
    return found[0] if found else columnar(head)


def _unpacked(path: Path) -> pa.NativeFile:
    packed_by = packer(first_bytes(path))
    if packed_by is None:
        return pa.input_stream(path, compression=None)
    unpack = _Xz if packed_by == "xz" else partial(pa.input_stream, compression=packed_by)
    limited = _Limited(unpack(path), UnpackedSize(path))
    return _Sequential(io.BufferedReader(limited, CHUNK_BYTES), "r")


def _unpacked_head(path: Path) -> bytes:
    with _unpacked(path) as stream:
        return bytes(stream.read(N_BYTES))


class _Sequential(pa.PythonFile):
    """A stream of unknown length, which Arrow takes for a file that it can seek in."""

    def read(self, nbytes: int | None = None) -> bytes:
        """The next bytes; None = all."""
        if nbytes is not None:
            return bytes(super().read(nbytes))
        return b"".join(iter(lambda: self.read(CHUNK_BYTES), b""))


class _Xz:
    """The content of an .xz file; `lzma.open` would skip a damaged stream after the first.

    Args:
        path: The file: streams, each followed by NULs or none.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        self._packed = b""

    def read(self, size: int) -> bytes:
        """The next bytes, at most so many; none at the end.

        Raises:
            lzma.LZMAError: A stream is damaged, or followed by something else.
            EOFError: The file ends within a stream.
        """
        while not self._stream.eof or self._is_more():
            if self._stream.needs_input and not self._packed:
                self._packed = self._file.read(CHUNK_BYTES)
                if not self._packed:
                    raise EOFError("Compressed file ended within a stream")
            block = self._stream.decompress(self._packed, size)
            self._packed = self._stream.unused_data
            if block:
                return block
        return b""

    def _is_more(self) -> bool:
        """Skip padding, and begin the stream that follows; False if the file ends."""
        self._packed = self._packed.lstrip(b"\0")
        while not self._packed and (chunk := self._file.read(CHUNK_BYTES)):
            self._packed = chunk.lstrip(b"\0")
        self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ) if self._packed else self._stream
        return bool(self._packed)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _Limited(io.RawIOBase):
    """A stream that ends in an InputError where a compressed file becomes too large.

    Args:
        stream: The unpacked content.
        unpacked_size: Counts it.
    """

    def __init__(self, stream: Any, unpacked_size: UnpackedSize) -> None:
        self._stream, self._unpacked_size = stream, unpacked_size

    def readable(self) -> bool:
        """Always True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next bytes; returns their number, 0 at the end."""
        block = self._stream.read(len(buffer))
        self._unpacked_size.add(len(block))
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        """Close the file, too."""
        self._stream.close()
        super().close()


class CountedLines(io.RawIOBase):
    """A stream of UTF-8 that counts its non-blank lines.

    Args:
        stream: The stream to read.
        has_colons: Whether to replace `::` by one character.
    """

    def __init__(self, stream: pa.NativeFile, has_colons: bool) -> None:
        self._stream = stream
        self._has_colons = has_colons
        self._held = b""
        self._n_ended = 0
        self._was_end: bool | None = None

    @property
    def n_lines(self) -> int:
        """Lines so far."""
        return self._n_ended + (self._was_end is False)

    def readable(self) -> bool:
        """Always True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes; none at the end.

        Args:
            size: Maximum number of bytes, at least 2; -1 = all.
        """
        block = bytes(self._stream.read(size if size < 0 else size - len(self._held)))
        if self._was_end is None:
            block = block.removeprefix(_MARK)
        if self._has_colons:
            is_last = not block
            block = (self._held + block).replace(COLONS.encode(), ONE_CHARACTER.encode())
            self._held = b":" if block.endswith(b":") and not is_last else b""
            block = block.removesuffix(self._held)
            if not block and not is_last:
                return self.read(size)
        self._count(block)
        return block

    def _count(self, block: bytes) -> None:
        if block:
            characters = np.frombuffer(block, np.uint8)
            is_end = (characters == ord("\n")) | (characters == ord("\r"))
            self._n_ended += int(np.count_nonzero(is_end[1:] > is_end[:-1]))
            self._n_ended += bool(is_end[0]) and self._was_end is False
            self._was_end = bool(is_end[-1])
