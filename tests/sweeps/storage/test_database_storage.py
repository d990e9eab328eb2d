"""Trials in Optuna's tables: the same as Optuna's own storage has them, in fewer statements."""

import math
import threading
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from plans import toy_config, toy_plan
from studies import COMPLETE, FAIL, PRUNED, RUNNING, SPACE, make_study

from recsweep.sweeps.study.claim import refuse_lost
from recsweep.sweeps.study.claims import next_claim
from recsweep.sweeps.study.shared_study import SharedStudy

POSTGRES = pytest.param("postgres", marks=pytest.mark.postgres)


@pytest.fixture(params=["sqlite", POSTGRES])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/studies.db"


def everything(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    return {name: getattr(trial, name) for name in (
        "number", "state", "values", "params", "distributions", "user_attrs", "system_attrs",
        "intermediate_values", "datetime_start", "datetime_complete", "_trial_id",
    )}  # fmt: skip


def test_trials_are_those_that_optunas_own_storage_reads(url: str, tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", url=url)
    params = SPACE.default_params() or {}
    searched = {d.name: d.distribution for d in SPACE.branches[0].dimensions.values()}
    for state, values, reports in (
        (COMPLETE, [0.5], {1: 0.25, 2: math.inf}), (PRUNED, [-math.inf], {7: -1.0}),
        (FAIL, None, {}), (COMPLETE, [1e-300], {}), (RUNNING, None, {3: 0.1}),
    ):  # fmt: skip
        study.add_trial(optuna.create_trial(
            state=state, values=values, params=params, distributions=searched,
            user_attrs={"settings": {"a": [1, None]}, "é": "ü"}, system_attrs={"s": {"x": 1.5}},
            intermediate_values=reports,
        ))  # fmt: skip
    ours = study.get_trials()
    own = optuna.storages.RDBStorage(url)
    theirs = optuna.load_study(study_name="study", storage=own).get_trials()
    own.engine.dispose()
    assert len(ours) == 5
    assert list(map(everything, ours)) == list(map(everything, theirs))
    assert everything(study._storage.get_trial(ours[0]._trial_id)) == everything(ours[0])
    assert [each.number for each in study.get_trials(states=(COMPLETE,))] == [0, 3]


@pytest.mark.parametrize(
    ("state", "values", "reports", "expected"),
    [
        (COMPLETE, [0.5], {1: 0.25}, [0.5]),
        (PRUNED, None, {2: 0.75, 1: 0.25}, [0.75]),
        (PRUNED, None, {1: 0.25, 3: math.nan}, None),
        (PRUNED, None, {}, None),
        (FAIL, None, {1: 0.25}, None),
    ],
)
def test_a_trial_ends_as_optuna_ends_it(
    url: str, tmp_path: Path, state: Any, values: Any, reports: dict[int, float], expected: Any
) -> None:
    study = SharedStudy(toy_plan(tmp_path / "toy", toy_config(tmp_path), storage=url))
    claim = next_claim(study)
    assert claim is not None
    for step, value in reports.items():
        claim.trial.report(value, step)
    for _ in range(2):  # an outage may hide that it was done
        study.finish(0, state, values, {"began": claim.began, "a": [1, 2], "wall_s": 1.5})
    (trial,) = study.trials()
    assert (trial.state, trial.values) == (state, expected)
    assert (trial.user_attrs["a"], trial.user_attrs["wall_s"]) == ([1, 2], 1.5)
    assert trial.datetime_complete is not None
    claim.lease.release()


@pytest.mark.postgres
def test_a_claim_and_a_tell_are_a_transaction_of_few_statements(
    postgres_url: str, tmp_path: Path
) -> None:
    plan = toy_plan(tmp_path / "toy", toy_config(tmp_path), storage=postgres_url, n_trials=6)
    study, said = SharedStudy(plan), list[str]()
    engine = study.storage.engine  # type: ignore[attr-defined]
    sqlalchemy.event.listen(engine, "before_cursor_execute", lambda *a: said.append(a[2]))
    sqlalchemy.event.listen(engine, "commit", lambda _: said.append("COMMIT"))

    def counted() -> tuple[int, int]:
        own = [each for each in said if each != "SELECT 1"]  # the thread that tests the connection
        said.clear()
        return len(own) - own.count("COMMIT"), own.count("COMMIT")

    for number in range(4):
        said.clear()
        claim = next_claim(study)
        n_statements, n_commits = counted()
        assert claim is not None
        assert claim.frozen.number == number
        assert (n_statements <= 12, n_commits) == (True, 1), n_statements
        claim.trial.report(0.5, 1)
        if number == 1:
            continue  # it stays at work
        state, values = (PRUNED, None) if number == 2 else (COMPLETE, [0.5])
        said.clear()

        def tell(claim: Any = claim, state: Any = state, values: Any = values) -> None:
            if refuse_lost(study, claim):
                study.finish(claim.frozen.number, state, values, {"a": 1, "b": 2})

        study.at_once(tell)
        n_statements, n_commits = counted()
        assert (n_statements <= 8, n_commits) == (True, 1), n_statements
        claim.lease.release()
    assert [trial.state.name for trial in study.trials()] == [
        "COMPLETE", "RUNNING", "PRUNED", "COMPLETE",
    ]  # fmt: skip


@pytest.mark.postgres
def test_a_thread_that_reads_does_not_block_one_that_reads_in_a_transaction(
    postgres_url: str, tmp_path: Path
) -> None:
    plan = toy_plan(tmp_path / "toy", toy_config(tmp_path), storage=postgres_url)
    study, is_over = SharedStudy(plan), threading.Event()

    def read() -> None:
        while not is_over.is_set():
            study.trials()

    def read_alone() -> None:
        for _ in range(20):
            study.alone(lambda: (time.sleep(0.005), study.trials()))
        is_over.set()

    threads = [threading.Thread(target=work, daemon=True) for work in (read, read, read_alone)]
    for thread in threads:
        thread.start()
    assert is_over.wait(60), "they wait for each other"
    for thread in threads:
        thread.join()
