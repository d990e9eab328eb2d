"""A run becomes a version of a registered model, once, and nothing else changes."""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import yaml
from contracts import composed
from mlflow_runs import tracker

from recsweep import __version__
from recsweep.errors import InputError
from recsweep.models.popularity import Popularity
from recsweep.persistence import save_model
from recsweep.tracking import MLflowTracker
from recsweep.tracking.registry import refuse_name, register

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's, of SQLAlchemy
    pytest.mark.filterwarnings("ignore:.*inferred as AnyType"),  # MLflow's, of its own import
]

TAGS = {"split.fingerprint": "f00d", "git.commit": "abc", "threads": "2"}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """The files of a run that a served model needs."""
    folder = tmp_path / "results"
    model = Popularity()
    model.restore({"totals": np.arange(5, dtype=np.float32)})
    spec = {"_target_": "recsweep.models.popularity.Popularity"}
    save_model(model, spec, np.array(list("abcde"), object), folder / "model")
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(composed())), encoding="utf-8")
    metrics = {"valid": {"mean": {"ndcg@5": 0.25}}}
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    return folder


def finished(uri: str, tags: dict[str, str] = TAGS) -> MLflowTracker:
    """A run that has gone through."""
    with tracker(uri) as one:
        one.log_settings({}, tags)
    return one


def registered(one: MLflowTracker, name: str, results: Path) -> Any:
    return register(one.store, str(one.run_id), name, results, "ndcg@5")


def models_of(one: MLflowTracker) -> list[Any]:
    client = one.store.client
    found = client.search_logged_models([one._experiment_id])
    return [model for model in found if model.source_run_id == one.run_id]


def test_a_run_is_registered_once_and_the_next_run_is_the_next_version(
    store: str, results: Path
) -> None:
    first, second = finished(store), finished(store, {**TAGS, "recsweep.study": "a study"})
    new = registered(first, "twice", results)
    assert (new.uri, new.is_new) == ("models:/twice/1", True)
    assert registered(first, "twice", results) == ("twice", "1", False)
    assert len(models_of(first)) == 1
    assert registered(second, "twice", results) == ("twice", "2", True)
    assert registered(first, "another name", results).uri == "models:/another name/1"
    version = first.store.client.get_model_version("twice", "2")
    assert version.run_id == second.run_id
    assert version.tags == {
        "run_id": second.run_id, "objective": "ndcg@5", "valid": "0.250000",
        "recsweep.study": "a study", "split.fingerprint": "f00d", "git.commit": "abc",
    }  # fmt: skip
    assert "recsweep.study" not in first.store.client.get_model_version("twice", "1").tags


def test_the_run_has_the_model_with_its_files_requirements_and_signature(
    store: str, results: Path
) -> None:
    import mlflow

    one = finished(store)
    registered(one, "files", results)
    (model,) = models_of(one)
    assert str(model.status) == "READY"
    (output,) = one.store.client.get_run(one.run_id).outputs.model_outputs
    assert output.model_id == model.model_id
    place = Path(unquote(model.artifact_location.removeprefix("file://")))
    requirements = (place / "requirements.txt").read_text("utf-8").split()
    assert [text.partition("==")[0] for text in requirements] == [
        "mlflow", "recsweep", "keras", "jax",
    ]  # fmt: skip
    assert f"recsweep=={__version__}" in requirements
    saved = {file.name for file in (place / "artifacts" / "run").rglob("*") if file.is_file()}
    assert saved == {"config.yaml", "model.yaml", "weights.npz", "items.parquet", "SHA256SUMS"}
    info = mlflow.models.Model.load(str(place))
    assert info.run_id == one.run_id
    assert {spec.name: spec.default for spec in info.signature.params} == {
        "k": 10, "unknown_items": "ignore",
    }  # fmt: skip
    assert info.signature.outputs.input_names() == ["user", "rank", "item", "score"]


@pytest.mark.parametrize("elsewhere", [None, "sqlite:///nowhere.db"])
def test_nothing_of_this_process_is_changed(
    store: str, results: Path, elsewhere: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    if elsewhere:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", elsewhere)
    one = finished(store)
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri(), dict(os.environ)
    registered(one, f"quiet {elsewhere is None}", results)
    assert (mlflow.get_tracking_uri(), mlflow.get_registry_uri(), dict(os.environ)) == before
    assert mlflow.active_run() is None


def test_what_goes_wrong_leaves_no_model_and_no_version(store: str, results: Path) -> None:
    one = finished(store)
    items = results / "model" / "items.parquet"
    items.write_bytes(b"damaged")
    with pytest.raises(InputError, match="a run must have a readable items") as caught:
        registered(one, "broken", results)
    assert "\n" not in str(caught.value)
    assert models_of(one) == []
    assert not one.store.client.search_registered_models("name = 'broken'")


def test_it_says_how_to_load_the_model(store: str, results: Path) -> None:
    one = finished(store)
    first, second = registered(one, "told", results).usage(one.store).splitlines()
    assert first == f'import mlflow; mlflow.set_tracking_uri("{one.store.uri}")'
    assert second.startswith('mlflow.pyfunc.load_model("models:/told/1").predict(histories, ')
    compile(second, "usage", "exec")


@pytest.mark.slow
def test_a_server_has_a_registry_too(server: str, results: Path) -> None:
    import mlflow

    one = finished(server)
    assert registered(one, "served", results).is_new
    assert not registered(one, "served", results).is_new
    (model,) = models_of(one)
    place = one.store.client.get_logged_model(model.model_id).artifact_location
    assert place.startswith("mlflow-artifacts:")
    with mlflow.tracking._tracking_service.utils._use_tracking_uri(server):
        loaded = mlflow.pyfunc.load_model("models:/served/1", suppress_warnings=True)
    assert list(loaded.input_example["item"]) == ["a", "b"]


@pytest.mark.parametrize("name", ["shop", "shop_2 a-b.c", "Café", "9"])
def test_a_plain_name_is_taken(name: str) -> None:
    assert refuse_name(name, "task.name") == name


@pytest.mark.parametrize(
    "name", [None, "", " shop", "a/b", "a:b", "a'b", "..", "-a", "a\nb", "x" * 201]
)
def test_another_name_is_refused_in_one_line(name: str | None) -> None:
    with pytest.raises(InputError, match=r"task\.name must start with a letter") as caught:
        refuse_name(name, "task.name")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.yaml", "model/items.parquet", "model/secret", "model"])
def test_a_link_is_not_registered(name: str, store: str, results: Path, tmp_path: Path) -> None:
    one, link = finished(store), results / name
    if link.exists():
        link.rename(tmp_path / "away")
    link.symlink_to(tmp_path / "away")
    with pytest.raises(InputError, match=f"must not contain links, but {name} is a link"):
        registered(one, "linked", results)
    assert models_of(one) == []


def test_only_the_models_own_files_are_registered(store: str, results: Path) -> None:
    one = finished(store)
    (results / "model" / "notes.txt").write_text("private")
    registered(one, "own files", results)
    (model,) = models_of(one)
    place = Path(unquote(model.artifact_location.removeprefix("file://")))
    assert (place / "artifacts" / "run" / "model" / "SHA256SUMS").is_file()
    assert not [*place.rglob("notes.txt")]


def test_a_model_without_one_of_its_files_is_not_registered(store: str, results: Path) -> None:
    one = finished(store)
    (results / "model" / "weights.npz").unlink()
    with pytest.raises(InputError, match=r"cannot read \S+weights\.npz") as caught:
        registered(one, "incomplete", results)
    assert "\n" not in str(caught.value)
    assert models_of(one) == []
