"""`task=register`: a run's model under a name, from the command line."""

from pathlib import Path
from typing import Any

import pytest
from commands import assert_refused, run_command
from small_runs import SMALL_DATA

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's, of SQLAlchemy
    pytest.mark.filterwarnings("ignore:.*inferred as AnyType"),  # MLflow's, of its own import
]

POPULARITY = f"model=popularity {' '.join(SMALL_DATA)}"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tracked run in `a`, and one in `b` that was not tracked."""
    folder = tmp_path_factory.mktemp("registered") / "here"
    assert run_command(folder, f"{POPULARITY} hydra.run.dir=a").code == 0
    assert run_command(folder, f"{POPULARITY} hydra.run.dir=b tracking=off").code == 0
    return folder


def client(folder: Path) -> Any:
    import mlflow

    uri = f"sqlite:///{folder}/mlflow.db"
    return mlflow.MlflowClient(uri, uri)


def test_a_run_is_registered_once_by_latest_by_id_and_by_folder(here: Path) -> None:
    ended = run_command(here, "task=register task.name=shop")
    assert ended.code == 0
    assert ended.err.count("\n") == 1, "which run was chosen"
    assert "popularity" in ended.err
    run_line, model_line, *python = ended.out.splitlines()
    run_id = run_line.split()[1]
    assert model_line == "model     models:/shop/1 (version 1)"
    assert python == [
        f'python    import mlflow; mlflow.set_tracking_uri("sqlite:///{here}/mlflow.db")',
        '          mlflow.pyfunc.load_model("models:/shop/1").predict(histories, params={"k": 10})',
    ]
    for place in (run_id, "a/results", "latest"):
        again = run_command(here, f"task=register task.name=shop task.run={place}")
        assert "models:/shop/1 (version 1, registered before)" in again.out
    (version,) = client(here).search_model_versions("name = 'shop'")
    assert version.run_id == run_id
    assert {"run_id", "objective", "valid", "split.fingerprint", "git.commit"} == set(version.tags)
    assert version.tags["objective"] == "ndcg@10"
    assert len(client(here).search_logged_models(["1"])) == 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", "task.name must start with a letter or digit"),
        ("task.name=a/b", "but is 'a/b'; set task.name=NAME"),
        ("task.name=x task.run=nix", "task.run must be the id of a run in the tracking store"),
        (
            "task.name=x task.run=b/results",
            "b/results was not tracked; bring it there with python -m recsweep task=u",
        ),
        ("task.name=x task.run=../here", "has no folder model"),
        ("task.name=x tracking=off", "task=register needs a store, but tracking=off names none"),
        (
            "task.name=x tracking.uri=http://127.0.0.1:9",
            "tracking.uri must name a usable MLflow store",
        ),
        ("task.name=x tracking.uri=sqlite:///nix.db", "but there is no "),
    ],
)
def test_what_cannot_be_registered_is_one_line(here: Path, line: str, expected: str) -> None:
    ended = run_command(here, f"task=register {line}")
    assert (ended.code, ended.out) == (1, "")
    *chosen, error = ended.err.splitlines()
    assert len(chosen) == ("task.run=b/results" in line), "which run was chosen"
    assert error.startswith("error: ")
    assert expected in error
    assert not client(here).search_registered_models("name = 'x'")


def test_without_any_store_nothing_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    assert_refused(folder, run_command(folder, "task=register task.name=x"), "there is no ")
