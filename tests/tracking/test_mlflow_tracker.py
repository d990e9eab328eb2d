"""Runs in MLflow, held to real stores: SQLite files, and a server on loopback."""

import inspect
import math
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from mlflow_runs import history, run_of, start, tracker

from recsweep.errors import InputError
from recsweep.interfaces import SweepTracker
from recsweep.tracking import MLflowTracker, NullTracker

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy


# --- what a run holds ---------------------------------------------------------------------------


def log_everything(one: MLflowTracker, folder: Path) -> None:
    params = {f"group.name_{i}": i for i in range(250)}
    params |= {"model.hidden_dims": [600], "model.x": None, "long": "x" * 9000, "empty": ""}
    with one:
        one.log_settings(params, {"git.commit": "abc", "backend": "jax", "note": "y" * 9000})
        one.log_data("ml-100k", "f" * 64, {"n_items": 7})
        for epoch in range(3):
            one.log_metrics({"valid/ndcg@100": epoch / 4, "test_se_x": math.nan}, step=epoch + 1)
        one.log_metrics({"train/loss": math.inf, "valid/kl": -math.inf}, step=3)
        (folder / "model").mkdir()
        (folder / "metrics.json").write_text("{}", encoding="utf-8")
        (folder / "model" / "weights.npz").write_bytes(b"123")
        one.log_artifacts(folder)


def assert_everything_is_there(one: MLflowTracker) -> None:
    import mlflow

    run = run_of(one)
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
    assert math.isnan(run.data.metrics["test_se_x"])
    assert run.data.metrics["train/loss"] > 1e300
    data = run.inputs.dataset_inputs[0].dataset
    assert (data.name, data.digest, data.profile) == ("ml-100k", "f" * 36, '{"n_items": 7}')
    client = mlflow.MlflowClient(one.store.uri)
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
    assert run_of(first).info.experiment_id == run_of(second).info.experiment_id
    assert first.run_id != second.run_id


def test_a_configured_name_wins_over_the_one_that_is_made(store: str) -> None:
    for name, expected in ((None, "multivae-ml-100k"), ("mine", "mine")):
        with tracker(store, run_name=name).named("multivae-ml-100k") as one:
            pass
        assert run_of(one).info.run_name == expected


def test_a_note_replaces_the_one_before(store: str) -> None:
    with tracker(store) as one:
        for note in ("a", "| **best** |\n|---|" + "x" * 9000):
            one.set_note(note)
    assert run_of(one).data.tags["mlflow.note.content"].startswith("| **best** |\n|---|xx")


@pytest.mark.parametrize("kind", [MLflowTracker, NullTracker])
def test_both_trackers_keep_the_promise(kind: type) -> None:
    for name, promise in inspect.getmembers(SweepTracker, inspect.isfunction):
        if not name.startswith("_"):
            kept = inspect.signature(getattr(kind, name))
            promised = inspect.signature(promise)
            assert list(kept.parameters) == list(promised.parameters), name


# --- how a run ends -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (KeyboardInterrupt(), "KILLED", "stopped by Ctrl-C"),
        (KeyboardInterrupt("SIGTERM"), "KILLED", "stopped by SIGTERM"),
        (BrokenPipeError(), "KILLED", "stopped because the output is no longer read"),
        (ZeroDivisionError("oh"), "FAILED", "ZeroDivisionError: oh"),
        (InputError("loss is nan"), "FAILED", "InputError: loss is nan"),
        (ValueError("x" * 9000), "FAILED", "ValueError: " + "x" * 4987 + "…"),
    ],
)
def test_a_run_that_breaks_off_says_why(
    store: str, error: BaseException, status: str, reason: str
) -> None:
    one = tracker(store)
    with pytest.raises(type(error)), one:
        raise error
    run = run_of(one)
    assert (run.info.status, run.data.tags["reason"]) == (status, reason)
    assert run.info.end_time >= run.info.start_time


def test_a_run_that_was_ended_stays_as_it_was_whatever_comes_next(store: str) -> None:
    one = tracker(store)
    with suppress(KeyboardInterrupt), one:
        one.end("FINISHED")
        raise KeyboardInterrupt
    run = run_of(one)
    assert (run.info.status, run.data.tags.get("reason")) == ("FINISHED", None)


def test_a_run_of_somebody_else_in_the_environment_is_not_continued(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracker(store) as other:
        pass
    monkeypatch.setenv("MLFLOW_RUN_ID", str(other.run_id))
    with tracker(store) as one:
        one.log_metrics({"a": 1.0})
    assert one.run_id != other.run_id
    assert run_of(other).data.metrics == {}


def test_a_deleted_experiment_is_one_line(store: str) -> None:
    import mlflow

    client = mlflow.MlflowClient(store)
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(InputError, match="deleted"), tracker(store, experiment="gone"):
        pass


# --- other processes ----------------------------------------------------------------------------

ONE_RUN = """
from recsweep.tracking import MLflowTracker
with MLflowTracker(uri=None, experiment="e", run_name="r") as one:
    one.log_settings({"a": 1}, {})
    one.log_metrics({"m": 1.0}, step=1)
"""


@pytest.mark.extended
def test_two_processes_make_a_cold_database_together_and_quietly(tmp_path: Path) -> None:
    (tmp_path / "mlartifacts").mkdir()
    (tmp_path / "mlartifacts" / "mlflow.db.unfinished").write_text("of a process that was killed")
    both = [start(tmp_path, ONE_RUN) for _ in range(2)]
    said = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said == [("", ""), ("", "")], "MLflow's own chatter does not reach the terminal"
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        assert connection.execute("SELECT status FROM runs").fetchall() == [("FINISHED",)] * 2
        assert connection.execute(
            "SELECT count(*) FROM experiments WHERE name = 'e'"
        ).fetchone() == (1,)
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlartifacts"}
    assert "mlflow.db.unfinished" not in {p.name for p in (tmp_path / "mlartifacts").iterdir()}


WRITER = """
import sys
from recsweep.tracking import MLflowTracker
with MLflowTracker(uri=None, experiment="e", run_name="r") as one:
    print("ready", flush=True)
    sys.stdin.readline()
    for epoch in range(30):
        one.log_metrics({f"valid/metric_{i}": epoch + i / 7 for i in range(40)}, step=epoch + 1)
"""


@pytest.mark.slow
def test_eight_processes_write_to_one_database_at_once(tmp_path: Path) -> None:
    writers = [start(tmp_path, WRITER) for _ in range(8)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    said = [writer.communicate(timeout=600) for writer in writers]
    assert said == [("", "")] * 8, "nobody waited for a lock until the tracker gave up"
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        assert connection.execute("SELECT count(*) FROM metrics").fetchone() == (8 * 30 * 40,)
        assert connection.execute("SELECT count(*) FROM latest_metrics").fetchone() == (8 * 40,)


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
    run = run_of(one)
    assert (run.info.status, run.data.tags["reason"]) == ("KILLED", "stopped by SIGTERM")
