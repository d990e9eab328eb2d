"""Files that appear whole or not at all, and what the disk refuses as one line."""

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import fsync
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from recsweep.errors import InputError

CHUNK_BYTES = 1 << 16


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content.

    Args:
        path: An existing file.

    Returns:
        64 lower-case hexadecimal digits.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def disk_errors_in_one_line(target: Path, setting: str) -> Iterator[None]:
    """Say what the disk refused as an `InputError`.

    Args:
        target: What is named when the system names no file.
        setting: What the user can point elsewhere, such as `data.path`.
    """
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{error.filename or target} must be readable and writable, found: "
            f"{error.strerror or error}; check the path, its permissions and the free space, "
            f"or point {setting} to another folder"
        ) from error


@contextmanager
def sole_writer(target: Path) -> Iterator[None]:
    """Keep all other processes from making `target` at the same time."""
    lock = Path(f"{target}.lock")
    with _folders_above(target), FileLock(lock):
        try:
            yield
        except BaseException:
            lock.unlink(missing_ok=True)  # whoever waits for it notices and takes a new one
            raise


@contextmanager
def _folders_above(target: Path) -> Iterator[None]:
    """Make the folders that `target` needs; after a failure those that hold nothing go again."""
    made = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # not empty: somebody uses it
            for folder in made:
                folder.rmdir()
        raise


@contextmanager
def whole_file(target: Path) -> Iterator[BinaryIO]:
    """A file beside `target` that takes its name in one step, once it is written."""
    unfinished = target.with_name(f"{target.name}.{uuid.uuid4().hex}.tmp")
    with _folders_above(target):
        try:
            with unfinished.open("xb") as file:
                yield file
                file.flush()
                fsync(file.fileno())
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
