"""Configuration becomes one run: settings are checked, tasks do what they say."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import yaml
from contracts import composed

from recsweep.app import parameters, run
from recsweep.errors import InputError
from recsweep.persistence import load_model

SMALL = (
    "data=synthetic", "data.n_users=120", "data.n_items=50", "k=[5,10]", "model.n_epochs=3",
    "model.hidden_dims=[16]", "model.latent_dim=8", "model.beta_warmup_steps=0",
)  # fmt: skip
"""A network that trains in a moment."""


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Any]:
    """Composes a configuration whose cache is the test's own; the environment is put back."""
    before = dict(os.environ)
    yield lambda *overrides: dict(composed(f"cache_dir={tmp_path}/cache", *overrides))
    os.environ.clear()
    os.environ.update(before)


def metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results" / "metrics.json").read_text("utf-8"))
    return found


def test_a_run_writes_its_results_and_prints_its_table(
    config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = config(*SMALL)
    run(settings, tmp_path / "out", ["seed=1"])
    results = tmp_path / "out" / "results"
    assert {path.name for path in results.iterdir()} == {
        "config.yaml", "overrides.yaml", "metric_definitions.yaml", "metrics.json", "curves.csv",
        "curves.png", "test_metrics_per_user.parquet", "valid_metrics_per_user.parquet", "model",
    }  # fmt: skip
    assert yaml.safe_load((results / "config.yaml").read_text("utf-8")) == settings
    assert yaml.safe_load((results / "overrides.yaml").read_text("utf-8")) == ["seed=1"]
    said = capsys.readouterr()
    assert len([line for line in said.err.splitlines() if line.startswith("epoch ")]) == 3
    assert f"files     {results}" in said.out
    test = pd.read_parquet(results / "test_metrics_per_user.parquet")
    assert f"{test['ndcg@10'].mean():.4f}" in said.out
    model, item_ids = load_model(results / "model")
    nobody = sp.csr_matrix((1, len(item_ids)), dtype=np.float32)
    assert np.isfinite(np.asarray(model.score(nobody))).all()


def test_the_same_settings_give_the_same_numbers_and_another_seed_others(
    config: Any, tmp_path: Path
) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(config(*SMALL, f"seed={seed}"), tmp_path / name, [])
    a, b, c = (metrics(tmp_path / name) for name in "abc")
    assert a["test"] == b["test"]
    assert a["test"] != c["test"]
    same, other = (
        np.load(tmp_path / name / "results" / "model" / "weights.npz")["output/kernel"]
        for name in "ab"
    )
    np.testing.assert_array_equal(same, other)


def test_results_are_never_written_over(config: Any, tmp_path: Path) -> None:
    settings = config("data=synthetic", "data.n_users=120", "k=[5]", "model=popularity")
    run(settings, tmp_path, [])
    before = (tmp_path / "results" / "metrics.json").stat()
    with pytest.raises(InputError, match=r"hydra\.run\.dir must be a new or empty folder"):
        run(settings, tmp_path, [])
    assert (tmp_path / "results" / "metrics.json").stat() == before


def test_an_exported_split_is_the_same_split_when_it_is_read_again(
    config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "an export"
    run(config("task=export", f"task.folder='{folder}'", *SMALL[:3]), tmp_path, [])
    assert [Path(line).name for line in capsys.readouterr().out.splitlines()] == [
        "train.csv", "validation_tr.csv", "validation_te.csv", "test_tr.csv", "test_te.csv",
        "unique_sid.txt",
    ]  # fmt: skip
    popularity = ("model=popularity", "k=[5]")
    run(config(*SMALL[:3], *popularity), tmp_path / "original", [])
    run(config("data=liang", f"data.path='{folder}'", *popularity), tmp_path / "copy", [])
    means = [metrics(tmp_path / name)["test"]["mean"] for name in ("original", "copy")]
    assert means[0] == pytest.approx(means[1], abs=1e-12)  # other order of users, other rounding


def test_an_export_into_a_folder_in_use_is_refused_before_any_work(
    config: Any, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.csv").write_text("precious", encoding="utf-8")
    with pytest.raises(InputError, match=r"task\.folder must be a new or empty folder"):
        run(config("task=export", f"task.folder={tmp_path / 'mine'}"), tmp_path, [])
    assert not (tmp_path / "cache").exists()
    assert (tmp_path / "mine" / "train.csv").read_text("utf-8") == "precious"


def test_a_download_says_how_large_the_split_is_and_writes_only_the_cache(
    config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(config("task=download", *SMALL[:3]), tmp_path / "out", [])
    assert capsys.readouterr().out.startswith("synthetic: ")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_group_that_builds_something_else_is_refused(config: Any, tmp_path: Path) -> None:
    settings = config(*SMALL)
    settings["model"] = settings["optimizer"]
    with pytest.raises(InputError, match=r"model\._target_ must name a class with a method fit"):
        run(settings, tmp_path, [])


def test_passwords_are_not_among_the_results(config: Any, tmp_path: Path) -> None:
    settings = config("data=synthetic", "data.n_users=120", "k=[5]", "model=popularity")
    settings["search"] = {"note": "postgresql://ann:secret@host/db"}
    run(settings, tmp_path, ["search.note=postgresql://ann:secret@host/db"])
    for name in ("config.yaml", "overrides.yaml"):
        text = (tmp_path / "results" / name).read_text("utf-8")
        assert "ann:***@host" in text
        assert "secret" not in text


def test_every_leaf_of_the_configuration_is_a_parameter() -> None:
    config = {"a": 1, "b": {"c": [1, 2], "d": {"e": None}}, "f": {}, "g.h": 2}
    assert parameters(config) == {"a": 1, "b.c": [1, 2], "b.d.e": None, "f": {}, "g.h": 2}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy
def test_a_tracked_run_has_parameters_tags_curves_and_files(config: Any, tmp_path: Path) -> None:
    import mlflow

    settings = config(*SMALL)
    settings["tracking"] = {
        "_target_": "recsweep.tracking.MLflowTracker", "experiment": "e", "run_name": "r",
        "uri": f"sqlite:///{tmp_path / 'mlflow.db'}",
    }  # fmt: skip
    run(settings, tmp_path / "out", [])
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    params, tags = found.data.params, found.data.tags
    assert (params["model.latent_dim"], params["k"], params["seed"]) == ("8", "[5, 10]", "42")
    assert params["search.model.beta"].startswith("interval(")
    assert {"git.commit", "git.dirty", "device", "threads", "data.fingerprint"} <= set(tags)
    assert (tags["backend"], tags["version.python"]) == ("jax", sys.version.split()[0])
    assert len(tags["split.fingerprint"]) == 64
    curve = client.get_metric_history(found.info.run_id, "valid/ndcg_at_10")
    assert [point.step for point in curve] == [1, 2, 3]
    best = max(curve, key=lambda point: point.value)
    assert found.data.metrics["best_epoch"] == best.step
    assert found.data.metrics["valid_best/ndcg_at_10"] == best.value
    told = metrics(tmp_path / "out")["test"]["mean"]["ndcg@10"]
    assert found.data.metrics["test/ndcg_at_10"] == told
    assert found.inputs.dataset_inputs[0].dataset.name == "synthetic"
    kept = {file.path for file in client.list_artifacts(found.info.run_id)}
    assert kept == {path.name for path in (tmp_path / "out" / "results").iterdir()}
