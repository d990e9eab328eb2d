"""Locks that the system or PostgreSQL frees when their holder dies."""

import os
import socket
import sys
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from recsweep.files import open_itself
from recsweep.messages import print_to_stderr
from recsweep.sweeps.storage.errors import StorageError
from recsweep.sweeps.storage.file_locks import (
    is_locked,
    lock,
    read_at,
    unlock,
    wait_for_lock,
)

if TYPE_CHECKING:
    from recsweep.sweeps.storage.shared_connection import SharedConnection


class Lease(ABC):
    """Held by one process at a time until it is released or the process dies; a context manager."""

    n_gaps = 0
    """How often it was lost and taken again: another process may have held it in between."""

    @abstractmethod
    def is_held(self) -> bool:
        """Whether this process still holds it."""

    @abstractmethod
    def release(self) -> None:
        """Release it; a second call does nothing."""

    @abstractmethod
    def abandon(self) -> None:
        """In a forked child: drop what belongs to the parent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


class Locks(Protocol):
    """The locks of one study, shared by all processes that work on it."""

    def mutex(self) -> AbstractContextManager[None]:
        """Wait until no other process is inside; not reentrant."""

    def lease(self, number: int) -> Lease | None:
        """The lease of trial `number`; None if a live process holds it."""

    def is_leased(self, number: int) -> bool:
        """Whether a live process holds the lease of trial `number`; has no side effects."""

    def lease_candidates(self, numbers: Sequence[int]) -> list[int]:
        """The trials whose lease may be free."""

    def is_settled(self) -> bool:
        """Whether the grace period after an outage, for owners to retake leases, is over."""


open_leases: set[Lease] = set()
"""Open leases of this process."""
connections: weakref.WeakSet["SharedConnection"] = weakref.WeakSet()
"""Connections to databases whose sessions hold leases."""


def _abandon_all() -> None:
    """Close the parent's descriptors in a forked child, which would keep its leases alive."""
    for lease in list(open_leases):
        lease.abandon()
    open_leases.clear()
    for connection in list(connections):
        connection.abandon()


if sys.platform != "win32":  # where nothing forks
    os.register_at_fork(after_in_child=_abandon_all)


# --- files ----------------------------------------------------------------------------------------

PATIENCE_S = 60.0
"""After such a wait for a lock its holder is named: the system frees no lock of a stopped process,
as PostgreSQL does."""
SIGNATURE_BYTES = 400
_named: set[str] = set()
"""What this process has said about holders."""


