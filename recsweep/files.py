"""Atomic writing of files and folders, and disk errors in one line."""

import errno
import hashlib
import os
import shutil
import stat
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from os import fsync
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from filelock import FileLock

from recsweep.errors import InputError

CHUNK_BYTES = 1 << 16
ITSELF = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Flags to open a file but no link, and not to wait for a pipe; Windows has neither."""


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
    """Turn disk errors into a one-line `InputError`.

    Args:
        target: The path to name if the system's error names no file.
        setting: The setting to change, such as `data.path`.
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
def read_errors_in_one_line(path: Path) -> Iterator[None]:
    """Turn disk errors while the user's files are read into a one-line `InputError`.

    Args:
        path: The path to name if the system's error names no file.
    """
    try:
        yield
    except OSError as error:
        do = "change its permissions" if isinstance(error, PermissionError) else "give another file"
        raise InputError(
            f"cannot read {error.filename or path} ({error.strerror or error}); {do}"
        ) from error


def no_file(path: Path) -> str:
    """What a path is that is not a regular file, such as `is a folder`."""
    if path.is_dir():
        return "is a folder"
    if path.exists():
        return "is a pipe or a device"
    return "is a link to nothing" if path.is_symlink() else "is not there"


def is_own_file(path: Path) -> bool:
    """Whether a path is free, or a regular file that has no other name."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return True
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1


@contextmanager
def sole_writer(target: Path) -> Iterator[None]:
    """Keep other processes from writing `target` at the same time."""
    lock = Path(f"{target}.lock")
    with _folders_above(target), FileLock(lock):
        try:
            yield
        except BaseException:
            with suppress(PermissionError):  # on Windows nobody can remove a file that is open
                lock.unlink(missing_ok=True)  # a waiting process notices and takes a new lock
            raise


@contextmanager
def _folders_above(target: Path) -> Iterator[None]:
    """Create the folders that `target` needs; after a failure, remove empty ones."""
    made = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # not empty: in use
            for folder in made:
                folder.rmdir()
        raise


@contextmanager
def whole_file(target: Path) -> Iterator[BinaryIO]:
    """A file beside `target` that is renamed to it in one step once it is written."""
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


@contextmanager
def whole_folder(target: Path, setting: str) -> Iterator[Path]:
    """A folder beside `target` that is renamed to it in one step once all files are written.

    Args:
        target: A new or empty folder.
        setting: The setting of the folder.

    Raises:
        InputError: The disk reports an error, or `target` is not empty.
    """
    unfinished = target.absolute().with_name(f".{target.name}.{uuid.uuid4().hex}")
    made = [parent for parent in unfinished.parents if not parent.exists()]
    with disk_errors_in_one_line(target, setting):
        try:
            unfinished.mkdir(parents=True)
            yield unfinished
            with suppress(OSError):  # not there; not empty, which the next line says
                target.rmdir()  # or Windows refuses to rename a folder to it
            unfinished.replace(target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
            with suppress(OSError):  # not empty, as it should be
                for parent in made:
                    parent.rmdir()


def refuse_folder(target: Path, setting: str) -> None:
    """Check before long work that `whole_folder` can write there.

    Raises:
        InputError: It is not empty, or cannot be created.
    """
    with disk_errors_in_one_line(target, setting):
        place = next(path for path in (target, *target.absolute().parents) if path.exists())
        if not place.is_dir():
            found = "is no folder"
        elif not os.access(place, os.W_OK):
            found = "cannot be written"
        elif place == target and any(place.iterdir()):
            found = "is not empty"
        else:
            return
    raise InputError(
        f"{setting} must be a new or empty folder that can be written, but {place} {found}; give "
        f"{setting}=FOLDER"
    )


def open_itself(path: str | Path, flags: int) -> int:
    """Open a regular file that is no link; an `opener` for `open`.

    Args:
        path: The file.
        flags: See `os.open`.

    Returns:
        Its descriptor.

    Raises:
        OSError: It is a link, a pipe or a device, or cannot be opened.
    """
    try:
        descriptor = os.open(path, flags | ITSELF, 0o666)
    except BlockingIOError:  # a server lends the file to another host: wait for that
        descriptor = os.open(path, flags | ITSELF & ~getattr(os, "O_NONBLOCK", 0), 0o666)
    except OSError as error:
        is_link = os.path.islink(path)  # noqa: PTH114 - Path's raises an error
        reason = "it is a link, which could lead anywhere" if is_link else error.strerror
        raise OSError(error.errno, reason, str(path)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is a pipe or a device", str(path))
    return descriptor


def refuse_links(folder: Path, leave_out: Collection[str] = ()) -> None:
    """Check that a folder holds its files itself before it is packed, uploaded or written to.

    A link in a stranger's folder could name any file of the user's; a pipe never ends.

    Args:
        folder: The folder. Others may write in it meanwhile.
        leave_out: Folders in it whose files may be links.

    Raises:
        InputError: There is a link, a pipe or a device somewhere in it.
    """
    for place, folders, names in os.walk(folder):
        for name in sorted(folders + names):
            file = Path(place, name)
            try:
                mode = file.lstat().st_mode
            except FileNotFoundError:  # somebody has just renamed or removed it
                continue
            if stat.S_ISLNK(mode):
                raise InputError(
                    f"{folder} must not contain links, but {file.relative_to(folder)} is a link "
                    f"to {file.readlink()}; put the file there, or remove the link"
                )
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise InputError(
                    f"{folder} must contain files, but {file.relative_to(folder)} is a pipe or a "
                    "device; remove it"
                )
        if place == str(folder):
            folders[:] = [name for name in folders if name not in leave_out]


def refuse_file(
    target: Path, setting: str, overwrite: bool, inputs: Sequence[Path | None] = ()
) -> Path:
    """Check before long work that a new file can be written there.

    Args:
        target: The file.
        setting: The setting of the file.
        overwrite: Whether it may already exist.
        inputs: Files, and folders of files, that are read and must stay.

    Returns:
        `target`, absolute.

    Raises:
        InputError: It exists, or cannot be written.
    """
    file = target.absolute()
    with disk_errors_in_one_line(file, setting):
        place = next(path for path in file.parents if path.exists())
        if not (place.is_dir() and os.access(place, os.W_OK)):
            found, do = f"{place} is no such folder", "fix it"
        elif file.is_dir():
            found, do = f"{file} is a folder itself", "name a file in it"
        elif file.exists() and any(each and _is_part(file, each) for each in inputs):
            found, do = f"{file} is read by this command", "give another name"
        elif file.exists() and not overwrite:
            found = f"{file} is already there"
            do = f"set {setting.rpartition('.')[0]}.overwrite=true"
        else:
            return file
    raise InputError(
        f"{setting} must be a new file in a folder that can be written, but {found}; {do}, or "
        f"give {setting}=FILE"
    )


def _is_part(file: Path, whole: Path) -> bool:
    return file.resolve().is_relative_to(whole.resolve())


def expand_user(path: str | Path) -> Path:
    """A path whose `~` is the home folder; an unknown `~user` stays and will not be found."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path's raises an error


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; False if the path is too long or closed to this user."""
    return os.path.isdir(path)  # noqa: PTH112 - Path's raises an error


def typed_or_decoded(path: str) -> Path:
    """The absolute path as typed; or with %20 as a space if only that file or folder exists."""
    typed, decoded = Path(path).absolute(), Path(unquote(path)).absolute()
    is_there = decoded.exists() and not typed.exists()
    has_folder = decoded.parent.is_dir() and not typed.parent.is_dir()
    return decoded if is_there or has_folder else typed
