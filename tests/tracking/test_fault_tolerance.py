"""Stores that go away while a run is going on: the run does not notice, its user reads one line."""

import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Barrier, Event, Thread, Timer

import pytest
from mlflow_runs import history, run_of, start, tracker
from mlflow_server import Server

from recsweep.errors import InputError
from recsweep.interfaces import Part
from recsweep.tracking import MLflowTracker
from recsweep.tracking.fault_tolerance import FaultTolerant
from recsweep.tracking.store import Store

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy


@pytest.fixture
def copy(tmp_path: Path, database: Path) -> Path:
    """A store of the test's own."""
    file = tmp_path / "store" / "mlflow.db"
    file.parent.mkdir()
    file.write_bytes(database.read_bytes())
    return file


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is killed and started again."""
    with Server(tmp_path_factory.mktemp("mortal")) as running:
        yield running


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says about waiting holds."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")


def do_everything(one: MLflowTracker, folder: Path) -> None:
    """Every call of a run."""
    folder.mkdir(exist_ok=True)
    (folder / "a.txt").write_text("a", encoding="utf-8")
    one.log_settings({"a": 1}, {"b": "c"})
    one.log_data("ml-100k", "f" * 64, {"n_items": 7})
    for epoch in range(3):
        one.log_metrics({"valid/ndcg@100": epoch / 4}, step=epoch + 1)
    one.log_artifacts(folder)
    one.set_note("a note")


def drop_tables(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DROP TABLE metrics")
        connection.commit()


def remove(database: Path) -> None:
    database.unlink()


def fill_the_disk(database: Path) -> None:
    """As if: no page more for this file."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON metrics "
            "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
        connection.commit()


@pytest.mark.parametrize(
    ("lose", "reason"),
    [
        (drop_tables, "no such table: metrics"),
        (remove, "attempt to write a readonly database"),
        (fill_the_disk, "database or disk is full"),
    ],
)
def test_a_database_that_goes_away_costs_a_run_one_warning(
    copy: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    lose: Callable[[Path], None],
    reason: str,
) -> None:
    with tracker(f"sqlite:///{copy}") as one:
        one.kept_in(tmp_path / "out" / "results")
        lose(copy)
        do_everything(one, tmp_path / "files")
        one.end("FINISHED")
    out, err = capfd.readouterr()
    assert out == ""
    assert err == f"{one.lost}\n"
    assert err.startswith(f"warning: the tracking store was lost, sqlite:///{copy} ({reason}); ")
    assert f"keeps everything in {tmp_path}/out/results; upload it later: python -m recsweep" in err
    command = f"task=upload task.run={tmp_path}/out/results tracking.uri=sqlite:///{copy}\n"
    assert err.endswith(command)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_of_the_run_itself_is_not_hidden(
    copy: Path, capfd: pytest.CaptureFixture[str], error: type[BaseException]
) -> None:
    def fail() -> None:
        with tracker(f"sqlite:///{copy}"):
            remove(copy)
            raise error

    with pytest.raises(error):
        fail()
    assert capfd.readouterr() == ("", "")


def test_ctrl_c_is_not_taken_for_a_store_that_goes_away(store: str) -> None:
    one = FaultTolerant(Store(store))
    with pytest.raises(KeyboardInterrupt), one.mirror():
        raise KeyboardInterrupt
    assert one.lost is None


def test_where_a_store_must_answer_it_is_an_error(copy: Path) -> None:
    one = tracker(f"sqlite:///{copy}")
    with one:
        one.must_answer = True
        drop_tables(copy)
        with pytest.raises(InputError, match="must name a store that responds during"):
            one.log_metrics({"a": 1.0})
    assert one.lost is None


@pytest.mark.parametrize(
    ("place", "quoted"), [("a/b c", "'task.run=\"a/b c\"'"), ("x=1,2", "'task.run=\"x=1,2\"'")]
)
def test_the_command_survives_shell_and_hydra(copy: Path, place: str, quoted: str) -> None:
    with tracker(f"sqlite:///{copy}") as one:
        one.kept_in(Path(place))
        one.kept_in(Path("the first word counts"))
        drop_tables(copy)
        one.log_metrics({"a": 1.0})
    assert f" task=upload {quoted} tracking.uri=" in str(one.lost)


# --- sweeps -------------------------------------------------------------------------------------


