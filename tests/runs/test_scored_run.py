"""Runs and studies as they lie on disk."""

from pathlib import Path

import pytest
from metric_names import definitions
from scored_runs import ENVIRONMENT, SPLIT, write_run, write_study

from recsweep.errors import InputError
from recsweep.run_files import is_run, is_study, write_yaml
from recsweep.runs.scored_run import read_run, read_study


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r", "shallow_ae", {"ndcg@10": [0.5, 0.25]}, seed=7, l2=1.0)
    run = read_run(folder, "r")
    assert (run.place, run.model, run.seed, run.split) == ("r", "shallow_ae", 7, SPLIT)
    assert dict(run.per_user["ndcg@10"]) == {"a": 0.5, "b": 0.25}
    assert run.definitions == definitions()
    assert run.environment == {k: v for k, v in ENVIRONMENT.items() if k != "run_id"}
    assert (run.study, run.n_configurations) == (None, 1)
    assert is_run(folder)
    assert not is_study(folder)


def test_a_run_that_noted_no_environment_is_read_too(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r", "ease", {"ndcg@10": [0.5]})
    (folder / "environment.yaml").unlink()
    assert read_run(folder, "r").environment == {}


@pytest.mark.parametrize(
    "name", ["config.yaml", "split.yaml", "metric_definitions.yaml", "environment.yaml"]
)
def test_a_damaged_file_is_one_line(tmp_path: Path, name: str) -> None:
    folder = write_run(tmp_path / "r", "ease", {"ndcg@10": [0.5]})
    (folder / name).write_text("a: [", encoding="utf-8")
    with pytest.raises(InputError, match=name) as caught:
        read_run(folder, "r")
    assert "\n" not in str(caught.value)


def test_a_run_without_metrics_per_user_is_one_line(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r", "ease", {"ndcg@10": [0.5]})
    (folder / "test_metrics_per_user.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"readable test_metrics_per_user\.parquet"):
        read_run(folder, "r")
    (folder / "test_metrics_per_user.parquet").unlink()
    with pytest.raises(InputError, match=r"but r has no test_metrics_per_user\.parquet"):
        read_run(folder, "r")


def test_the_replicates_of_a_winner_come_in_their_order(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "s", "ease", [[0.1 * n, 0.2] for n in range(11)])
    runs = read_study(folder)
    assert [run.seed for run in runs] == list(range(42, 53))
    assert {run.study for run in runs} == {"s"}
    assert is_study(folder)
    assert not is_run(folder)


def test_a_study_says_for_how_many_configurations_it_scored_test(tmp_path: Path) -> None:
    scored = {"n_times": 10, "n_configurations": 2, "trials": [3, 5]}
    folder = write_study(tmp_path / "s", "ease", [[0.5]], test_scored=scored)
    assert read_study(folder)[0].n_configurations == 2


def test_a_study_without_a_scored_winner_says_how_far_it_is(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "s", "ease", [], trials={"asked": 30, "finished": 12})
    with pytest.raises(
        InputError, match="has none: 12 of 30 trials done; resume it with recsweep -m"
    ):
        read_study(folder)
    resumed = {"trials": {"asked": 1, "finished": 1}, "resume": "recsweep -m sweep.final_seeds=0 x"}
    write_yaml(folder / "results" / "optimization_results.yaml", resumed)
    with pytest.raises(
        InputError, match=r"resume it without sweep\.final_seeds=0 with recsweep -m x$"
    ):
        read_study(folder)
    write_yaml(folder / "results" / "optimization_results.yaml", {"pareto_front": []})
    with pytest.raises(InputError, match="several objectives"):
        read_study(folder)


@pytest.mark.parametrize("place", ["{}", "../other/results", "winner/../../other/results", 3])
def test_results_outside_of_a_studys_folder_are_not_read(place: object, tmp_path: Path) -> None:
    folder, other = (write_study(tmp_path / name, "ease", [[0.5]]) for name in ("s", "other"))
    place = str(other / "results") if place == "{}" else place
    write_yaml(
        folder / "results" / "optimization_results.yaml",
        {"test": {"replicates": [{"results": place}]}},
    )
    with pytest.raises(InputError, match=r"must have a readable optimization_results\.yaml"):
        read_study(folder)
