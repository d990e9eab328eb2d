"""Ends a worker whose parent has died, once the trial that it runs is told.

A pool's worker has both ends of the pipes to its parent open, so a killed parent is no end of file
to it: it would wait for tasks, or for somebody to read its result, for ever. A thread looks for the
parent once a second instead.

Nothing here imports NumPy or Optuna: it runs before anything else in a new process.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from recsweep.sweeps.execution.interrupt import SIGNALS

POLL_S = 1.0


@dataclass(frozen=True)
class Process:
    """One process, told from those that had its id before or get it later.

    Args:
        pid: Its id.
        place: Where that id counts: the machine since its last start and, in containers, the PID
            namespace; empty where the system does not say.
        started: Clock ticks from the machine's start to the process's; 0 = unknown.
    """

    pid: int
    place: str
    started: int

    @classmethod
    def current(cls) -> "Process":
        """This one."""
        return cls(os.getpid(), _place(), _started(os.getpid()) or 0)

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Process":
        """What `dataclasses.asdict` made of one."""
        return cls(**plain)

    @property
    def is_current(self) -> bool:
        """Whether it is this one."""
        return self == Process.current()

    @property
    def is_gone(self) -> bool:
        """Whether it has ended; False where nobody can tell, as on another machine."""
        if not self.place or self.place != _place():
            return False
        try:
            return _started(self.pid) != self.started
        except OSError:  # such as too many open files
            return False


def _place() -> str:
    """The machine's start and the PID namespace, as Linux names them."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def _started(pid: int) -> int | None:
    """When a process started; None = there is none, or it waits to be forgotten (a zombie)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = text.rpartition(")")[2].split()  # the name before it may have spaces
    return None if state in "ZX" else int(fields[18])


class Watchdog:
    """Watches one parent, from a thread.

    Args:
        parent: The process that gives this one its tasks, maybe on another machine.
    """

    def __init__(self, parent: Process) -> None:
        self._parent = parent
        self._is_child = os.getppid() == parent.pid
        self.task = threading.Lock()

    @property
    def is_orphan(self) -> bool:
        """Whether the parent is gone."""
        return self._parent.is_gone or (self._is_child and os.getppid() != self._parent.pid)

    def start(self) -> None:
        """Watch until this process ends."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _watch(self) -> None:
        while not self.is_orphan:
            time.sleep(POLL_S)
        with self.task:  # a running one is finished first
            os._exit(1)


_watchdogs: dict[int, Watchdog] = {}
"""This process's, under its id: a forked child has no thread."""


def watch(parent: Process) -> None:
    """End this process when its parent is gone and no task is running; a second call does nothing.

    Args:
        parent: Nothing is watched where it is this process itself.
    """
    if os.getpid() not in _watchdogs and not parent.is_current:
        _watchdogs[os.getpid()] = Watchdog(parent)
        _watchdogs[os.getpid()].start()


def is_orphan() -> bool:
    """Whether this process was given a parent to watch, and that is gone."""
    own = _watchdogs.get(os.getpid())
    return own is not None and own.is_orphan


@contextmanager
def task() -> Iterator[None]:
    """What is not to be cut off when the parent dies."""
    own = _watchdogs.get(os.getpid())
    if own is None:
        yield
        return
    with own.task:
        yield


def leave_signals_to_parent() -> None:
    """Ignore Ctrl-C and its kind, which the parent hears as well, as long as there is a parent."""
    for number in SIGNALS:
        signal.signal(number, _hear)
        signal.siginterrupt(number, False)


def _hear(number: int, _frame: FrameType | None) -> None:
    if is_orphan():
        raise KeyboardInterrupt(signal.Signals(number).name)
