"""The files of a run."""

import json
from pathlib import Path

import pandas as pd
import yaml
from fits import CURVES, evaluation, fit_result
from metric_names import definitions

from recsweep.fitting import FitResult
from recsweep.runs.results import curves_over_k, write_results


def test_all_files_of_a_run_are_written(tmp_path: Path) -> None:
    write_results(tmp_path, {"seed": 1, "name": "β"}, ["seed=1"], fit_result(), evaluation(4))
    assert {file.name for file in tmp_path.iterdir()} == {
        "config.yaml", "overrides.yaml", "metric_definitions.yaml", "metrics.json", "curves.csv",
        "curves.png", "test_metrics_per_user.parquet", "valid_metrics_per_user.parquet",
    }  # fmt: skip
    read = {
        file.stem: yaml.safe_load(file.read_text(encoding="utf-8"))
        for file in tmp_path.glob("*.yaml")
    }
    assert read["config"] == {"seed": 1, "name": "β"}
    assert read["overrides"] == ["seed=1"]
    assert read["metric_definitions"] == definitions()
    curves = pd.read_csv(tmp_path / "curves.csv", index_col="epoch")
    assert list(curves.index) == [1, 2, 3]
    assert list(curves["valid/ndcg@100"]) == [0.25, 0.5, 0.4]
    per_user = pd.read_parquet(tmp_path / "test_metrics_per_user.parquet")
    pd.testing.assert_frame_equal(per_user, evaluation(4).per_user)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_metrics_are_json_for_every_reader_even_with_a_single_user(tmp_path: Path) -> None:
    write_results(tmp_path, {}, [], fit_result(), evaluation(1))

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    text = (tmp_path / "metrics.json").read_text(encoding="utf-8")
    metrics = json.loads(text, parse_constant=refuse)
    assert metrics["best_epoch"] == 2
    assert metrics["test"]["standard_error"]["ndcg@10"] is None
    assert metrics["test"]["n_users"] == 1
    assert metrics["valid"]["mean"] == evaluation().means


def test_one_epoch_is_no_curve(tmp_path: Path) -> None:
    single = FitResult(best_epoch=0, valid=evaluation(), curves=CURVES[:1], train_s=0.1)
    write_results(tmp_path, {}, [], single, evaluation())
    assert not (tmp_path / "curves.png").exists()


def test_ndcg_over_k_has_a_point_per_cutoff_and_fold() -> None:
    final = {
        "valid_best_ndcg@100": 0.5, "valid_best_ndcg@20": 0.25, "test_ndcg@20": 0.125,
        "test_ndcg@100_tail": 0.75, "test_se_ndcg@20": 0.1, "test_recall@20": 0.9, "best_epoch": 3,
    }  # fmt: skip
    assert curves_over_k(final) == [
        (20, {"valid/best_ndcg_by_k": 0.25, "test/ndcg_by_k": 0.125}),
        (100, {"valid/best_ndcg_by_k": 0.5}),
    ]
