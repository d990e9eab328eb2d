"""The one connection of a process to PostgreSQL: its transactions and the locks of its session.

A session that was lost is replaced by the next statement, which first locks again what the session
had locked. A thread sees to it that there is a next statement within seconds.
"""

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from recsweep.sweeps.storage.errors import StorageError
from recsweep.sweeps.storage.locks import Lease, connections

SETTINGS = """
SELECT set_config(name, value, false)
FROM (VALUES ('statement_timeout', '0'), ('lock_timeout', '0'), ('idle_session_timeout', '0'),
             ('idle_in_transaction_session_timeout', '60s'),
             ('tcp_user_timeout', '60s'), ('tcp_keepalives_idle', '30'),
             ('tcp_keepalives_interval', '10'), ('tcp_keepalives_count', '3'))
     AS wanted (name, value)
JOIN pg_settings USING (name)
"""
"""Sessions may wait and idle without limit, but those of a stopped process not inside a
transaction; the session of a host that vanished ends within a minute."""
HELD = """
FROM pg_locks
WHERE locktype = 'advisory' AND granted AND objsubid = 1
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (classid::bigint << 32 | objid::bigint)"""
"""Ends a statement about the locks with some keys."""
TAKE = f"""
SELECT CASE WHEN EXISTS (SELECT 1 {HELD} = :key AND pid = pg_backend_pid()) THEN true
            ELSE pg_try_advisory_lock(:key) END
"""
"""Locks at most once: a session would have to unlock as often as it has locked."""
END_FORMER = f"SELECT pg_terminate_backend(pid) {HELD} = %s AND pid = %s"
"""Ends this process's former session, which the server may still consider alive."""
BEAT_S = 3.0
"""How often a connection with leases is tested while nothing else uses it."""


class SharedConnection:
    """Statements of all threads of this process, in turn.

    Optuna's storage uses it as its session factory: what it does inside `transaction` is part of
    that transaction.

    Args:
        engine: Has a pool of a single connection.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.leases: dict[int, SessionLease] = {}
        self.regained_at: float | None = None
        self._sessions = scoped_session(sessionmaker(bind=engine))
        self._own = threading.local()
        self.turn = threading.RLock()
        """Taken before a lock that is also taken inside transactions."""
        self._pid = self._socket = 0
        self._beat: threading.Thread | None = None
        if engine.name == "postgresql":
            begin = weakref.WeakMethod(self._begin_session)  # the engine outlives this object
            event.listen(engine, "connect", lambda driver, _: (begin() or _nothing)(driver))
        weakref.finalize(self, engine.dispose).atexit = False
        connections.add(self)

    def __call__(self) -> Any:
        """A session, as `scoped_session` returns it."""
        session = self._sessions()
        return _Part(session, self._undo) if self.is_in_transaction else session

    def remove(self) -> None:
        """Forget this thread's session, as `scoped_session` does."""
        self._sessions.remove()

    @property
    def is_in_transaction(self) -> bool:
        """Whether this thread is inside `transaction`."""
        return bool(getattr(self._own, "at_end", None) is not None)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Commit all or nothing of the block; not reentrant. A failure releases its leases."""
        with self.turn:
            yield from self._transaction()

    def _transaction(self) -> Iterator[Connection]:
        session, taken, at_end = self._sessions(), set(self.leases.values()), list[Any]()
        self._own.at_end, self._own.is_undone = at_end, False
        try:
            yield session.connection()
            if self._own.is_undone:
                _refuse_half()
            session.commit()
        except BaseException:
            with suppress(Exception):
                session.rollback()
            at_end += [lease for lease in self.leases.values() if lease not in taken]
            raise
        finally:
            self._own.at_end = None
            session.close()
            for lease in at_end:
                lease.release()

    def _undo(self) -> None:
        self._own.is_undone = True
        self._sessions().rollback()

    @contextmanager
    def statements(self) -> Iterator[Connection]:
        """A connection: this thread's transaction, or else each statement is one.

        Optuna reads a trial inside a session of its own to say in an error which one it is; a
        second connection would never come.
        """
        session = self._sessions()
        if self.is_in_transaction or session.in_transaction():
            yield session.connection()
            return
        with self.engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    def scalar(self, statement: str, **values: Any) -> Any:
        """The first value of the first row."""
        with self.statements() as connection:
            return connection.execute(text(statement), values).scalar()

    def at_end(self, lease: "SessionLease") -> None:
        """Release a lease after this thread's transaction, which may have failed."""
        self._own.at_end.append(lease)

    # --- sessions ---------------------------------------------------------------------------------

    def _begin_session(self, driver: Any) -> None:
        """Prepare a new session, and lock again what the former one had locked."""
        if self._pid:
            self.regained_at = time.monotonic()
        with driver.cursor() as cursor:
            cursor.execute(SETTINGS)
            for key, lease in list(self.leases.items()):
                cursor.execute("SELECT pg_try_advisory_lock(%s)", (key,))
                is_ours = bool(cursor.fetchone()[0])
                lease.note_gap(is_ours)
                if not is_ours:
                    cursor.execute(END_FORMER, (key, self._pid))
        driver.commit()
        self._pid, self._socket = driver.info.backend_pid, driver.fileno()

    def keep(self) -> None:
        """Test the connection every few seconds while there are leases."""
        if self._beat is None or not self._beat.is_alive():
            self._beat = threading.Thread(target=self._keep, name="leases", daemon=True)
            self._beat.start()

    def _keep(self) -> None:
        while True:
            time.sleep(BEAT_S)
            if not self.leases:  # a test would open a connection that is no longer needed
                break
            with suppress(Exception):  # the next beat tries again
                self.scalar("SELECT 1")
                for lease in list(self.leases.values()):
                    if lease.is_missing:
                        lease.take()
        self._beat = None
        if self.leases:  # taken just now
            self.keep()

    def abandon(self) -> None:
        """In a forked child: leave the connection to the parent.

        Closing the connection would end the parent's session, so its socket becomes /dev/null.
        """
        self.leases.clear()
        self._pid = 0
        self._own, self._beat, self.turn = threading.local(), None, threading.RLock()
        if self._socket:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, self._socket, inheritable=False)
            os.close(nothing)
            self._socket = 0
        self.engine.dispose(close=False)
        self._sessions = scoped_session(sessionmaker(bind=self.engine))


