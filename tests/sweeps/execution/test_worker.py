"""A worker runs trials until none is left and hands back plain values, whatever happens."""

import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import PIPE
from threading import Barrier
from typing import Any

import pytest
from contracts import composed
from fake_gpus import UUIDS, put_gpus
from mlflow_runs import tracker
from plans import Toy, toy_config, toy_plan, toy_space
from postgres_server import end_sessions
from small_runs import SMALL
from studies import COMPLETE, FAIL, PRUNED, RUNNING

from recsweep import app, environment
from recsweep.run_files import LOG, STDOUT, read_run_id, training_folder
from recsweep.sweeps.execution import crew, device_errors, gpu_lease, slot_plan, worker
from recsweep.sweeps.execution.interrupt import SIGNALS
from recsweep.sweeps.execution.trial_runner import Reports, TrialRunner
from recsweep.sweeps.execution.watchdog import Process
from recsweep.sweeps.execution.worker import FinalWorker, Worker
from recsweep.sweeps.storage.errors import StorageError
from recsweep.sweeps.study import final_claims
from recsweep.sweeps.study.claim import Claim
from recsweep.sweeps.study.claims import next_claim
from recsweep.sweeps.study.final_scores import TEST_SCORED, FinalTrainings
from recsweep.sweeps.study.shared_study import Plan, SharedStudy
from recsweep.training import layout, slots
from recsweep.training.slots import Bank

Config = Callable[..., dict[str, Any]]


@pytest.fixture
def toy(config: Config, tmp_path: Path) -> dict[str, Any]:  # noqa: ARG001 - puts the environment back
    return toy_config(tmp_path, "metrics=[ndcg]")


def test_a_worker_runs_all_that_is_left(tmp_path: Path, toy: dict[str, Any]) -> None:
    plan = toy_plan(tmp_path / "toy", toy, n_trials=3)
    assert Worker(plan.plain())(None) == {"error": None, "n_trials": 3}
    assert [t.state for t in SharedStudy(plan).trials()] == 3 * [COMPLETE]
    assert Worker(plan.plain())(None) == {"error": None, "n_trials": 0}


def test_a_worker_in_its_parents_process_does_not_keep_the_state_of_git(
    tmp_path: Path, toy: dict[str, Any]
) -> None:
    """A notebook goes on after a sweep, and its checkout may change."""
    Worker(toy_plan(tmp_path / "toy", toy, n_trials=1).plain())(None)
    assert environment._kept_git_state == {}


def test_a_worker_can_be_sent_to_another_process(tmp_path: Path, toy: dict[str, Any]) -> None:
    worker = Worker(toy_plan(tmp_path / "toy", toy).plain())
    assert json.loads(json.dumps(worker.plan)) == worker.plan
    assert pickle.loads(pickle.dumps(worker)) == worker  # noqa: S301 - our own


