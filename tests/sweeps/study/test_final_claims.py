"""A training of the winner has one process at a time, and is recorded once."""

from pathlib import Path
from typing import Any

import pytest
from plans import toy_config, toy_plan
from postgres_server import end_sessions

from recsweep.run_files import STDOUT, training_folder
from recsweep.sweeps.study.claim import TrialLostError
from recsweep.sweeps.study.final_claims import FINAL, FinalClaim, claim_training
from recsweep.sweeps.study.final_scores import TEST_SCORED, FinalTrainings
from recsweep.sweeps.study.shared_study import SharedStudy


def study_of(folder: Path, **changes: Any) -> SharedStudy:
    return SharedStudy(toy_plan(folder / "toy", toy_config(folder), **changes))


def training(study: SharedStudy, index: int = 0) -> dict[str, Any]:
    """One of the winner, trial 3."""
    folder = training_folder(study.plan.folder, 3, index)
    return {"trial": 3, "index": index, "config": {"seed": 42 + index}, "folder": str(folder)}


def claimed(study: SharedStudy) -> FinalClaim:
    claim = claim_training(study, training(study))
    assert claim is not None
    return claim


def test_a_training_is_claimed_once_and_not_again_when_it_is_done(tmp_path: Path) -> None:
    study, other = study_of(tmp_path), study_of(tmp_path)
    claim = claimed(study)
    assert claim_training(other, training(other)) is None
    assert other.study.user_attrs[TEST_SCORED] == [{"trial": 3, "seed": 42}]
    folder = Path(training(study)["folder"])
    folder.mkdir(parents=True)
    claim.record((folder / STDOUT).touch)
    claim.lease.release()
    assert claim_training(other, training(other)) is None
    with claimed_next(other).lease:
        assert [study.is_alive(FINAL + index) for index in range(3)] == [False, True, False]
        assert [look["seed"] for look in study.study.user_attrs[TEST_SCORED]] == [42, 43]


def claimed_next(study: SharedStudy) -> FinalClaim:
    claim = claim_training(study, training(study, 1))
    assert claim is not None
    return claim


def test_a_training_whose_process_died_is_one_look_at_test(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    for _ in range(2):
        claimed(study).lease.release()
    assert study.study.user_attrs[TEST_SCORED] == [{"trial": 3, "seed": 42}]


@pytest.mark.postgres
def test_a_training_that_another_process_began_meanwhile_is_not_recorded(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsweep.sweeps.storage.shared_connection.BEAT_S", 3600.0)
    monkeypatch.setattr(FinalTrainings, "add", note_only)
    study, other = (study_of(tmp_path, storage=postgres_url) for _ in range(2))
    written: list[str] = []
    claim = claimed(study)
    claim.refuse_gap()
    end_sessions(postgres_url)
    with claimed(other).lease as lease:
        assert study.study.user_attrs  # a new session
        assert claim.lease.n_gaps == 1
        with pytest.raises(TrialLostError):
            claim.refuse_gap()
        with pytest.raises(TrialLostError):
            claim.record(lambda: written.append("lost"))
        assert lease.is_held()
    with pytest.raises(TrialLostError):  # though the lease is free again
        claim.record(lambda: written.append("lost"))
    claim.lease.release()
    assert written == []
    assert FinalTrainings(study.study, study.plan).read(3) == {}
    assert study.study.user_attrs[TEST_SCORED] == [{"trial": 3, "seed": 42}]


@pytest.mark.postgres
def test_a_training_that_nobody_else_began_outlives_its_session(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FinalTrainings, "add", note_only)
    study, other = (study_of(tmp_path, storage=postgres_url) for _ in range(2))
    written: list[str] = []
    with (claim := claimed(study)).lease:
        end_sessions(postgres_url)
        claim.refuse_gap()
        for _ in range(2):  # an outage may hide that it was recorded
            claim.record(lambda: written.append("done"))
        assert claim.lease.n_gaps == 1
    assert written == ["done"]
    assert list(FinalTrainings(other.study, other.plan).read(3)) == [0]


def note_only(done: FinalTrainings, trial: int, index: int) -> None:
    """What `add` does for a training that has files."""
    done.study.set_user_attr(f"final_training/{trial:04d}/{index}", {"run_id": None})
