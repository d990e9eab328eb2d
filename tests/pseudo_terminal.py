"""A real pseudo-terminal, for what is shown only on one."""

import fcntl
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import pytest

DECISIVE = ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR", "TTY_COMPATIBLE")
"""Variables that would decide in place of the terminal."""


@contextmanager
def pseudo_terminal(
    columns: int, term: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[IO[str], bytearray]]:
    """A terminal of this width and type, and what it is sent, complete after the block."""
    monkeypatch.setenv("TERM", term)
    for name in DECISIVE:
        monkeypatch.delenv(name, raising=False)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    sent = bytearray()

    def listen() -> None:
        try:
            while part := os.read(ours, 4096):
                sent.extend(part)
        except OSError:  # Linux says so when the other end is closed
            pass

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
            yield terminal, sent
    finally:
        listener.join()
        os.close(ours)


def frames(sent: str) -> list[str]:
    """The lines that were shown, one after another, without control sequences."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent)
    return [frame.strip() for frame in re.split(r"[\r\n]+", plain) if frame.strip()]
