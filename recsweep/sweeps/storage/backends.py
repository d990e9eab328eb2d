"""Where studies and their locks are stored: in a journal's folder, SQLite or PostgreSQL."""

from pathlib import Path

from optuna.storages import BaseStorage, JournalStorage

from recsweep.run_files import JOURNAL
from recsweep.sweeps.storage import database
from recsweep.sweeps.storage.journal import Journal
from recsweep.sweeps.storage.locks import FileLocks, Locks
from recsweep.sweeps.storage.postgres_locks import PostgresLocks


def open_storage(url: str | None, folder: Path) -> BaseStorage:
    """The storage of a sweep, created if it does not exist.

    Args:
        url: `sqlite:///PATH` or `postgresql+psycopg://…`; None = `journal.log` in `folder`.
        folder: The sweep's folder; created if it does not exist.

    Raises:
        StorageError: It cannot be reached, read or written, or does not belong to a sweep.
    """
    if url is None:
        return JournalStorage(Journal(folder / JOURNAL))
    address = database.parse_address(url)
    if not database.has_tables(address):
        with make_locks(url, folder, "").mutex():
            if not database.has_tables(address):
                database.make_tables(address)
    return database.open_tables(address)


def make_locks(url: str | None, folder: Path, study: str) -> Locks:
    """The locks that belong to a storage.

    Args:
        url: The storage's URL; None = a journal. Locks of an SQLite file are next to that file, so
            that they also work between sweeps in different folders.
        folder: The sweep's folder.
        study: The study's name.

    Raises:
        StorageError: This kind of URL is not supported.
    """
    if url is None:
        return FileLocks(folder / "locks")
    address = database.parse_address(url)
    if address.drivername == database.SQLITE:
        return FileLocks(Path(f"{address.database}.locks", study))
    return PostgresLocks(address, study)
