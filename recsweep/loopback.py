"""Servers on this machine: their ports, and their pages in the desktop's browser."""

import os
import socket
import sys
import webbrowser
from contextlib import suppress

from recsweep.errors import InputError
from recsweep.messages import print_to_stdout

HOST = "127.0.0.1"


def usable_port(port: int | None, usual: int) -> int:
    """A free port.

    Args:
        port: The one that was asked for; None = `usual`, or another one if that is in use.
        usual: The port that users of this server expect.

    Raises:
        InputError: It is in use, or this user may not use it.
    """
    if port is None:
        return _free_port(usual)
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        raise InputError(
            f"task.port must be one that this machine lets you use, but {port} is not "
            f"({error.strerror}); set another one, or task.port=null for a free one"
        ) from error
    return port


def _free_port(usual: int) -> int:
    for port in (usual, 0):
        with suppress(OSError), socket.create_server((HOST, port)) as server:
            return int(server.getsockname()[1])
    raise InputError(f"a port of {HOST} must be free, but none is; end another server")


def show_page(address: str, in_browser: bool) -> None:
    """Print a page's address, and open it where there is a desktop.

    Args:
        address: The page.
        in_browser: Whether it may be opened.
    """
    print_to_stdout(address)
    has_desktop = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if in_browser and has_desktop:  # elsewhere a browser in the terminal would take it over
        webbrowser.open(address)