class FileLease(Lease):
    """An open file to lock; the file is never deleted, as that would be a race.

    Args:
        file: The file, no link; created with its folder if it does not exist.
        is_signed: Whether whoever has waited for the lock writes its name into the file.

    Raises:
        StorageError: It cannot be created or locked.
    """

    def __init__(self, file: Path, *, is_signed: bool = False) -> None:
        self._file, self._is_signed = file, is_signed
        with _usable(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor: int | None = open_itself(file, os.O_RDWR | os.O_CREAT)
        open_leases.add(self)

    def is_held(self) -> bool:
        """Whether it was neither released nor its file deleted."""
        return self._descriptor is not None and os.fstat(self._descriptor).st_nlink > 0

    def wait(self) -> None:
        """Lock it as soon as it is free; Ctrl-C interrupts the wait."""
        with _usable(self._file):
            if not lock(self._open):
                with _patience(self._name_holder):
                    wait_for_lock(self._open)
        if self._is_signed:
            self._sign()

    def take(self) -> bool:
        """Lock it if it is free."""
        with _usable(self._file):
            while not lock(self._open):
                if is_locked(self._open):
                    return False
                time.sleep(0.001)  # another process only checks it
        return True

    def is_taken(self) -> bool:
        """Whether another process holds it; has no side effects."""
        with _usable(self._file):
            return is_locked(self._open)

    def refuse_useless(self) -> None:
        """Check, while it is held, that a second open file cannot have it; takes microseconds.

        Raises:
            StorageError: The file system's flock does nothing.
        """
        with FileLease(self._file) as other:
            if not other.is_taken():
                raise StorageError(
                    f"{self._file.parent} must be on a file system with locks, but its flock does "
                    "nothing, so that workers would overwrite each other's trials; set "
                    "sweep.folder to a local disk, or sweep.storage=postgresql+psycopg://…"
                )

    def release(self) -> None:
        """Unlock explicitly: a newly forked child may not have closed its descriptor yet."""
        descriptor, self._descriptor = self._descriptor, None
        open_leases.discard(self)
        if descriptor is not None:
            unlock(descriptor)
            os.close(descriptor)

    def abandon(self) -> None:
        """Close the child's descriptor; the parent's lock stays."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _sign(self) -> None:
        """Write who holds it, for waiters on other hosts."""
        name = f"{socket.gethostname()}:{os.getpid()}".encode()[:SIGNATURE_BYTES]
        with suppress(OSError):  # a full disk: it only helps to explain
            os.ftruncate(self._open, 0)
            os.lseek(self._open, 0, os.SEEK_SET)
            os.write(self._open, name)

    def _name_holder(self) -> None:
        """Say who holds it, and how it can be freed."""
        host, pid = _flock_holder(self._file) or self._signature() or ("unknown host", "PID")
        remedy = f"run kill -CONT {pid} there, or kill -9 {pid}"
        if sys.platform == "win32":
            remedy = f"run taskkill /F /PID {pid} there"
        line = (
            f"waiting for {self._file}, which process {pid} on {host} has locked for "
            f"{PATIENCE_S:.0f} s or more; if it is stopped, {remedy}, which frees the lock"
        )
        if line not in _named:
            _named.add(line)
            print_to_stderr(line)

    def _signature(self) -> tuple[str, str] | None:
        if not self._is_signed or self._descriptor is None:
            return None
        host, colon, pid = read_at(self._descriptor, SIGNATURE_BYTES, 0).decode().rpartition(":")
        return (host, pid) if colon else None

    @property
    def _open(self) -> int:
        assert self._descriptor is not None  # noqa: S101 - released leases are never locked
        return self._descriptor


@contextmanager
def _patience(act: Callable[[], None]) -> Iterator[None]:
    """Do something if the block takes long."""
    timer = threading.Timer(PATIENCE_S, act)
    timer.daemon = True
    with suppress(RuntimeError):  # the interpreter ends
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _flock_holder(file: Path) -> tuple[str, str] | None:
    """Host and id of the process of this host that has locked a file, as Linux lists it."""
    if sys.platform != "linux":
        return None
    with suppress(OSError):
        found = file.stat()
        device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        for line in Path("/proc/locks").read_text(encoding="utf-8").splitlines():
            fields = line.split()  # 1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF
            if fields[1] == "FLOCK" and fields[5] == device and int(fields[4]) > 0:
                return socket.gethostname(), fields[4]
    return None


@contextmanager
def hold_lock(file: Path) -> Iterator[None]:
    """Hold an exclusive lock in this context; see `FileLease`."""
    with FileLease(file) as lease:
        lease.wait()
        yield


class FileLocks:
    """The locks of a study on one host, or on a file system whose flock spans hosts.

    Args:
        folder: Folder for the lock files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._is_probed = False

    @contextmanager
    def mutex(self) -> Iterator[None]:
        """See `Locks`."""
        with FileLease(self._folder / "mutex", is_signed=True) as lease:
            lease.wait()
            if not self._is_probed:
                lease.refuse_useless()
                self._is_probed = True
            yield

    def lease(self, number: int) -> Lease | None:
        """See `Locks`."""
        lease = FileLease(self._of(number))
        if lease.take():
            return lease
        lease.release()
        return None

    def is_leased(self, number: int) -> bool:
        """See `Locks`."""
        with _usable(self._of(number)):
            try:  # to read: whoever looks may not be allowed to write
                descriptor = open_itself(self._of(number), os.O_RDONLY)
            except FileNotFoundError:
                return False
            try:
                return is_locked(descriptor)
            finally:
                os.close(descriptor)

    def lease_candidates(self, numbers: Sequence[int]) -> list[int]:
        """All of them: to take a lease is as cheap as to look at it."""
        return list(numbers)

    def is_settled(self) -> bool:
        """Always: a file's lock is lost with its process only."""
        return True

    def _of(self, number: int) -> Path:
        return self._folder / f"{number:04d}"


@contextmanager
def _usable(file: Path) -> Iterator[None]:
    """Turn disk errors, but not contention, into one line."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot create or lock {file} ({error.strerror}); set sweep.folder to a writable "
            "folder"
        ) from error
