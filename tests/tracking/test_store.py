"""Which store is meant, and what is said when it cannot be used."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread

import pytest
import sqlalchemy
from mlflow_runs import fetched, tracker
from ports import free_port

from recsweep.errors import InputError
from recsweep.tracking import MLflowTracker
from recsweep.tracking import store as store_module
from recsweep.tracking.store import (
    LIMITS,
    MAX_CONNECTIONS,
    Store,
    mlflow_name,
    mlflow_value,
    patience,
)

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy


def test_names_have_only_characters_that_mlflow_takes() -> None:
    assert mlflow_name("valid/ndcg@100") == "valid/ndcg_at_100"
    assert mlflow_name("train/loss") == "train/loss"
    assert mlflow_name("train/kl") == "train_kl"
    assert mlflow_name("valid/best_ndcg_by_k") == "valid/best_ndcg_by_k"
    assert mlflow_name("valid/recall_all@5") == "valid_recall_all_at_5"
    assert mlflow_name("hydra/launcher") == "hydra/launcher"
    assert mlflow_name("search.model.beta") == "search.model.beta"
    assert mlflow_name("a:b=c{d}") == "a_b_c_d_"


def test_curves_have_all_digits_and_results_four() -> None:
    assert mlflow_value("valid/ndcg@100", 0.123456789) == 0.123456789
    assert mlflow_value("test_ndcg@100", 0.123456789) == 0.1235
    assert mlflow_value("test_se_ndcg@100", 0.00123456) == 0.001235
    assert mlflow_value("train_s", 123.456) == 123.5
    assert mlflow_value("peak_bytes", 123456789) == 123456789
    assert mlflow_value("test_gini", float("inf")) == float("inf")


def test_the_setting_wins_over_the_environment_and_that_over_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracker(None).store.uri == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert tracker(None).store.uri == "http://127.0.0.1:9"
    assert tracker("sqlite:///sub/x.db").store.uri == f"sqlite:///{tmp_path}/sub/x.db"


def refused(uri: str) -> str:
    with pytest.raises(InputError) as caught:
        tracker(uri).refuse_unusable()
    text = str(caught.value)
    assert text.startswith("tracking.uri must name a usable MLflow store, but is ")
    assert "\n" not in text
    assert "tracking=off, which keeps the results in files that task=upload uploads later" in text
    return text


def test_a_store_that_cannot_be_is_refused_in_seconds_without_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("not a database", encoding="utf-8")
    assert "it is not an SQLite database" in refused("sqlite:///file")
    started = time.monotonic()  # MLflow is imported now
    assert "file is not a folder" in refused("sqlite:///file/x.db")
    assert "Is a directory" in refused(f"sqlite:///{tmp_path}")
    assert "Connection refused" in refused("http://127.0.0.1:1")
    assert "filesystem tracking backend" in refused("mlruns")
    assert "filesystem tracking backend" in refused((tmp_path / "store").as_uri())
    assert "unsupported URI" in refused("ftp://127.0.0.1")
    assert time.monotonic() - started < 60, "MLflow itself tries again for minutes"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    tracker("sqlite:///new/folder/x.db").refuse_unusable()
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "looking makes nothing"


@pytest.mark.slow
def test_a_server_that_keeps_silent_is_refused_in_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        assert "timed out" in refused(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - started < 60, "MLflow itself waits for minutes"
    assert os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT") is None, "patience is MLflow's own again"


def test_a_store_of_the_environment_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(InputError, match=r"^MLFLOW_TRACKING_URI must name"):
        MLflowTracker(uri=None, experiment="e", run_name="r").refuse_unusable()


def test_a_deleted_experiment_is_named_with_what_restores_it(store: str) -> None:
    with tracker(store, experiment="deleted"):
        pass
    one = tracker(store, experiment="deleted")
    found = one.store.client.get_experiment_by_name("deleted")
    one.store.client.delete_experiment(found.experiment_id)
    with pytest.raises(InputError) as caught, one:
        pass
    restore = f"-m mlflow experiments restore -x {found.experiment_id}, or set tracking.experiment"
    assert f"MLFLOW_TRACKING_URI={shlex.quote(store)} " in str(caught.value)
    assert restore in str(caught.value)
    one.store.client.restore_experiment(found.experiment_id)
    with tracker(store, experiment="deleted") as again:
        pass
    assert again.run_id


def test_a_path_is_meant_as_it_is_typed_or_else_decoded(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    typed = f"sqlite:///{tmp_path}/a%20b/mlflow.db"
    assert tracker(typed).store.database == tmp_path / "a b" / "mlflow.db"
    (tmp_path / "a%20b").mkdir()
    one = tracker(typed).store
    assert one.database == tmp_path / "a%20b" / "mlflow.db"
    assert one.uri == f"sqlite+pysqlite:///{tmp_path}/a%2520b/mlflow.db"
    assert tracker(one.uri).store.database == one.database


def test_only_a_database_that_is_being_made_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    def waits(file: Path | None) -> bool:
        engine = sqlalchemy.create_engine(f"sqlite:///{file or ':memory:'}")
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("CREATE TABLE IF NOT EXISTS t (i INTEGER)"))
            waits = connection.execute(sqlalchemy.text("PRAGMA synchronous")).scalar_one() > 0
        engine.dispose()
        return waits

    new, other = tmp_path / "new.db", tmp_path / "other.db"
    with store_module._waiting_for_the_disk_once(new):
        assert [waits(new), waits(other), waits(None)] == [False, True, True]
    assert [waits(new), waits(other)] == [True, True]


def test_the_command_that_opens_the_ui_is_short_where_the_store_is_the_usual_one(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert Store(None).ui_command("abc") == "python -m recsweep task=ui task.run=abc"
    named = Store(store).ui_command("abc")
    assert shlex.split(named)[5:] == [f'tracking.uri="{store}"']
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert Store(None).ui_command("abc") == named
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    opened = "python -m recsweep task=ui task.run=abc tracking.uri=http://host:5000"
    assert Store(None).ui_command("abc") == opened
    assert Store(None).ui_command("abc", "#/a", "#/b").split() == [
        "http://host:5000/#/a",
        "http://host:5000/#/b",
    ]


def limits() -> list[str | None]:
    return [os.environ.get(name) for name in LIMITS]


def test_threads_share_the_least_patience_and_leave_none_behind() -> None:
    assert limits() == [None, None]
    entered, may_leave = Event(), Event()

    def wait_long() -> None:
        with patience(3, 10):
            entered.set()
            assert may_leave.wait(60)

    thread = Thread(target=wait_long)
    with patience(3, 120):
        thread.start()
        assert entered.wait(60)
        assert limits() == ["3", "10"]
        with patience(0, 5):
            assert limits() == ["0", "5"]
        assert limits() == ["3", "10"]
    assert limits() == ["3", "10"], "the other thread is not left with MLflow's minutes"
    may_leave.set()
    thread.join()
    assert limits() == [None, None]


def test_the_users_own_patience_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMITS[0], "7")
    with patience(0, 5), patience(3, 10):
        assert limits() == ["7", "5"]
    assert limits() == ["7", None]


def test_no_more_threads_use_a_database_than_its_pool_has_connections(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "TURN_S", 0.1)
    one, n_inside, may_leave = Store(store), [], Event()

    def enter() -> None:
        with one.turn():
            n_inside.append(1)
            assert may_leave.wait(60)

    threads = [Thread(target=enter) for _ in range(MAX_CONNECTIONS)]
    for thread in threads:
        thread.start()
    while len(n_inside) < MAX_CONNECTIONS:
        time.sleep(0.01)
    with pytest.raises(TimeoutError, match="busy"), Store(store).turn():
        pass
    may_leave.set()
    for thread in threads:
        thread.join()
    with one.turn(), Store("http://127.0.0.1:1").turn():
        pass


@pytest.mark.slow
def test_the_command_that_opens_the_ui_opens_it(store: str, tmp_path: Path) -> None:
    one = tracker(store)
    with one:
        one.log_metrics({"a": 1.0})
    command, port = one.ui_command.removeprefix("python"), free_port()
    command = f"{shlex.quote(sys.executable)}{command} task.port={port} task.browser=false"
    with (tmp_path / "log").open("wb") as log:
        in_a_shell = ["sh", "-c", f"exec {command}"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            in_a_shell, cwd=tmp_path, env=environment, stdout=log, stderr=log
        )
    try:
        assert b"<title>MLflow" in fetched(f"http://127.0.0.1:{port}/")
        run = f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/get?run_id={one.run_id}"
        assert b'"FINISHED"' in fetched(run)
        assert f"http://127.0.0.1:{port}/#/experiments/" in (tmp_path / "log").read_text()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=120)
    assert process.returncode == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))


def test_an_unreachable_store_does_not_tell_its_password() -> None:
    unreachable = tracker("http://ann:secret@127.0.0.1:1")
    with pytest.raises(InputError) as caught:
        unreachable.refuse_unusable()
    assert "***@127.0.0.1:1" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "secret" not in unreachable.ui_command
