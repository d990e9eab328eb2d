"""An append-only journal: what it has acknowledged survives the death of any process."""

import errno
import json
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend
from optuna.storages.journal._storage import JournalOperation

from recsweep.files import open_itself
from recsweep.sweeps.storage.errors import StorageError
from recsweep.sweeps.storage.file_locks import read_at
from recsweep.sweeps.storage.locks import FileLease, hold_lock

Record = dict[str, Any]
UNFINISHED = {
    JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE, JournalOperation.SET_TRIAL_USER_ATTR,
    JournalOperation.SET_TRIAL_SYSTEM_ATTR,
}  # fmt: skip
"""Records of trials that still run. Waiting for the disk after each of them takes milliseconds, in
which no other trial of the study can report; the record that ends a trial waits for all of them."""
CHECKSUM = "crc32"
"""The last key of a record: the CRC-32 of all records up to this key, in hexadecimal digits."""
UNCHECKED = {JournalOperation.SET_STUDY_SYSTEM_ATTR, JournalOperation.SET_TRIAL_SYSTEM_ATTR}
OF_DASHBOARD = ("dashboard:", "artifacts:")
"""Records that other programs may append, without a checksum: notes of Optuna's dashboard, whose
keys begin so. None of them changes what recsweep reads of a study or a trial."""
RETRY_S = 0.1
"""After that a reader looks again for a record that a writer was just removing."""
_KEY = f',"{CHECKSUM}":"'.encode()
_END = _KEY + b'%08x"}'
_N_END = len(_END % 0)


class Journal(BaseJournalBackend):
    """Optuna's records as lines of JSON; acknowledged records survive the death of any process.

    A crash of the whole machine may take the latest records of unfinished trials, which a resumed
    sweep repeats; whatever begins or ends a trial is on disk before it is acknowledged.

    A record ends with a newline. A process that dies while appending leaves one without, which
    readers ignore and the next writer removes, under a lock that the system frees on death.
    Readers never wait, and never write. The file must not be a link, which could lead anywhere.

    A record ends with a checksum that continues the one before, so that a record which was changed,
    removed, moved or inserted is found. Optuna ignores that key. Records of other programs have no
    checksum and are skipped by the chain, so that those may append at any time.

    Args:
        path: The file; created, except for a reader, if it does not exist.
        is_read_only: Whether it is neither repaired nor appended to.

    Raises:
        StorageError: It is not writable, is a link, or its file system has no locks.
    """

    def __init__(self, path: Path, *, is_read_only: bool = False) -> None:
        self._path, self._is_read_only = path.absolute(), is_read_only
        self._n_read, self._offset, self._checksum = 0, 0, 0
        if is_read_only:
            with self._opened("rb"):
                return
        with self._opened("ab"):
            pass
        with self._opened("r+b") as file, FileLease(self._path) as lease:
            if lease.take():  # else a writer is active and has done this
                lease.refuse_useless()
                _cut_unreadable(file)

    def read_logs(self, log_number_from: int) -> Iterator[Record]:
        """All records starting from a number.

        Raises:
            StorageError: A record in the middle is damaged.
        """
        if log_number_from != self._n_read:
            self._n_read, self._offset, self._checksum = 0, 0, 0
        lines = self._new_lines()
        try:
            found = self._undamaged(lines)
        except StorageError:  # perhaps a record that was just being removed
            if self._is_read_only:  # perhaps on a disk that cannot be written, or somebody else's
                time.sleep(RETRY_S)
                lines = self._new_lines()
            else:
                with hold_lock(self._path):
                    lines = self._new_lines()
            found = self._undamaged(lines)
        for line, (record, self._checksum) in zip(lines, found, strict=True):
            self._n_read, self._offset = self._n_read + 1, self._offset + len(line) + 1
            if self._n_read > log_number_from:
                yield record

    def append_logs(self, logs: list[Record]) -> None:
        """Write records, and wait until they are on disk if one begins or ends something.

        Raises:
            StorageError: The disk is full or not writable, or the journal is damaged or was opened
                to be read; it is unchanged.
        """
        if self._is_read_only:
            raise StorageError(
                f"only a sweep writes to its journal, but {self._path} was opened to be read; add "
                "notes in MLflow"
            )
        with self._opened("r+b") as file, hold_lock(self._path):
            _cut_torn(file)  # left by a crashed writer
            rest = _with_checksums(logs, self._last_checksum())
            try:
                while rest:
                    rest = rest[file.write(rest) :]
                if any(log["op_code"] not in UNFINISHED for log in logs):
                    os.fsync(file.fileno())  # with everything before it
            finally:
                _cut_torn(file)  # if the disk is full

    def _new_lines(self) -> list[bytes]:
        """Whole lines that were not read before.

        They are read by one system call, so that no line mixes content from before and after
        another process's repair.
        """
        with self._opened("rb") as file:
            n_bytes = os.fstat(file.fileno()).st_size - self._offset
            if n_bytes < 0:
                raise OSError(errno.ESTALE, "it shrank while in use")
            lines = read_at(file.fileno(), n_bytes, self._offset).split(b"\n")[:-1]
        is_spoilt = self._is_read_only and _is_last_spoilt(lines)
        return lines[:-1] if is_spoilt else lines

    def _last_checksum(self) -> int:
        """The checksum of everything in the file, while it is locked."""
        found = self._undamaged(self._new_lines())
        return found[-1][1] if found else self._checksum

    def _undamaged(self, lines: list[bytes]) -> list[tuple[Record, int]]:
        """The records of lines that follow those read before, each with its checksum."""
        found, checksum = [], self._checksum
        for number, line in enumerate(lines, start=self._n_read + 1):
            try:
                record, checksum = _checked(line, checksum)
            except _UncheckedError as error:
                raise StorageError(
                    f"line {number} of {self._path} must have recsweep's checksum, since it is not "
                    "a note of Optuna's dashboard, but has none: another program wrote or changed "
                    "it; remove the line if it was added, or restore the file from a backup"
                ) from error
            except ValueError as error:
                raise StorageError(
                    f"line {number} of {self._path} must be an Optuna record, but is damaged "
                    f"({error}); restore the file from a backup, or delete its folder to start over"
                ) from error
            found.append((record, checksum))
        return found

    @contextmanager
    def _opened(self, mode: str) -> Iterator[FileIO]:
        """The file, unbuffered: data refused by a full disk must not be written on close."""
        try:
            if mode == "ab":
                self._path.parent.mkdir(parents=True, exist_ok=True)
            with FileIO(self._path, mode, opener=_open_to_append) as file:
                yield file
        except OSError as error:
            raise StorageError(
                f"cannot access the study's journal {self._path} ({error.strerror}); check the "
                "disk or sweep.folder, then re-run the same command to resume"
            ) from error