def test_a_worker_on_a_host_without_the_journal_runs_nothing(
    tmp_path: Path, toy: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsweep.sweeps.execution.watchdog.attend", lambda _: None)
    plan = toy_plan(tmp_path / "toy", toy, n_trials=1).plain()
    far = {**plan, "parent_process": {**plan["parent_process"], "place": "another host"}}
    error = Worker(far)(None)["error"]
    assert "all hosts must share the study's journal" in error
    assert "sweep.storage=postgresql+psycopg://" in error
    assert not (tmp_path / "toy" / "journal.log").exists()
    assert Worker(plan)(None)["error"] is None  # which makes it
    assert Worker(far)(None)["error"] is None


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
        assert FinalWorker(Worker(plan.plain()), [], 0)(None) == error
    assert not (tmp_path / "toy").exists()


def test_what_breaks_a_worker_is_a_line(tmp_path: Path, toy: dict[str, Any]) -> None:
    (tmp_path / "file").touch()
    plan = toy_plan(tmp_path / "file" / "toy", toy)
    (error,) = Worker(plan.plain())(None).values()
    assert error.startswith("cannot access the study's journal ")
    (bug,) = Worker({**plan.plain(), "n_gpus": 1})(None).values()
    assert bug.startswith("TypeError: ")
    other = "tensorflow" if os.environ["KERAS_BACKEND"] == "jax" else "jax"
    import keras  # noqa: F401 - loads one backend

    (one,) = Worker({**plan.plain(), "backend": other})(None).values()
    assert one.startswith("a process can use only one backend, but ")


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
    assert study.unfinished_numbers() == [0]
    assert study.trials()[0].user_attrs["is_interrupted"] is True
    assert not study.is_alive(0)


def test_only_a_process_of_its_own_leaves_ctrl_c_to_the_parent(
    tmp_path: Path, toy: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched: list[Process] = []
    monkeypatch.setattr("recsweep.sweeps.execution.watchdog.watch", watched.append)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    plan = toy_plan(tmp_path / "toy", toy, n_trials=1)
    SharedStudy(plan)  # a worker on another machine refuses to begin one
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
    assert Worker(plan.plain())(None) == FinalWorker(Worker(plan.plain()), [], 0)(None) == lost
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
    SharedStudy(plan)
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
    return FinalWorker(worker, [training], 1)


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
    monkeypatch.setattr("recsweep.sweeps.study.final_claims.note_look", lambda *_: stop.touch())
    task = finalist(tmp_path, toy)
    plan = {**task.worker.plan, "stop_file": str(stop)}
    assert FinalWorker(Worker(plan), task.trainings, 1)(None) == {"error": None}
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


# --- several trials at a time ---------------------------------------------------------------------

N_SLOTS, N_TRIALS = 3, 7
SEARCHED = (
    "model.dropout_rate=interval(0.1,0.8)", "model.latent_dim=range(4,9)",
    "model.n_epochs=range(2,7)",
)  # fmt: skip
"""Trials of one compiled program that end at different times."""


class Slots:
    """Sweeps of a small network whose worker runs three trials at a time.

    Args:
        folder: For their folders and their cache.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = {
            **composed("model=multivae", *SMALL, f"cache_dir={folder}/cache"), "threads": 1,
        }  # fmt: skip

    def plan(self, name: str, **changes: Any) -> Plan:
        space = toy_space(self.config, *SEARCHED).plain()
        return toy_plan(
            self.folder / name, self.config,
            **{"space": space, "slots": N_SLOTS, "n_trials": N_TRIALS, **changes},
        )  # fmt: skip

    def study(self, name: str) -> SharedStudy:
        return SharedStudy(self.plan(name))

    def curves(self, name: str) -> dict[int, dict[int, float]]:
        """Number of a trial -> its values by epoch."""
        return {trial.number: trial.intermediate_values for trial in self.study(name).trials()}

    def states(self, name: str) -> list[Any]:
        return [trial.state for trial in self.study(name).trials()]


@pytest.fixture
def sweeps(slots_folder: Path, config: Config) -> Slots:  # noqa: ARG001 - puts the environment back
    return Slots(slots_folder)


@pytest.fixture(scope="module")
def slots_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("slots")


@pytest.fixture
def alone(sweeps: Slots) -> dict[int, dict[int, float]]:
    """The curves of trials that had no neighbours, in the same program."""
    study = sweeps.study("alone")
    if not study.is_finished():
        Worker(study.plan.plain()).prepare_process()
        study.agree_on_slots(lambda: 1)
        runner = TrialRunner(study)
        with layout.use(layout.Layout(N_SLOTS, slot_plan.widest(study.space))):
            while claim := next_claim(study):
                with claim.lease:
                    runner.run(claim)
    return sweeps.curves("alone")


@pytest.fixture
def side_by_side(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The first three trainings wait for each other; gets the number of each epoch's trainings."""
    beside: list[int] = []
    n_joined, first, join, run = itertools.count(), Barrier(N_SLOTS), slots.join, Bank._run

    def join_together(*given: Any) -> Any:
        found = join(*given)
        if next(n_joined) < N_SLOTS:
            first.wait(60)
        return found

    def count(self: Bank, asked: dict[int, Any]) -> Any:
        beside.append(len(asked))
        return run(self, asked)

    monkeypatch.setattr(slots, "join", join_together)
    monkeypatch.setattr(Bank, "_run", count)
    return beside


def at(number: int, epoch: int, act: Callable[[], None]) -> Any:
    """A listener that acts once a trial has reported an epoch."""
    report = Reports.__call__

    def listen(self: Reports, index: int, metrics: Any) -> bool:
        answer = report(self, index, metrics)
        if (self.claim.frozen.number, index + 1) == (number, epoch):
            act()
        return answer

    return listen


@pytest.mark.extended
def test_trials_of_a_worker_are_what_each_of_them_is_alone(
    sweeps: Slots,
    alone: dict[int, dict[int, float]],
    side_by_side: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded, load = [], app.load_split
    monkeypatch.setattr(app, "load_split", lambda each: loaded.append(each) or load(each))
    result = Worker(sweeps.plan("together").plain())(None)
    assert len(loaded) == 1, "trials share a program only with the same matrices"
    assert result == {"error": None, "n_trials": N_TRIALS}
    assert sweeps.states("together") == N_TRIALS * [COMPLETE]
    assert sweeps.curves("together") == alone
    assert len({len(curve) for curve in alone.values()}) > 1
    assert max(side_by_side) == N_SLOTS
    for own, other in zip(*(sweeps.study(n).trials() for n in ("together", "alone")), strict=True):
        assert own.user_attrs["settings"] == other.user_attrs["settings"]
        assert own.user_attrs["metrics"] == other.user_attrs["metrics"]
        assert own.user_attrs["best_epoch"] == other.user_attrs["best_epoch"]
        log = (sweeps.folder / "together" / "trials" / f"{own.number:04d}" / LOG).read_text()
        assert log.count("epoch ") == len(alone[own.number])
    assert Worker(sweeps.plan("together").plain())(None) == {"error": None, "n_trials": 0}


@pytest.mark.extended
def test_a_pruned_trial_changes_nothing_for_its_neighbours(
    sweeps: Slots, alone: dict[int, dict[int, float]]
) -> None:
    pruner = {
        "_target_": "recsweep.sweeps.sampling.pruners.Median",
        "n_startup_trials": 1, "n_warmup_epochs": 1,
    }  # fmt: skip
    plan = sweeps.plan("pruned", pruner=pruner)
    assert Worker(plan.plain())(None) == {"error": None, "n_trials": N_TRIALS}
    assert PRUNED in sweeps.states("pruned")
    for number, curve in sweeps.curves("pruned").items():
        assert curve == {epoch: alone[number][epoch] for epoch in curve}


def test_a_failing_trial_does_not_disturb_its_neighbours(
    sweeps: Slots, alone: dict[int, dict[int, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(Reports, "__call__", at(1, 2, fail))
    assert Worker(sweeps.plan("failing").plain())(None) == {"error": None, "n_trials": N_TRIALS}
    expected = N_TRIALS * [COMPLETE]
    expected[1] = FAIL
    assert sweeps.states("failing") == expected
    curves = sweeps.curves("failing")
    assert curves.pop(1) == {epoch: alone[1][epoch] for epoch in (1, 2)}
    assert curves == {number: alone[number] for number in curves}


def test_a_stopped_worker_interrupts_its_trials_within_an_epoch_and_resumes_them(
    sweeps: Slots, alone: dict[int, dict[int, float]]
) -> None:
    stop = sweeps.folder / "stop"
    plan = sweeps.plan("stopped", stop_file=str(stop))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reports, "__call__", at(3, 1, stop.touch))
        n_finished = Worker(plan.plain())(None)["n_trials"]
    study = sweeps.study("stopped")
    left = study.unfinished_numbers()
    assert 0 < len(left) <= N_SLOTS
    assert len(study.trials()) == n_finished + len(left) <= N_TRIALS
    for number in left:
        assert study.trials()[number].user_attrs["is_interrupted"] is True
        assert not study.is_alive(number)
    assert max(study.trials()[3].intermediate_values) == 2  # the epoch after the stop
    stop.unlink()
    rest = Worker(sweeps.plan("stopped").plain())(None)
    assert rest == {"error": None, "n_trials": N_TRIALS - n_finished}
    assert sweeps.states("stopped") == N_TRIALS * [COMPLETE]
    assert sweeps.curves("stopped") == alone
    assert not any(trial.user_attrs.get("n_deaths") for trial in study.trials())
    assert not any(trial.user_attrs.get("n_shared_deaths") for trial in study.trials())


def test_a_second_ctrl_c_interrupts_all_trials_of_a_worker(
    sweeps: Slots, alone: dict[int, dict[int, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(crew, "POLL_S", 0.01)
    press = partial(signal.raise_signal, signal.SIGINT)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Reports, "__call__", at(3, 1, press))
            with pytest.raises(KeyboardInterrupt):
                Worker(sweeps.plan("twice").plain())(None)
    finally:
        signal.signal(signal.SIGINT, heard)
    study = sweeps.study("twice")
    assert RUNNING in sweeps.states("twice")
    for number in study.unfinished_numbers():
        assert study.trials()[number].user_attrs["is_interrupted"] is True
        assert not study.is_alive(number)
    assert Worker(sweeps.plan("twice").plain())(None)["error"] is None
    assert sweeps.curves("twice") == alone


@pytest.mark.usefixtures("side_by_side")
def test_an_error_of_the_study_ends_a_worker_and_interrupts_its_other_trials(
    sweeps: Slots, alone: dict[int, dict[int, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise StorageError("no space left")

    with monkeypatch.context() as disk:
        disk.setattr(Reports, "__call__", at(1, 1, full))
        assert Worker(sweeps.plan("full").plain())(None) == {"error": "no space left"}
    study = sweeps.study("full")
    marks = [trial.user_attrs.get("is_interrupted") for trial in study.trials()]
    assert study.unfinished_numbers() == [0, 1, 2]
    assert [bool(mark) for mark in marks] == [True, False, True]
    assert not any(map(study.is_alive, study.unfinished_numbers()))
    assert Worker(sweeps.plan("full").plain())(None)["error"] is None
    assert sweeps.curves("full") == alone


def test_a_trial_that_must_be_alone_is_so_while_it_runs(
    sweeps: Slots, alone: dict[int, dict[int, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = sweeps.study("alone later")
    study.agree_on_slots(lambda: 1)
    for _ in range(2):  # its process dies, twice
        dead = next_claim(study)
        assert dead is not None
        dead.lease.release()
    inside: set[int] = set()
    beside: dict[int, set[int]] = {}
    run = TrialRunner.run

    def note(self: TrialRunner, claim: Claim) -> None:
        number = claim.frozen.number
        inside.add(number)
        beside.setdefault(number, set()).update(inside)
        for each in inside:
            beside[each].add(number)
        if number == 0:
            assert self.study.trials()[0].user_attrs["is_alone"] is True
        run(self, claim)
        inside.discard(number)

    monkeypatch.setattr(TrialRunner, "run", note)
    result = Worker(sweeps.plan("alone later").plain())(None)
    assert result == {"error": None, "n_trials": N_TRIALS}
    assert beside.pop(0) == {0}
    assert sweeps.curves("alone later") == alone


def test_models_that_are_not_trained_in_slots_take_turns(
    tmp_path: Path, toy: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, seen, fit = [0], [0], Toy.fit

    def count(self: Toy, *given: Any) -> None:
        at_once[0] += 1
        seen.append(at_once[0])
        fit(self, *given)
        at_once[0] -= 1

    monkeypatch.setattr(Toy, "fit", count)
    plan = toy_plan(tmp_path / "toy", toy, slots=N_SLOTS)
    assert Worker(plan.plain())(None) == {"error": None, "n_trials": 4}
    assert [t.state for t in SharedStudy(plan).trials()] == 4 * [COMPLETE]
    assert max(seen) == 1


def test_a_worker_with_other_slots_than_the_study_is_refused(
    tmp_path: Path, toy: dict[str, Any]
) -> None:
    SharedStudy(toy_plan(tmp_path / "toy", toy, slots=2)).agree_on_slots(lambda: 1)
    error = Worker(toy_plan(tmp_path / "toy", toy, slots=3).plain())(None)["error"]
    assert error.startswith("sweep.slots must not change within a study, ")
    assert SharedStudy(toy_plan(tmp_path / "toy", toy)).trials() == []


@pytest.mark.extended
@pytest.mark.parametrize(("is_dense", "slots"), [(False, 1), (True, 2)])
def test_a_worker_chooses_one_slot_on_a_cpu_and_as_many_as_its_trials_elsewhere(
    is_dense: bool, slots: int, sweeps: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "is_dense", lambda: is_dense)
    plan = sweeps.plan(f"auto {slots}", slots=None, n_trials=2)
    assert Worker(plan.plain())(None) == {"error": None, "n_trials": 2}
    assert SharedStudy(plan).agreed_slots == slots


# --- the winner's seeds at a time -----------------------------------------------------------------


def finalists(sweeps: Slots, name: str, **changes: Any) -> FinalWorker:
    """The final trainings of a study, with three seeds."""
    plan = sweeps.plan(name, **changes)
    SharedStudy(plan).agree_on_slots(lambda: 1)
    trainings = [
        {
            "trial": 0, "index": index, "config": {**sweeps.config, "seed": 42 + index},
            "overrides": [f"seed={42 + index}"], "folder": str(sweeps.folder / name / f"{index}"),
            "name": f"best: {index}",
        }
        for index in range(3)
    ]  # fmt: skip
    return FinalWorker(Worker(plan.plain()), trainings, 3)


def written(sweeps: Slots, name: str, index: int, file: str) -> str:
    return (sweeps.folder / name / f"{index}" / file).read_text()


@pytest.mark.extended
def test_the_winners_seeds_are_trained_at_the_same_time_and_each_says_its_own(
    sweeps: Slots, capsys: pytest.CaptureFixture[str], side_by_side: list[int]
) -> None:
    assert finalists(sweeps, "winners")(None) == {"error": None}
    assert side_by_side == [3, 3, 3]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert sorted(printed.err.splitlines()) == [f"best: {index}: done" for index in range(3)]
    tables = set()
    for index in range(3):
        said, log = (
            written(sweeps, "winners", index, STDOUT),
            written(sweeps, "winners", index, LOG),
        )
        assert said.count("best epoch ") == said.count("files     ") == 1
        assert f"/winners/{index}/results" in said
        assert [line.split()[1] for line in log.splitlines() if line.startswith("epoch")] == [
            "1/3", "2/3", "3/3",
        ]  # fmt: skip
        assert log.startswith("synthetic: ")
        tables.add(said.partition("best epoch")[0])
    assert len(tables) == 3
    looks = sweeps.study("winners").study.user_attrs[TEST_SCORED]
    assert sorted(look["seed"] for look in looks) == [42, 43, 44]


@pytest.mark.extended
def test_a_seed_of_the_winner_does_not_depend_on_those_that_are_left(sweeps: Slots) -> None:
    together, one = finalists(sweeps, "winners"), finalists(sweeps, "one winner")
    assert together(None) == {"error": None}
    for training in one.trainings:
        assert FinalWorker(one.worker, [training], 3)(None) == {"error": None}
    for index in range(3):
        own, other = (
            json.loads(written(sweeps, name, index, "results/metrics.json"))
            for name in ("winners", "one winner")
        )
        assert own["test"]["mean"] == other["test"]["mean"]
        assert own["best_epoch"] == other["best_epoch"]
        assert "slots: '3'" in written(sweeps, "one winner", index, "results/environment.yaml")


@pytest.mark.extended
def test_a_single_seed_of_the_winner_is_trained_like_its_trials(sweeps: Slots) -> None:
    """On a CPU one slot has sparse batches, and with them other noise."""
    three, one = finalists(sweeps, "winners"), finalists(sweeps, "single winner")
    assert three(None) == {"error": None}
    assert FinalWorker(one.worker, one.trainings[:1], 1)(None) == {"error": None}
    first, single = (
        json.loads(written(sweeps, name, 0, "results/metrics.json"))
        for name in ("winners", "single winner")
    )
    assert single["test"]["mean"] == pytest.approx(first["test"]["mean"], rel=1e-6)  # another sum
    assert "batches: dense" in written(sweeps, "single winner", 0, "results/environment.yaml")


@pytest.mark.extended
def test_a_seed_that_cannot_be_trained_is_an_error_and_costs_the_others_nothing(
    sweeps: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = final_claims.note_look

    def fail(study: SharedStudy, training: dict[str, Any]) -> None:
        if training["index"] == 1:
            raise ZeroDivisionError("on purpose")
        look(study, training)

    with monkeypatch.context() as patch:
        patch.setattr(final_claims, "note_look", fail)
        result = finalists(sweeps, "broken winners")(None)
    assert result == {"error": "ZeroDivisionError: on purpose"}
    assert not (sweeps.folder / "broken winners" / "1" / STDOUT).exists()
    assert finalists(sweeps, "broken winners")(None) == {"error": None}
    assert all(written(sweeps, "broken winners", index, STDOUT) for index in range(3))


@pytest.mark.extended
@pytest.mark.usefixtures("side_by_side")
def test_a_stop_ends_all_seeds_of_the_winner_after_their_epoch(
    sweeps: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = sweeps.folder / "stop the winners"
    stops = worker._stops

    def press(*given: Any) -> bool:
        stop.touch()
        return stops(*given)

    with monkeypatch.context() as patch:
        patch.setattr(worker, "_stops", press)
        assert finalists(sweeps, "stopped winners", stop_file=str(stop))(None) == {"error": None}
    for index in range(3):
        folder = sweeps.folder / "stopped winners" / f"{index}"
        assert not (folder / STDOUT).exists()
        assert (folder / LOG).read_text().count("epoch ") <= 1
    stop.unlink()
    assert finalists(sweeps, "stopped winners")(None) == {"error": None}
    assert all(written(sweeps, "stopped winners", index, STDOUT) for index in range(3))


# --- a worker that was away -----------------------------------------------------------------------

PAUSING = """
import json, os, sys, time
import plans
from recsweep import app
from recsweep.experiment import Experiment
from recsweep.sweeps.execution.worker import FinalWorker, Worker

owner, name = {
    "epoch": (plans.Toy, "state"), "test": (Experiment, "evaluate_on_test"),
    "record": (app, "run_job"),
}[sys.argv[1]]
original = getattr(owner, name)

def pause(*given):
    found = original(*given)
    os.write(1, b"there\\n")  # beside what is kept for files
    time.sleep(3)
    return found

setattr(owner, name, pause)
task = json.loads(sys.stdin.readline())
print(json.dumps(FinalWorker(Worker(task["plan"]), task["trainings"], 1)(None)))
"""
"""Trains the winner, and says when it has come to a place in which it may be stopped."""


def tracked_finalist(
    host: Path, config: dict[str, Any], url: str, parent_run: str | None
) -> FinalWorker:
    """The winner's only training, in a database."""
    plan = toy_plan(host / "toy", config, storage=url, parent_run=parent_run)
    training = {
        "trial": 3, "index": 0, "config": config, "overrides": ["model.quality=0.9"],
        "folder": str(training_folder(plan.folder, 3, 0)), "name": "best: toy",
    }  # fmt: skip
    return FinalWorker(Worker(plan.plain()), [training], 1)


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("place", "has_same_folder"), [("epoch", False), ("test", True), ("record", True)]
)
def test_a_process_that_was_stopped_drops_the_seed_that_another_has_trained_meanwhile(
    place: str, has_same_folder: bool, tmp_path: Path, toy: dict[str, Any], postgres_url: str
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    store = {"_target_": "recsweep.tracking.MLflowTracker", "uri": uri,
             "experiment": "tests", "run_name": None}  # fmt: skip
    toy = {**toy, "tracking": store}
    parent = tracker(uri)
    parent.open_sweep("toy", "sweep toy", {}, {})

    away = tracked_finalist(tmp_path / "first", toy, postgres_url, parent.run_id)
    other = "first" if has_same_folder else "second"
    own = tracked_finalist(tmp_path / other, toy, postgres_url, parent.run_id)
    process = subprocess.Popen(
        [sys.executable, "-c", PAUSING, place], stdin=PIPE, stdout=PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        plain = {"plan": away.worker.plan, "trainings": away.trainings}
        process.stdin.write(json.dumps(plain) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "there\n"
        process.send_signal(signal.SIGSTOP)
        end_sessions(postgres_url)
        assert own(None) == {"error": None}
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert json.loads(said.splitlines()[-1]) == {"error": None}

    study = SharedStudy(Plan(**own.worker.plan))
    (noted,) = FinalTrainings(study.study, study.plan).read(3).values()
    assert study.study.user_attrs[TEST_SCORED] == [{"trial": 3, "seed": 42}]
    results = Path(own.trainings[0]["folder"]) / "results"
    assert read_run_id(results) == noted["run_id"]
    assert (results.parent / STDOUT).read_text().count(noted["run_id"])
    if not has_same_folder:
        assert not (Path(away.trainings[0]["folder"]) / STDOUT).exists()
    runs = parent.store.client.search_runs([parent._experiment_id], "tags.`recsweep.trial` = '3'")
    own_run, lost = sorted(runs, key=lambda run: run.info.run_id != noted["run_id"])
    assert (own_run.data.tags["recsweep.kind"], own_run.info.status) == ("winner", "FINISHED")
    assert lost.data.tags["recsweep.kind"] == lost.data.tags["recsweep.state"] == "superseded"
    assert lost.data.tags["recsweep.superseded_by"] == noted["run_id"]
    assert lost.info.status == ("FINISHED" if place == "record" else "KILLED")
    if place != "record":
        assert lost.data.tags["reason"] == "another worker restarted the training after an outage"
