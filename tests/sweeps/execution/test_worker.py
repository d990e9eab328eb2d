"""A worker runs trials until none is left and hands back plain values, whatever happens."""

import json
import os
import pickle
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_gpus import UUIDS, put_gpus
from plans import toy_config, toy_plan
from studies import COMPLETE, FAIL

from recsweep.run_files import STDOUT
from recsweep.sweeps.execution import device_errors, gpu_lease
from recsweep.sweeps.execution.interrupt import SIGNALS
from recsweep.sweeps.execution.watchdog import Process
from recsweep.sweeps.execution.worker import FinalWorker, Worker
from recsweep.sweeps.study.claims import next_claim
from recsweep.sweeps.study.final_scores import TEST_SCORED
from recsweep.sweeps.study.shared_study import SharedStudy

Config = Callable[..., dict[str, Any]]


@pytest.fixture
def toy(config: Config, tmp_path: Path) -> dict[str, Any]:  # noqa: ARG001 - puts the environment back
    return toy_config(tmp_path, "metrics=[ndcg]")


def test_a_worker_runs_all_that_is_left(tmp_path: Path, toy: dict[str, Any]) -> None:
    plan = toy_plan(tmp_path / "toy", toy, n_trials=3)
    assert Worker(plan.plain())(None) == {"error": None, "n_trials": 3}
    assert [t.state for t in SharedStudy(plan).trials()] == 3 * [COMPLETE]
    assert Worker(plan.plain())(None) == {"error": None, "n_trials": 0}


def test_a_worker_can_be_sent_to_another_process(tmp_path: Path, toy: dict[str, Any]) -> None:
    worker = Worker(toy_plan(tmp_path / "toy", toy).plain())
    assert json.loads(json.dumps(worker.plan)) == worker.plan
    assert pickle.loads(pickle.dumps(worker)) == worker  # noqa: S301 - our own


def test_trials_that_fail_do_not_stop_the_worker(tmp_path: Path) -> None:
    plan = toy_plan(tmp_path / "toy", toy_config(tmp_path, breaks="a fault"), n_trials=2)
    assert Worker(plan.plain())(None) == {"error": None, "n_trials": 2}
    assert [t.state for t in SharedStudy(plan).trials()] == 2 * [FAIL]


def test_a_worker_of_other_code_is_refused(tmp_path: Path, toy: dict[str, Any]) -> None:
    for name in ("recsweep", "plans.Toy"):
        plan = toy_plan(tmp_path / "toy", toy)
        plan.code[name] = "0" * 16
        error = {
            "error": f"a study's code must not change, but that of {name} has changed since this "
            "command started; revert it, or start a new study with study=NAME"
        }
        assert Worker(plan.plain())(None) == error
        assert FinalWorker(Worker(plan.plain()), [])(None) == error
    assert not (tmp_path / "toy").exists()


def test_what_breaks_a_worker_is_a_line(tmp_path: Path, toy: dict[str, Any]) -> None:
    (tmp_path / "file").touch()
    plan = toy_plan(tmp_path / "file" / "toy", toy)
    (error,) = Worker(plan.plain())(None).values()
    assert error.startswith("the study's journal ")
    (bug,) = Worker({**plan.plain(), "n_gpus": 1})(None).values()
    assert bug.startswith("TypeError: ")
    other = "tensorflow" if os.environ["KERAS_BACKEND"] == "jax" else "jax"
    import keras  # noqa: F401 - loads one backend

    (one,) = Worker({**plan.plain(), "backend": other})(None).values()
    assert one.startswith("one process has one backend, but ")


def test_a_stopped_worker_leaves_its_trial_to_be_begun_again(
    tmp_path: Path, toy: dict[str, Any]
) -> None:
    plan = toy_plan(tmp_path / "toy", toy, stop_file=str(tmp_path / "stop"))

    def stop_inside(study: SharedStudy) -> Any:
        claim = next_claim(study)
        (tmp_path / "stop").touch()
        return claim

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recsweep.sweeps.study.claims.next_claim", stop_inside)
        assert Worker(plan.plain())(None) == {"error": None, "n_trials": 0}
    study = SharedStudy(plan)
    assert study.unfinished() == [0]
    assert study.trials()[0].user_attrs["is_interrupted"] is True
    assert not study.is_alive(0)


