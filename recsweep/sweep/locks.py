"""Who may do what: locks that the system or PostgreSQL frees when their holder dies, however."""

import fcntl
import hashlib
import os
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, Self

from recsweep.errors import InputError


class StorageError(InputError):
    """A study's storage or locks cannot be used: its worker stops, the trial has not failed."""


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


def make_locks(url: str | None, folder: Path, study: str) -> Locks:
    """The locks that belong to a storage.

    Args:
        url: The storage's; None = its journal. Locks of an SQLite file lie beside that file, so
            that they also hold between sweeps in different folders.
        folder: The sweep's.
        study: The study's name.

    Raises:
        StorageError: The URL is of a kind that cannot be used.
    """
    if url is None:
        return FileLocks(folder / "locks")
    from recsweep.sweep import database  # SQLAlchemy takes a moment

    address = database.parsed(url)
    if address.drivername == database.SQLITE:
        return FileLocks(Path(f"{address.database}.locks", study))
    return PostgresLocks(url, study)


_open_leases: set[Lease] = set()
_engines: weakref.WeakSet[Any] = weakref.WeakSet()


def _abandon_all() -> None:
    """A forked child that kept the parent's descriptors would keep its leases alive."""
    for lease in list(_open_leases):
        lease.abandon()
    _open_leases.clear()
    for engine in list(_engines):
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
        _open_leases.add(self)

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
        _open_leases.discard(self)
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


# --- PostgreSQL -----------------------------------------------------------------------------------

SETTINGS = """
SELECT set_config(name, value, false)
FROM (VALUES ('statement_timeout', '0'), ('lock_timeout', '0'), ('idle_session_timeout', '0'),
             ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'),
             ('tcp_keepalives_count', '3')) AS wanted (name, value)
JOIN pg_settings USING (name)
"""
"""A session waits and idles as long as it must; that of a host that vanished ends in a minute."""
HOLDERS = """
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND granted AND objsubid = 1
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (classid::bigint << 32 | objid::bigint) = :key
"""


class SessionLease(Lease):
    """An advisory lock, as long as the database session that has it.

    Args:
        connection: Of its own, with SQLAlchemy.
        key: The lock's.
    """

    def __init__(self, connection: Any, key: int) -> None:
        self._connection, self._key, self._is_ours = connection, key, False
        self._socket: int = connection.connection.driver_connection.fileno()
        _open_leases.add(self)

    def take(self, statement: str) -> bool:
        """Lock it by a statement that says whether it is ours now."""
        try:
            _scalar(self._connection, SETTINGS)
            self._is_ours = _scalar(self._connection, statement, key=self._key)
        except BaseException:
            self._connection.invalidate()
            raise
        finally:
            if not self._is_ours:
                self.release()
        return self._is_ours

    def is_held(self) -> bool:
        """Ask the server; a session once lost has lost its lease for ever."""
        if self._is_ours:
            try:
                mine = f"{HOLDERS} AND pid = pg_backend_pid()"
                self._is_ours = _scalar(self._connection, mine, key=self._key) > 0
            except Exception:  # noqa: BLE001 - whatever it is, the server did not confirm
                self._is_ours = False
                self._connection.invalidate()
        return self._is_ours

    def release(self) -> None:
        """Unlock and end the session's use; one that does not answer is thrown away."""
        if self not in _open_leases:
            return
        _open_leases.discard(self)
        was_ours, self._is_ours = self._is_ours, False
        with closing(self._connection), suppress(Exception):
            try:
                if was_ours:
                    _scalar(self._connection, "SELECT pg_advisory_unlock(:key)", key=self._key)
            except BaseException:
                self._connection.invalidate()
                raise

    def abandon(self) -> None:
        """Put nothing in the socket's place: closing the connection would end the parent's."""
        self._is_ours = False
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, self._socket, inheritable=False)
        os.close(nothing)


class PostgresLocks:
    """The locks of a study across hosts: session advisory locks, each in a session of its own.

    A pooler between here and the server must keep sessions (no transaction pooling).

    Args:
        url: `postgresql+psycopg://…`.
        study: The study's name.
    """

    def __init__(self, url: str, study: str) -> None:
        from recsweep.sweep import database

        self._study, self._address = study, database.parsed(url)
        self._engine = database.make_engine(
            self._address, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=-1
        )
        self._one_line = database.one_line
        weakref.finalize(self, self._engine.dispose).atexit = False
        _engines.add(self._engine)

    @contextmanager
    def mutex(self) -> Iterator[None]:
        """See `Locks`."""
        lease = self._lease("mutex", "SELECT true FROM pg_advisory_lock(:key)")
        assert lease is not None  # noqa: S101 - the server has let us wait for it
        with lease:
            yield

    def lease(self, number: int) -> Lease | None:
        """See `Locks`."""
        return self._lease(f"{number}", "SELECT pg_try_advisory_lock(:key)")

    def is_leased(self, number: int) -> bool:
        """See `Locks`."""
        with self._one_line(self._address), self._engine.connect() as connection:
            return bool(_scalar(connection, HOLDERS, key=self._key(f"{number}")) > 0)

    def _lease(self, what: str, statement: str) -> Lease | None:
        with self._one_line(self._address):
            lease = SessionLease(self._engine.connect(), self._key(what))
            return lease if lease.take(statement) else None

    def _key(self, what: str) -> int:
        """64 bits for the study and what of it is locked."""
        digest = hashlib.blake2b(f"recsweep\0{self._study}\0{what}".encode(), digest_size=8)
        return int.from_bytes(digest.digest(), "big", signed=True)


def _scalar(connection: Any, statement: str, **values: Any) -> Any:
    from sqlalchemy import text

    return connection.execute(text(statement), values).scalar()
