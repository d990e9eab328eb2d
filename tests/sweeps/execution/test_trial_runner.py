"""One trial: every epoch is reported and tracked, and however it ends, study and run agree."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow_runs import tracker
from plans import N_EPOCHS, toy_config, toy_plan, toy_space
from studies import COMPLETE, FAIL, PRUNED, RUNNING

from recsweep import app
from recsweep.build import validate
from recsweep.experiment import Experiment
from recsweep.sweeps.execution.device_errors import DeviceLostError
from recsweep.sweeps.execution.replicates import tuning_folds
from recsweep.sweeps.execution.trial_runner import Interrupted, Reports, TrialRunner
from recsweep.sweeps.storage.errors import StorageError
from recsweep.sweeps.study.claim import Claim
from recsweep.sweeps.study.claims import next_claim
from recsweep.sweeps.study.shared_study import SharedStudy
from recsweep.tracking import write_buffer
from recsweep.tracking.store import mlflow_value

MEDIAN = {
    "_target_": "recsweep.sweeps.sampling.pruners.Median",
    "n_startup_trials": 1, "n_warmup_epochs": 2,
}  # fmt: skip


class Tracked:
    """A sweep of the toy in a real store.

    Args:
        folder: For its store, which is made once.
    """

    def __init__(self, folder: Path) -> None:
        self.uri = f"sqlite:///{folder}/mlflow.db"
        self.parent = tracker(self.uri)
        self.parent.open_sweep("toy", "sweep toy", {}, {})

    def config(self, folder: Path, **model: Any) -> dict[str, Any]:
        store = {"_target_": "recsweep.tracking.MLflowTracker", "uri": self.uri,
                 "experiment": "tests", "run_name": None}  # fmt: skip
        return {**toy_config(folder, **model), "tracking": store}

    def runner(self, folder: Path, config: dict[str, Any], **changes: Any) -> TrialRunner:
        plan = toy_plan(folder / "toy", config, parent_run=self.parent.run_id, **changes)
        return TrialRunner(SharedStudy(plan))

    def run_of(self, claim: Claim, study: SharedStudy) -> Any:
        run_id = study.trials()[claim.frozen.number].user_attrs["run_id"]
        return self.parent.store.client.get_run(run_id)

    def curve(self, run: Any, name: str) -> list[tuple[int, float]]:
        found = self.parent.store.client.get_metric_history(run.info.run_id, name)
        return [(entry.step, entry.value) for entry in found]


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracked]:
    before = dict(os.environ)
    yield Tracked(tmp_path_factory.mktemp("store"))
    os.environ.clear()
    os.environ.update(before)


def claimed(runner: TrialRunner) -> Claim:
    claim = next_claim(runner.study)
    assert claim is not None
    return claim


def ended(runner: TrialRunner) -> Claim:
    """Run the next trial."""
    claim = claimed(runner)
    with claim.lease:
        runner.run(claim)
    return claim


def read(folder: Path, file: str) -> str:
    return (folder / "toy" / "trials" / "0000" / file).read_text()


def test_a_complete_trial_is_its_best_epoch(tmp_path: Path, tracked: Tracked) -> None:
    runner = tracked.runner(tmp_path, tracked.config(tmp_path))
    claim = ended(runner)
    (trial,) = runner.study.trials()
    attrs = trial.user_attrs
    assert trial.state == COMPLETE
    assert trial.values == [max(trial.intermediate_values.values())]
    assert trial.values == [attrs["metrics"]["ndcg@10"]]
    assert (attrs["best_epoch"], attrs["n_epochs"]) == (1, N_EPOCHS)  # all are the same
    assert 0 < attrs["train_s"] < attrs["wall_s"]
    assert "reason" not in attrs

    run = tracked.run_of(claim, runner.study)
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.parentRunId"] == tracked.parent.run_id
    assert run.data.tags["recsweep.trial"] == "0"
    assert run.data.params["model.quality"] == "0.9"
    assert run.data.metrics["valid_best_ndcg_at_10"] == mlflow_value("", trial.value)
    assert not [name for name in run.data.metrics if name.startswith("test")]
    curve = dict(tracked.curve(run, "valid/ndcg_at_10"))
    assert curve == trial.intermediate_values
    assert list(curve) == list(range(1, N_EPOCHS + 1))

    assert yaml.safe_load(read(tmp_path, "config.yaml"))["model"]["quality"] == 0.9
    assert read(tmp_path, "curves.csv").count("\n") == 1 + N_EPOCHS
    assert f"epoch   {N_EPOCHS}/{N_EPOCHS}" in read(tmp_path, "log.txt")


def test_a_trial_has_the_settings_that_were_claimed(tmp_path: Path, tracked: Tracked) -> None:
    runner = tracked.runner(tmp_path, tracked.config(tmp_path))
    ended(runner)
    claim = ended(runner)
    run = tracked.run_of(claim, runner.study)
    quality = claim.frozen.params["model.quality"]
    assert run.data.params["model.quality"] == str(quality)
    assert run.info.run_name == f"#1 quality={quality:.3g}".replace("=0.", "=.")


@pytest.mark.parametrize("value", ["${oc.env:SECRET}", "${oc.env:SECRET,0.5}", "x", 7.5])
def test_a_stored_value_is_neither_resolved_nor_trained(
    value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write to a study reads no variable of the worker that takes its trial over."""
    monkeypatch.setenv("SECRET", "0.123456789")
    first, second = (
        TrialRunner(SharedStudy(toy_plan(tmp_path / "toy", toy_config(tmp_path)))) for _ in range(2)
    )
    claim = claimed(first)
    first.study.storage.set_trial_user_attr(
        claim.frozen._trial_id, "settings", {"model.quality": value}
    )
    claim.lease.release()  # its process dies
    ended(second)
    (trial,) = second.study.trials()
    assert trial.state == FAIL
    assert trial.user_attrs["reason"] == (
        "a stored trial must have values of the search space, but model.quality is "
        f"{value!r}; restore the study from a backup, or start a new one with study=NAME"
    )
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"journal.log", "log.txt"} <= {file.name for file in files}
    assert not [file for file in files if b"0.123456789" in file.read_bytes()]
    assert "config.yaml" not in {file.name for file in files}


