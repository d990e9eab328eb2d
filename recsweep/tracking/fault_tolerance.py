"""MLflow as a mirror: if the store is lost after a run has started, the run warns and continues.

In a sweep, a server that does not respond is waited for first.

The study's journal and the results folders hold everything; `task=upload` uploads what MLflow has
missed.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from recsweep.messages import print_to_stderr
from recsweep.shell import command, setting
from recsweep.tracking.store import ANSWERS, Store, patience

P = ParamSpec("P")
S = TypeVar("S", bound="FaultTolerant")
T = TypeVar("T")
PAUSE_S = 1.0


def best_effort(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T | None]:
    """Let a method of a mirror fail once, with a warning; later calls return immediately.

    Returns:
        The method, which returns None once the store is lost.
    """

    @wraps(method)
    def told(self: S, /, *values: P.args, **named: P.kwargs) -> T | None:
        if self.lost is None:
            with self.mirror():
                return self.patiently(lambda: method(self, *values, **named))
        return None

    return told


class FaultTolerant:
    """A run that continues without its store.

    Args:
        store: The store of the run.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.lost: str | None = None
        self.must_answer = False  # True: losing the store is an error
        self.outage_timeout_s = 0.0
        self._kept_in = ""

    def kept_in(self, folder: Path) -> None:
        """Set what `task=upload` can upload if the store is lost; only the first call counts."""
        self._kept_in = self._kept_in or str(folder)

    def waits(self, timeout_s: float) -> None:
        """Set how long a server that does not respond is waited for; the run stands still then.

        Training does not: what it logs is kept until the server responds.
        """
        self.outage_timeout_s = timeout_s

    def patiently(self, call: Callable[[], T]) -> T:
        """Call a function, again and again while the server does not respond."""
        while True:
            try:
                found = call()
            except Exception as error:
                if not self.store.may_return(error, self.outage_timeout_s):
                    raise
                time.sleep(PAUSE_S)
            else:
                self.store.note_response()
                return found

    def mark_recovered(self) -> None:
        """The store has responded: if it is lost again, warn again."""
        if self.lost is None:
            Store.lost.pop(self.store.uri, None)

    @contextmanager
    def mirror(self) -> Iterator[None]:
        """Report errors in the block in one line; the run continues without its store.

        A server has time to restart: 12 s if the connection is refused and 52 s if it times out,
        and what `waits` has set. A process that has lost a store does not wait for it again.

        Raises:
            InputError: The store failed and `must_answer` is set.
        """
        if self.must_answer:
            with self.store.errors_in_one_line(ANSWERS):
                yield
            return
        try:
            with patience(0, 5) if self.store.is_lost else patience(3, 10):
                yield
        except Exception as error:  # noqa: BLE001 - whatever MLflow, SQLAlchemy or the disk says
            self.lost = self._goodbye(self.store.describe(error))
            # only the first of many trials warns, whatever thread it is in
            if Store.lost.setdefault(self.store.uri, self.lost) is self.lost:
                print_to_stderr(self.lost)

    def _goodbye(self, found: str) -> str:
        uri = setting("tracking.uri", self.store.shown)
        upload = command("task=upload", setting("task.run", self._kept_in), uri)
        return (
            f"warning: the tracking store was lost, {found}; the run continues and keeps "
            f"everything in {self._kept_in}; upload it later: {upload}"
        )
