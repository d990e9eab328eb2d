"""MLflow's UI as a server of this machine; that it shows runs is held in test_store."""

import socket

import pytest
from ports import free_port

from recsweep.errors import InputError
from recsweep.tracking import ui_server
from recsweep.tracking.ui_server import serve_ui


def test_the_usual_port_is_taken_or_else_a_free_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ui_server, "USUAL_PORT", free_port())
    assert ui_server._free_port() == ui_server.USUAL_PORT
    with socket.create_server(("127.0.0.1", ui_server.USUAL_PORT)):
        other = ui_server._free_port()
        assert other != ui_server.USUAL_PORT
    with socket.create_server(("127.0.0.1", other)):
        pass


def test_a_port_in_use_is_refused_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", port := free_port())):
        expected = f"task.port must be one that this machine lets you use, but {port} is not"
        with pytest.raises(InputError, match=expected), serve_ui("sqlite:///x.db", port):
            pass


@pytest.mark.slow
def test_a_server_that_cannot_start_says_why() -> None:
    with (
        pytest.raises(InputError, match=r"MLflow's UI must start, but does not: .*nonsense"),
        serve_ui("nonsense://x", free_port()),
    ):
        pass
