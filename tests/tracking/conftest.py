"""Stores that the tests of tracking share: a database, and a server on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow_runs import tracker
from mlflow_server import Server


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
    with Server(tmp_path_factory.mktemp("server")) as running:
        yield running.uri
