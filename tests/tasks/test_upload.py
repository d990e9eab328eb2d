"""`task=upload`: MLflow has in the end what it would have had, had it never been away."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from commands import Ended, assert_refused, run_command
from mlflow_runs import start
from mlflow_server import Server
from small_runs import SMALL, SMALL_DATA

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy

MEASURED = ("_s", "_bytes")


def client_of(uri: str) -> Any:
    import mlflow

    return mlflow.MlflowClient(uri)


def runs(folder: Path) -> list[Any]:
    """All runs of a folder's store."""
    client = client_of(f"sqlite:///{folder}/mlflow.db")
    return list(client.search_runs([client.get_experiment_by_name("recsweep").experiment_id]))


def told(folder: Path, run: Any) -> dict[str, Any]:
    """All of a run that is the same whenever and wherever it was made."""
    client = client_of(f"sqlite:///{folder}/mlflow.db")
    names = [name for name in run.data.metrics if not name.endswith(MEASURED)]
    histories = {
        name: sorted((m.step, m.value) for m in client.get_metric_history(run.info.run_id, name))
        for name in names
    }
    there = {"mlflow.parentRunId", "recsweep.command", "mlflow.note.content"}
    own = {"recsweep.uploaded", "recsweep.record", "code"}
    tags = {name: "" if name in there else text for name, text in run.data.tags.items()}
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "params": {n: v for n, v in run.data.params.items() if not n.startswith("tracking")},
        "tags": {name: text for name, text in tags.items() if name not in own},
        "times": {name for name in run.data.metrics if name.endswith(MEASURED)},
        "metrics": histories,
        "files": {file.path for file in client.list_artifacts(run.info.run_id)},
        "data": [each.dataset.to_dictionary() for each in run.inputs.dataset_inputs],
    }


def which(run: Any) -> tuple[str | None, ...]:
    """Which run of a sweep."""
    names = ("recsweep.kind", "recsweep.trial", "recsweep.replicate")
    return tuple(run.data.tags.get(name) for name in names)


def uploaded(folder: Path, line: str) -> Ended:
    ended = run_command(folder, f"task=upload {line}")
    assert ended.code == 0, ended.err
    return ended


@pytest.mark.extended
def test_an_untracked_run_becomes_what_it_would_have_been(tmp_path: Path) -> None:
    found = []
    for name, tracking in (("tracked", "mlflow"), ("untracked", "off")):
        folder = tmp_path / name
        line = f"tracking={tracking} {' '.join(SMALL)} hydra.run.dir=out"
        assert run_command(folder, line).code == 0
        found.append(folder)
    tracked, untracked = found
    ended = uploaded(untracked, "task.run=out/results")
    assert ended.out.startswith("1 run: 1 new, 0 there already\nopen UI   ")
    assert ended.err == ""
    (expected,), (run,) = runs(tracked), runs(untracked)
    assert told(untracked, run) == told(tracked, expected)
    assert run.info.end_time - run.info.start_time > 0
    assert run.info.run_id in ended.out
    again = uploaded(untracked, "task.run=out")
    assert again.out.startswith("1 run: all there, nothing to do\n")
    assert len(runs(untracked)) == 1
    assert "all there" in uploaded(tracked, "task.run=out").out


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", "task.run must be a run's results folder or a study, but is None; task=studies lists"),
        ("task.run=nix", "but is nix; task=studies lists those in sweeps/"),
        ("task.run=../empty", "but is ../empty; task=studies lists those in ../"),
        ("task.run=../damaged", "a run must have a readable config.yaml"),
    ],
)
def test_what_is_no_run_is_a_line_and_leaves_nothing(
    tmp_path: Path, line: str, expected: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "metrics.json").write_text("{}", encoding="utf-8")
    folder = tmp_path / "here"
    assert_refused(folder, run_command(folder, f"task=upload {line}"), expected)


@pytest.mark.extended
def test_a_store_that_is_off_or_away_is_a_line(tmp_path: Path) -> None:
    line = f"tracking=off {' '.join(SMALL_DATA)} model=popularity hydra.run.dir=../out"
    folder = tmp_path / "here"
    assert run_command(folder, line).code == 0
    for setting, expected in (
        ("tracking=off", "task=upload needs a store, but tracking=off names none"),
        ("tracking.uri=http://127.0.0.1:1", "refused); check it and re-run the same command"),
    ):
        ended = run_command(folder, f"task=upload task.run=../out {setting}")
        assert_refused(folder, ended, expected)


# --- sweeps -------------------------------------------------------------------------------------

SWEEP = (
    f"-m hydra/launcher=basic model=ease {' '.join(SMALL_DATA)} sweep.n_trials=3 "
    "sweep.final_seeds=2 study=mine"
)