def test_only_a_process_of_its_own_leaves_ctrl_c_to_the_parent(
    tmp_path: Path, toy: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched: list[Process] = []
    monkeypatch.setattr("recsweep.sweeps.execution.watchdog.watch", watched.append)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    plan = toy_plan(tmp_path / "toy", toy, n_trials=1)
    try:
        Worker(plan.plain()).prepare_process()
        assert signal.getsignal(signal.SIGINT) == before[signal.SIGINT]
        assert watched == []
        other = {"pid": 1, "place": "another machine", "started": 5}
        Worker({**plan.plain(), "parent_process": other}).prepare_process()
        assert watched == [Process(1, "another machine", 5)]
        for number in SIGNALS:
            signal.raise_signal(number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert os.environ["OMP_NUM_THREADS"] == os.environ["NPROC"] == "1"


def test_a_process_that_has_lost_its_device_claims_no_trial(
    tmp_path: Path, toy: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_errors, "_lost", {os.getpid(): "the device was lost (why)"})
    plan = toy_plan(tmp_path / "toy", toy)
    lost = {"error": "the device was lost (why)", "is_device_lost": True}
    assert Worker(plan.plain())(None) == FinalWorker(Worker(plan.plain()), [])(None) == lost
    assert SharedStudy(plan).trials() == []


def test_workers_on_one_gpu_share_its_memory_and_not_that_of_others(
    tmp_path: Path, toy: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_gpus(tmp_path, monkeypatch)
    monkeypatch.setattr(gpu_lease, "_held", {})
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr("recsweep.sweeps.execution.watchdog.watch", lambda _: None)
    monkeypatch.setattr("recsweep.sweeps.execution.watchdog.leave_signals_to_parent", lambda: None)
    other = {"pid": os.getppid(), "place": "", "started": 5}
    plan = toy_plan(tmp_path / "toy", toy, n_workers=4, parent_process=other)
    Worker(plan.plain()).prepare_process()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == UUIDS[0]
    assert os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.450"  # of four workers on two GPUs
    (held,) = gpu_lease._held.values()
    held.lease.release()


def finalist(tmp_path: Path, config: dict[str, Any]) -> FinalWorker:
    worker = Worker(toy_plan(tmp_path / "toy", config).plain())
    training = {
        "trial": 3, "index": 0, "config": config, "overrides": ["model.quality=0.9"],
        "folder": str(tmp_path / "winner"), "name": "best: toy",
    }  # fmt: skip
    return FinalWorker(worker, [training])


def test_the_winner_is_trained_as_a_run_that_scores_test(
    tmp_path: Path, toy: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert finalist(tmp_path, toy)(None) == {"error": None}
    said = (tmp_path / "winner" / STDOUT).read_text()
    assert "test " in said
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "best: toy: done\n")
    assert "epoch   1/4" in (tmp_path / "winner" / "log.txt").read_text()
    metrics = json.loads((tmp_path / "winner" / "results" / "metrics.json").read_text())
    assert 0 < metrics["test"]["mean"]["ndcg@10"] < 1
    overrides = (tmp_path / "winner" / "results" / "overrides.yaml").read_text()
    assert overrides == "- model.quality=0.9\n"
    looks = SharedStudy(toy_plan(tmp_path / "toy", toy)).study.user_attrs[TEST_SCORED]
    assert looks == [{"trial": 3, "seed": 42}]
    assert finalist(tmp_path, toy)(None) == {"error": None}  # nothing is left
    assert capsys.readouterr().err == ""


def test_a_stop_ends_the_winners_training_after_its_epoch(
    tmp_path: Path, toy: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = tmp_path / "stop"
    monkeypatch.setattr("recsweep.sweeps.execution.worker._note_look", lambda *_: stop.touch())
    task = finalist(tmp_path, toy)
    plan = {**task.worker.plan, "stop_file": str(stop)}
    assert FinalWorker(Worker(plan), task.trainings)(None) == {"error": None}
    assert (tmp_path / "winner" / "log.txt").read_text().count("epoch ") == 1
    assert not (tmp_path / "winner" / "results").exists()
    assert not (tmp_path / "winner" / STDOUT).exists()


def test_a_winner_that_cannot_be_trained_is_a_line(tmp_path: Path) -> None:
    broken = toy_config(tmp_path, breaks="a fault")
    assert finalist(tmp_path, broken)(None) == {"error": "ZeroDivisionError: a fault"}
    assert not (tmp_path / "winner" / STDOUT).exists()


def test_a_worker_on_another_kind_of_device_claims_no_trial(
    tmp_path: Path, toy: dict[str, Any]
) -> None:
    plan = toy_plan(tmp_path / "toy", toy)
    SharedStudy(plan).refuse_other_device("NVIDIA H100", "tf32")
    said = Worker(plan.plain())(None)["error"]
    assert said.startswith("all trials of a study must run on one kind of device, but toy runs on")
    assert SharedStudy(plan).trials() == []


def test_a_worker_whose_device_is_missing_claims_no_trial(
    tmp_path: Path, toy: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = toy_plan(tmp_path / "toy", toy, device="gpu")
    assert Worker(plan.plain())(None)["error"].startswith("device=gpu needs a GPU")
    put_gpus(tmp_path, monkeypatch)  # one that the backend cannot use
    monkeypatch.setattr(gpu_lease, "_held", {})
    result = Worker(plan.plain())(None)
    assert result["error"].startswith("device=gpu needs a GPU")
    assert result["has_gpu"] is True
    gpu_lease._held[os.getpid()].lease.release()
    assert SharedStudy(plan).trials() == []
