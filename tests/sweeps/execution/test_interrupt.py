"""The first signal asks, the second one ends, and afterwards everything is as before."""

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recsweep.sweeps.execution.interrupt import SIGNALS, StopRequest

pytestmark = pytest.mark.usefixtures("handlers_of_python")


@pytest.mark.parametrize(
    ("number", "name"),
    [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGHUP")],
)
def test_the_first_signal_makes_the_file_and_raises_nothing(
    tmp_path: Path, number: int, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with StopRequest(tmp_path) as stop:
        assert stop.reason is None
        assert not stop.file.exists()
        signal.raise_signal(number)
        assert stop.reason == name
        assert stop.file.parent == tmp_path
        assert stop.file.exists()
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == f"stopping after this epoch; {name} again stops at once\n"


def test_the_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with StopRequest(tmp_path):
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt, match="SIGTERM, twice"):
            signal.raise_signal(signal.SIGTERM)
    assert list(tmp_path.iterdir()) == []


def test_a_handler_that_is_not_pythons_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda _: None)  # a program in C embeds Python
    with StopRequest(tmp_path) as stop, pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert stop.reason is None


def test_in_another_thread_nothing_is_heard_and_nothing_breaks(tmp_path: Path) -> None:
    def ask() -> str | None:
        with StopRequest(tmp_path) as stop:
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            return stop.reason

    with ThreadPoolExecutor() as pool:
        assert pool.submit(ask).result() is None


def test_handlers_are_put_back(tmp_path: Path) -> None:
    with StopRequest(tmp_path):
        assert all(signal.getsignal(n) != signal.default_int_handler for n in SIGNALS)
    assert all(signal.getsignal(n) == signal.default_int_handler for n in SIGNALS)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    with StopRequest(tmp_path) as stop:
        signal.raise_signal(signal.SIGHUP)
        assert stop.reason is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_what_killed_processes_of_this_host_left_is_removed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    host = socket.gethostname()
    left = tmp_path / f"stop-{host}-{gone.pid}-7"
    others = [
        tmp_path / f"stop-{host}-{os.getppid()}-7",  # alive
        tmp_path / f"stop-{host}-b-{gone.pid}-7",  # of another host
        tmp_path / "stop-words.txt",
    ]
    for file in (left, *others):
        file.touch()
    with StopRequest(tmp_path):
        assert sorted(tmp_path.iterdir()) == sorted(others)


def test_two_sweeps_in_a_folder_do_not_stop_each_other(tmp_path: Path) -> None:
    assert StopRequest(tmp_path).file != StopRequest(tmp_path).file