@pytest.mark.slow
def test_an_untracked_sweep_becomes_what_it_would_have_been(tmp_path: Path) -> None:
    tracked, untracked = tmp_path / "tracked", tmp_path / "untracked"
    assert run_command(tracked, SWEEP).code == 0
    assert run_command(untracked, f"{SWEEP} tracking=off").code == 0
    ended = uploaded(untracked, "task.run=mine")
    assert ended.out.startswith("5 runs: 5 new, 0 there already\nopen UI   ")
    assert [line.split()[:4] for line in ended.err.splitlines()] == [
        [str(i), "of", "4", "new"] for i in range(1, 5)
    ]
    expected, found = (
        {which(run): told(folder, run) for run in runs(folder)} for folder in (tracked, untracked)
    )
    assert len(found) == 5
    sweeps = found.pop(("sweep", None, None)), expected.pop(("sweep", None, None))
    assert found == expected
    for part in ("name", "status", "params", "metrics", "files"):
        assert sweeps[0][part] == sweeps[1][part]
    pages = []
    for folder in (tracked, untracked):
        (run,) = (run for run in runs(folder) if run.data.tags["recsweep.kind"] == "sweep")
        note = run.data.tags["mlflow.note.content"].partition("### Commands")[0]
        pages.append(re.sub(r"\d+ s&ensp;", "", note.replace(run.info.run_id, "RUN")))
    assert pages[0] == pages[1]
    assert "[trials, best first](#/experiments/1/runs?viewStateShareKey=" in pages[0]
    assert (
        "![history and importance](get-artifact?run_uuid=RUN&path=plots/overview.png)" in pages[0]
    )
    before = [run.info.end_time for run in runs(untracked)]
    assert "all there" in uploaded(untracked, f"task.run={untracked}/sweeps/mine").out
    assert [run.info.end_time for run in runs(untracked)] == before
    assert "all there" in uploaded(tracked, "task.run=mine").out


# --- servers ------------------------------------------------------------------------------------

MAIN = "from recsweep.command_line import main; main()"
SLOW_EPOCHS = """
import time
from recsweep import experiment
track = experiment._track
def track_slowly(*arguments):
    time.sleep(0.1)  # curves are written every second
    return track(*arguments)
experiment._track = track_slowly
"""


@pytest.mark.slow
def test_a_run_whose_server_died_is_completed_where_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    network = " ".join(SMALL).replace("n_epochs=3", "n_epochs=60")
    line = f"{network} patience=null hydra.run.dir=out cache_dir={tmp_path}/cache"
    with Server(tmp_path) as server:
        uri = f"tracking.uri={server.uri}"
        heard = []
        with start(folder, SLOW_EPOCHS + MAIN, *line.split(), uri) as process:
            assert process.stderr is not None
            assert process.stdout is not None
            for text in process.stderr:
                heard.append(text)
                if "epoch  30/60" in text:
                    server.kill()
            said = process.stdout.read()
        assert process.returncode == 0, heard
        assert [text for text in heard if text.startswith("warning: ")] == [
            text for text in heard if "refused" in text
        ]
        assert sum("refused" in text for text in heard) == 1
        command = f"python -m recsweep task=upload task.run={folder}/out/results {uri}"
        assert command in said
        away = run_command(folder, f"task=upload task.run=out {uri}")
        assert (away.code, away.err.count("\n")) == (1, 1)

        server.start()
        client = client_of(server.uri)
        experiment = client.get_experiment_by_name("recsweep").experiment_id
        (partial,) = client.search_runs([experiment])
        n_before = len(client.get_metric_history(partial.info.run_id, "valid/ndcg_at_10"))
        assert (partial.info.status, 2 <= n_before < 60) == ("RUNNING", True)
        assert uploaded(folder, f"task.run=out {uri}").out.startswith("1 run: 1 completed, 0 there")
        (run,) = client.search_runs([experiment])
        assert run.info.run_id == partial.info.run_id
        assert run.info.status == "FINISHED"
        assert run.data.params == partial.data.params
        for name in ("valid/ndcg_at_10", "train/loss"):
            points = client.get_metric_history(run.info.run_id, name)
            assert sorted(point.step for point in points) == list(range(1, 61))
        assert "test_ndcg_at_10" in run.data.metrics
        kept = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert kept == {path.name for path in (folder / "out" / "results").iterdir()}
        assert "all there" in uploaded(folder, f"task.run=out {uri}").out


@pytest.mark.slow
def test_a_sweep_whose_server_died_goes_on_and_is_completed(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    network = " ".join(SMALL).replace("n_epochs=3", "n_epochs=40")
    line = f"-m hydra/launcher=basic {network} patience=null pruner=none study=mine"
    line += f" sweep.n_trials=2 sweep.final_seeds=2 cache_dir={tmp_path}/cache"
    line += " sweep.outage_timeout_s=5"
    log = folder / "sweeps" / "mine" / "trials" / "0000" / "log.txt"
    with Server(tmp_path) as server:
        uri = f"tracking.uri={server.uri}"
        with start(folder, MAIN, *line.split(), uri) as process:
            while process.poll() is None and not (log.exists() and "epoch   3/" in log.read_text()):
                time.sleep(0.05)
            server.kill()
            said, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert errors.count("warning: the tracking store was lost") == 1, errors
        assert "2 of 2 trials done: 2 complete, 0 pruned, 0 failed" in said
        command = f"python -m recsweep task=upload task.run={folder}/sweeps/mine {uri}"
        assert command in said + errors

        server.start()
        assert uploaded(folder, f"task.run=mine {uri}").out.startswith(
            "5 runs: 3 new, 2 completed, 0 there already"
        )
        client = client_of(server.uri)
        experiment = client.get_experiment_by_name("recsweep").experiment_id
        found = {which(run): run for run in client.search_runs([experiment])}
        (best,) = {trial for kind, trial, _ in found if kind == "winner"}
        assert set(found) == {
            ("sweep", None, None), ("trial", "0", None), ("trial", "1", None),
            ("winner", best, "0"), ("winner", best, "1"),
        }  # fmt: skip
        assert {run.info.status for run in found.values()} == {"FINISHED"}
        parent = found.pop(("sweep", None, None))
        for run in found.values():
            assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
            points = client.get_metric_history(run.info.run_id, "valid/ndcg_at_10")
            assert sorted(point.step for point in points) == list(range(1, 41))
        assert "all there" in uploaded(folder, f"task.run=mine {uri}").out
