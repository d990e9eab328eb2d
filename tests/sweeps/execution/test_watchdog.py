"""A worker whose parent was killed finishes its task and ends; one with a parent leaves it signals.

The parents here are killed for good, and who is left is asked of the system.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from faults.processes import MARK, processes, send, wait_until_gone, workers
from mlflow_runs import ROOT

from recsweep.sweeps.execution import watchdog
from recsweep.sweeps.execution.watchdog import Process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")

WORKER = """
import json, os, sys, time
from pathlib import Path
from recsweep.sweeps.execution import watchdog

watchdog.watch(watchdog.Process.of(json.loads(sys.argv[1])))
watchdog.leave_signals_to_parent()
if sys.argv[2] == "idle":
    Path("idle").touch()
    time.sleep(600)
with watchdog.task():
    Path("task").touch()
    try:
        while not Path("go").exists():
            time.sleep(0.01)
        Path("done").touch()
    except KeyboardInterrupt as stop:
        Path("interrupted").write_text(str(stop))
time.sleep(600)
"""
PARENT = f"""
import json, subprocess, sys
from dataclasses import asdict
from recsweep.sweeps.execution.watchdog import Process

plain = json.dumps(asdict(Process.current()))
subprocess.run([sys.executable, "-c", {WORKER!r}, plain, sys.argv[1]])
"""
POOL = """
import os, time
from pathlib import Path
from joblib import Parallel, delayed
from recsweep.sweeps.execution import watchdog

def result(name):
    Path(name).touch()
    while not Path("go").exists():
        time.sleep(0.01)
    return b"more than a pipe holds" * 100_000

def attend(parent):
    watchdog.attend(parent)
    Path(f"ready-{os.getpid()}").touch()

watched = {"initializer": attend, "initargs": (watchdog.Process.current(),)}
if __name__ == "__main__":
    found = Parallel(n_jobs=3, backend="loky", **watched)(delayed(result)(name) for name in "ab")
    Path("whole").write_text(str(len(found)))
"""

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Python in a folder of its own; whatever it leaves behind is ended."""
    mark, started = str(tmp_path), list[subprocess.Popen[bytes]]()

    def start(code: str, *arguments: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, MARK: mark, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", code, *arguments]
        started.append(subprocess.Popen(command, cwd=tmp_path, env=environment))
        return started[-1]

    yield start
    send(signal.SIGKILL, processes(mark))
    for process in started:
        process.wait()


def wait_for(*files: Path) -> None:
    end = time.monotonic() + 300
    while not all(file.exists() for file in files):
        assert time.monotonic() < end, files
        time.sleep(0.01)


def test_an_idle_orphan_ends(start: Start, tmp_path: Path) -> None:
    parent = start(PARENT, "idle")
    wait_for(tmp_path / "idle")
    assert len(processes(str(tmp_path))) == 2
    parent.kill()
    parent.wait()
    assert not wait_until_gone(str(tmp_path), 60)


def test_an_orphan_finishes_its_task_first(start: Start, tmp_path: Path) -> None:
    parent = start(PARENT, "busy")
    wait_for(tmp_path / "task")
    (worker,) = set(processes(str(tmp_path))) - {parent.pid}
    parent.kill()
    parent.wait()
    time.sleep(2 * watchdog.POLL_S)
    assert set(processes(str(tmp_path))) == {worker}, "it is still at its task"
    (tmp_path / "go").touch()
    assert not wait_until_gone(str(tmp_path), 60)
    assert (tmp_path / "done").exists()


def test_an_orphan_hears_sigterm_and_others_leave_it_to_their_parent(
    start: Start, tmp_path: Path
) -> None:
    parent = start(PARENT, "busy")
    wait_for(tmp_path / "task")
    (worker,) = set(processes(str(tmp_path))) - {parent.pid}
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(worker, number)
    time.sleep(0.5)
    assert set(processes(str(tmp_path))) == {parent.pid, worker}
    parent.kill()
    parent.wait()
    os.kill(worker, signal.SIGTERM)
    assert not wait_until_gone(str(tmp_path), 60)
    assert (tmp_path / "interrupted").read_text() == "SIGTERM"
    assert not (tmp_path / "done").exists()


def test_a_pool_whose_parent_was_killed_leaves_nothing_behind(start: Start, tmp_path: Path) -> None:
    """Two processes write results that nobody reads, a third one was never given a task."""
    (tmp_path / "pool.py").write_text(POOL, encoding="utf-8")
    parent = start("import runpy; runpy.run_path('pool.py', run_name='__main__')")
    wait_for(tmp_path / "a", tmp_path / "b")
    parent.kill()
    parent.wait()
    (tmp_path / "go").touch()
    assert not wait_until_gone(str(tmp_path), 60)
    named = re.compile(rf"(?<!\d){parent.pid}-")
    assert not [file for file in Path("/dev/shm").iterdir() if named.search(file.name)]  # noqa: S108


def test_ctrl_c_in_a_terminal_ends_no_process_of_a_pool(start: Start, tmp_path: Path) -> None:
    """Neither a busy one nor one that was never given a task, whose end would break the pool."""
    (tmp_path / "pool.py").write_text(POOL, encoding="utf-8")
    parent = start("import runpy; runpy.run_path('pool.py', run_name='__main__')")
    wait_for(tmp_path / "a", tmp_path / "b")
    end = time.monotonic() + 300
    while len([*tmp_path.glob("ready-*")]) < 3:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert send(signal.SIGINT, workers(str(tmp_path))) == 3
    (tmp_path / "go").touch()
    assert parent.wait(120) == 0
    assert (tmp_path / "whole").read_text() == "2"


def test_a_parent_is_told_from_another_process(start: Start) -> None:
    this = Process.current()
    assert Process.of(asdict(this)) == this
    assert this.is_current
    assert not this.is_gone
    child = start("import time; time.sleep(600)")
    other = replace(this, pid=child.pid, started=watchdog._started(child.pid) or 0)
    assert (other.is_current, other.is_gone) == (False, False)
    assert replace(other, started=other.started + 1).is_gone, "its id was given to another one"
    assert not replace(other, started=0, place="another machine").is_gone, "nobody can tell"
    assert not replace(other, started=0, place="").is_gone
    child.kill()
    end = time.monotonic() + 20
    while not other.is_gone:  # a zombie: nobody has asked how it ended
        assert time.monotonic() < end
        time.sleep(0.01)
    child.wait()
    assert other.is_gone


def test_nothing_is_watched_in_the_parent_itself() -> None:
    watchdog.watch(Process.current())
    assert not watchdog.is_orphan()
    with watchdog.task(), watchdog.task():  # nor waited for
        assert os.getpid() not in watchdog._watchdogs


def test_too_many_open_files_are_no_dead_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    this = replace(Process.current(), started=1)
    assert this.is_gone

    def refuse(_pid: int) -> int:
        raise OSError(24, "too many open files")

    monkeypatch.setattr(watchdog, "_started", refuse)
    assert not this.is_gone
