"""Who may do what: locks that the system or PostgreSQL frees when their holder dies, however."""

import fcntl
import os
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, Self

from recsweep.sweeps.storage.errors import StorageError


class Lease(ABC):
    """What one process at a time has, until it releases it or dies; a context manager."""

    @abstractmethod
    def is_held(self) -> bool:
        """Whether it is still ours."""

    @abstractmethod
    def release(self) -> None:
        """Give it back; a second time does nothing."""

    @abstractmethod
    def abandon(self) -> None:
        """In a forked child: let go of what belongs to the parent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


class Locks(Protocol):
    """The locks of one study, the same for all processes that work on it."""

    def mutex(self) -> AbstractContextManager[None]:
        """Wait until nobody else is in; not to be entered twice."""

    def lease(self, number: int) -> Lease | None:
        """Trial `number`'s lease; None = somebody alive has it."""

    def is_leased(self, number: int) -> bool:
        """Whether somebody alive has trial `number`'s lease; disturbs nobody."""


open_leases: set[Lease] = set()
"""Of this process."""
engines: weakref.WeakSet[Any] = weakref.WeakSet()
"""Of SQLAlchemy, whose connections have leases."""


def _abandon_all() -> None:
    """A forked child that kept the parent's descriptors would keep its leases alive."""
    for lease in list(open_leases):
        lease.abandon()
    open_leases.clear()
    for engine in list(engines):
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_abandon_all)


# --- files ----------------------------------------------------------------------------------------


class FileLease(Lease):
    """An open file, to be locked with flock; the file itself stays, deleting it would be a race.

    Args:
        file: Made when it is not there, its folder too.

    Raises:
        StorageError: It cannot be made or locked.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        with _usable(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor: int | None = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        open_leases.add(self)

    def is_held(self) -> bool:
        """Whether it was not released, and its file not deleted."""
        return self._descriptor is not None and os.fstat(self._descriptor).st_nlink > 0

    def wait(self) -> None:
        """Lock it as soon as it is free; Ctrl-C ends the waiting."""
        self._flock(fcntl.LOCK_EX)

    def take(self) -> bool:
        """Lock it if nobody has it."""
        while not self._flock(fcntl.LOCK_EX | fcntl.LOCK_NB):
            if self.is_taken():
                return False
            time.sleep(0.001)  # somebody is only looking
        return True

    def is_taken(self) -> bool:
        """Whether somebody has it: only that refuses a shared lock."""
        return not self._flock(fcntl.LOCK_SH | fcntl.LOCK_NB)

    def release(self) -> None:
        """Unlock explicitly: a child just forked may not have closed its descriptor yet."""
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
        assert self._descriptor is not None  # noqa: S101 - nobody locks what was released
        with _usable(self._file):
            try:
                fcntl.flock(self._descriptor, operation)
            except BlockingIOError:
                return False
        return True


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Be the only one in this context; see `FileLease`."""
    with FileLease(file) as lease:
        lease.wait()
        yield


class FileLocks:
    """The locks of a study on one host, or on a file system whose flock spans hosts.

    Args:
        folder: For the lock files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def mutex(self) -> AbstractContextManager[None]:
        """See `Locks`."""
        return locked(self._folder / "mutex")

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

    def _of(self, number: int) -> Path:
        return self._folder / f"{number:04d}"


@contextmanager
def _usable(file: Path) -> Iterator[None]:
    """What the disk says becomes one line; contention does not."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{file} must be a file that can be made and locked, but is not ({error.strerror}); "
            "let sweep.folder name a place where you may write"
        ) from error