def _open_to_append(path: str, flags: int) -> int:
    """Open a file so that other programs, which do not take the lock, are never overwritten."""
    return open_itself(path, flags | os.O_APPEND)


class _UncheckedError(Exception):
    """A record needs a checksum and has none."""


def _with_checksums(records: list[Record], checksum: int) -> bytes:
    """Lines of a journal whose records so far have this checksum."""
    lines = []
    for record in records:
        text = json.dumps(record, separators=(",", ":")).encode()[:-1]  # without its last brace
        checksum = zlib.crc32(text, checksum)
        lines.append(text + _END % checksum + b"\n")
    return b"".join(lines)


def _checked(line: bytes, checksum: int) -> tuple[Record, int]:
    """The record of a line, and the checksum after it.

    Args:
        line: The line.
        checksum: That of the records before it.

    Raises:
        ValueError: It is no record, or its checksum is another one.
        _UncheckedError: It needs a checksum and has none.
    """
    text, end = line[:-_N_END], line[-_N_END:]
    if end.startswith(_KEY):
        checksum = zlib.crc32(text, checksum)
        record, is_right = _record(text + b"}"), end == _END % checksum
    else:
        record = _record(line)
        is_right = CHECKSUM not in record
        if is_right and not _is_of_dashboard(record):
            raise _UncheckedError
    if not is_right:
        raise ValueError("its checksum is wrong: it was changed, or a record before it removed")
    return record, checksum


def _is_of_dashboard(record: Record) -> bool:
    """Whether a record only sets attributes of Optuna's dashboard."""
    attributes = record.get("system_attr")
    return (
        record["op_code"] in UNCHECKED
        and isinstance(attributes, dict)
        and all(key.startswith(OF_DASHBOARD) for key in attributes)
    )


def _record(line: bytes) -> Record:
    """Parse a line.

    Raises:
        ValueError: It is not a record.
    """
    try:
        record = json.loads(line.decode())
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(record, dict) or not isinstance(record.get("op_code"), int):
        raise ValueError("no op_code")  # noqa: TRY004 - what a file holds is no type of ours
    return record


def _cut_torn(file: FileIO) -> None:
    """Remove a last record without newline, if there is one, and seek to the end."""
    end = file.seek(0, os.SEEK_END)
    if end and read_at(file.fileno(), 1, end - 1) != b"\n":
        file.truncate(read_at(file.fileno(), end, 0).rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)


def _cut_unreadable(file: FileIO) -> None:
    """Also remove a last line that has its newline but lost bytes, as after a power failure."""
    _cut_torn(file)
    lines = read_at(file.fileno(), file.tell(), 0).split(b"\n")[:-1]
    if _is_last_spoilt(lines):
        file.truncate(file.tell() - len(lines[-1]) - 1)


def _is_last_spoilt(lines: list[bytes]) -> bool:
    """Whether the last of some lines lost bytes.

    Not so one with two records, for readers to refuse: no crash removes a newline between them.
    """
    try:
        _record(lines[-1] if lines else b'{"op_code":0}')
    except ValueError:
        return _KEY not in lines[-1][:-_N_END]
    return False
