"""An MLflow store: its client, its database, and its errors in one line.

Next to a database is `mlartifacts/` with the runs' files, which also holds the lock that lets one
process create the tables while others wait.
"""

import logging
import math
import os
import re
import shlex
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from urllib.parse import unquote

from filelock import FileLock

from recsweep.credentials import hide_credentials, redact
from recsweep.errors import InputError
from recsweep.files import typed_or_decoded
from recsweep.messages import one_line, shorten
from recsweep.shell import command, setting
from recsweep.tracking.relocation import ARTIFACTS, follow_database

if TYPE_CHECKING:
    from mlflow import MlflowClient

FIRST = ("loss", "ndcg", "best_ndcg")
SQLITE = "sqlite:///"
ENCODED = "sqlite+pysqlite:///"
"""The same store; after `SQLITE`, MLflow would not decode a percent-encoded path."""
ERROR_CHARACTERS = 200
LIMITS = ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT")
MAX_CONNECTIONS = 8
"""Threads that use a database at a time; MLflow's pool has 15 connections."""
TURN_S = 30.0
"""Seconds to wait for other threads; one that finds the database locked waits 20 s."""
USABLE = "name a usable MLflow store"
ANSWERS = "name a store that responds during the whole run"


def mlflow_name(name: str) -> str:
    """A name that MLflow accepts: `ndcg@100` becomes `ndcg_at_100`.

    The page of a run has a section of charts per prefix, such as `valid/`, and one of all names
    without a prefix at its end. So that it begins with the curves of `FIRST`, other curves get an
    underscore: `valid/recall@20` becomes `valid_recall_at_20`.
    """
    fold, _, metric = name.partition("/")
    if fold in ("train", "valid") and not metric.startswith(FIRST):
        name = name.replace("/", "_", 1)
    return re.sub(r"[^\w.\- /]", "_", name.replace("@", "_at_"))


def mlflow_value(name: str, value: float) -> float:
    """A metric as logged: curves exactly, what tables of runs show rounded to four digits.

    Args:
        name: Its name, with a slash if it is a curve.
        value: Its value.
    """
    is_shown_whole = "/" in name or not math.isfinite(value) or float(value).is_integer()
    return value if is_shown_whole else float(f"{value:.4g}")


