"""Runs whose process died end as their trial did, or as killed ones; a sweep says why it ended."""

from pathlib import Path

import pytest
from plans import toy_plan
from studies import COMPLETE, FAIL, PRUNED

from recsweep.errors import InputError
from recsweep.interfaces import Part
from recsweep.sweeps.execution.run_endings import ending, verdict
from recsweep.sweeps.study.claims import next_claim
from recsweep.sweeps.study.final_claims import FINAL
from recsweep.sweeps.study.shared_study import SharedStudy


def test_runs_of_dead_processes_are_put_right(tmp_path: Path) -> None:
    study = SharedStudy(toy_plan(tmp_path / "toy"))
    for state in (COMPLETE, PRUNED, FAIL):
        claim = next_claim(study)
        assert claim is not None
        noted = {} if state == COMPLETE else {"reason": "a reason"}
        values = [0.5] if state == COMPLETE else None
        study.finish(claim.frozen.number, state, values, {"run_id": "own", **noted})
        claim.lease.release()
    alive = next_claim(study)
    assert alive is not None
    died = ("KILLED", "its process died; the trial was restarted in another run")
    assert [verdict(study, Part(n), "own") for n in range(3)] == [
        ("FINISHED", ""), ("PRUNED", "a reason"), ("FAILED", "a reason"),
    ]  # fmt: skip
    assert verdict(study, Part(0), "another") == died
    assert verdict(study, Part(alive.frozen.number), "any") is None
    alive.lease.release()
    assert verdict(study, Part(alive.frozen.number), "any") == died
    assert verdict(study, Part(99), "any") == died
    assert verdict(study, Part(0, 1), "any") == ("KILLED", "its process died")
    with study.locks.lease(FINAL + 1):  # type: ignore[union-attr]
        assert verdict(study, Part(0, 1), "any") is None


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyboardInterrupt(), ("KILLED", "stopped by Ctrl-C")),
        (KeyboardInterrupt("SIGTERM"), ("KILLED", "stopped by SIGTERM")),
        (InputError("k must be\nat least 1"), ("FAILED", "k must be at least 1")),
    ],
)
def test_a_sweep_says_why_it_ended(error: BaseException, told: tuple[str, str]) -> None:
    assert ending(error) == told
