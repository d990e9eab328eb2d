"""Locks that the system or PostgreSQL frees when their holder dies."""

import fcntl
import os
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from recsweep.sweeps.storage.errors import StorageError

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

    def perhaps_free(self, numbers: Sequence[int]) -> list[int]:
        """The trials whose lease may be free."""

    def is_settled(self) -> bool:
        """Whether live processes have had the time to take again what an outage took from them."""


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


os.register_at_fork(after_in_child=_abandon_all)


# --- files ----------------------------------------------------------------------------------------


class FileLease(Lease):
    """An open file to lock with flock; the file is never deleted, as that would be a race.

    Args:
        file: The file; created with its folder if it does not exist.

    Raises:
        StorageError: It cannot be created or locked.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        with _usable(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor: int | None = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        open_leases.add(self)

    def is_held(self) -> bool:
        """Whether it was neither released nor its file deleted."""
        return self._descriptor is not None and os.fstat(self._descriptor).st_nlink > 0

    def wait(self) -> None:
        """Lock it as soon as it is free; Ctrl-C interrupts the wait."""
        self._flock(fcntl.LOCK_EX)

    def take(self) -> bool:
        """Lock it if it is free."""
        while not self._flock(fcntl.LOCK_EX | fcntl.LOCK_NB):
            if self.is_taken():
                return False
            time.sleep(0.001)  # another process only checks it
        return True

    def is_taken(self) -> bool:
        """Whether another process holds it: only then is a shared lock refused."""
        return not self._flock(fcntl.LOCK_SH | fcntl.LOCK_NB)

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
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def abandon(self) -> None:
        """Close the child's descriptor; the parent's lock stays."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _flock(self, operation: int) -> bool:
        assert self._descriptor is not None  # noqa: S101 - released leases are never locked
        with _usable(self._file):
            try:
                fcntl.flock(self._descriptor, operation)
            except BlockingIOError:
                return False
        return True


@contextmanager
def locked(file: Path) -> Iterator[None]:
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
        with FileLease(self._folder / "mutex") as lease:
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
        if not self._of(number).exists():
            return False
        with FileLease(self._of(number)) as probe:
            return probe.is_taken()

    def perhaps_free(self, numbers: Sequence[int]) -> list[int]:
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
            f"{file} must be a file that can be created and locked, but is not ({error.strerror}); "
            "set sweep.folder to a writable place"
        ) from error
