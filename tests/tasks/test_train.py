"""A training run: what it writes, tracks and says."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import yaml
from small_runs import SMALL, SMALL_DATA, metrics

from recsweep.app import Settings, load_split, run
from recsweep.build import validate
from recsweep.errors import InputError
from recsweep.persistence import load_model
from recsweep.tracking.store import mlflow_value


def test_a_run_writes_its_results_and_prints_its_table(
    config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = config(*SMALL)
    run(settings, tmp_path / "out", ["seed=1"])
    results = tmp_path / "out" / "results"
    assert {path.name for path in results.iterdir()} == {
        "config.yaml", "overrides.yaml", "metric_definitions.yaml", "metrics.json", "curves.csv",
        "curves.png", "test_metrics_per_user.parquet", "valid_metrics_per_user.parquet", "model",
        "environment.yaml",
        "split.yaml", "test_groups.csv", "test_groups_per_user.parquet",
    }  # fmt: skip
    by_group = pd.read_csv(results / "test_groups.csv", index_col="group")
    assert list(by_group.index) == ["head", "mid", "tail", "short", "medium", "long"]
    assert by_group["n_users"][3:].sum() == 12
    means = by_group["ndcg@10"].fillna(0)[3:] @ by_group["n_users"][3:] / 12
    assert means == pytest.approx(metrics(tmp_path / "out")["test"]["mean"]["ndcg@10"])
    definitions = yaml.safe_load((results / "metric_definitions.yaml").read_text("utf-8"))
    assert definitions["head, mid, tail"].startswith("Terciles of the training interactions")
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


@pytest.mark.extended
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


@pytest.mark.parametrize("protocol", ["strong", "weak"])
def test_a_refit_is_the_model_of_training_and_validation_together(
    config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], protocol: str
) -> None:
    settings = (*SMALL_DATA, "model=popularity", f"split={protocol}", "metrics=ndcg")
    run(config(*settings), tmp_path / "once", [])
    assert " s of refit" not in capsys.readouterr().out
    run(config(*settings, "refit=true"), tmp_path / "again", [])
    assert " s of refit" in capsys.readouterr().out
    once, again = (metrics(tmp_path / name) for name in ("once", "again"))
    assert once["valid"] == again["valid"], "the epoch is chosen without validation in training"
    assert (once["refit_s"], again["refit_s"] > 0) == (None, True)
    split = load_split(validate(Settings, config(*settings), ""))
    (_, rows), train = split.without_test(), split.train
    for name, interactions in (("once", train), ("again", rows)):
        model, _ = load_model(tmp_path / name / "results" / "model")
        counts = np.asarray(model.score(split.test.history[:1]))[0]
        assert counts.tolist() == interactions.toarray().sum(axis=0).tolist()
    assert rows.nnz > train.nnz


def test_a_refit_learns_what_only_validation_has(config: Any, tmp_path: Path) -> None:
    lines = [f"{user},{item}" for user in range(10) for item in [*range(10), 100 + user]]
    (tmp_path / "clicks.csv").write_text("\n".join(["user,item", *lines]), encoding="utf-8")
    settings = (
        "data=csv", f"data.path={tmp_path}/clicks.csv", "data.value_column=null",
        "data.min_user_interactions=1", "split=weak", "split.valid_fraction=0.3", "k=5",
        "metrics=ndcg", "model=popularity", "refit=true",
    )  # fmt: skip
    run(config(*settings), tmp_path / "out", [])
    split = load_split(validate(Settings, config(*settings), ""))
    is_late = np.diff(split.train.tocsc().indptr) == 0
    assert is_late.any(), "three in ten are held out, and each user has an item of their own"
    model, item_ids = load_model(tmp_path / "out" / "results" / "model")
    assert item_ids.tolist() == split.item_ids.tolist()
    assert np.asarray(model.score(split.test.history[:1]))[0, is_late].tolist() == is_late.sum() * [
        1
    ]


@pytest.mark.extended
def test_a_refit_of_a_network_gives_the_same_numbers_again(config: Any, tmp_path: Path) -> None:
    for name in "ab":
        run(config(*SMALL, "refit=true"), tmp_path / name, [])
    assert metrics(tmp_path / "a")["test"] == metrics(tmp_path / "b")["test"]


OFFICIAL = ("split=heldout", "split.path={}/validation_data.txt", "refit=true")
OWN = ("split=weak", "split.per=all", "split.valid_fraction=0.01", "split.unknown_items=count")


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((*OFFICIAL, "model=popularity", "transform=binary"), pytest.approx(0.1119, abs=0.0005)),
        # of another draw; the standard error over users is .0012 and .0021
        ((*OWN, "model=popularity"), pytest.approx(0.0913, abs=2 * 0.0012)),
        pytest.param(
            (*OFFICIAL, "model=ease", "model.l2=300"),
            pytest.approx(0.3142, abs=0.0005),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (*OWN, "model=ease", "model.l2=30"),
            pytest.approx(0.2620, abs=2 * 0.0021),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_jukeboxes_figures_are_met(
    config: Any, shared_data: Path, tmp_path: Path, overrides: tuple[str, ...], expected: Any
) -> None:
    folder = shared_data / "jukebox"
    data = ("data=jukebox", f"data.path={folder}", "k=100", "metrics=ndcg_full_ideal")
    run(config(*data, *(each.format(folder) for each in overrides)), tmp_path / "out", [])
    assert metrics(tmp_path / "out")["test"]["mean"]["ndcg_full_ideal@100"] == expected


def test_results_are_never_written_over(config: Any, tmp_path: Path) -> None:
    settings = config("data=synthetic", "data.n_users=120", "k=[5]", "model=popularity")
    run(settings, tmp_path, [])
    before = (tmp_path / "results" / "metrics.json").stat()
    with pytest.raises(InputError, match=r"hydra\.run\.dir must be a new or empty folder"):
        run(settings, tmp_path, [])
    assert (tmp_path / "results" / "metrics.json").stat() == before


def test_passwords_are_not_among_the_results(config: Any, tmp_path: Path) -> None:
    settings = config("data=synthetic", "data.n_users=120", "k=[5]", "model=popularity")
    settings["search"] = {"note": "postgresql://ann:secret@host/db"}
    run(settings, tmp_path, ["search.note=postgresql://ann:secret@host/db"])
    for name in ("config.yaml", "overrides.yaml"):
        text = (tmp_path / "results" / name).read_text("utf-8")
        assert "ann:***@host" in text
        assert "secret" not in text


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
    assert not [name for name in params if name.startswith(("search", "sweep", "sampler"))]
    assert {"git.commit", "git.dirty", "device", "threads", "data.fingerprint"} <= set(tags)
    assert (tags["backend"], tags["version.python"]) == ("jax", sys.version.split()[0])
    assert len(tags["split.fingerprint"]) == 64
    curve = client.get_metric_history(found.info.run_id, "valid/ndcg_at_10")
    assert [point.step for point in curve] == [1, 2, 3]
    best = max(curve, key=lambda point: point.value)
    assert found.data.metrics["best_epoch"] == best.step
    assert found.data.metrics["valid_best_ndcg_at_10"] == mlflow_value("", best.value)
    told = metrics(tmp_path / "out")["test"]["mean"]["ndcg@10"]
    assert found.data.metrics["test_ndcg_at_10"] == mlflow_value("", told)
    assert found.inputs.dataset_inputs[0].dataset.name == "synthetic"
    kept = {file.path for file in client.list_artifacts(found.info.run_id)}
    assert kept == {path.name for path in (tmp_path / "out" / "results").iterdir()}
