"""MLflow as a mirror: once a run has begun, a store that goes away costs it a warning and no more.

The journal of a study and the folders of results hold everything; `task=upload` brings MLflow what
it has missed.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from recsweep.messages import without_passwords
from recsweep.shell import command, setting
from recsweep.tracking.store import ANSWERS, Store, patience

P = ParamSpec("P")
S = TypeVar("S", bound="FaultTolerant")
T = TypeVar("T")


def best_effort(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T | None]:
    """Let a method of a mirror fail once, with a warning; later calls do nothing and wait for none.

    Returns:
        The method, which gives None once the store is lost.
    """

    @wraps(method)
    def told(self: S, /, *values: P.args, **named: P.kwargs) -> T | None:
        if self.lost is None:
            with self.mirror():
                return method(self, *values, **named)
        return None

    return told


class FaultTolerant:
    """A run that continues without its store.

    Args:
        store: Where the run is kept.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.lost: str | None = None
        self.must_answer = False  # True: a store that goes away is an error
        self._kept_in = ""

    def kept_in(self, folder: Path) -> None:
        """Note what `task=upload` can upload if the store goes away; the first word counts."""
        self._kept_in = self._kept_in or str(folder)

    def found_again(self) -> None:
        """The store has answered: should it go away once more, that is said once more."""
        if self.lost is None:
            Store.lost.discard(self.store.uri)

    @contextmanager
    def mirror(self) -> Iterator[None]:
        """What goes wrong in the block is said in one line; the run continues without its store.

        A server may be started again meanwhile: that costs 12 s where nobody listens and 52 s
        where nobody answers. A process that has lost a store does not wait for it again.

        Raises:
            InputError: The store must answer.
        """
        if self.must_answer:
            with self.store.errors_in_one_line(ANSWERS):
                yield
            return
        try:
            with patience(0, 5) if self.store.is_lost else patience(3, 10):
                yield
        except Exception as error:  # noqa: BLE001 - whatever MLflow, SQLAlchemy or the disk says
            self.lost = self._goodbye(self.store.found(error))
            if not self.store.is_lost:  # of many trials the first one says it
                print(self.lost, file=sys.stderr, flush=True)  # noqa: T201
            Store.lost.add(self.store.uri)

    def _goodbye(self, found: str) -> str:
        uri = setting("tracking.uri", without_passwords(self.store.uri))
        upload = command("task=upload", setting("task.of", self._kept_in), uri)
        return (
            f"warning: the tracking store went away, {found}; the run continues and keeps "
            f"everything in {self._kept_in}; upload it later: {upload}"
        )
