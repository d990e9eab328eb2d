"""Runs in MLflow, held to real stores: SQLite files, and a server on loopback."""

import math
import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from recsweep.errors import InputError
from recsweep.tracking import MLflowTracker, SilentTracker, mlflow_name, without_passwords

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose tables are made once, which takes seconds."""
    folder = tmp_path_factory.mktemp("a store") / "mlflow.db"
    with tracker(f"sqlite:///{folder}"):
        pass
    return folder


@pytest.fixture
def store(database: Path) -> str:
    return f"sqlite:///{database}"


def tracker(uri: str | None, **changes: Any) -> MLflowTracker:
    settings = {"experiment": "tests", "run_name": "a run", **changes}
    return MLflowTracker(uri=uri, **settings)


def recorded(one: MLflowTracker) -> Any:
    """The run as MLflow gives it back."""
    import mlflow

    assert one.run_id is not None
    return mlflow.MlflowClient(one.store).get_run(one.run_id)


def history(one: MLflowTracker, name: str) -> list[tuple[int, float]]:
    import mlflow

    found = mlflow.MlflowClient(one.store).get_metric_history(one.run_id, name)
    return [(entry.step, entry.value) for entry in found]


# --- what a run holds ---------------------------------------------------------------------------


def log_everything(one: MLflowTracker, folder: Path) -> None:
    params = {f"group.name_{i}": i for i in range(250)}
    params |= {"model.hidden_dims": [600], "model.x": None, "long": "x" * 9000, "empty": ""}
    with one:
        one.log_settings(params, {"git.commit": "abc", "backend": "jax", "note": "y" * 9000})
        one.log_data("ml-100k", "f" * 64, {"n_items": 7})
        for epoch in range(3):
            one.log_metrics({"valid/ndcg@100": epoch / 4, "test_se/x": math.nan}, step=epoch + 1)
        one.log_metrics({"train/loss": math.inf, "valid/kl": -math.inf}, step=3)
        (folder / "model").mkdir()
        (folder / "metrics.json").write_text("{}", encoding="utf-8")
        (folder / "model" / "weights.npz").write_bytes(b"123")
        one.log_artifacts(folder)


def assert_everything_is_there(one: MLflowTracker) -> None:
    import mlflow

    run = recorded(one)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "a run"
    assert len(run.data.params) == 254
    assert run.data.params["model.hidden_dims"] == "[600]"
    assert run.data.params["model.x"] == "None"
    assert run.data.params["long"] == "x" * 5999 + "…"
    assert run.data.tags["git.commit"] == "abc"
    assert run.data.tags["mlflow.source.name"].startswith("recsweep")
    assert history(one, "valid/ndcg_at_100") == [(1, 0), (2, 0.25), (3, 0.5)]
    assert "@" not in "".join(run.data.metrics)
    assert math.isnan(run.data.metrics["test_se/x"])
    assert run.data.metrics["train/loss"] > 1e300
    data = run.inputs.dataset_inputs[0].dataset
    assert (data.name, data.digest, data.profile) == ("ml-100k", "f" * 36, '{"n_items": 7}')
    client = mlflow.MlflowClient(one.store)
    assert {file.path for file in client.list_artifacts(one.run_id)} == {"metrics.json", "model"}
    assert [f.path for f in client.list_artifacts(one.run_id, "model")] == ["model/weights.npz"]


def test_a_database_keeps_everything_about_a_run(store: str, tmp_path: Path) -> None:
    one = tracker(store)
    log_everything(one, tmp_path)
    assert_everything_is_there(one)


def test_files_go_beside_the_database_and_nowhere_else(
    store: str, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, files = tmp_path / "here", tmp_path / "files"
    here.mkdir()
    files.mkdir()
    (files / "a.txt").write_text("a", encoding="utf-8")
    monkeypatch.chdir(here)
    with tracker(store) as one:
        one.log_artifacts(files)
    assert list(here.iterdir()) == [], "no mlruns folder appears"
    assert (database.parent / "mlartifacts" / str(one.run_id) / "artifacts" / "a.txt").is_file()
    assert {p.name for p in database.parent.iterdir()} == {"mlflow.db", "mlartifacts"}


def test_the_same_experiment_is_used_again(store: str) -> None:
    first, second = tracker(store, experiment="two runs"), tracker(store, experiment="two runs")
    for one in (first, second):
        with one:
            pass
    assert recorded(first).info.experiment_id == recorded(second).info.experiment_id
    assert first.run_id != second.run_id


def test_names_have_only_characters_that_mlflow_takes() -> None:
    assert mlflow_name("valid/ndcg@100") == "valid/ndcg_at_100"
    assert mlflow_name("search.model.beta") == "search.model.beta"
    assert mlflow_name("a:b=c{d}") == "a_b_c_d_"


# --- how a run ends -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (KeyboardInterrupt(), "KILLED", "stopped by Ctrl-C"),
        (KeyboardInterrupt("SIGTERM"), "KILLED", "stopped by SIGTERM"),
        (BrokenPipeError(), "KILLED", "stopped because nobody reads the output any more"),
        (ZeroDivisionError("oh"), "FAILED", "ZeroDivisionError: oh"),
        (InputError("loss is nan"), "FAILED", "InputError: loss is nan"),
        (ValueError("x" * 9000), "FAILED", "ValueError: " + "x" * 4988),
    ],
)
def test_a_run_that_breaks_off_says_why(
    store: str, error: BaseException, status: str, reason: str
) -> None:
    one = tracker(store)
    with pytest.raises(type(error)), one:
        raise error
    run = recorded(one)
    assert (run.info.status, run.data.tags["reason"]) == (status, reason)
    assert run.info.end_time >= run.info.start_time


def test_a_store_that_vanishes_during_a_run_is_one_line(tmp_path: Path, database: Path) -> None:
    copy = tmp_path / "mlflow.db"
    copy.write_bytes(database.read_bytes())

    def lose_it() -> None:
        with tracker(f"sqlite:///{copy}") as one:
            with closing(sqlite3.connect(copy)) as connection:
                connection.execute("DROP TABLE metrics")
                connection.commit()
            one.log_metrics({"a": 1.0})

    with pytest.raises(InputError, match="must name a store that answers during the whole run"):
        lose_it()


# --- runs that are fetched again ----------------------------------------------------------------


def with_model(uri: str, folder: Path, **changes: Any) -> str:
    """Id of a finished run whose model says its id."""
    with tracker(uri, **changes) as one:
        (folder / "model").mkdir(parents=True, exist_ok=True)
        (folder / "model" / "model.yaml").write_text(str(one.run_id), encoding="utf-8")
        one.log_artifacts(folder)
    return str(one.run_id)


def test_a_run_is_fetched_by_its_id_and_the_latest_is_the_one_that_finished_last(
    store: str, tmp_path: Path
) -> None:
    named = {"experiment": "fetched"}
    first, second = (with_model(store, tmp_path / "files", **named) for _ in range(2))
    with tracker(store, **named):
        pass  # no model
    with_model(store, tmp_path / "files", experiment="another")
    for run, expected in ((first, first), ("latest", second)):
        folder = tmp_path / f"fetched {run}"
        folder.mkdir()
        assert tracker(store, **named).download(run, folder) == expected
        assert (folder / "model" / "model.yaml").read_text("utf-8") == expected


def test_a_run_that_cannot_be_fetched_is_one_line(store: str, tmp_path: Path) -> None:
    def refusal(run: str, **changes: Any) -> str:
        with pytest.raises(InputError) as caught:
            tracker(changes.pop("uri", store), **changes).download(run, tmp_path)
        assert list(tmp_path.iterdir()) == []
        assert "\n" not in str(caught.value)
        return str(caught.value)

    with tracker(store, experiment="nothing kept") as empty:
        assert f"{empty.run_id} is RUNNING; wait for it" in refusal(str(empty.run_id))
        assert "there is none; train one" in refusal("latest", experiment="nothing kept")
    assert f"run {empty.run_id} has none" in refusal(str(empty.run_id))
    assert "there is none; train one" in refusal("latest", experiment="nothing kept")
    assert "there is none; train one" in refusal("latest", experiment="never made")
    for absent in ("0" * 32, "not an id"):
        assert f"but {absent} is none of them" in refusal(absent)
    with pytest.raises(ZeroDivisionError), tracker(store) as failed:
        raise ZeroDivisionError
    assert f"{failed.run_id} is FAILED" in refusal(str(failed.run_id))
    nowhere = f"sqlite:///{tmp_path}/x.db"
    assert f"there is no {tmp_path}/x.db" in refusal("latest", uri=nowhere)
    with pytest.raises(InputError, match="tracking=off keeps no runs"):
        SilentTracker().download("latest", tmp_path)


@pytest.mark.slow
def test_a_run_is_fetched_from_a_server(server: str, tmp_path: Path) -> None:
    run = with_model(server, tmp_path / "files")
    (tmp_path / "fetched").mkdir()
    assert tracker(server).download("latest", tmp_path / "fetched") == run
    assert (tmp_path / "fetched" / "model" / "model.yaml").read_text("utf-8") == run
    with pytest.raises(InputError, match="is none of them"):
        tracker(server).download("0" * 32, tmp_path)


# --- which store --------------------------------------------------------------------------------


def test_the_setting_wins_over_the_environment_and_that_over_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracker(None).store == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert tracker(None).store == "http://127.0.0.1:9"
    assert tracker("sqlite:///sub/x.db").store == f"sqlite:///{tmp_path}/sub/x.db"


def test_a_run_of_somebody_else_in_the_environment_is_not_continued(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracker(store) as other:
        pass
    monkeypatch.setenv("MLFLOW_RUN_ID", str(other.run_id))
    with tracker(store) as one:
        one.log_metrics({"a": 1.0})
    assert one.run_id != other.run_id
    assert recorded(other).data.metrics == {}


def refused(uri: str) -> str:
    with pytest.raises(InputError) as caught:
        tracker(uri).refuse_unusable()
    text = str(caught.value)
    assert text.startswith("tracking.uri must name an MLflow store that can be used, but is ")
    assert "\n" not in text
    assert "tracking=off" in text
    return text


def test_a_store_that_cannot_be_is_refused_in_seconds_without_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("not a database", encoding="utf-8")
    started = time.monotonic()
    assert "it is no SQLite database" in refused("sqlite:///file")
    assert "file is no folder" in refused("sqlite:///file/x.db")
    assert "Is a directory" in refused(f"sqlite:///{tmp_path}")
    assert "Connection refused" in refused("http://127.0.0.1:1")
    assert "filesystem tracking backend" in refused("mlruns")
    assert "filesystem tracking backend" in refused((tmp_path / "store").as_uri())
    assert "unsupported URI" in refused("ftp://127.0.0.1")
    assert time.monotonic() - started < 20  # the first one that imports MLflow takes a few
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    tracker("sqlite:///new/folder/x.db").refuse_unusable()
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "looking makes nothing"


@pytest.mark.slow
def test_a_server_that_keeps_silent_is_refused_in_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        assert "timed out" in refused(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - started < 10
    assert os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT") is None, "patience is MLflow's own again"


def test_a_store_of_the_environment_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(InputError, match=r"^MLFLOW_TRACKING_URI must name"):
        MLflowTracker(uri=None, experiment="e", run_name="r").refuse_unusable()


def test_a_deleted_experiment_is_one_line(store: str) -> None:
    import mlflow

    client = mlflow.MlflowClient(store)
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(InputError, match="deleted"), tracker(store, experiment="gone"):
        pass


def test_passwords_are_not_written_down() -> None:
    config = {"tracking": {"uri": "postgresql://ann:s3cr@t@db:5432/x"}, "k": [10], "path": "a:b@c"}
    told = without_passwords(config)
    assert told == {
        "tracking": {"uri": "postgresql://ann:***@db:5432/x"},
        "k": [10],
        "path": "a:b@c",
    }
    assert config["tracking"] == {"uri": "postgresql://ann:s3cr@t@db:5432/x"}
    unreachable = tracker("http://ann:secret@127.0.0.1:1")
    with pytest.raises(InputError) as caught:
        unreachable.refuse_unusable()
    assert "secret" not in str(caught.value)
    assert "secret" not in unreachable.ui_command


def test_the_command_that_opens_the_ui_survives_spaces_in_paths(store: str) -> None:
    one = tracker(store)
    assert f"--backend-store-uri '{store}'" in one.ui_command
    assert "?workflowType=machine_learning" in one.ui_command


# --- other processes ----------------------------------------------------------------------------

ONE_RUN = """
from recsweep.tracking import MLflowTracker
with MLflowTracker(uri=None, experiment="e", run_name="r") as one:
    one.log_settings({"a": 1}, {})
    one.log_metrics({"m": 1.0}, step=1)