def test_a_pruned_trial_keeps_its_curve_and_says_why(tmp_path: Path, tracked: Tracked) -> None:
    config = tracked.config(tmp_path)
    worse = toy_space(config, "model.quality=interval(0.0,0.4)").plain()
    runner = tracked.runner(tmp_path, config, pruner=MEDIAN, space=worse)
    ended(runner)
    claim = ended(runner)
    default, trial = runner.study.trials()
    assert (default.state, trial.state) == (COMPLETE, PRUNED)
    reason = f"pruned at epoch 2: ndcg@10 {trial.intermediate_values[2]:.4f}"
    assert trial.user_attrs["reason"] == reason
    assert list(trial.intermediate_values) == [1, 2]
    run = tracked.run_of(claim, runner.study)
    assert (run.info.status, run.data.tags["reason"]) == ("KILLED", reason)
    assert run.data.tags["recsweep.state"] == "pruned"
    assert dict(tracked.curve(run, "valid/ndcg_at_10")) == trial.intermediate_values


def test_a_failing_trial_says_why_everywhere(tmp_path: Path, tracked: Tracked) -> None:
    runner = tracked.runner(tmp_path, tracked.config(tmp_path, breaks="a fault\nof the toy"))
    claim = ended(runner)
    (trial,) = runner.study.trials()
    reason = "ZeroDivisionError: a fault of the toy"
    assert (trial.state, trial.values) == (FAIL, None)
    assert trial.user_attrs["reason"] == reason
    run = tracked.run_of(claim, runner.study)
    assert (run.info.status, run.data.metrics["valid/ndcg_at_10"] > 0) == ("FAILED", True)
    assert run.data.tags["reason"].startswith("ZeroDivisionError: a fault")
    log = read(tmp_path, "log.txt")
    assert log.endswith(f"failed: {reason}\n")
    assert "Traceback (most recent call last)" in log


