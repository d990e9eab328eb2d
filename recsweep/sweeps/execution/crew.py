"""Threads that run trials side by side in one process, and the trial that must run alone."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

POLL_S = 0.2
"""Polling interval of the main thread, the only one that receives Ctrl-C."""


class Crew:
    """Threads that do the same work until one of them fails or all are done.

    Args:
        n_threads: Their number.
    """

    def __init__(self, n_threads: int) -> None:
        self._n_threads = n_threads
        self._halt = threading.Event()
        self._errors: list[BaseException] = []
        self._results: list[int] = []

    @property
    def is_halted(self) -> bool:
        """Whether the work should end soon, since a thread failed or the main one was stopped."""
        return self._halt.is_set()

    def run(self, work: Callable[[], int]) -> int:
        """Do the work in every thread; a single one is the caller's.

        Args:
            work: Returns a number.

        Returns:
            The sum of what the threads returned.

        Raises:
            BaseException: The first error of a thread, once all have ended.
        """
        if self._n_threads == 1:
            return work()
        ends = [threading.Event() for _ in range(self._n_threads)]
        for number, end in enumerate(ends):
            given, name = (work, end), f"slot {number}"
            threading.Thread(target=self._run_one, args=given, name=name, daemon=True).start()
        try:
            _wait_for(ends)
        except BaseException:
            self._halt.set()
            _wait_for(ends)
            raise
        if self._errors:
            raise self._errors[0]
        return sum(self._results)

    def _run_one(self, work: Callable[[], int], end: threading.Event) -> None:
        try:
            self._results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            self._errors.append(error)
            self._halt.set()
        finally:
            end.set()


def _wait_for(ends: list[threading.Event]) -> None:
    """Wait for events, not threads: Python 3.11 considers one dead if Ctrl-C ends its join."""
    for end in ends:
        while not end.wait(POLL_S):
            pass


class Gate:
    """Lets trials run together, or one of them alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._n_inside = 0
        self._is_closed = False

    @contextmanager
    def share(self) -> Iterator[Callable[[], None]]:
        """Run the block together with others.

        Yields:
            A function that waits until the others have left, and keeps new ones out.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._is_closed)
            self._n_inside += 1
        is_alone = False

        def be_alone() -> None:
            nonlocal is_alone
            with self._changed:
                self._n_inside -= 1
                self._changed.notify_all()
                self._changed.wait_for(lambda: not self._is_closed)
                self._is_closed = is_alone = True
                self._changed.wait_for(lambda: not self._n_inside)

        try:
            yield be_alone
        finally:
            with self._changed:
                if is_alone:
                    self._is_closed = False
                else:
                    self._n_inside -= 1
                self._changed.notify_all()


class _PerThread:
    """A stream that is another one in some threads.

    Args:
        usual: The stream of all other threads.
    """

    def __init__(self, usual: TextIO) -> None:
        self.usual = usual
        self.own = threading.local()
        self.n_users = 0

    @property
    def current(self) -> TextIO:
        """The stream of the current thread."""
        stream: TextIO = getattr(self.own, "stream", self.usual)
        return stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.current, name)


@contextmanager
def output_to(stdout: TextIO, stderr: TextIO) -> Iterator[None]:
    """Redirect what this thread prints; other threads print where they did."""
    replaced = []
    for name, target in (("stdout", stdout), ("stderr", stderr)):
        with _installing:
            if not isinstance(stream := getattr(sys, name), _PerThread):
                stream = _PerThread(stream)
                setattr(sys, name, stream)
            stream.n_users += 1
        replaced.append((name, stream, stream.current))
        stream.own.stream = target
    try:
        yield
    finally:
        for name, stream, before in replaced:
            stream.own.stream = before
            with _installing:
                stream.n_users -= 1
                if not stream.n_users and getattr(sys, name) is stream:
                    setattr(sys, name, stream.usual)


_installing = threading.Lock()