"""


def start(folder: Path, code: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_two_processes_make_a_cold_database_together_and_quietly(tmp_path: Path) -> None:
    (tmp_path / "mlartifacts").mkdir()
    (tmp_path / "mlartifacts" / "mlflow.db.unfinished").write_text("of a process that was killed")
    both = [start(tmp_path, ONE_RUN) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said == [("", ""), ("", "")], "MLflow's own chatter does not reach the terminal"
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        assert connection.execute("SELECT status FROM runs").fetchall() == [("FINISHED",)] * 2
        assert connection.execute(
            "SELECT count(*) FROM experiments WHERE name = 'e'"
        ).fetchone() == (1,)
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlartifacts"}
    assert "mlflow.db.unfinished" not in {p.name for p in (tmp_path / "mlartifacts").iterdir()}


def test_without_tracking_mlflow_is_not_loaded_and_nothing_is_written(tmp_path: Path) -> None:
    code = """
import sys
from recsweep.tracking import SilentTracker
with SilentTracker() as one:
    one.refuse_unusable()
    one.log_settings({"a": 1}, {})
    one.log_data("d", "f", {})
    one.log_metrics({"m": 1.0})
    one.log_artifacts("anything")
print(one.run_id, "mlflow" in sys.modules)
"""
    process = start(tmp_path, code)
    assert process.communicate(timeout=60) == ("None False\n", "")
    assert list(tmp_path.iterdir()) == []


def test_a_silent_tracker_lets_errors_through() -> None:
    with pytest.raises(ZeroDivisionError), SilentTracker():
        raise ZeroDivisionError


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def fetched(url: str) -> bytes:
    """A page of a server that may still be starting."""
    for _ in range(240):
        try:
            with urllib.request.urlopen(url, timeout=5) as page:
                return bytes(page.read())
        except OSError:
            time.sleep(0.25)
    raise AssertionError(f"{url} does not answer")


@pytest.fixture(scope="module")
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


@pytest.mark.slow
def test_the_command_that_opens_the_ui_opens_it(store: str, tmp_path: Path) -> None:
    one = tracker(store)
    with one:
        one.log_metrics({"a": 1.0})
    command, port = one.ui_command.splitlines()[0], free_port()
    with (tmp_path / "log").open("wb") as log:
        in_a_shell = ["sh", "-c", f"exec env {command} --port {port}"]
        process = subprocess.Popen(in_a_shell, cwd=tmp_path, stdout=log, stderr=log)
    try:
        assert b"<title>MLflow" in fetched(f"http://127.0.0.1:{port}/")
        run = f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/get?run_id={one.run_id}"
        assert b'"FINISHED"' in fetched(run)
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.mark.slow
def test_a_server_keeps_everything_about_a_run(
    server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    one = tracker(server)
    one.refuse_unusable()
    log_everything(one, tmp_path)
    assert capfd.readouterr() == ("", ""), "MLflow's own chatter does not reach the terminal"
    assert_everything_is_there(one)
    assert one.ui_command.startswith(f"{server}/#/experiments/")


@pytest.mark.slow
def test_a_server_learns_of_a_run_that_breaks_off(server: str) -> None:
    one = tracker(server)
    with pytest.raises(KeyboardInterrupt), one:
        raise KeyboardInterrupt("SIGTERM")
    run = recorded(one)
    assert (run.info.status, run.data.tags["reason"]) == ("KILLED", "stopped by SIGTERM")