def test_bad_input_of_one_trial_is_a_line_in_its_log(tmp_path: Path) -> None:
    runner = TrialRunner(SharedStudy(toy_plan(tmp_path / "toy", toy_config(tmp_path, quality="x"))))
    runner.study.space.branches[0].dimensions.clear()  # nothing else sets it
    ended(runner)
    (trial,) = runner.study.trials()
    assert trial.state == FAIL
    assert trial.user_attrs["reason"].startswith("model.quality must be a valid number")
    assert read(tmp_path, "log.txt") == f"failed: {trial.user_attrs['reason']}\n"


def test_an_interrupted_trial_is_not_finished_and_begins_again(
    tmp_path: Path, tracked: Tracked
) -> None:
    stop = tmp_path / "stop"
    stopped = tracked.runner(tmp_path, tracked.config(tmp_path), stop_file=str(stop))
    claim = claimed(stopped)
    stop.touch()
    with pytest.raises(Interrupted), claim.lease:
        stopped.run(claim)
    (trial,) = stopped.study.trials()
    assert (trial.state, list(trial.intermediate_values)) == (RUNNING, [1])
    assert trial.user_attrs["is_interrupted"] is True
    first = tracked.run_of(claim, stopped.study)
    assert first.info.status == "KILLED"
    assert first.data.tags["reason"].startswith("stopped on request; the trial will restart")

    runner = tracked.runner(tmp_path, tracked.config(tmp_path))
    claim = ended(runner)
    (trial,) = runner.study.trials()
    assert (claim.frozen.number, trial.state, trial.user_attrs["n_deaths"]) == (0, COMPLETE, 0)
    assert list(trial.intermediate_values) == list(range(1, N_EPOCHS + 1))
    again = tracked.run_of(claim, runner.study)
    assert again.info.run_id != first.info.run_id
    assert len(tracked.curve(again, "valid/ndcg_at_10")) == N_EPOCHS
    assert (again.data.tags["recsweep.kind"], again.data.tags["recsweep.state"]) == (
        "trial", "complete",
    )  # fmt: skip
    tags = tracked.parent.store.client.get_run(first.info.run_id).data.tags
    assert (tags["recsweep.kind"], tags["recsweep.superseded_by"]) == (
        "superseded", again.info.run_id,
    )  # fmt: skip