class Store:
    """An MLflow tracking store.

    Args:
        uri: Its address; None = MLFLOW_TRACKING_URI, else mlflow.db in the current folder.
    """

    lost: ClassVar[dict[str, str]] = {}
    """Stores lost during use, by address, with the warning; the process does not wait for them."""
    away_since: ClassVar[dict[str, float]] = {}
    """When servers last stopped responding, by address, on the clock `time.monotonic`."""
    is_hurried: ClassVar[bool] = False
    """Whether the process ends, so that nothing waits for a server any more."""

    def __init__(self, uri: str | None) -> None:
        elsewhere, self.given = os.environ.get("MLFLOW_TRACKING_URI"), uri
        self.uri = uri or elsewhere or f"{SQLITE}mlflow.db"
        self.setting = "MLFLOW_TRACKING_URI" if elsewhere and not uri else "tracking.uri"
        self.advice = (
            f"check it, set tracking.uri={SQLITE}PATH/mlflow.db, or tracking=off, which keeps the "
            "results in files that task=upload uploads later"
        )
        self.database: Path | None = None
        if self.uri.startswith((SQLITE, ENCODED)):
            self.database = _file_of(self.uri)
            self.uri = _address(self.database)
        self.shown = hide_credentials(self.uri)

    @property
    def is_lost(self) -> bool:
        """Whether it was lost during use and has not responded since."""
        return self.uri in Store.lost

    def may_return(self, error: BaseException, timeout_s: float) -> bool:
        """Whether to wait for a server that does not respond.

        Args:
            error: What a request to it raised.
            timeout_s: How long it is waited for in one outage.
        """
        if Store.is_hurried or self.is_lost or not (self.server and _is_unreachable(error)):
            return False
        now = time.monotonic()
        return now - Store.away_since.setdefault(self.uri, now) < timeout_s

    def note_response(self) -> None:
        """The server has responded."""
        Store.away_since.pop(self.uri, None)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Let a few threads at a time use a database; MLflow's pool fails if it has waited 30 s.

        Raises:
            TimeoutError: The database is busy.
        """
        if self.database is None:
            yield
            return
        turns = _turns.setdefault(self.uri, threading.BoundedSemaphore(MAX_CONNECTIONS))
        if not turns.acquire(timeout=TURN_S):
            raise TimeoutError(f"busy for {TURN_S:.0f} s")
        try:
            yield
        finally:
            turns.release()

    @cached_property
    def client(self) -> "MlflowClient":
        """MLflow's client; takes 2 s, and creates the tables of a new database.

        The paths in a database that was moved here are fixed.
        """
        if self.database is not None and self.database.is_file():
            follow_database(self.database)
        return _make_client(self.uri)

    @property
    def server(self) -> str:
        """The address of the server, which has the UI, without a login; empty for a database."""
        scheme, _, rest = self.shown.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}".rstrip("/") if "http" in scheme else ""

    def ui_command(self, run_id: str, *links: str) -> str:
        """The command that opens the UI at a run's page; of a server, the links to pages if known.

        Args:
            run_id: The run's id.
            links: The part after the UI's address in the URL of each page.
        """
        if self.server and links:
            return "\n          ".join(f"{self.server}/{link}" for link in links)
        is_usual = self.given is None and self.setting == "tracking.uri"
        uri = [] if is_usual else [setting("tracking.uri", self.shown)]
        return command("task=ui", setting("task.run", run_id), *uri)

    def refuse_unusable(self) -> None:
        """Check, before any long work, that the store is usable; creates no database.

        Raises:
            InputError: It cannot be opened, or the server does not respond within seconds.
        """
        with self.errors_in_one_line(USABLE):
            if self.database is not None:
                _refuse_database(self.database)
            else:
                with patience(0, 5):
                    self.client.search_experiments(max_results=1)

    def refuse_absent(self, otherwise: str = "") -> None:
        """Raise InputError if the database of the runs does not exist.

        Args:
            otherwise: What else the user can do.
        """
        if self.database is not None and not self.database.exists():
            raise InputError(
                f"{self.setting} must name the store that has the run, but there is no "
                f"{self.database}; cd to the folder of mlflow.db or set {self.setting}{otherwise}"
            )

    @contextmanager
    def open(self, experiment: str) -> Iterator[str]:
        """Create what is missing; with a database, other processes wait until the block ends.

        Args:
            experiment: The name of an experiment.

        Yields:
            The experiment's id.

        Raises:
            InputError: The store cannot be used.
        """
        with self.errors_in_one_line(USABLE), patience(3, 10), ExitStack() as stack:
            location = None
            if self.database is not None:
                folder = self.database.parent / ARTIFACTS
                folder.mkdir(parents=True, exist_ok=True)
                location = folder.as_uri()
                stack.enter_context(FileLock(folder / f"{self.database.name}.lock"))
                _make_tables(self.database, folder)
            yield _experiment(self, experiment, location)

    @contextmanager
    def errors_in_one_line(self, must: str) -> Iterator[None]:
        """Turn errors of MLflow, SQLAlchemy and the disk into one line."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"{self.setting} must {must}, but is {self.describe(error)}; {self.advice}"
            ) from error

    def describe(self, error: Exception) -> str:
        """Its address and the reason of the error."""
        return f"{self.shown} ({_reason(error)})"


def _file_of(uri: str) -> Path:
    """The database's file; after `SQLITE` as typed, or decoded if only that folder exists."""
    if uri.startswith(ENCODED):
        return Path(unquote(uri.removeprefix(ENCODED))).absolute()
    return typed_or_decoded(uri.removeprefix(SQLITE))


def _address(file: Path) -> str:
    """A database's URI, as parsed by SQLAlchemy."""
    path = str(file)
    if re.search(r"[%?#\n]", path) is None:
        return f"{SQLITE}{path}"
    from sqlalchemy.engine import URL

    return URL.create(ENCODED.removesuffix(":///"), database=path).render_as_string()


@contextmanager
def patience(n_retries: int, timeout_s: int) -> Iterator[None]:
    """Limit how long to wait for a server, unless the environment does; MLflow waits minutes.

    MLflow reads the limits from the environment, which all threads share: of the blocks that are
    open in any thread, the least patient one counts.

    Args:
        n_retries: Number of retries, with 4, 8, 16 … seconds before each but the first.
        timeout_s: Timeout of each attempt.
    """
    limits = _Limits(n_retries, timeout_s)
    with _limits_lock:
        _open_limits.append(limits)
        _apply_limits()
    try:
        yield
    finally:
        with _limits_lock:
            _open_limits.remove(limits)
            _apply_limits()


class _Limits(NamedTuple):
    """See `patience`."""

    n_retries: int
    timeout_s: int


