"""A database that was moved, renamed or copied with its folder finds the files of its runs again.

MLflow writes absolute addresses into its database: where new runs of an experiment keep their files
and where each run has its own. After a move they name the old folder, which the next run would make
anew; after a copy they name the original's.
"""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

ARTIFACTS = "mlartifacts"
"""The folder beside a database that has its runs' files."""
OF_MLFLOW = "mlruns"
"""The same where MLflow chooses."""
EXPERIMENTS = "experiments"
COLUMNS = {
    EXPERIMENTS: ["artifact_location"],
    "runs": ["artifact_uri"],
    "logged_models": ["artifact_location"],
    "model_versions": ["source", "storage_location"],
}
"""Where MLflow 3 keeps addresses of files, by table."""
BUSY_S = 60.0


class _Address(NamedTuple):
    """An address that is not beside the database.

    Args:
        table: Whose it is.
        column: Likewise.
        text: As MLflow wrote it.
        base: The folder with the files of all runs.
        was: What it names.
        now: The same place beside the database.
    """

    table: str
    column: str
    text: str
    base: Path
    was: Path
    now: Path


def follow_database(database: Path) -> None:
    """Let a database name the files beside it where it names those of the place it came from.

    Files that stayed behind keep their address. Nothing changes either when only the database was
    moved and all files stayed, or somebody chose another folder for them: then that folder is
    there, no file of a run is beside the database, and no database is beside that folder.

    Args:
        database: An existing SQLite database of MLflow's.

    Raises:
        sqlite3.Error: It cannot be read, or must be changed and cannot be written.
    """
    with closing(sqlite3.connect(database, timeout=BUSY_S, isolation_level=None)) as connection:
        if not _outdated(connection, database):
            return
        connection.execute("BEGIN IMMEDIATE")
        for table, column, text, _, _, now in _outdated(connection, database):
            update = f"UPDATE {table} SET {column} = ? WHERE {column} = ?"  # noqa: S608 - constants
            connection.execute(update, (now.as_uri(), text))
        connection.execute("COMMIT")


def _outdated(connection: sqlite3.Connection, database: Path) -> list[_Address]:
    """Addresses that are to change."""
    found = list(_elsewhere(connection, database))
    of_runs = [address for address in found if address.table != EXPERIMENTS]
    left = {address.base for address in found if _is_left(address.base, database.name)}
    left |= {address.base for address in of_runs if os.path.lexists(address.now)}
    return [
        address
        for address in found
        if address.base in left
        and (
            address.table == EXPERIMENTS
            or os.path.lexists(address.now)
            or not os.path.lexists(address.was)
        )
    ]


def _is_left(base: Path, database: str) -> bool:
    """Whether a folder is not there any more, or belongs to the original of a copied database."""
    return not os.path.lexists(base) or os.path.lexists(base.parent / database)


def _elsewhere(connection: sqlite3.Connection, database: Path) -> Iterator[_Address]:
    """Addresses below a folder that has the name of one beside a database, but is not beside it."""
    own = f"{database.parent.as_uri()}/"
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    for table in tables & COLUMNS.keys():
        for column in COLUMNS[table]:
            select = f"SELECT DISTINCT {column} FROM {table} WHERE substr({column}, 1, ?) != ?"  # noqa: S608
            for (text,) in connection.execute(select, (len(own), own)).fetchall():
                place = _split(text)
                if place is None or _is_same(place[0].parent, database.parent):
                    continue
                base, rest = place
                now = database.parent / base.name / rest
                yield _Address(table, column, text, base, base / rest, now)


def _split(address: str) -> tuple[Path, str] | None:
    """The folder with the files of all runs, and what follows; None = it is something else."""
    parts = urlsplit(address)
    if parts.scheme not in ("", "file") or parts.netloc:
        return None
    path = unquote(parts.path)  # MLflow does so without a scheme, too
    found = re.fullmatch(f"(/(?:.*/)?(?:{ARTIFACTS}|{OF_MLFLOW}))(?:/(.*))?", path, re.DOTALL)
    return (Path(found[1]), found[2] or "") if found else None


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths name one folder."""
    try:
        return one == other or one.samefile(other)
    except OSError:
        return False
