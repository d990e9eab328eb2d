"""Buffers what runs log; one thread per store writes it about every second.

A request to MLflow takes milliseconds, appending to a list takes a microsecond. Entries stay in a
run's buffer until they are written, so that an interrupted request loses none: MLflow ignores a
metric that it already has.
"""

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakSet

from recsweep.messages import shorten
from recsweep.tracking.store import Store, mlflow_name, mlflow_value

FLUSH_S = 1.0
"""Seconds between two writes of a run; its curves are that late in MLflow's UI."""
IDLE_SHARE = 4.0
"""Least pause after a round of writing, in times of its duration, so that a slow store is left to
the runs that begin or end, whose threads wait for it."""
LONGEST_PAUSE_S = 20.0
"""An outage of minutes must not be followed by a pause of many."""
METRICS_PER_CALL = 1000
ENTRIES_PER_CALL = 100
"""MLflow's limit for parameters, and for tags."""
PARAM_CHARACTERS = 6000

Epoch = tuple[int, int, Mapping[str, float]]
"""Step, Unix time in milliseconds, and metrics."""


class Entry(NamedTuple):
    """What one call logs to a run.

    Args:
        params: Parameters.
        tags: Tags, short enough for MLflow.
        epochs: Metrics by epoch.
        inputs: Data sets, as MLflow's entities.
    """

    params: Mapping[str, Any] = {}
    tags: Mapping[str, str] = {}
    epochs: Sequence[Epoch] = ()
    inputs: Sequence[Any] = ()


class RunBuffer:
    """What a run has logged and not yet written.

    Args:
        address: Address of the store.
        write: Writes entries; raises if that fails.
        flush: Flushes this buffer and handles errors; called by the thread and at exit.
    """

    def __init__(
        self, address: str, write: Callable[[Sequence[Entry]], None], flush: Callable[[], object]
    ) -> None:
        self._address, self._write, self.flush_safely = address, write, flush
        self.forget()
        _buffers.add(self)

    def forget(self) -> None:
        """Start empty: the entries of a forked process are its parent's."""
        self._entries: list[Entry] = []
        self._n_metrics = 0
        self._writing = threading.Lock()
        self._writer = _Writer.of(self._address)

    @property
    def is_empty(self) -> bool:
        """Whether everything is written."""
        return not self._entries

    def add(self, entry: Entry) -> None:
        """Append an entry, which is written within about a second."""
        self._entries.append(entry)
        self._n_metrics += sum(len(metrics) for _, _, metrics in entry.epochs)
        self._writer.expect(self, is_urgent=self._n_metrics >= METRICS_PER_CALL)

    def flush(self, *last: Entry, wait_s: float | None = None) -> None:
        """Write everything now, in the order in which it was logged.

        Args:
            last: Entries to append before.
            wait_s: How long to wait for a request of the thread; None = until it fails.

        Raises:
            TimeoutError: The thread is still waiting for the store.
            Exception: Writing failed; the entries are dropped.
        """
        if not self._writing.acquire(timeout=-1 if wait_s is None else wait_s):
            raise TimeoutError(f"the store did not respond within {wait_s:.0f} s")
        try:
            self._entries.extend(last)
            self._n_metrics = 0
            n_entries = len(self._entries)
            if n_entries:
                self._write(self._entries[:n_entries])
                del self._entries[:n_entries]
        except Exception:
            del self._entries[:n_entries]
            raise
        except BaseException:  # Ctrl-C: written by the thread or at exit
            self._writer.expect(self)
            raise
        finally:
            self._writing.release()


class _Writer:
    """A thread that writes the buffers of one store, started by the first entry."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[RunBuffer, None] = {}
        self._current: dict[RunBuffer, None] = {}
        self._is_urgent = False
        self._thread: threading.Thread | None = None

    @staticmethod
    def of(address: str) -> "_Writer":
        """The writer of a store in this process."""
        return _writers.get(address) or _writers.setdefault(address, _Writer())

    def expect(self, buffer: RunBuffer, is_urgent: bool = False) -> None:
        """Write a buffer within a second, or at once."""
        # without the lock: a buffer is read only after it was removed from `_due`
        if buffer in self._due and not is_urgent:
            return
        with self._changed:
            self._due[buffer] = None
            self._is_urgent |= is_urgent
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)
                self._thread.start()
                _write_at_exit()
            self._changed.notify()

    def _run(self) -> None:
        rested_at = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._due)
                pause_s = max(FLUSH_S, rested_at - time.monotonic())
                self._changed.wait_for(lambda: self._is_urgent, pause_s)
                self._current, self._due, self._is_urgent = self._due, {}, False
            began = time.monotonic()
            for buffer in self._current:
                buffer.flush_safely()
            ended = time.monotonic()
            rested_at = ended + min(IDLE_SHARE * (ended - began), LONGEST_PAUSE_S)

    def unfinished_buffers(self) -> list[RunBuffer]:
        """Buffers with entries, also those that the thread writes just now."""
        with self._changed:
            return [buffer for buffer in (*self._current, *self._due) if not buffer.is_empty]


_writers: dict[str, _Writer] = {}
_buffers: WeakSet[RunBuffer] = WeakSet()
"""All of this process, for a child that it forks."""


def write_all() -> None:
    """Write the buffers of all runs before the process ends, which waits for no server."""
    Store.is_hurried = True
    for writer in list(_writers.values()):
        for buffer in writer.unfinished_buffers():
            buffer.flush_safely()


def log_batches(entries: Sequence[Entry]) -> Iterator[dict[str, list[Any]]]:
    """Arguments of as few `log_batch` requests as MLflow's limits allow, whole epochs in each.

    Args:
        entries: Entries of one run, in order.
    """
    from mlflow.entities import Metric, Param, RunTag

    params = {name: value for entry in entries for name, value in entry.params.items()}
    tags = {name: value for entry in entries for name, value in entry.tags.items()}
    batch: dict[str, list[Any]] = {
        "params": [
            Param(mlflow_name(name), shorten(str(value), PARAM_CHARACTERS))
            for name, value in params.items()
        ],
        "tags": [RunTag(*tag) for tag in tags.items()],
        "metrics": [],
    }
    n_others = min(len(params), ENTRIES_PER_CALL) + min(len(tags), ENTRIES_PER_CALL)
    room = METRICS_PER_CALL - n_others
    for step, at_ms, metrics in [epoch for entry in entries for epoch in entry.epochs]:
        if any(batch.values()) and len(batch["metrics"]) + len(metrics) > room:
            yield batch
            batch, room = {"metrics": []}, METRICS_PER_CALL
        batch["metrics"] += [
            Metric(mlflow_name(name), mlflow_value(name, value), at_ms, step)
            for name, value in metrics.items()
        ]
    if any(batch.values()):
        yield batch


def _write_at_exit() -> None:
    """Write everything when the interpreter ends, before what MLflow does then."""
    atexit.unregister(write_all)
    atexit.register(write_all)


def _forget_parent() -> None:
    """Leave the entries of a forked process to its parent, which has the thread."""
    _writers.clear()
    for buffer in list(_buffers):
        buffer.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
