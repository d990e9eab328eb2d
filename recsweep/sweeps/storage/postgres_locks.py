"""Leases in PostgreSQL: advisory locks, which the server frees when their holder's session ends."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import text
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import SQLAlchemyError

from recsweep.sweeps.storage.database import errors_in_one_line
from recsweep.sweeps.storage.locks import Lease
from recsweep.sweeps.storage.outages import Outages
from recsweep.sweeps.storage.shared_connection import HELD, TAKE, SessionLease, SharedConnection

T = TypeVar("T")
SETTLING_S = 15.0
"""After an outage, processes have this long to connect again before their trials are restarted."""
UPTIME = "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())"


class PostgresLocks:
    """The locks of a study across hosts: advisory locks of each process's session.

    A connection pooler must keep sessions (no transaction pooling).

    Args:
        address: `postgresql+psycopg://…`.
        study: The study's name.
        connection: The process's connection.
        outages: Waits for the server.
    """

    def __init__(
        self, address: URL, study: str, connection: SharedConnection, outages: Outages
    ) -> None:
        self._study, self._address = study, address
        self._connection, self._outages = connection, outages

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's, with the connection."""
        return self._connection.engine

    @contextmanager
    def mutex(self) -> Iterator[None]:
        """See `Locks`; all that is stored in the block is one transaction.

        The server ends the transaction of a process that was stopped in the block for a minute.
        """
        try:
            with self._connection.transaction() as connection:
                wait = text("SELECT pg_advisory_xact_lock(:key)")
                connection.execute(wait, {"key": self._key("mutex")})
                yield
        except SQLAlchemyError:
            with errors_in_one_line(self._address):
                raise

    def lease(self, number: int) -> Lease | None:
        """See `Locks`."""
        key = self._key(f"{number}")
        if key in self._connection.leases:
            return None
        if not self._ask(lambda: self._connection.scalar(TAKE, key=key)):
            return None
        return SessionLease(self._connection, key, self._ask)

    def is_leased(self, number: int) -> bool:
        """See `Locks`."""
        return not self.lease_candidates([number])

    def lease_candidates(self, numbers: Sequence[int]) -> list[int]:
        """See `Locks`; one statement for all of them."""
        keys = {self._key(f"{number}"): number for number in numbers}
        find = text(f"SELECT (classid::bigint << 32 | objid::bigint) {HELD} = ANY(:keys)")

        def held() -> set[int]:
            with self._connection.statements() as connection:
                return set(connection.execute(find, {"keys": list(keys)}).scalars())

        leased = self._ask(held) if keys else set()
        return [number for key, number in keys.items() if key not in leased]

    def is_settled(self) -> bool:
        """See `Locks`."""
        regained_at = self._connection.regained_at
        if regained_at is not None and time.monotonic() - regained_at < SETTLING_S:
            return False
        return bool(self._ask(lambda: self._connection.scalar(UPTIME)) >= SETTLING_S)

    def _ask(self, statement: Callable[[], T]) -> T:
        """Run a statement, again after an outage; in a transaction the whole of it is repeated."""
        with errors_in_one_line(self._address):
            if self._connection.is_in_transaction:
                return statement()
            return self._outages.wait(statement)

    def _key(self, what: str) -> int:
        """A 64-bit key for the study and the locked resource."""
        digest = hashlib.blake2b(f"recsweep\0{self._study}\0{what}".encode(), digest_size=8)
        return int.from_bytes(digest.digest(), "big", signed=True)