def test_ctrl_c_twice_in_this_process_is_no_death(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = TrialRunner(SharedStudy(toy_plan(tmp_path / "toy", toy_config(tmp_path))))
    claim = claimed(runner)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("plans.Toy.score", interrupt)
    with pytest.raises(KeyboardInterrupt), claim.lease:
        runner.run(claim)
    (trial,) = runner.study.trials()
    assert (trial.state, trial.user_attrs["is_interrupted"]) == (RUNNING, True)


def test_a_lost_lease_is_not_told_over(tmp_path: Path, tracked: Tracked) -> None:
    runner = tracked.runner(tmp_path, tracked.config(tmp_path))
    claim = claimed(runner)
    claim.lease.release()
    with pytest.raises(StorageError, match="lost the lease of trial 0, "):
        runner.run(claim)
    (trial,) = runner.study.trials()
    assert trial.state == RUNNING
    assert "metrics" not in trial.user_attrs
    assert tracked.run_of(claim, runner.study).info.status == "FAILED"


@pytest.mark.extended
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy
@pytest.mark.parametrize("is_lost", [True, False])
def test_a_trial_knows_before_it_is_told_whether_it_is_tracked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_lost: bool
) -> None:
    (tmp_path / "store").mkdir()
    tracked = Tracked(tmp_path / "store")
    runner = tracked.runner(tmp_path, tracked.config(tmp_path))
    monkeypatch.setattr(write_buffer, "FLUSH_S", 3600.0)
    told: list[tuple[bool, bool]] = []
    tell = runner.study.finish

    def finish(number: int, state: Any, values: Any, attrs: dict[str, Any]) -> None:
        run = tracked.run_of(claim, runner.study)
        told.append((attrs["is_untracked"], "valid/ndcg_at_10" in run.data.metrics))
        tell(number, state, values, attrs)

    monkeypatch.setattr(runner.study, "finish", finish)
    if is_lost:
        with closing(sqlite3.connect(tmp_path / "store" / "mlflow.db")) as connection:
            connection.execute(
                "CREATE TRIGGER full BEFORE INSERT ON metrics "
                "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            )
    claim = claimed(runner)
    with claim.lease:
        runner.run(claim)
    assert told == [(is_lost, not is_lost)]


def test_a_storage_that_is_gone_does_not_fail_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = TrialRunner(SharedStudy(toy_plan(tmp_path / "toy", toy_config(tmp_path))))
    claim = claimed(runner)

    def gone(*_: object) -> None:
        raise StorageError("no space left")

    with monkeypatch.context() as disk:
        disk.setattr("recsweep.sweeps.storage.journal.Journal.append_logs", gone)
        with pytest.raises(StorageError, match="no space left"), claim.lease:
            runner.run(claim)
    assert runner.study.trials()[0].state == RUNNING


def test_a_lost_device_leaves_the_trial_to_another_worker(
    tmp_path: Path, tracked: Tracked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsweep.sweeps.execution.device_errors._lost", {})
    runner = tracked.runner(tmp_path, tracked.config(tmp_path))
    claim = claimed(runner)
    with monkeypatch.context() as device:
        device.setattr("plans.Toy.score", broken_device("INTERNAL: CUDA_ERROR_LAUNCH_FAILED"))
        with pytest.raises(DeviceLostError), claim.lease:
            runner.run(claim)
    said = "the device was lost (INTERNAL: CUDA_ERROR_LAUNCH_FAILED)"
    (trial,) = runner.study.trials()
    assert (trial.state, trial.user_attrs["device_error"]) == (RUNNING, said)
    first = tracked.run_of(claim, runner.study)
    assert (first.info.status, first.data.tags["reason"]) == ("KILLED", said)
    assert read(tmp_path, "log.txt").endswith(f"interrupted: {said}\n")

    ended(runner)
    (trial,) = runner.study.trials()
    assert (trial.state, trial.user_attrs["n_deaths"]) == (COMPLETE, 1)
    tags = tracked.parent.store.client.get_run(first.info.run_id).data.tags
    assert tags["recsweep.kind"] == "superseded"


def test_a_device_lost_before_the_training_is_not_the_trials_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsweep.sweeps.execution.device_errors._lost", {})
    monkeypatch.setattr("recsweep.app.load_split", broken_device("UNAVAILABLE: no answer"))
    runner = TrialRunner(SharedStudy(toy_plan(tmp_path / "toy", toy_config(tmp_path))))
    with pytest.raises(DeviceLostError, match="UNAVAILABLE"):
        ended(runner)
    assert runner.study.trials()[0].state == RUNNING


def test_a_trial_that_needs_too_much_memory_fails_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plans.Toy.score", broken_device("RESOURCE_EXHAUSTED: Out of memory"))
    runner = TrialRunner(SharedStudy(toy_plan(tmp_path / "toy", toy_config(tmp_path))))
    ended(runner)
    (trial,) = runner.study.trials()
    reason = trial.user_attrs["reason"]
    assert trial.state == FAIL
    assert reason.startswith("out of device memory (RESOURCE_EXHAUSTED: Out of memory); ")
    assert read(tmp_path, "log.txt").splitlines()[-1] == f"failed: {reason}"
    assert "Traceback" not in read(tmp_path, "log.txt")


def broken_device(message: str) -> Any:
    def score(*_: object) -> None:
        raise jax.errors.JaxRuntimeError(message)

    return score


def test_several_objectives_are_told_together(tmp_path: Path) -> None:
    plan = toy_plan(tmp_path / "toy", objectives=["ndcg@10", "recall@5", "train_s"])
    runner = TrialRunner(SharedStudy(plan))
    ended(runner)
    (trial,) = runner.study.trials()
    attrs = trial.user_attrs
    metrics = attrs["metrics"]
    assert trial.values == [metrics["ndcg@10"], metrics["recall@5"], attrs["train_s"]]
    assert trial.intermediate_values == {}


def test_an_objective_that_is_no_number_fails_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> dict[str, Any]:
        return {
            "best_epoch": 1,
            "train_s": 1.0,
            "wall_s": 1.0,
            "metrics": {"ndcg@10": float("nan")},
        }

    monkeypatch.setattr("recsweep.sweeps.execution.trial_runner._attributes", broken)
    runner = TrialRunner(SharedStudy(toy_plan(tmp_path / "toy")))
    ended(runner)
    (trial,) = runner.study.trials()
    assert trial.user_attrs["reason"] == (
        "all objectives must be finite numbers, but are {'ndcg@10': nan}"
    )


def test_the_data_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from recsweep import app

    runner = TrialRunner(SharedStudy(toy_plan(tmp_path / "toy")))
    ended(runner)
    monkeypatch.delattr(app, "load_split")
    ended(runner)
    assert [trial.state for trial in runner.study.trials()] == [COMPLETE, COMPLETE]


class AtEpoch:
    """A pruner of Optuna that stops at one epoch, and remembers when it was asked."""

    def __init__(self, epoch: int) -> None:
        self.epoch, self.asked = epoch, list[int]()

    def prune(self, _study: Any, trial: Any) -> bool:
        self.asked.append(trial.last_step)
        return trial.last_step == self.epoch


def test_a_trial_begun_again_is_pruned_where_it_was_before(tmp_path: Path) -> None:
    study = SharedStudy(toy_plan(tmp_path / "toy"))
    claim = next_claim(study)
    assert claim is not None
    for epoch in (1, 2):
        claim.trial.report(0.5, epoch)
    claim.lease.release()  # it died before it was told that epoch 2 was its last
    study.study.pruner = pruner = AtEpoch(2)  # type: ignore[assignment]
    again = next_claim(study)
    assert again is not None
    reports = Reports(again, study.plan, "ndcg@10")
    assert reports(0, {"valid/ndcg@10": 0.5}) is True
    assert pruner.asked == []
    assert reports(1, {"valid/ndcg@10": 0.5}) is False
    assert reports.pruned == "pruned at epoch 2: ndcg@10 0.5000"


# --- replicates ----------------------------------------------------------------------------------


def separate(config: dict[str, Any], splits: list[Any], seeds: list[int]) -> list[Any]:
    """Trainings of the same configuration, each by itself."""
    from recsweep.api import fit

    made = []
    for split, seed in zip(splits, seeds, strict=True):
        made.append(fit({**config, "seed": seed}, split, progress=False))
    return made


NETWORK = (
    "model=multivae", "model.n_epochs=3", "model.hidden_dims=[16]", "model.latent_dim=8",
    "model.beta_warmup_steps=0",
)  # fmt: skip


def network_config(folder: Path) -> dict[str, Any]:
    from contracts import composed
    from small_runs import SMALL_DATA

    config = composed(*NETWORK, f"cache_dir={folder}/cache", *SMALL_DATA, "tracking=off")
    return {**dict(config), "threads": 1}


def only_default(folder: Path, config: dict[str, Any], **changes: Any) -> TrialRunner:
    space = toy_space(config, "model.dropout_rate=interval(0.0,1.0)").plain()
    plan = toy_plan(folder / "toy", config, space=space, n_trials=1, **changes)
    return TrialRunner(SharedStudy(plan))


@pytest.mark.extended
def test_a_trial_of_folds_is_the_mean_of_trainings_on_each(tmp_path: Path) -> None:
    config = network_config(tmp_path)
    runner = only_default(tmp_path, config, folds=3)
    ended(runner)
    (trial,) = runner.study.trials()
    settings = validate(app.Settings, config, "")
    cut = tuning_folds(settings, app.load_split(settings), 3)
    alone = separate(config, [cut.fold(index) for index in range(3)], [config["seed"]] * 3)
    values = [each.valid.means["ndcg@10"] for each in alone]
    assert len(set(values)) == 3
    assert trial.user_attrs["replicates"] == values
    assert trial.value == pytest.approx(sum(values) / 3, rel=1e-12)
    assert trial.user_attrs["metrics"]["recall@5"] == pytest.approx(
        sum(each.valid.means["recall@5"] for each in alone) / 3, rel=1e-12
    )
    assert trial.user_attrs["deviations"]["ndcg@10"] == pytest.approx(
        np.std(values, ddof=1), rel=1e-12
    )
    assert trial.user_attrs["best_epoch"] == round(sum(each.best_epoch for each in alone) / 3)
    assert trial.user_attrs["n_epochs"] == sum(len(each.curves) for each in alone)
    assert max(trial.intermediate_values) == len(alone[0].curves), "only the first one's epochs"
    folder = tmp_path / "toy" / "trials" / "0000"
    for index, each in enumerate(alone):
        file = folder / (f"replicate-{index}/curves.csv" if index else "curves.csv")
        found = pd.read_csv(file, index_col="epoch")["valid/ndcg@10"]
        assert found.tolist() == pytest.approx(each.curves["valid/ndcg@10"].tolist(), rel=1e-12)
    assert "fold 3 of 3\n" in read(tmp_path, "log.txt")


def test_a_trial_of_seeds_is_the_mean_of_trainings_with_each(tmp_path: Path) -> None:
    config = network_config(tmp_path)
    runner = only_default(tmp_path, config, seeds_per_trial=2)
    ended(runner)
    (trial,) = runner.study.trials()
    alone = separate(config, [None, None], [config["seed"], config["seed"] + 1])
    values = [each.valid.means["ndcg@10"] for each in alone]
    assert values[0] != values[1]
    assert trial.user_attrs["replicates"] == values
    assert trial.value == pytest.approx(sum(values) / 2, rel=1e-12)


def test_replicates_are_one_run_with_all_curves_and_the_spread(
    tmp_path: Path, tracked: Tracked
) -> None:
    runner = tracked.runner(tmp_path, tracked.config(tmp_path), folds=2)
    claim = ended(runner)
    (trial,) = runner.study.trials()
    run = tracked.run_of(claim, runner.study)
    assert run.info.status == "FINISHED"
    first, second = trial.user_attrs["replicates"]
    assert run.data.metrics["valid_best_ndcg_at_10"] == mlflow_value("", trial.value)
    deviation = trial.user_attrs["deviations"]["ndcg@10"]
    assert run.data.metrics["valid_sd_ndcg_at_10"] == mlflow_value("", deviation)
    assert deviation == pytest.approx(abs(first - second) / 2**0.5, rel=1e-12)
    for index, value in enumerate((first, second)):
        name = f"replicate_{index}/valid_best_ndcg_at_10"
        assert run.data.metrics[name] == value
    assert dict(tracked.curve(run, "valid/ndcg_at_10")) == trial.intermediate_values
    later = dict(tracked.curve(run, "replicate_1/valid/ndcg_at_10"))
    assert list(later) == list(range(1, N_EPOCHS + 1))
    assert max(later.values()) == second


def test_a_trial_is_pruned_between_folds_and_is_the_mean_of_those_done(tmp_path: Path) -> None:
    config = toy_config(tmp_path)
    worse = toy_space(config, "model.quality=interval(0.0,0.4)").plain()
    median = {**MEDIAN, "n_warmup_epochs": 100}
    runner = TrialRunner(
        SharedStudy(toy_plan(tmp_path / "toy", config, pruner=median, space=worse, folds=3))
    )
    ended(runner)
    ended(runner)
    default, trial = runner.study.trials()
    assert (default.state, trial.state) == (COMPLETE, PRUNED)
    assert len(default.user_attrs["replicates"]) == 3
    (value,) = trial.user_attrs["replicates"]
    assert value < default.user_attrs["replicates"][0]
    assert trial.user_attrs["reason"] == f"pruned after fold 1 of 3: mean ndcg@10 {value:.4f}"
    assert trial.user_attrs["metrics"]["ndcg@10"] == value
    assert "deviations" not in trial.user_attrs


def test_a_trial_that_died_between_folds_begins_again_with_the_same_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = TrialRunner(SharedStudy(toy_plan(tmp_path / "whole" / "toy", folds=3)))
    ended(whole)
    runner = TrialRunner(SharedStudy(toy_plan(tmp_path / "toy", folds=3)))
    claim = claimed(runner)
    fit, fitted = Experiment.fit, list[Any]()

    def dies(self: Any, *args: Any) -> Any:
        if len(fitted) == 2:
            raise StorageError("its process is gone")
        fitted.append(fit(self, *args))
        return fitted[-1]

    with monkeypatch.context() as half, claim.lease:
        half.setattr(Experiment, "fit", dies)
        with pytest.raises(StorageError):
            runner.run(claim)
    (trial,) = runner.study.trials()
    assert (trial.state, len(trial.user_attrs["replicates"])) == (RUNNING, 2)
    ended(runner)
    (trial,) = runner.study.trials()
    assert (trial.state, trial.user_attrs["n_deaths"]) == (COMPLETE, 1)
    (undisturbed,) = whole.study.trials()
    assert trial.user_attrs["replicates"] == undisturbed.user_attrs["replicates"]
    assert trial.value == undisturbed.value


def test_a_trial_begun_again_is_not_pruned_before_the_replicate_it_had_reached(
    tmp_path: Path,
) -> None:
    study = SharedStudy(toy_plan(tmp_path / "toy", folds=4, pruner=MEDIAN))
    for _ in range(2):
        claim = next_claim(study)
        assert claim is not None
        with claim.lease:
            is_pruned = [study.add_replicate(claim.frozen, [0.5] * n, 4) for n in range(1, 5)]
            assert is_pruned == [False] * 4
            study.finish(claim.frozen.number, COMPLETE, [0.5], {})
    claim = next_claim(study)
    assert claim is not None
    study.set_attrs(claim.frozen, {"replicates": [0.1, 0.1]})
    claim.lease.release()
    again = next_claim(study)
    assert again is not None
    assert study.add_replicate(again.frozen, [0.1], 4) is False
    assert study.trials()[2].user_attrs["replicates"] == [0.1, 0.1], "nothing is forgotten"
    assert study.add_replicate(again.frozen, [0.1, 0.1], 4) is True


def test_a_log_that_became_a_link_is_not_written(tmp_path: Path) -> None:
    runner = TrialRunner(SharedStudy(toy_plan(tmp_path / "toy", toy_config(tmp_path))))
    mine, log = tmp_path / "mine", tmp_path / "toy" / "trials" / "0000" / "log.txt"
    mine.write_text("content")
    log.parent.mkdir(parents=True)
    log.symlink_to(mine)
    with pytest.raises(OSError, match="it is a link"):
        ended(runner)
    assert mine.read_text() == "content"
