"""Where studies and their locks are stored: in a journal's folder, SQLite or PostgreSQL."""

from pathlib import Path

from optuna.storages import BaseStorage, JournalStorage

from recsweep.run_files import JOURNAL
from recsweep.sweeps.storage import database
from recsweep.sweeps.storage.database_storage import DatabaseStorage
from recsweep.sweeps.storage.journal import Journal
from recsweep.sweeps.storage.locks import FileLocks, Locks
from recsweep.sweeps.storage.outages import Outages
from recsweep.sweeps.storage.postgres_locks import PostgresLocks
from recsweep.sweeps.storage.shared_connection import SharedConnection


def open_storage(
    url: str | None, folder: Path, outages: Outages | None = None, *, is_read_only: bool = False
) -> BaseStorage:
    """The storage of a sweep, created if it does not exist.

    Args:
        url: `sqlite:///PATH` or `postgresql+psycopg://…`; None = `journal.log` in `folder`.
        folder: The sweep's folder; created if it does not exist.
        outages: Waits for a database while it is in use; None = nothing does.
        is_read_only: Whether a journal is neither created, repaired nor appended to.

    Raises:
        StorageError: It cannot be reached, read or written, or does not belong to a sweep.
    """
    if url is None:
        return JournalStorage(Journal(folder / JOURNAL, is_read_only=is_read_only))
    address = database.parse_address(url)
    if not database.has_tables(address):
        with make_locks(url, folder, "").mutex():
            if not database.has_tables(address):
                database.make_tables(address)
    return DatabaseStorage(address, outages or Outages())


def make_locks(
    url: str | None, folder: Path, study: str, storage: BaseStorage | None = None
) -> Locks:
    """The locks that belong to a storage.

    Args:
        url: The storage's URL; None = a journal. Locks of an SQLite file are next to that file, so
            that they also work between sweeps in different folders.
        folder: The sweep's folder.
        study: The study's name.
        storage: The opened storage, whose connection serves the locks, too; None = the locks have
            one of their own.

    Raises:
        StorageError: This kind of URL is not supported.
    """
    if url is None:
        return FileLocks(folder / "locks")
    address = database.parse_address(url)
    if address.drivername == database.SQLITE:
        return FileLocks(Path(f"{address.database}.locks", study))
    if isinstance(storage, DatabaseStorage):
        return PostgresLocks(address, study, storage.connection, storage.outages)
    engine = database.make_engine(address, **database.ONE_CONNECTION)
    return PostgresLocks(address, study, SharedConnection(engine), Outages())
