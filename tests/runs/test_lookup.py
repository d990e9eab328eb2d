"""Which run is meant, and what is said about it."""

from pathlib import Path
from typing import Any

import pytest
from mlflow_runs import tracker, with_model
from scored_runs import write_study
from small_runs import SMALL_DATA

from recsweep.app import Settings, run
from recsweep.build import validate
from recsweep.errors import InputError
from recsweep.run_files import read_yaml, write_yaml
from recsweep.runs.lookup import find_run


@pytest.fixture
def results(config: Any, tmp_path: Path) -> Path:
    """What a run left."""
    run(config("model=popularity", *SMALL_DATA), tmp_path / "trained", [])
    return tmp_path / "trained" / "results"


def settings(config: Any, *overrides: str, **tracking: Any) -> Settings:
    """Of now."""
    store = {"_target_": "recsweep.tracking.MLflowTracker", "run_name": None, **tracking}
    settings: Settings = validate(
        Settings, {**config(*overrides), **({"tracking": store} if tracking else {})}, ""
    )
    return settings


def refused(run: str, of_now: Settings, folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        find_run(run, of_now, folder)
    assert list(folder.iterdir()) == []
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy
def test_a_tracked_run_is_found_by_its_id_and_as_the_latest_and_its_tags_are_read(
    config: Any, tmp_path: Path
) -> None:
    uri, empty = f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "empty"
    empty.mkdir()
    of_now = settings(config, uri=uri, experiment="tests")
    assert "there is no" in refused("latest", of_now, empty)
    run_id = with_model(uri, tmp_path / "files")
    with tracker(uri) as going_on:
        text = refused(str(going_on.run_id), of_now, empty)
        assert text.startswith("task.run must be a finished run")
        going_on.log_settings({}, {"version.numpy": "2.0", "threads": "4"})
    for name in (run_id, "latest"):
        folder = tmp_path / f"of {name}"
        folder.mkdir()
        past = find_run(name, of_now, folder)
        assert past.name == run_id
        assert (past.results / "model" / "model.yaml").read_text("utf-8") == run_id
    of_old = past._replace(name=str(going_on.run_id)).environment()  # it wrote no file about it
    assert (of_old["version.numpy"], of_old["threads"]) == ("2.0", "4")
    assert refused("0" * 32, of_now, empty).startswith("task.run must be the id of a run")
    assert refused(str(going_on.run_id), of_now, empty).startswith("task.run must have a model")


def test_a_folder_is_a_run_with_its_environment(config: Any, results: Path, tmp_path: Path) -> None:
    past = find_run(str(results), settings(config), tmp_path / "not needed")
    assert (past.name, past.results, past.tracker) == (str(results), results, None)
    assert past.environment()["backend"] == "jax"
    assert past.settings(read_yaml(results / "config.yaml")).seed == 42
    (results / "environment.yaml").unlink()
    with pytest.raises(InputError, match=r"has no environment\.yaml; give the id"):
        past.environment()


def test_names_in_a_strangers_files_control_no_terminal(
    config: Any, results: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stored = read_yaml(results / "config.yaml")
    name = "\x1b[2Jease\nerror: forged"
    write_yaml(results / "config.yaml", {**stored, "model_name": name})
    find_run(str(results), settings(config), tmp_path)
    (line,) = capfd.readouterr().err.splitlines()
    assert r"\x1b[2Jease\nerror: forged on synthetic" in line


def test_a_folder_that_is_no_run_is_refused(config: Any, tmp_path: Path) -> None:
    of_now, empty = settings(config), tmp_path / "empty"
    empty.mkdir()
    assert "has no folder model; give OUTPUT" in refused(str(empty), of_now, empty)
    assert "has no folder model" in refused(str(tmp_path / "absent"), of_now, empty)
    text = refused("abc", of_now, empty)
    assert text.startswith("tracking=off keeps no runs")
    assert "abc is the name of one" in text
    trial = tmp_path / "trials" / "0003"
    trial.mkdir(parents=True)
    assert "is a trial of a sweep, which has neither" in refused(str(trial), of_now, empty)


def test_a_study_stands_for_the_first_training_of_its_winner(
    config: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = write_study(tmp_path / "sweeps" / "mine", "ease", [[0.25, 0.75], [1.0, 1.0]])
    of_now, empty = settings(config, f"sweep.folder={tmp_path}/sweeps"), tmp_path / "empty"
    empty.mkdir()
    results = study / "winner/0003/replicate-0/results"
    assert f"{results} has none; copy the study" in refused("mine", of_now, empty)
    (results / "model").mkdir()
    capsys.readouterr()
    for name in ("mine", str(study)):
        past = find_run(name, of_now, empty)
        assert (past.results, past.tracker) == (results, None)
        assert capsys.readouterr().err == (
            f"task.run={name} is run {results}: winner of study mine, ease on data, "
            "ndcg@10 0.5000 on validation and 0.5000 on test\n"
        )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()  # neither a run nor a study
    assert find_run("mine", of_now, empty).results == results
    (study / "results" / "optimization_results.yaml").unlink()
    assert "study mine must have a winner that was scored on test" in refused("mine", of_now, empty)
