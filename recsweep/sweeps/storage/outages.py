"""Outages of a database: which errors mean one, and how a call waits until it is over."""

import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from recsweep.credentials import redact
from recsweep.messages import one_line, print_to_stderr, shorten
from recsweep.sweeps.storage.errors import StorageLostError

T = TypeVar("T")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 3.0
REASON_CHARACTERS = 200
TRANSIENT = (
    "08",  # the connection was lost
    "25P03",  # the session was ended, as its process had been stopped inside a transaction
    "40001", "40P01",  # a conflict with another transaction
    "57P01", "57P02", "57P03", "57P05",  # the server shuts down, starts, or ended the session
)  # fmt: skip
"""Beginnings of PostgreSQL's error codes."""
OF_CONNECTION = {"OperationalError", "InterfaceError"}
"""Errors of psycopg that have no code when there is no connection."""
LASTING = re.compile(
    r"authentication failed|no password supplied|does not exist|pg_hba\.conf|permission denied"
)
"""Errors without a code of a server that will refuse the client later, too."""
FULL = re.compile(r"too many (clients|connections)|connection slots are reserved")


class Outages:
    """Repeats calls until the database responds.

    Args:
        shown: The database's address without credentials.
        timeout_s: How long an outage is waited for; 0 = a call that has lost its connection is
            repeated once.
        is_announced: Whether this process prints that it waits.
    """

    def __init__(self, shown: str = "", timeout_s: float = 0.0, is_announced: bool = False) -> None:
        self._shown, self._timeout_s, self._is_announced = shown, timeout_s, is_announced
        self._lock = threading.Lock()
        self._has_responded = self._is_given_up = False
        self._told_at: float | None = None

    def __reduce__(self) -> tuple[type, tuple[str, float, bool]]:
        """A copy in another process has no call that waits."""
        return type(self), (self._shown, self._timeout_s, self._is_announced)

    def wait(self, call: Callable[[], T]) -> T:
        """Call a function, again and again while the database does not respond.

        Args:
            call: May be called again after it was done in part, or in whole.

        Raises:
            StorageLostError: It did not respond in time; other calls then wait no longer.
        """
        began, pauses = None, _pauses()
        while True:
            try:
                found = call()
            except Exception as error:
                if not is_outage(error) or (_is_full(error) and not self._has_responded):
                    raise
                now = time.monotonic()
                if began is not None:
                    self._continue(error, now - began)
                began = began or now
            else:
                self._note_response()
                return found
            time.sleep(next(pauses))

    def _continue(self, error: Exception, lasts_s: float) -> None:
        """Raise StorageLostError if the call has waited long enough."""
        if not self._timeout_s:
            raise error
        if self._is_given_up or lasts_s >= self._timeout_s:
            self._is_given_up = True
            raise StorageLostError(
                f"sweep.storage did not respond: {self._shown} was unavailable for "
                f"{self._timeout_s:.0f} s ({reason(error)}); check it and re-run the same command "
                "to resume"
            ) from error
        with self._lock:
            is_first, self._told_at = self._told_at is None, self._told_at or time.monotonic()
        if is_first:
            self._say(
                f"warning: {self._shown} does not respond ({reason(error)}); waiting up to "
                f"{self._timeout_s:.0f} s, see sweep.outage_timeout_s"
            )

    def _note_response(self) -> None:
        self._has_responded, self._is_given_up = True, False
        if self._told_at is None:
            return
        with self._lock:
            told_at, self._told_at = self._told_at, None
        if told_at is not None:
            self._say(f"the database responds again after {time.monotonic() - told_at:.0f} s")

    def _say(self, line: str) -> None:
        if self._is_announced:
            print_to_stderr(line)


def is_outage(error: BaseException | None) -> bool:
    """Whether PostgreSQL could not be reached, or has ended the session or the transaction."""
    while error is not None and not isinstance(error, StorageLostError):
        if isinstance(error, DBAPIError):
            return error.connection_invalidated or _is_transient(error.orig)
        error = error.__cause__
    return False


def reason(error: BaseException) -> str:
    """The driver's message."""
    while error.__cause__ and not isinstance(error, DBAPIError):
        error = error.__cause__
    said = error.orig if isinstance(error, DBAPIError) else error
    return shorten(one_line(redact(said)), REASON_CHARACTERS)


def _is_transient(error: BaseException | None) -> bool:
    if error is None or not type(error).__module__.startswith("psycopg"):
        return False
    code = getattr(error, "sqlstate", None)
    if code is not None:
        return str(code).startswith(TRANSIENT)
    kinds = {kind.__name__ for kind in type(error).__mro__}  # a timeout has a class of its own
    return bool(kinds & OF_CONNECTION) and LASTING.search(str(error)) is None


def _is_full(error: Exception) -> bool:
    """Whether the server has no connection left, which may last as long as the sweep."""
    return FULL.search(reason(error)) is not None


def _pauses() -> Iterator[float]:
    """Seconds before each repetition; the first one follows at once: it has a new session."""
    yield 0.0
    pause_s = FIRST_PAUSE_S
    while True:
        # so that not all workers return at the same time
        yield pause_s * random.uniform(0.5, 1.0)  # noqa: S311
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
