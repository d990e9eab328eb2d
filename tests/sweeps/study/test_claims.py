"""One study of many processes: exact budgets, no trial twice, dead ones are begun again."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow_runs import ROOT
from plans import toy_plan, toy_space
from studies import COMPLETE, FAIL, PRUNED, RUNNING
from toy_claims import claimed, complete, shared

from recsweep.sweeps.storage.errors import StorageError
from recsweep.sweeps.storage.journal import Journal
from recsweep.sweeps.study import claims
from recsweep.sweeps.study.claim import Claim
from recsweep.sweeps.study.claims import next_claim
from recsweep.sweeps.study.shared_study import SharedStudy

GRID = {"_target_": "recsweep.sweeps.sampling.samplers.Grid"}

CMAES = {
    "_target_": "recsweep.sweeps.sampling.samplers.CmaEs", "n_startup_trials": 1,
    "population_size": 5, "learn_from_pruned": True,
}  # fmt: skip

LIVES = """
import json, os, random, signal, sys
from recsweep.sweeps.storage.journal import Journal
from recsweep.sweeps.study.claims import next_claim
from recsweep.sweeps.study.shared_study import Plan, SharedStudy
from optuna.trial import TrialState

def work(plan):
    study = SharedStudy(plan)
    while claim := next_claim(study):
        params = claim.frozen.params
        value = -((params["model.quality"] - 0.3) ** 2) - params["model.n_epochs"] / 99
        study.finish(claim.frozen.number, TrialState.COMPLETE, [value], {"wall_s": 1.0})
        claim.lease.release()

def kill_after(n_records):
    append, left = Journal.append_logs, [n_records]

    def counted(journal, logs):
        append(journal, logs)
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    Journal.append_logs = counted

plan, is_killed = Plan(**json.loads(sys.argv[1])), sys.argv[2] == "killed"
random.seed(1)
n_kills = 0
while True:
    n_records = random.randint(1, 20) * is_killed
    child = os.fork()
    if child == 0:
        try:
            kill_after(n_records)
            work(plan)
        finally:
            os._exit(0)
    if not os.WIFSIGNALED(os.waitpid(child, 0)[1]):
        break
    n_kills += 1
print(n_kills)
"""
"""A worker that is killed and begun again until its study is done."""


def test_interleaved_workers_finish_exactly_what_was_asked_for(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    studies = [shared(tmp_path, config, n_trials=5) for _ in range(3)]
    at_work = [claimed(study) for study in studies]
    assert [claim.frozen.number for claim in at_work] == [0, 1, 2]
    complete(studies[1], at_work[1])
    assert claimed(studies[1]).frozen.number == 3
    complete(studies[0], at_work[0])
    assert claimed(studies[0]).frozen.number == 4
    complete(studies[2], at_work[2])
    assert next_claim(studies[2]) is None  # the last two are still at work
    assert studies[2].unfinished_numbers() == [3, 4]
    assert not studies[2].is_finished()
    for study, number in ((studies[1], 3), (studies[0], 4)):
        study.finish(number, PRUNED, None, {})
    assert all(study.is_finished() for study in studies)
    assert [trial.number for trial in studies[2].trials()] == list(range(5))


def test_threads_that_claim_at_once_never_get_the_same_trial(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    numbers: list[int] = []
    studies = [shared(tmp_path, config, n_trials=12) for _ in range(4)]

    def work(study: SharedStudy) -> None:
        while claim := next_claim(study):
            numbers.append(claim.frozen.number)
            complete(study, claim)

    threads = [threading.Thread(target=work, args=[study]) for study in studies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(12))


@pytest.mark.parametrize("kind", ["journal", pytest.param("postgres", marks=pytest.mark.postgres)])
@pytest.mark.parametrize("quick_s", [60.0, -1.0], ids=["quick", "slow"])
def test_who_was_outrun_waits_for_one_turn_only_if_proposals_are_quick(
    tmp_path: Path, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest, kind: str, quick_s: float,
) -> None:  # fmt: skip
    url = None if kind == "journal" else request.getfixturevalue("postgres_url")
    monkeypatch.setattr(claims, "QUICK_S", quick_s)
    alone, turns, claimed_now = SharedStudy.alone, list[int](), list[Claim]()

    def counted(study: SharedStudy, action: Any) -> Any:
        turns.append(1)
        return alone(study, action)

    monkeypatch.setattr(SharedStudy, "alone", counted)
    first, *studies = [shared(tmp_path, config, n_trials=6, storage=url) for _ in range(7)]
    threads = [
        threading.Thread(target=lambda study=study: claimed_now.append(claimed(study)))
        for study in studies
    ]
    with first.locks.mutex():  # all propose trial 0 before anybody adds it
        for thread in threads:
            thread.start()
        end = time.monotonic() + 60
        while len(turns) < len(threads):
            assert time.monotonic() < end
            time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert sorted(claim.frozen.number for claim in claimed_now) == list(range(6))
    assert len(turns) == 6 if quick_s > 0 else len(turns) >= 6 + 5
    one_by_one = SharedStudy(toy_plan(tmp_path / "other", config, n_trials=6))
    expected = [claimed(one_by_one).frozen.params for _ in range(6)]
    assert [trial.params for trial in studies[0].trials()] == expected


@pytest.mark.parametrize("is_last", [True, False])
def test_who_was_outrun_begins_nothing_that_must_not_begin(
    tmp_path: Path, config: dict[str, Any], is_last: bool
) -> None:
    study = shared(tmp_path, config, n_trials=1, stop_file=str(tmp_path / "stop"))
    study = study if is_last else shared(tmp_path, config, stop_file=str(tmp_path / "stop"))
    other, found = shared(tmp_path, config), list[Claim | None]()
    thread = threading.Thread(target=lambda: found.append(next_claim(study)))
    with other.locks.mutex():
        thread.start()
        time.sleep(0.5)  # it has proposed trial 0
        other.study.add_trial(optuna.create_trial(state=PRUNED))
        if not is_last:
            (tmp_path / "stop").touch()
    thread.join()
    assert found == [None]
    assert len(other.trials()) == 1


WORK = """
import json, sys
from recsweep.sweeps.study.claims import next_claim
from recsweep.sweeps.study.shared_study import Plan, SharedStudy
from optuna.trial import TrialState
study = SharedStudy(Plan(**json.loads(sys.argv[1])))
while claim := next_claim(study):
    print(claim.frozen.number)
    study.finish(claim.frozen.number, TrialState.COMPLETE, [0.5], {})
    claim.lease.release()
