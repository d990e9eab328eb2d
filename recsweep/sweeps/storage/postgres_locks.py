"""Leases in PostgreSQL: advisory locks, which the server frees when their holder's session ends."""

import hashlib
import os
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import URL, Connection

from recsweep.sweeps.storage.database import errors_in_one_line, make_engine
from recsweep.sweeps.storage.locks import Lease, engines, open_leases

SETTINGS = """
SELECT set_config(name, value, false)
FROM (VALUES ('statement_timeout', '0'), ('lock_timeout', '0'), ('idle_session_timeout', '0'),
             ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'),
             ('tcp_keepalives_count', '3')) AS wanted (name, value)
JOIN pg_settings USING (name)
"""
"""Sessions may wait and idle without limit; that of a host that vanished ends within a minute."""
HOLDERS = """
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND granted AND objsubid = 1
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (classid::bigint << 32 | objid::bigint) = :key
"""


class SessionLease(Lease):
    """An advisory lock that lasts as long as its database session.

    Args:
        connection: Its own SQLAlchemy connection.
        key: Key of the lock.
    """

    def __init__(self, connection: Any, key: int) -> None:
        self._connection, self._key, self._is_ours = connection, key, False
        self._socket: int = connection.connection.driver_connection.fileno()
        open_leases.add(self)

    def take(self, statement: str) -> bool:
        """Lock it with a statement that returns whether it succeeded."""
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
        """Ask the server; a lost session has lost its lease for good."""
        if self._is_ours:
            try:
                mine = f"{HOLDERS} AND pid = pg_backend_pid()"
                self._is_ours = _scalar(self._connection, mine, key=self._key) > 0
            except Exception:  # noqa: BLE001 - whatever failed, the server did not confirm
                self._is_ours = False
                self._connection.invalidate()
        return self._is_ours

    def release(self) -> None:
        """Unlock and return the session; discard it if it does not respond."""
        if self not in open_leases:
            return
        open_leases.discard(self)
        was_ours, self._is_ours = self._is_ours, False
        with closing(self._connection), suppress(Exception):
            try:
                if was_ours:
                    _scalar(self._connection, "SELECT pg_advisory_unlock(:key)", key=self._key)
            except BaseException:
                self._connection.invalidate()
                raise

    def abandon(self) -> None:
        """Replace the socket by /dev/null: closing the connection would end the parent's."""
        self._is_ours = False
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, self._socket, inheritable=False)
        os.close(nothing)


class PostgresLocks:
    """The locks of a study across hosts: advisory locks, each in a session of its own.

    A connection pooler must keep sessions (no transaction pooling).

    Args:
        address: `postgresql+psycopg://…`.
        study: The study's name.
    """

    def __init__(self, address: URL, study: str) -> None:
        self._study, self._address = study, address
        self._engine = make_engine(
            address, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=-1
        )
        weakref.finalize(self, self._engine.dispose).atexit = False
        engines.add(self._engine)

    @contextmanager
    def mutex(self) -> Iterator[None]:
        """See `Locks`."""
        lease = self._lease("mutex", "SELECT true FROM pg_advisory_lock(:key)")
        assert lease is not None  # noqa: S101 - the statement waits until it is granted
        with lease:
            yield

    def lease(self, number: int) -> Lease | None:
        """See `Locks`."""
        return self._lease(f"{number}", "SELECT pg_try_advisory_lock(:key)")

    def is_leased(self, number: int) -> bool:
        """See `Locks`."""
        with errors_in_one_line(self._address), self._engine.connect() as connection:
            return bool(_scalar(connection, HOLDERS, key=self._key(f"{number}")) > 0)

    def _lease(self, what: str, statement: str) -> Lease | None:
        with errors_in_one_line(self._address):
            lease = SessionLease(self._engine.connect(), self._key(what))
            return lease if lease.take(statement) else None

    def _key(self, what: str) -> int:
        """A 64-bit key for the study and the locked resource."""
        digest = hashlib.blake2b(f"recsweep\0{self._study}\0{what}".encode(), digest_size=8)
        return int.from_bytes(digest.digest(), "big", signed=True)


def _scalar(connection: Connection, statement: str, **values: Any) -> Any:
    return connection.execute(text(statement), values).scalar()
