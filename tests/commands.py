"""Command lines of recsweep, run in this process as the terminal runs them in one of its own."""

import io
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from compiled_programs import cache_in

from recsweep import command_line, credentials


class Ended(NamedTuple):
    """How a command line ended and what it printed."""

    code: int
    out: str
    err: str


def run_command(folder: Path, line: str) -> Ended:
    """Run `python -m recsweep LINE` in a folder, but within this process.

    Afterwards environment, signals, current folder, imported modules of the folder and the
    credentials that are not to be printed are as before. The cache is beside the folder, so that
    the folder holds only what the command wrote.

    Args:
        folder: The current folder; made when it is not there.
        line: What the user types.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [*shlex.split(line), f"cache_dir={cache_in(folder.parent)}"]
    with chdir(folder), _put_back(folder), patch.object(sys, "argv", ["recsweep", *arguments]):
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        code = 0
        with redirect_stdout(out), redirect_stderr(err):
            try:
                command_line.main()
            except SystemExit as end:
                code = int(end.code or 0)
    said = [stream.detach().getvalue().decode() for stream in (out, err)]
    return Ended(code, *said)


def first_few(cases: Sequence[Any], n: int = 6) -> list[Any]:
    """Cases of one kind as parameters of a test; those after the first are `extended`."""
    later = (pytest.param(*case, marks=pytest.mark.extended) for case in cases[n:])
    return [*cases[:n], *later]


@contextmanager
def _put_back(folder: Path) -> Iterator[None]:
    environment, modules = dict(os.environ), set(sys.modules)
    signals = {number: signal.getsignal(number) for number in (2, signal.SIGTERM, signal.SIGHUP)}
    hooks = sys.excepthook, sys.unraisablehook
    try:
        with patch.multiple(credentials, _shown={}, _secret_words=set()):
            yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        sys.excepthook, sys.unraisablehook = hooks
        for name in set(sys.modules) - modules:  # another test's folder may have one of that name
            if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(folder):
                del sys.modules[name]
        for number, handler in signals.items():
            signal.signal(number, handler)


def assert_refused(folder: Path, ended: Ended, *expected: str) -> None:
    """One line that says what must hold, exit code 1, and not a file or folder left."""
    assert ended.code == 1, ended
    assert ended.out == ""
    assert ended.err.count("\n") == 1, ended.err
    assert ended.err.startswith("error: ")
    for part in expected:
        assert part in ended.err, ended.err
    assert list(folder.iterdir()) == []
