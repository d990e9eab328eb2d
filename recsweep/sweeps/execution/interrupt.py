"""Ctrl-C in a sweep: after the first, workers finish their epoch; a second stops at once."""

import os
import re
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from recsweep.messages import print_to_stderr

if sys.platform == "win32":
    from recsweep import windows

SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]

CTRL_C = "Ctrl-C"


class StopRequest:
    """Context manager that turns the first signal into a file that workers look for.

    Args:
        folder: Folder for the file.
    """

    def __init__(self, folder: Path) -> None:
        self._mine = f"stop-{socket.gethostname()}-"
        self.file = folder / f"{self._mine}{os.getpid()}-{time.time_ns()}"
        self.reason: str | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._tidy()
        is_main = threading.current_thread() is threading.main_thread()
        for number in SIGNALS if is_main else []:  # other threads receive no signals
            if signal.getsignal(number) not in (signal.SIG_IGN, None):  # None = not from Python
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self.file.unlink(missing_ok=True)

    def hear(self, reason: str) -> None:
        """Stop as after a signal, at another process's request.

        Args:
            reason: Who and how, such as `Ctrl-C on HOST`.
        """
        self.reason = reason
        self.file.touch()
        with suppress(OSError):  # a terminal that was closed
            print_to_stderr(f"stopping after this epoch: {reason}")

    def _tidy(self) -> None:
        """Remove files left behind by killed processes of this host."""
        for file in self.file.parent.iterdir():
            found = re.fullmatch(rf"{re.escape(self._mine)}(\d+)-\d+", file.name)
            if found and not is_alive(int(found[1])):
                file.unlink(missing_ok=True)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        name = CTRL_C if number == signal.SIGINT else signal.Signals(number).name
        if self.reason is not None:
            raise KeyboardInterrupt(f"{name}, twice")
        self.reason = name
        self.file.touch()
        with suppress(OSError):  # a terminal that was closed
            line = f"stopping after this epoch; {name} again stops at once"
            print_to_stderr(line)


def is_alive(process: int) -> bool:
    """Whether a process of this machine exists.

    Args:
        process: Its id.
    """
    if sys.platform == "win32":
        return windows.is_alive(process)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
