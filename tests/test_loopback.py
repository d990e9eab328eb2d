"""Ports of servers on this machine."""

import socket

import pytest
from ports import free_port

from recsweep.errors import InputError
from recsweep.loopback import usable_port


def test_the_usual_port_is_taken_or_else_a_free_one() -> None:
    usual = free_port()
    assert usable_port(None, usual) == usual
    with socket.create_server(("127.0.0.1", usual)):
        other = usable_port(None, usual)
        assert other != usual
    with socket.create_server(("127.0.0.1", other)):
        pass


def test_a_port_in_use_is_refused_in_one_line() -> None:
    port = free_port()
    assert usable_port(port, 5000) == port
    with socket.create_server(("127.0.0.1", port)):
        expected = f"task.port must be one that this machine lets you use, but {port} is not"
        with pytest.raises(InputError, match=expected):
            usable_port(port, 5000)