def test_a_trial_begins_and_ends_without_its_store(
    copy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    parent = tracker(f"sqlite:///{copy}")
    parent.open_sweep("s", "a sweep", {}, {})
    remove(copy)
    for trial in range(3):
        child = parent.nested(parent.run_id, "s", Part(trial), "a trial")
        child.refuse_unusable()
        with child:
            do_everything(child, tmp_path / "files")
            child.end("KILLED", "pruned")
        assert child.run_id is None
        assert f"{copy} does not exist" in str(child.lost)
    assert capfd.readouterr().err.count("\n") == 1, "a process says it once"
    assert parent.tidy("s", lambda *_: None) == 0
    parent.log_metrics({"a": 1.0})
    parent.close_sweep("FINISHED")
    assert parent.lost is not None
    assert "task.run=s " in parent.lost
    assert not copy.exists(), "nobody makes the database anew"


def test_a_trial_without_its_parent_is_not_tracked(store: str) -> None:
    with tracker(store).nested("0" * 32, "s", Part(1), "a") as child:
        pass
    assert child.run_id is None
    assert "not found" in str(child.lost)


def test_an_error_of_the_study_is_none_of_the_store(store: str) -> None:
    parent = tracker(store)
    parent.open_sweep("an error", "a sweep", {}, {})
    with parent.nested(parent.run_id, "an error", Part(0), "a trial") as child:
        child._is_ended = True  # as if its process died

    def verdict(*_: object) -> None:
        raise InputError("the journal cannot be read")

    with pytest.raises(InputError, match="the journal cannot be read"):
        parent.tidy("an error", verdict)
    assert parent.lost is None


# --- servers ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_server_that_is_killed_is_waited_for_once(
    mortal: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    parent = tracker(mortal.uri)
    parent.open_sweep("s", "a sweep", {}, {})
    with parent.nested(parent.run_id, "s", Part(0), "a trial") as child:
        child.log_metrics({"a": 1.0}, step=1)
        child.flush()
        mortal.kill()
        started = time.monotonic()
        child.log_metrics({"a": 2.0}, step=2)
        child.flush()
        assert time.monotonic() - started > 3, "it might have been started again"
        started = time.monotonic()
        do_everything(child, tmp_path / "files")
    with parent.nested(parent.run_id, "s", Part(1), "a trial") as second:
        do_everything(second, tmp_path / "files")
    parent.log_metrics({"a": 1.0})
    parent.close_sweep("FINISHED")
    assert time.monotonic() - started < 30, "nobody waits again, 16 times more than 3 seconds"
    assert [str(second.run_id), str(second.lost)[:8]] == ["None", "warning:"]
    assert capfd.readouterr().err.count("\n") == 1
    mortal.start()
    with tracker(mortal.uri).nested(parent.run_id, "s", Part(2), "a trial") as third:
        do_everything(third, tmp_path / "files")
    assert third.lost is None
    assert history(third, "valid/ndcg_at_100") == [(1, 0), (2, 0.25), (3, 0.5)]
    assert run_of(third, child.run_id).info.status == "RUNNING"


@pytest.mark.slow
def test_a_server_that_is_started_again_meanwhile_is_not_missed(
    mortal: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "6")  # starting may take its time
    with tracker(mortal.uri) as one:
        mortal.kill()
        again = Thread(target=mortal.start)
        again.start()
        one.log_metrics({"a": 1.0}, step=1)
        again.join()
    assert one.lost is None
    assert (history(one, "a"), run_of(one).info.status) == ([(1, 1.0)], "FINISHED")


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_a_sweep_waits_for_its_server_and_loses_nothing(
    mortal: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    parent = tracker(mortal.uri)
    parent.open_sweep("away", "a sweep", {}, {})
    parent.waits(300)
    with parent.nested(parent.run_id, "away", Part(0), "a trial") as child:
        child.log_metrics({"a": 1.0}, step=1)
        child.flush()
        mortal.kill()
        again = Timer(8.0, mortal.start)
        again.start()
        for step in range(2, 20):
            started = time.monotonic()
            child.log_metrics({"a": float(step)}, step=step)
            assert time.monotonic() - started < 1, "training does not wait for the server"
            time.sleep(0.1)
    with parent.nested(parent.run_id, "away", Part(1), "a trial") as second:
        second.log_metrics({"a": 1.0}, step=1)
    again.join()
    assert [each.lost for each in (parent, child, second)] == [None] * 3
    assert history(child, "a") == [(step, float(step)) for step in range(1, 20)]
    assert {run_of(each).info.status for each in (child, second)} == {"FINISHED"}
    assert capfd.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_a_sweep_waits_for_its_server_in_vain_only_once(
    mortal: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    parent = tracker(mortal.uri)
    parent.open_sweep("gone", "a sweep", {}, {})
    parent.waits(5)
    with parent.nested(parent.run_id, "gone", Part(0), "a trial") as child:
        mortal.kill()
        started = time.monotonic()
        child.log_metrics({"a": 1.0}, step=1)
        child.flush()
        assert 5 <= time.monotonic() - started < 30
        started = time.monotonic()
    parent.close_sweep("FINISHED")
    assert time.monotonic() - started < 5
    assert str(child.lost).startswith("warning: the tracking store was lost")
    assert capfd.readouterr().err.count("\n") == 1
    mortal.start()


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_whoever_is_interrupted_does_not_wait_for_the_server(mortal: Server) -> None:
    parent = tracker(mortal.uri)
    parent.open_sweep("stopped", "a sweep", {}, {})
    parent.waits(300)
    with parent.nested(parent.run_id, "stopped", Part(0), "a trial") as child:
        mortal.kill()
        started = time.monotonic()
        child.end("KILLED", "stopped on request")
    assert time.monotonic() - started < 15
    assert child.lost is not None
    mortal.start()


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_a_server_that_keeps_silent_is_left_alone(
    mortal: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    with tracker(mortal.uri) as one:
        mortal.send(signal.SIGSTOP)
        started = time.monotonic()
        do_everything(one, tmp_path / "files")
        mortal.send(signal.SIGCONT)
    assert time.monotonic() - started < 15, "one of seven calls waits"
    assert "timed out" in str(one.lost)


@pytest.mark.slow
def test_curves_that_the_thread_cannot_write_are_lost_with_one_line(
    mortal: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    parent = tracker(mortal.uri)
    parent.open_sweep("eight", "a sweep", {}, {})
    parent.kept_in(tmp_path)
    trials = [parent.nested(parent.run_id, "eight", Part(i), f"#{i}") for i in range(8)]
    killed, seen = Event(), Barrier(9)

    def run(trial: MLflowTracker) -> None:
        with trial:
            trial.log_metrics({"a": 1.0}, step=1)
            trial.flush()
            seen.wait(60)
            assert killed.wait(60)
            for step in range(2, 30):
                started = time.monotonic()
                trial.log_metrics({"a": float(step)}, step=step)
                assert time.monotonic() - started < 1, "training does not wait for the server"
                time.sleep(0.1)

    threads = [Thread(target=run, args=(trial,)) for trial in trials]
    for thread in threads:
        thread.start()
    seen.wait(60)
    mortal.kill()
    killed.set()
    started = time.monotonic()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started < 60, "a lost server is waited for once"
    said = capfd.readouterr().err
    assert said.count("\n") == 1, said
    assert said.startswith(f"warning: the tracking store was lost, {mortal.uri} (")
    assert None not in [trial.lost for trial in trials]
    mortal.start()
    assert [history(trial, "a") for trial in trials] == [[(1, 1.0)]] * 8
    assert {run_of(trial).info.status for trial in trials} == {"RUNNING"}


@pytest.mark.slow
def test_a_process_does_not_hang_at_exit_without_its_server(mortal: Server, tmp_path: Path) -> None:
    code = """
import os, signal, sys
from recsweep.tracking import MLflowTracker
one = MLflowTracker(uri=sys.argv[1], experiment="e", run_name="r")
one.__enter__()
os.killpg(int(sys.argv[2]), signal.SIGKILL)
one.log_metrics({"a": 1.0}, step=1)
"""
    assert mortal._process is not None
    started = time.monotonic()
    process = start(tmp_path, code, mortal.uri, str(mortal._process.pid))
    out, err = process.communicate(timeout=300)
    assert time.monotonic() - started < 60
    mortal.kill()  # waits for it
    mortal.start()
    assert (process.returncode, out, err.count("\n")) == (0, "", 1), err
    assert err.startswith("warning: the tracking store was lost, ")


@pytest.mark.slow
def test_a_database_that_somebody_has_locked_is_waited_for_once(copy: Path, tmp_path: Path) -> None:
    with tracker(f"sqlite:///{copy}") as one, closing(sqlite3.connect(copy)) as other:
        other.execute("BEGIN EXCLUSIVE")
        started = time.monotonic()
        do_everything(one, tmp_path / "files")
        one.end("FINISHED")
        assert time.monotonic() - started < 120
    assert "database is locked" in str(one.lost)