"""


@pytest.mark.extended
def test_processes_that_claim_at_once_never_get_the_same_trial(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    plan = json.dumps(toy_plan(tmp_path / "toy", config, n_trials=12).plain())
    processes = [
        subprocess.Popen([sys.executable, "-c", WORK, plan], cwd=ROOT, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    numbers = [line for process in processes for line in process.communicate()[0].split()]
    assert sorted(map(int, numbers)) == list(range(12))
    assert Counter(t.state for t in shared(tmp_path, config).trials()) == {COMPLETE: 12}


def test_a_trial_is_written_whole_before_it_runs(tmp_path: Path, config: dict[str, Any]) -> None:
    study = shared(tmp_path, config)
    claimed(study), claimed(study)
    default, drawn = shared(tmp_path, config).trials()
    assert (default.state, drawn.state) == (RUNNING, RUNNING)
    assert default.params == default.user_attrs["settings"] == {"model.quality": 0.9}
    assert default.user_attrs["is_default"] is True
    assert drawn.params == drawn.user_attrs["settings"] != {"model.quality": 0.9}
    assert drawn.user_attrs["is_default"] is False
    assert drawn.user_attrs["worker"].count(":") == 1
    assert study.is_alive(0)
    assert study.is_alive(1)


def test_a_default_beyond_an_interval_is_tried_as_it_stands(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    space = toy_space(config, "model.quality=interval(0.0,0.5)").plain()
    study = shared(tmp_path, config, space=space)
    frozen = claimed(study).frozen
    assert frozen.params == {"model.quality": 0.5}
    assert frozen.user_attrs["settings"] == {"model.quality": 0.9}
    assert frozen.user_attrs["is_default"] is True


def test_only_the_first_trial_stands_for_a_default_beyond_the_space(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    space = toy_space(config, "model.quality=range(0.0,0.75,0.25)").plain()
    study = shared(tmp_path, config, space=space, n_trials=30)
    made = [claimed(study).frozen for _ in range(30)]
    at_the_end = [trial for trial in made[1:] if trial.params == {"model.quality": 0.5}]
    assert at_the_end
    assert all(t.user_attrs["settings"] == {"model.quality": 0.5} for t in at_the_end)
    assert [trial.user_attrs["is_default"] for trial in made] == [True] + 29 * [False]


def test_a_claim_that_cannot_be_written_keeps_no_lease(
    tmp_path: Path, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = shared(tmp_path, config)

    def full(self: Journal, logs: Any) -> None:  # noqa: ARG001
        raise StorageError("no space left")

    with monkeypatch.context() as disk:
        disk.setattr(Journal, "append_logs", full)
        with pytest.raises(StorageError, match="no space left"):
            next_claim(study)
    assert not study.is_alive(0)
    claimed(study).lease.release()
    with monkeypatch.context() as disk:  # now it is a trial to be taken over
        disk.setattr(Journal, "append_logs", full)
        with pytest.raises(StorageError, match="no space left"):
            next_claim(study)
    assert not study.is_alive(0)
    assert claimed(study).frozen.number == 0


def test_an_exhausted_space_ends_the_study(tmp_path: Path, config: dict[str, Any]) -> None:
    space = toy_space(config, "model.quality=0.25,0.5").plain()
    study = shared(tmp_path, config, space=space, sampler=GRID)
    for _ in range(2):
        complete(study, claimed(study))
    assert not study.is_exhausted()
    assert next_claim(study) is None
    assert study.is_exhausted()
    assert study.is_finished()
    assert sorted(t.params["model.quality"] for t in study.trials()) == [0.25, 0.5]


def test_no_trial_is_begun_after_the_deadline(tmp_path: Path, config: dict[str, Any]) -> None:
    assert next_claim(shared(tmp_path, config, deadline=time.time() - 1)) is None
    claim = claimed(shared(tmp_path, config, deadline=time.time() + 60))
    assert claim.frozen.number == 0


def test_no_trial_is_begun_once_the_stop_file_exists(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    study = shared(tmp_path, config, stop_file=str(tmp_path / "stop"))
    claimed(study)
    (tmp_path / "stop").touch()
    assert study.plan.is_stopped
    assert next_claim(study) is None
    assert not shared(tmp_path, config).plan.is_stopped


def test_failed_trials_to_retry_come_first_in_their_order_and_with_their_parameters(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    study = shared(tmp_path, config)
    for state in (FAIL, COMPLETE, FAIL):
        claim = claimed(study)
        study.finish(claim.frozen.number, state, [0.5] if state == COMPLETE else None, {})
        claim.lease.release()
    first, _, third = study.trials()
    study = shared(tmp_path, config, retry=[first._trial_id, third._trial_id])
    for failed in (first, third):
        again = claimed(study).frozen
        assert (again.number, again.params) == (failed.number, failed.params)
        assert again.user_attrs["settings"] == failed.user_attrs["settings"]
        assert again.user_attrs["is_default"] is (failed is first)
    assert claimed(study).frozen.number == 3


def test_no_trial_is_begun_after_too_many_failures(tmp_path: Path, config: dict[str, Any]) -> None:
    study = shared(tmp_path, config, max_failures=1)
    for _ in range(2):
        claim = claimed(study)
        study.finish(claim.frozen.number, FAIL, None, {"reason": "a fault"})
        claim.lease.release()
    assert next_claim(study) is None


def test_a_resumed_study_proposes_what_an_uninterrupted_one_does(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    whole = SharedStudy(toy_plan(tmp_path / "whole", config))
    while claim := next_claim(whole):
        complete(whole, claim)
    for _ in range(2):  # each one in a new process, the last one dies
        study = SharedStudy(toy_plan(tmp_path / "broken", config))
        complete(study, claimed(study))
        claimed(study).lease.release()
    while claim := next_claim(study):
        complete(study, claim)
    assert [t.params for t in study.trials()] == [t.params for t in whole.trials()]


@pytest.mark.extended
def test_cmaes_proposes_the_same_however_often_its_worker_is_killed(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    space = toy_space(config, "model.quality=interval(0,1)", "model.n_epochs=int(interval(1,9))")
    found = {}
    for name in ("whole", "killed"):
        plan = toy_plan(
            tmp_path / name / "toy", config, n_trials=24, max_retries=1000, sampler=CMAES,
            space=space.plain(),
        )  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", LIVES, json.dumps(plan.plain()), name],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/tests"},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert (int(done.stdout) > 5) == (name == "killed"), done.stderr
        found[name] = SharedStudy(plan).trials()
    whole, killed = found.values()
    assert [(t.number, t.params, t.values) for t in killed] == [
        (t.number, t.params, t.values) for t in whole
    ]
    generations = [trial.system_attrs.get("cma:generation") for trial in killed]
    assert generations == [None, *[0] * 5, *[1] * 5, *[2] * 5, *[3] * 5, *[4] * 3]
    assert all(trial.state == COMPLETE for trial in killed)
