"""A real MLflow server that can die at any moment and be started again on the same store."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from mlflow_runs import fetched
from ports import free_port


class Server:
    """On a free port; as a context it runs.

    Args:
        folder: For its database, files and log.
        address: Where it listens; loopback, unless it is in a network of the test's own.
    """

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        self.folder, self.address = folder, address
        self.port = free_port()
        self.uri = f"http://{address}:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, also again, and wait until it answers."""
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", self.address,
            "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{self.folder}/server.db",
            "--artifacts-destination", str(self.folder / "artifacts"),
        ]  # fmt: skip
        quiet = {
            **os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=quiet, stdout=log, stderr=log, start_new_session=True
            )
        assert fetched(f"{self.uri}/health") == b"OK"

    def send(self, number: signal.Signals) -> None:
        """A signal to the server and what it has started."""
        if self._process is not None:
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """Let it die on the spot."""
        self._end_with(signal.SIGKILL)

    def stop(self) -> None:
        """End it."""
        self._end_with(signal.SIGTERM)

    def _end_with(self, number: signal.Signals) -> None:
        if self._process is not None:
            self.send(number)
            self._process.wait(timeout=60)
            self._process = None