def _refuse_half() -> None:
    raise StorageError(
        "sweep.storage rejected a write, so its whole transaction was rolled back; re-run the "
        "command"
    )


def _nothing(_driver: Any) -> None:
    """A connection without an owner needs no settings."""


class _Part:
    """A session inside a larger transaction, which alone commits.

    Args:
        session: SQLAlchemy's.
        undo: Called when the part fails, so that nothing else of the transaction is committed.
    """

    def __init__(self, session: Session, undo: Callable[[], None]) -> None:
        self._session, self._undo = session, undo

    def commit(self) -> None:
        """Send what was added."""
        self._session.flush()

    def rollback(self) -> None:
        """Undo the whole transaction."""
        self._undo()

    def close(self) -> None:
        """Forget what was read: the next part reads it again."""
        self._session.expunge_all()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


class SessionLease(Lease):
    """An advisory lock of the session, and of the one that replaces it.

    Args:
        connection: The connection, whose session has locked it.
        key: Key of the lock.
        wait: Calls a function again after an outage.
    """

    def __init__(
        self, connection: SharedConnection, key: int, wait: Callable[[Callable[[], bool]], bool]
    ) -> None:
        self._connection, self._key, self._wait = connection, key, wait
        self.is_missing = False
        connection.leases[key] = self
        connection.keep()

    @property
    def _is_open(self) -> bool:
        return self._connection.leases.get(self._key) is self

    def is_held(self) -> bool:
        """Ask the server; what was lost is taken again if it is free."""
        return self._is_open and self._wait(self.take)

    def take(self) -> bool:
        """Take it if this session does not have it and no other one does."""
        self.is_missing = not self._connection.scalar(TAKE, key=self._key)
        return not self.is_missing

    def note_gap(self, is_ours: bool) -> None:
        """Note that a new session has it or not: another process may have had it in between."""
        self.n_gaps += 1
        self.is_missing = not is_ours

    def release(self) -> None:
        """Unlock it; see `Lease`."""
        if not self._is_open:
            return
        if self._connection.is_in_transaction:
            self._connection.at_end(self)
            return
        del self._connection.leases[self._key]
        with suppress(Exception), self._connection.statements() as connection:
            try:
                if not self.is_missing:
                    unlock = text("SELECT pg_advisory_unlock(:key)")
                    connection.execute(unlock, {"key": self._key})
            except BaseException:
                connection.invalidate()
                raise

    def abandon(self) -> None:
        """Nothing to do: the connection was abandoned."""
