"""`task=ui`; that its server shows runs is held in tests/tracking/test_store.py."""

from pathlib import Path
from typing import Any

import pytest
from mlflow_runs import tracker

from recsweep.app import run
from recsweep.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy


def test_without_tracking_there_is_nothing_to_show(config: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tracking=off tracks none; set tracking=mlflow"):
        run(config("task=ui", "tracking=off"), tmp_path / "out", [])


def test_a_store_that_is_not_there_is_named(config: Any, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.raises(InputError, match=r"but there is no .*mlflow\.db"):
        run(config("task=ui", "tracking=mlflow", f"tracking.uri={uri}"), tmp_path / "out", [])
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.slow
def test_of_a_server_only_the_page_is_printed(
    config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow_server import Server

    with Server(tmp_path) as server:
        with tracker(server.uri, experiment="recsweep", run_name="seen") as one:
            pass
        overrides = ("task=ui", "task.run=seen", "task.browser=false", "tracking=mlflow")
        run(config(*overrides, f"tracking.uri={server.uri}"), tmp_path / "out", [])
        assert capsys.readouterr().out == f"{server.uri}/{one.link(one.run_id)}\n"
