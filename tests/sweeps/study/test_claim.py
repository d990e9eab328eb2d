"""A claim is lost when another worker has begun its trial."""

from pathlib import Path
from typing import Any

import pytest
from studies import RUNNING
from toy_claims import claimed, shared

from recsweep.sweeps.study.claim import TrialLostError, refuse_begun


def test_a_trial_that_another_worker_has_begun_is_lost(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    study = shared(tmp_path, config)
    claim = claimed(study)
    assert refuse_begun(study, claim) == RUNNING
    study.set_attrs(claim.frozen, {"began": claim.began + 1})
    with pytest.raises(TrialLostError):
        refuse_begun(study, claim)
    claim.lease.release()
