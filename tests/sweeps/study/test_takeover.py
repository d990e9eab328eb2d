"""Trials of dead workers begin again, but not for ever."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from studies import COMPLETE, FAIL, RUNNING
from toy_claims import claimed, complete, shared

from recsweep.sweeps.study.shared_study import SharedStudy


def test_a_dead_processs_trial_is_begun_again_with_the_same_parameters(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    first = shared(tmp_path, config)
    complete(first, claimed(first))
    dead = claimed(first)
    dead.trial.report(0.25, 1)
    dead.lease.release()  # as the system does when a process dies
    again = claimed(shared(tmp_path, config))
    assert (again.frozen.number, again.frozen.params) == (1, dead.frozen.params)
    assert again.frozen.intermediate_values == {1: 0.25}
    attrs = first.trials()[1].user_attrs
    assert (attrs["n_deaths"], attrs["is_interrupted"]) == (1, False)
    assert claimed(first).frozen.number == 2  # it is alive again


def test_a_trial_that_was_interrupted_has_not_died(tmp_path: Path, config: dict[str, Any]) -> None:
    study = shared(tmp_path, config, max_retries=0)
    for _ in range(3):
        claim = claimed(study)
        assert claim.frozen.number == 0
        study.set_attrs(claim.frozen, {"is_interrupted": True})
        claim.lease.release()
    assert claimed(study).frozen.number == 0
    assert study.trials()[0].user_attrs["n_deaths"] == 0


def test_a_trial_whose_process_dies_too_often_has_failed(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    study = shared(tmp_path, config, max_retries=2)
    for _ in range(3):
        claim = claimed(study)
        assert claim.frozen.number == 0
        claim.lease.release()
    assert claimed(study).frozen.number == 1
    failed = study.trials()[0]
    assert failed.state == FAIL
    assert failed.user_attrs["reason"] == "its process died 3 times; see sweep.max_retries"
    assert len(study.failed_trials()) == 1
    assert not study.is_alive(0)


def test_a_trial_that_loses_its_device_too_often_has_failed_because_of_it(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    study = shared(tmp_path, config, max_retries=1)
    for _ in range(2):
        claim = claimed(study)
        assert claim.frozen.number == 0
        study.set_attrs(claim.frozen, {"device_error": "the device was lost (INTERNAL)"})
        claim.lease.release()
    assert claimed(study).frozen.number == 1
    assert study.trials()[0].user_attrs["reason"] == (
        "its process died or the device was lost (INTERNAL) 2 times; see sweep.max_retries"
    )


def side_by_side(tmp_path: Path, config: dict[str, Any], **changes: Any) -> SharedStudy:
    """A study whose workers run three trials at the same time."""
    study = shared(tmp_path, config, slots=3, **changes)
    assert study.agree_on_slots(lambda: 1) == 3
    return study


def deaths(study: SharedStudy, number: int = 0) -> tuple[int, int]:
    """Those of a trial's process while it was alone, and while others ran beside it."""
    attrs = study.trials()[number].user_attrs
    return attrs.get("n_deaths", 0), attrs.get("n_shared_deaths", 0)


def test_a_trial_that_died_beside_others_twice_runs_alone(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    study = side_by_side(tmp_path, config, max_retries=0)
    for n_shared in range(2):
        claim = claimed(study)
        assert (claim.frozen.number, claim.is_alone) == (0, False)
        assert study.trials()[0].user_attrs["is_alone"] is False
        assert deaths(study) == (0, n_shared)
        claim.lease.release()
    claim = claimed(study)
    assert (claim.frozen.number, claim.is_alone) == (0, True)
    assert deaths(study) == (0, 2)
    claim.lease.release()
    assert claimed(study).is_alone  # it died before it was alone
    assert deaths(study) == (0, 3)
    assert not claimed(study).is_alone  # a new one


def test_a_trial_whose_process_dies_while_it_is_alone_fails_after_its_retries(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    study = side_by_side(tmp_path, config, max_retries=1)
    for n_alone in range(4):
        claim = claimed(study)
        assert (claim.frozen.number, claim.is_alone) == (0, n_alone >= 2)
        if claim.is_alone:
            study.set_attrs(claim.frozen, {"is_alone": True})
        claim.lease.release()
    assert claimed(study).frozen.number == 1
    assert study.trials()[0].state == FAIL
    reason = "its process died 2 times; see sweep.max_retries"
    assert study.trials()[0].user_attrs["reason"] == reason


def test_an_interrupted_trial_has_died_neither_alone_nor_beside_others(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    study = side_by_side(tmp_path, config, max_retries=0)
    for is_alone in (False, False, True, True):
        claim = claimed(study)
        assert (claim.frozen.number, claim.is_alone) == (0, False)
        study.set_attrs(claim.frozen, {"is_interrupted": True, "is_alone": is_alone})
        claim.lease.release()
    claimed(study)
    assert deaths(study) == (0, 0)


def test_a_trial_of_a_worker_with_one_slot_is_always_alone(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    study = shared(tmp_path, config, slots=1)
    study.agree_on_slots(lambda: 3)
    claim = claimed(study)
    assert claim.frozen.user_attrs["is_alone"] is True
    claim.lease.release()
    assert not claimed(study).is_alone
    assert deaths(study) == (1, 0)


def test_a_trial_begun_before_there_were_slots_was_alone(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    study = shared(tmp_path, config)
    claim = claimed(study)
    noted = dict(claim.frozen.user_attrs)
    del noted["is_alone"]
    old = shared(tmp_path / "old", config, max_retries=1)
    began = optuna.trial.create_trial(
        state=RUNNING, params=claim.frozen.params, distributions=claim.frozen.distributions,
        user_attrs={**noted, "n_deaths": 1},
    )  # fmt: skip
    old.study.add_trial(began)
    assert claimed(old).frozen.number == 1
    assert old.trials()[0].user_attrs["reason"].startswith("its process died 2 times")


def test_a_trial_told_just_before_its_lease_is_free_is_left_alone(
    tmp_path: Path, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = shared(tmp_path, config), shared(tmp_path, config)
    last = claimed(theirs)
    lease_of = ours.locks.lease

    def told_meanwhile(number: int) -> Any:
        if number == 0:
            complete(theirs, last)
        return lease_of(number)

    monkeypatch.setattr(ours.locks, "lease", told_meanwhile)
    assert claimed(ours).frozen.number == 1
    assert ours.trials()[0].state == COMPLETE
    assert not ours.is_alive(0)
