"""Stores that the tests of tracking share: a database, and a server on loopback."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow_runs import fetched, free_port, tracker


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose tables are made once, which takes seconds."""
    file = tmp_path_factory.mktemp("a store") / "mlflow.db"
    with tracker(f"sqlite:///{file}"):
        pass
    return file


@pytest.fixture
def store(database: Path) -> str:
    return f"sqlite:///{database}"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server on a free port."""
    folder = tmp_path_factory.mktemp("server")
    port = free_port()
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/server.db",
        "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    quiet = {
        **os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=quiet, stdout=log, stderr=log)
    try:
        assert fetched(f"http://127.0.0.1:{port}/health") == b"OK"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)
