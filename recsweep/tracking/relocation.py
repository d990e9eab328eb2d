"""Fixes the paths in a database that was moved, renamed or copied with its folder.

MLflow stores absolute addresses in its database: the artifact location of each experiment and each
run. After a move they point to the old folder, which the next run would recreate; after a copy they
point to the original's.
"""

import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

ARTIFACTS = "mlartifacts"
"""The folder next to a database with the files of its runs."""
OF_MLFLOW = "mlruns"
"""The same by MLflow's default."""
EXPERIMENTS = "experiments"
COLUMNS = {
    EXPERIMENTS: ["artifact_location"],
    "runs": ["artifact_uri"],
    "logged_models": ["artifact_location"],
    "model_versions": ["source", "storage_location"],
}
"""Columns in which MLflow 3 stores addresses of files, by table."""
BUSY_S = 60.0


class _Address(NamedTuple):
    """An address that is not next to the database.

    Args:
        table: Its table.
        column: Its column.
        text: The address as stored by MLflow.
        base: The folder with the files of all runs.
        was: The path it points to.
        now: The corresponding path next to the database.
    """

    table: str
    column: str
    text: str
    base: Path
    was: Path
    now: Path


def follow_database(database: Path) -> None:
    """Update addresses in a database that point to its old folder to the files next to it.

    Files that stayed behind keep their address. Nothing changes if only the database was moved, or
    if another folder was chosen for the files: then that folder exists, no run has files next to
    the database, and there is no database next to that folder.

    Args:
        database: An existing SQLite database of MLflow.

    Raises:
        sqlite3.Error: It cannot be read, or must be changed and is not writable.
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
    """Addresses to update."""
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
    """Whether a folder no longer exists, or belongs to the original of a copied database."""
    return not os.path.lexists(base) or os.path.lexists(base.parent / database)


def _elsewhere(connection: sqlite3.Connection, database: Path) -> Iterator[_Address]:
    """Addresses below an artifact folder that is not next to the database."""
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
    """The folder with the files of all runs, and the rest of the path; None = something else."""
    parts = urlsplit(address)
    if parts.scheme not in ("", "file") or parts.netloc:
        return None
    path = unquote(parts.path)  # MLflow also does so without a scheme
    found = re.fullmatch(f"(/(?:.*/)?(?:{ARTIFACTS}|{OF_MLFLOW}))(?:/(.*))?", path, re.DOTALL)
    return (Path(path_of_url(found[1], sys.platform)), found[2] or "") if found else None


def path_of_url(path: str, system: str) -> str:
    """A path as a system writes it: on Windows without the slash that URLs have before a drive.

    Args:
        path: Such as `/C:/runs/mlartifacts`.
        system: Such as `win32`.
    """
    return path[1:] if system == "win32" and re.match("/[A-Za-z]:/", path) else path


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths name one folder."""
    try:
        return one == other or one.samefile(other)
    except OSError:
        return False
