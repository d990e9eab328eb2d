"""Ports of this machine for servers that tests start."""

import secrets
import socket
from contextlib import suppress


def free_port() -> int:
    """A port that nobody listens on, below those that systems give to whoever asks for any.

    So it stays free until it is used, also while a server is down between two starts.
    """
    while True:
        port = secrets.choice(range(10_000, 32_000))
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
