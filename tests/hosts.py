"""Hosts of a cluster on this machine: each has its own folder, home and cache.

They share a database and a tracking server, as machines in a network do.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from signal import Signals

from faults.processes import MARK, processes, send
from mlflow_runs import ROOT
from sleeper import write_sleeper

PATIENCE_S = 600.0


class Host:
    """A host on which somebody types commands.

    Args:
        folder: Everything that it has.
        shared: The overrides that name what the hosts share.
        epoch_s: How long each of a trial's ten epochs takes.
    """

    def __init__(self, folder: Path, shared: list[str], epoch_s: float = 0.1) -> None:
        self.folder, self.shared, self.epoch_s = folder, shared, epoch_s
        self.study = folder / "sweeps" / "hosts"
        write_sleeper(folder)
        (folder / "home").mkdir()

    def start(self, *overrides: str) -> subprocess.Popen[bytes]:
        """Type the command of the sweep.

        Args:
            overrides: More of it.
        """
        usual = (
            "model=sleeper", "data=synthetic", "data.n_users=120", "data.n_items=50", "k=[10]",
            "metrics=[ndcg]", "sampler=random", "pruner=none", "study=hosts", "threads=1",
            "sweep.n_workers=2", "sweep.n_trials=12", "sweep.final_seeds=2",
        )  # fmt: skip
        given = {line.partition("=")[0] for line in overrides}
        kept = [line for line in usual if line.partition("=")[0] not in given]
        return self._started("-m", "--config-dir=.", *kept, *overrides)

    def run(self, *arguments: str) -> str:
        """Type any other command, which must succeed, and return what it prints."""
        n_before = len(self.said())
        assert self._started(*arguments).wait(PATIENCE_S) == 0, self.said()
        return self.said()[n_before:]

    def _started(self, *arguments: str) -> subprocess.Popen[bytes]:
        own = {
            MARK: str(self.folder), "PYTHONPATH": str(ROOT), "HOME": str(self.folder / "home"),
            "XDG_CACHE_HOME": str(self.folder / "cache"), "MLFLOW_DISABLE_TELEMETRY": "true",
            "EPOCH_S": str(self.epoch_s),
        }  # fmt: skip
        command = [sys.executable, "-m", "recsweep", *arguments, *self.shared]
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                command, cwd=self.folder, env={**os.environ, **own}, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def said(self) -> str:
        """What all its commands have printed."""
        log = self.folder / "log.txt"
        return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""

    def n_processes(self) -> int:
        """Processes of its commands that are alive."""
        return len(processes(str(self.folder)))

    def kill(self) -> None:
        """Let everything that it runs die at once."""
        while send(Signals.SIGKILL, processes(str(self.folder))):
            time.sleep(0.05)

    def count(self, pattern: str) -> int:
        """How often something was printed."""
        return len(re.findall(pattern, self.said(), re.MULTILINE))


def wait_until(is_so: Callable[[], bool], what: Callable[[], str]) -> None:
    """Wait until something holds.

    Args:
        is_so: What must hold in the end; errors count as not yet.
        what: What to show if it does not.
    """
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with suppress(Exception):
            if is_so():
                return
        time.sleep(0.1)
    raise AssertionError(what())
