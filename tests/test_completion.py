"""The Tab key in real shells, each in a terminal of its own."""

import os
import select
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

SHELLS = {
    "bash": (["bash", "--norc", "-i"], 'eval "$(recsweep -sc install=bash)"'),
    "zsh": (
        ["zsh", "-f", "-i"],
        "autoload -Uz compinit bashcompinit; compinit -u; bashcompinit; "
        'eval "$(recsweep -sc install=zsh)"',
    ),
    "fish": (["fish", "--no-config", "-i"], "recsweep -sc install=fish | source"),
}
TIMEOUT_S = 120


class Terminal:
    """A shell as a person types into it."""

    def __init__(self, arguments: list[str], home: Path) -> None:
        path = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=home,
            env={**os.environ, "PATH": path, "TERM": "dumb", "HOME": str(home)},
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.typed, self.screen = self.process.stdin.fileno(), self.process.stdout.fileno()
        self.shown = b""

    def shows(self, text: str) -> bool:
        """Whether it shows the text within the time limit."""
        limit = time.monotonic() + TIMEOUT_S
        while text.encode() not in self.shown and time.monotonic() < limit:
            if select.select([self.screen], [], [], 0.2)[0]:
                self.shown += os.read(self.screen, 1 << 16)
        return text.encode() in self.shown

    def type(self, text: str) -> None:
        """Type it, after forgetting what was shown."""
        self.shown = b""
        os.write(self.typed, text.encode())


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_groups_choices_and_keys(shell: str, tmp_path: Path) -> None:
    arguments, setup = SHELLS[shell]
    if shutil.which(arguments[0]) is None:
        pytest.skip(f"{shell} is not installed")
    terminal = Terminal(arguments, tmp_path)
    try:
        terminal.type(f"{setup}; echo rea''dy\n")
        assert terminal.shows("ready\r\n"), terminal.shown
        terminal.type("recsweep model=multid\t")
        assert terminal.shows("model=multidae"), terminal.shown
        terminal.type(" optimizer.learning_rate_d\t")
        assert terminal.shows("optimizer.learning_rate_decay="), terminal.shown
    finally:
        terminal.process.kill()
        terminal.process.communicate()
