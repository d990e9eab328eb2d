"""The files of a study, byte by byte."""

import csv
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from studies import COMPLETE, FIXED, RUNNING, add, make_study

from recsweep.errors import InputError
from recsweep.sweeps.reporting.result_files import (
    trial_overrides,
    trial_records,
    write_optimization_results,
    write_trials,
)
from recsweep.sweeps.study.status import StudyStatus

RESUME = "python -m recsweep -m model=multivae"


def reached(study: optuna.Study) -> StudyStatus:
    return StudyStatus.of(study, 5, lambda _: False)


def written(file: Path, study: optuna.Study, test: dict[str, Any] | None = None) -> dict[str, Any]:
    """What comes back from `optimization_results.yaml`."""
    write_optimization_results(file, study, reached(study), RESUME, test)
    return dict(yaml.safe_load(file.read_text(encoding="utf-8")))


def test_the_overrides_of_a_trial_are_the_sweeps_and_its_own_to_the_last_bit(
    study: optuna.Study,
) -> None:
    assert trial_overrides(study, reached(study).rows[2]) == [
        *FIXED, "model.beta=0.31456789", "model.dropout_rate=0.5", "model.hidden_dims=[600]"
    ]  # fmt: skip


def test_optimization_results_hold_the_winner_and_how_to_go_on(
    study: optuna.Study, tmp_path: Path
) -> None:
    test = {"test": {"mean": {"ndcg@100": 0.42}}, "test_scored": {"n_times": 5}}
    params = {
        "model.beta": 0.31456789, "model.dropout_rate": 0.5, "model.hidden_dims": [600]
    }  # fmt: skip
    assert written(tmp_path / "results.yaml", study, test) == {
        "name": "optuna",
        "study": "vae",
        "objectives": ["ndcg@100"],
        "directions": ["maximize"],
        "best_trial": 2,
        "best_evaluated_params": params,
        "best_evaluated_result": 0.41234,
        "best_overrides": trial_overrides(study, reached(study).rows[2]),
        "best_epoch": 31,
        "best_train_s": 90.0,
        "best_validation": {"ndcg@100": 0.41234, "recall@20": 0.6},
        "default": {"trial": 0, "state": "complete", "result": [0.4], "epoch": 12},
        "trials": {
            "asked": 5, "finished": 4, "complete": 2, "pruned": 1, "failed": 1, "running": 0,
            "interrupted": 0, "lost": 0,
        },
        "trials_wall_s": 140.0,
        "resume": RESUME,
        **test,
    }  # fmt: skip


def test_before_anything_is_complete_the_file_has_no_winner(tmp_path: Path) -> None:
    found = written(tmp_path / "results.yaml", make_study(tmp_path / "vae"))
    assert not [key for key in found if key.startswith("best")]
    assert (found["default"], found["test"]) == (None, None)


def test_of_several_objectives_the_file_holds_the_front(tmp_path: Path) -> None:
    study = make_study(tmp_path / "vae", "ndcg@100", "train_s")
    for values in ([0.3, 1.0], [0.5, 50.0], [0.1, 60.0]):
        add(study, COMPLETE, values)
    file = tmp_path / "results.yaml"
    front = written(file, study)["pareto_front"]
    assert [(point["trial"], point["evaluated_result"]) for point in front] == [
        (1, [0.5, 50.0]), (0, [0.3, 1.0])
    ]  # fmt: skip
    assert "&id" not in file.read_text(encoding="utf-8"), "each point stands for itself"


def test_trials_are_a_table_for_every_program(study: optuna.Study, tmp_path: Path) -> None:
    add(study, RUNNING)
    write_trials(tmp_path / "trials.csv", reached(study))
    with (tmp_path / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "trial", "state", "ndcg@100", "best_epoch", "n_epochs", "ndcg@100_at_last_epoch",
        "train_s", "wall_s", "cpu_s", "peak_bytes", "reason",
        "model.beta", "model.dropout_rate", "model.hidden_dims",
        "valid/ndcg@100", "valid/recall@20",
    ]  # fmt: skip
    assert [row["state"] for row in rows] == ["complete", "pruned", "complete", "failed", "lost"]
    assert list(rows[1].values()) == [
        "1", "pruned", "0.375", "3", "4", "0.3", "", "10.0", "", "", "pruned, β", "0.7",
        "0.5", "[600]", "0.375", "0.25",
    ]  # fmt: skip
    assert all(row["ndcg@100"] == row["valid/ndcg@100"] for row in rows), "both of the best epoch"
    assert float(rows[2]["model.beta"]) == 0.31456789
    assert rows[3]["ndcg@100"] == ""


def test_records_of_trials_keep_the_types_of_settings(study: optuna.Study) -> None:
    columns, records = trial_records(reached(study))
    assert columns[-2:] == ["valid/ndcg@100", "valid/recall@20"]
    assert (records[0]["trial"], records[0]["model.hidden_dims"]) == (0, [600])
    assert records[2]["model.beta"] == 0.31456789


def test_a_time_that_is_an_objective_has_one_column(tmp_path: Path) -> None:
    study = make_study(tmp_path / "vae", "ndcg@100", "train_s")
    add(study, COMPLETE, [0.3, 1.5], train_s=1.5)
    write_trials(tmp_path / "trials.csv", reached(study))
    head, row = (tmp_path / "trials.csv").read_text(encoding="utf-8").splitlines()
    assert head.split(",").count("train_s") == 1
    assert row.split(",")[head.split(",").index("train_s")] == "1.5"


def test_files_are_replaced_whole_or_stay(study: optuna.Study, tmp_path: Path) -> None:
    file = tmp_path / "results" / "optimization_results.yaml"
    file.parent.mkdir()
    for _ in range(2):
        write_optimization_results(file, study, reached(study), RESUME)
    before = file.read_text(encoding="utf-8")
    broken = {"test": {"mean": {"ndcg@100": object()}}}
    with pytest.raises(yaml.YAMLError):
        write_optimization_results(file, study, reached(study), RESUME, broken)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_text(encoding="utf-8") == before


def test_a_place_that_cannot_be_written_is_named_in_one_line(
    study: optuna.Study, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file.* must be readable and writable.*sweep\.folder"):
        write_trials(tmp_path / "file" / "trials.csv", reached(study))