_turns: dict[str, threading.BoundedSemaphore] = {}
_open_limits: list[_Limits] = []
_our_limits: set[str] = set()
"""Variables of the environment that were not set by the user."""
_limits_lock = threading.Lock()


def _apply_limits() -> None:
    """Set the environment to the least patient limits, or back."""
    if not _open_limits:
        for name in _our_limits:
            os.environ.pop(name, None)
        _our_limits.clear()
        return
    for name, value in zip(LIMITS, min(_open_limits), strict=True):
        if name not in os.environ or name in _our_limits:
            _our_limits.add(name)
            os.environ[name] = str(value)


def _forget_threads() -> None:
    """Close the blocks of other threads, which a forked process does not have."""
    global _limits_lock  # noqa: PLW0603 - the parent may have held it
    _limits_lock = threading.Lock()
    _turns.clear()
    _open_limits.clear()
    _apply_limits()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def _make_client(uri: str) -> "MlflowClient":
    """A quiet client: no telemetry, no log messages, no run from the environment."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.pop("MLFLOW_RUN_ID", None)
    import mlflow  # takes 2 s, so only when something is tracked

    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # errors are raised as well
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def _make_tables(database: Path, folder: Path) -> None:
    """Create a new database atomically: MLflow takes seconds and cannot repair a partial one."""
    if database.exists() and database.stat().st_size:
        return
    unfinished = folder / f"{database.name}.unfinished"
    unfinished.unlink(missing_ok=True)
    try:
        with _waiting_for_the_disk_once(unfinished):
            _make_client(_address(unfinished)).search_experiments(max_results=1)
        unfinished.replace(database)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def _waiting_for_the_disk_once(file: Path) -> Iterator[None]:
    """Let a new database wait for the disk when the block ends, and not in each commit.

    There are so many that a slow disk would take most of the time. Other databases are unaffected.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def hurry(connection: Any, _record: object) -> None:
        is_sqlite = isinstance(connection, sqlite3.Connection)
        if is_sqlite and _file_behind(connection) == file.resolve():
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", hurry)
    try:
        yield
    finally:
        event.remove(Engine, "connect", hurry)
    with file.open("r+b") as written:  # Windows flushes only what may be written
        os.fsync(written.fileno())


def _file_behind(connection: sqlite3.Connection) -> Path:
    """The file of an SQLite database; the current folder for one in memory."""
    ((_, _, name), *_) = connection.execute("PRAGMA database_list").fetchall()
    return Path(name).resolve()


def _experiment(store: Store, name: str, location: str | None) -> str:
    """Id of the experiment called `name`; created if it is new.

    Raises:
        InputError: It was deleted.
    """
    from mlflow.exceptions import MlflowException

    client = store.client
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        uri = shlex.quote(store.shown)
        command = f"{sys.executable} -m mlflow experiments restore -x {found.experiment_id}"
        raise InputError(
            f"tracking.experiment must be one that was not deleted, but {name} was; restore it "
            f"with MLFLOW_TRACKING_URI={uri} {command}, or set tracking.experiment=NAME"
        )
    return str(found.experiment_id)


def _is_unreachable(error: BaseException) -> bool:
    """Whether a server, or the proxy before it, was not there; requests' errors are OSErrors."""
    is_network = any(type(each).__module__.startswith("requests") for each in _chain(error))
    return is_network or re.search(r"\b(502|503|504)\b", str(error)) is not None


def _chain(error: BaseException) -> list[BaseException]:
    """An error and those that led to it."""
    chain = [error]
    while inner := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(inner)
    return chain


def _reason(error: BaseException) -> str:
    """The error of the network, the disk or SQLite, if there is one, else the error itself."""
    kinds = (OSError, sqlite3.Error)
    deepest = next((each for each in reversed(_chain(error)) if isinstance(each, kinds)), error)
    return shorten(one_line(redact(deepest)), ERROR_CHARACTERS)


def _refuse_database(database: Path) -> None:
    """Check a database without changing it; a missing one must be possible to create."""
    place = next(path for path in (database, *database.parents) if path.exists())
    folder = place.parent if place == database else place
    if place == database and not _is_sqlite(place):
        raise OSError("it is not an SQLite database")
    if not folder.is_dir():
        raise OSError(f"{folder} is not a folder")
    if not (os.access(place, os.W_OK) and os.access(folder, os.W_OK)):
        raise OSError(f"{place} is not writable")


def _is_sqlite(file: Path) -> bool:
    """Whether a file is an SQLite database or empty."""
    with file.open("rb") as opened:
        return opened.read(16) in (b"", b"SQLite format 3\x00")
