"""Ends a worker whose parent has died, once its current trial is finished.

A pool's worker has both ends of the pipes to its parent open, so it sees no end of file when the
parent is killed: it would wait forever for tasks, or for its result to be read. Therefore a thread
checks once a second whether the parent is alive.

Nothing here imports NumPy or Optuna: it runs before anything else in a new process.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from recsweep.sweeps.execution.interrupt import SIGNALS, is_alive

POLL_S = 1.0


@dataclass(frozen=True)
class Process:
    """One process, distinguished from earlier and later ones with the same id.

    Args:
        pid: Its id.
        place: Where that id is valid: the machine since its last boot and, in containers, the PID
            namespace; empty if unknown.
        started: Clock ticks from boot to the start of the process; 0 = unknown.
    """

    pid: int
    place: str
    started: int

    @classmethod
    def current(cls) -> "Process":
        """The current process."""
        return cls(os.getpid(), _place(), _started(os.getpid()) or 0)

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Process":
        """The inverse of `dataclasses.asdict`."""
        return cls(**plain)

    @property
    def is_current(self) -> bool:
        """Whether it is the current process."""
        return self == Process.current()

    @property
    def is_gone(self) -> bool:
        """Whether it has ended; False if that cannot be known, such as on another machine."""
        if not self.place or self.place != _place():
            return False
        try:
            return _started(self.pid) != self.started
        except OSError:  # such as too many open files
            return False


def _place() -> str:
    """Linux's boot id and PID namespace."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def _started(pid: int) -> int | None:
    """When a process started; None if it does not exist or is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = text.rpartition(")")[2].split()  # the process name may contain spaces
    return None if state in "ZX" else int(fields[18])


class Watchdog:
    """Watches one parent process from a thread.

    Args:
        parent: The process that assigns tasks to this one, possibly on another machine.
    """

    def __init__(self, parent: Process) -> None:
        self._parent = parent
        self._is_child = os.getppid() == parent.pid
        self.task = threading.Lock()

    @property
    def is_orphan(self) -> bool:
        """Whether the parent is gone."""
        if sys.platform == "win32":  # a child keeps the id of a parent that has ended
            return self._is_child and not is_alive(self._parent.pid)
        return self._parent.is_gone or (self._is_child and os.getppid() != self._parent.pid)

    def start(self) -> None:
        """Watch until this process ends."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _watch(self) -> None:
        while not self.is_orphan:
            time.sleep(POLL_S)
        with self.task:  # let a running task finish first
            os._exit(1)


_watchdogs: dict[int, Watchdog] = {}
"""This process's watchdog, by process id: a forked child has no thread."""


def watch(parent: Process) -> None:
    """End this process when its parent is gone and no task is running; a second call does nothing.

    Args:
        parent: The parent; nothing is watched if it is this process itself.
    """
    if os.getpid() not in _watchdogs and not parent.is_current:
        _watchdogs[os.getpid()] = Watchdog(parent)
        _watchdogs[os.getpid()].start()


def attend(parent: Process) -> None:
    """What a process of a pool does first, also if it never gets a task.

    A pool is broken as soon as one of its processes dies, such as of a Ctrl-C in its terminal.

    Args:
        parent: The parent.
    """
    if not parent.is_current:
        watch(parent)
        leave_signals_to_parent()


def is_orphan() -> bool:
    """Whether this process watches a parent that is gone."""
    own = _watchdogs.get(os.getpid())
    return own is not None and own.is_orphan


@contextmanager
def task() -> Iterator[None]:
    """Protect the block from being cut off when the parent dies."""
    own = _watchdogs.get(os.getpid())
    if own is None:
        yield
        return
    with own.task:
        yield


def leave_signals_to_parent() -> None:
    """Ignore Ctrl-C and similar signals while the parent, which also receives them, is alive."""
    for number in SIGNALS:
        signal.signal(number, _hear)
        if sys.platform != "win32":
            signal.siginterrupt(number, False)


def _hear(number: int, _frame: FrameType | None) -> None:
    if is_orphan():
        raise KeyboardInterrupt(signal.Signals(number).name)
