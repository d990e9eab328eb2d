"""Claims of a toy study's trials, without workers that run them."""

from pathlib import Path
from typing import Any

from plans import toy_plan
from studies import COMPLETE

from recsweep.sweeps.study.claim import Claim
from recsweep.sweeps.study.claims import next_claim
from recsweep.sweeps.study.shared_study import SharedStudy


def shared(tmp_path: Path, config: dict[str, Any], **changes: Any) -> SharedStudy:
    """A worker's view of the one toy study of a folder."""
    return SharedStudy(toy_plan(tmp_path / "toy", config, **changes))


def claimed(study: SharedStudy) -> Claim:
    """The next trial, of which there must be one."""
    claim = next_claim(study)
    assert claim is not None
    return claim


def complete(study: SharedStudy, claim: Claim) -> None:
    """End a claimed trial well."""
    study.finish(claim.frozen.number, COMPLETE, [0.5], {"wall_s": 1.0})
    claim.lease.release()
