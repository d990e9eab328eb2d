"""The processes of a command, its orphans included, as the system shows them in /proc."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

MARK = "RECSWEEP_FAULTS"
"""Variable that all processes of a command inherit, whoever their parent is now."""


def processes(mark: str) -> dict[int, str]:
    """Id and command line of every living process with this mark."""
    wanted, found = f"{MARK}={mark}".encode(), {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it ended, or is somebody else's
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    line = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(folder.name)] = line.decode(errors="replace")
    return found


def workers(mark: str) -> list[int]:
    """Ids of the processes that joblib runs workers in, oldest first."""
    return sorted(pid for pid, line in processes(mark).items() if "popen_loky" in line)


def parent_of(pid: int) -> int | None:
    """Id of the parent; None when the process is gone."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return None


def send(number: signal.Signals, pids: Iterable[int]) -> int:
    """Send a signal to those that are still there; how many that were."""
    n_sent = 0
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            n_sent += 1
    return n_sent


def ctrl_c_twice(process: subprocess.Popen[str]) -> None:
    """Two different signals, both of which are there before the process can end by the first."""
    for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
        process.send_signal(number)


def wait_until_gone(mark: str, seconds: float) -> dict[int, str]:
    """Whoever is left after this time."""
    end = time.monotonic() + seconds
    while (left := processes(mark)) and time.monotonic() < end:
        time.sleep(0.1)
    return left
