"""A database of a URL: its checked address, an engine, Optuna's tables, one-line errors."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from recsweep.credentials import hide_credentials
from recsweep.files import typed_or_decoded
from recsweep.sweeps.storage.errors import StorageError
from recsweep.sweeps.storage.outages import reason

SQLITE, POSTGRES = "sqlite", "postgresql+psycopg"
FORMS = f"{SQLITE}:///PATH or {POSTGRES}://USER:PASSWORD@HOST/DATABASE"
BUSY_S = 60.0
"""How long a process waits while another one writes to an SQLite file, in seconds."""
PATIENCE = {
    "connect_timeout": "10", "keepalives_idle": "30", "keepalives_interval": "10",
    "keepalives_count": "3", "tcp_user_timeout": "30000",
}  # fmt: skip
"""Detect a dead PostgreSQL server within half a minute; parameters of the URL take precedence."""
ONE_CONNECTION = {"pool_size": 1, "max_overflow": 0, "pool_timeout": None}
"""Of a process to PostgreSQL, which its threads use in turn."""


def parse_address(url: str) -> URL:
    """Parse a storage URL; the path of an SQLite file is made absolute.

    Raises:
        StorageError: It is neither an SQLite file nor PostgreSQL through psycopg.
    """
    hide_credentials(url)  # from errors
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):  # without the cause, which may show a password
        raise StorageError(f"sweep.storage must be {FORMS}, but {_unreadable(url)}") from None
    if "@" in (address.host or "") or "password" in address.query:
        raise StorageError(
            "the password in sweep.storage must be between USER: and @HOST, with @ written as "
            "%40; fix it, or omit the password and set PGPASSWORD"
        )
    path = url.partition(":///")[2]
    is_file = path not in ("", ":memory:") and not address.query
    if address.drivername == SQLITE and is_file:
        return address.set(database=str(typed_or_decoded(path)))
    if address.drivername == POSTGRES:
        return address
    raise StorageError(
        f"sweep.storage must be {FORMS}, but is {hide_credentials(url)}; use one of these, or "
        "set sweep.storage=null for a journal"
    )


def _shown(address: URL) -> str:
    return hide_credentials(address.render_as_string(hide_password=False))


def _unreadable(url: str) -> str:
    """What is wrong with a URL, which is shown only if it looks like a path, not a password."""
    if re.fullmatch(r"[\w./~-]+", url):
        return f"is {url}; for a file write sweep.storage=sqlite:///{url}"
    return "cannot be parsed; fix it, or set sweep.storage=null for a journal"


def options(address: URL) -> dict[str, Any]:
    """Arguments of SQLAlchemy's `create_engine` for this address."""
    if address.drivername == SQLITE:
        return {"connect_args": {"timeout": BUSY_S}}
    patience = {name: value for name, value in PATIENCE.items() if name not in address.query}
    return {"connect_args": patience}


def make_engine(address: URL, **more: Any) -> Engine:
    """An engine with `options` and the given arguments.

    Raises:
        StorageError: The driver is missing.
    """
    with errors_in_one_line(address):
        return sqlalchemy.create_engine(address, **options(address), **more)


def has_tables(address: URL) -> bool:
    """Whether a database has Optuna's tables; the database is not changed.

    Raises:
        StorageError: It has tables of MLflow or another program, or cannot be reached.
    """
    if address.drivername == SQLITE and not Path(address.database or "").exists():
        return False
    engine = make_engine(address, poolclass=sqlalchemy.NullPool)
    with errors_in_one_line(address), engine.connect() as connection:
        tables = set(sqlalchemy.inspect(connection).get_table_names())
        is_mlflow = {"experiments", "runs"} <= tables
        if is_mlflow or ("alembic_version" in tables and "studies" not in tables):
            raise StorageError(  # both would store their versions in alembic_version
                "sweep.storage must be a database of its own, but "
                f"{_shown(address)} is {'that of MLflow' if is_mlflow else 'taken'}; "
                "use another one, or set sweep.storage=null for a journal"
            )
        if "alembic_version" not in tables:
            return False
        version = sqlalchemy.text("SELECT version_num FROM alembic_version")
        return connection.execute(version).scalar() is not None


def make_tables(address: URL) -> None:
    """Create Optuna's tables; two processes must not do so at the same time.

    Raises:
        StorageError: The database is not writable.
    """
    if address.drivername == SQLITE:
        _write_ahead(address)
    with optuna_versions(address):
        _Tables(address)


class _Tables(RDBStorage):
    """Optuna's storage, which creates its tables."""

    def __init__(self, address: URL) -> None:
        with temporary_connections(self):
            super().__init__(address.render_as_string(hide_password=False), options(address))


@contextmanager
def temporary_connections(storage: RDBStorage) -> Iterator[None]:
    """Close the connections that a storage opens in the block, also if it cannot be built."""
    try:
        yield
    finally:
        if engine := getattr(storage, "engine", None):
            engine.dispose()


def redact_address(url: str | None) -> str:
    """An address without credentials; empty for a journal."""
    return "" if url is None else _shown(parse_address(url))


@contextmanager
def optuna_versions(address: URL) -> Iterator[None]:
    """Turn errors into one line, also that about tables of another version of Optuna."""
    with errors_in_one_line(address):
        try:
            yield
        except RuntimeError as error:
            raise StorageError(
                "sweep.storage must have the tables of this version of Optuna, but "
                f"{_shown(address)} has those of another one; use a new database, or "
                "run optuna storage upgrade"
            ) from error


def _write_ahead(address: URL) -> None:
    """Let readers of an SQLite file continue during writes; the setting is stored in the file."""
    engine = make_engine(address, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
    with errors_in_one_line(address), engine.connect() as connection:
        connection.execute(sqlalchemy.text("PRAGMA journal_mode=WAL"))


@contextmanager
def errors_in_one_line(address: URL) -> Iterator[None]:
    """Turn errors of SQLAlchemy, Optuna's tables and the disk into one line without password.

    Raises:
        StorageError: Any of these errors occurred.
    """
    try:
        yield
    except ImportError as error:
        raise StorageError(
            f"sweep.storage={address.drivername}://… needs psycopg, but it is not installed "
            f"({error}); run pip install 'recsweep[postgres]', or set sweep.storage=null"
        ) from error
    except (SQLAlchemyError, StorageInternalError, OSError) as error:
        raise StorageError(
            f"sweep.storage must be a usable database, but is "
            f"{_shown(address)} ({reason(error)}); check it, or set "
            "sweep.storage=null for a journal"
        ) from error
