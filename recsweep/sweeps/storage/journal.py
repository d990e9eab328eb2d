"""An append-only journal: what is acknowledged stays, whoever dies when."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from recsweep.sweeps.storage.errors import StorageError
from recsweep.sweeps.storage.locks import FileLease, locked

Record = dict[str, Any]


class Journal(BaseJournalBackend):
    """Optuna's records as lines of JSON; what is acknowledged stays, whoever dies when.

    A record ends with its newline. Whoever dies in mid-append leaves one without, which readers
    ignore and the next to append cuts, under a lock that the system frees on death. Reading waits
    for nobody.

    Args:
        path: The file; made when it is not there.

    Raises:
        StorageError: It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._n_read, self._offset = 0, 0
        with self._opened("ab"):
            pass
        with self._opened("r+b") as file, FileLease(self._path) as lease:
            if lease.take():  # else somebody is appending, and has done this
                _cut_unreadable(file)

    def read_logs(self, log_number_from: int) -> Iterator[Record]:
        """All records from a number on.

        Raises:
            StorageError: One in the middle is damaged.
        """
        if log_number_from != self._n_read:
            self._n_read, self._offset = 0, 0
        lines = self._new_lines()
        try:
            records = [_record(line) for line in lines]
        except ValueError:  # perhaps a record that was just being cut
            with locked(self._path):
                lines = self._new_lines()
            records = self._undamaged(lines)
        for line, record in zip(lines, records, strict=True):
            self._n_read, self._offset = self._n_read + 1, self._offset + len(line) + 1
            if self._n_read > log_number_from:
                yield record

    def append_logs(self, logs: list[Record]) -> None:
        """Write records and wait until they are on the disk.

        Raises:
            StorageError: The disk is full or cannot be written; the journal is as it was before.
        """
        rest = "".join(f"{json.dumps(log, separators=(',', ':'))}\n" for log in logs).encode()
        with self._opened("r+b") as file, locked(self._path):
            _cut_torn(file)  # somebody else died
            try:
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            finally:
                _cut_torn(file)  # the disk is full

    def _new_lines(self) -> list[bytes]:
        """Whole lines that were not read before.

        They come from one system call, so that no line is put together from before and after
        somebody else's repair.
        """
        with self._opened("rb") as file:
            n_bytes = os.fstat(file.fileno()).st_size - self._offset
            if n_bytes < 0:
                raise OSError(errno.ESTALE, "it became shorter while it was in use")
            return os.pread(file.fileno(), n_bytes, self._offset).split(b"\n")[:-1]

    def _undamaged(self, lines: list[bytes]) -> list[Record]:
        records = []
        for number, line in enumerate(lines, start=self._n_read + 1):
            try:
                records.append(_record(line))
            except ValueError as error:
                raise StorageError(
                    f"line {number} of {self._path} must be a record of Optuna's, but is damaged "
                    f"({error}); restore the file from a backup, or delete it to begin anew"
                ) from error
        return records

    @contextmanager
    def _opened(self, mode: str) -> Iterator[FileIO]:
        """The file, unbuffered: what a full disk refused must not be written at closing."""
        try:
            if mode == "ab":
                self._path.parent.mkdir(parents=True, exist_ok=True)
            with FileIO(self._path, mode) as file:
                yield file
        except OSError as error:
            raise StorageError(
                f"the study's journal {self._path} must be a file that can be written, but is not "
                f"({error.strerror}); see to the disk or to sweep.folder, then give the same "
                "command again to resume"
            ) from error


def _record(line: bytes) -> Record:
    """What a line says.

    Raises:
        ValueError: It is no record.
    """
    record = json.loads(line)
    if not isinstance(record, dict) or "op_code" not in record:
        raise ValueError("no op_code")
    return record


def _cut_torn(file: FileIO) -> None:
    """Cut the record without newline at the end, if there is one, and go to the end."""
    end = file.seek(0, os.SEEK_END)
    if end and os.pread(file.fileno(), 1, end - 1) != b"\n":
        file.truncate(os.pread(file.fileno(), end, 0).rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)


def _cut_unreadable(file: FileIO) -> None:
    """Cut also a last line that has its newline but lost bytes: the machine lost its power."""
    _cut_torn(file)
    lines = os.pread(file.fileno(), file.tell(), 0).split(b"\n")[:-1]
    try:
        _record(lines[-1] if lines else b'{"op_code":0}')
    except ValueError:
        file.truncate(file.tell() - len(lines[-1]) - 1)
