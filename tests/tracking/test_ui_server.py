"""MLflow's UI as a server of this machine; that it shows runs is held in test_store."""

import subprocess
from typing import Any

import pytest
from ports import free_port

from recsweep.errors import InputError
from recsweep.tracking.store import Store
from recsweep.tracking.ui_server import serve_ui


@pytest.mark.slow
def test_a_server_that_cannot_start_says_why() -> None:
    with (
        pytest.raises(InputError, match=r"MLflow's UI failed to start: .*nonsense"),
        serve_ui("nonsense://x", free_port()),
    ):
        pass


@pytest.mark.slow
def test_a_login_is_neither_on_the_servers_command_line_nor_in_its_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commands, start = [], subprocess.Popen

    def note(command: list[str], **more: Any) -> Any:
        commands.append(" ".join(command))
        return start(command, **more)

    monkeypatch.setattr("recsweep.tracking.ui_server.subprocess.Popen", note)
    address = "nonsense://Zq7x:S3cr@x"
    assert Store(address).shown == "nonsense://***@x"
    with pytest.raises(InputError) as caught, serve_ui(address, free_port()):
        pass
    assert "mlflow ui" in commands[0]
    for secret in ("Zq7x", "S3cr"):
        assert secret not in f"{commands}{caught.value}"
