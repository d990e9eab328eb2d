"""Files of an earlier study are refused, a study's own are not."""

from pathlib import Path
from typing import Any

import pytest
from toy_claims import claimed, complete, shared

from recsweep.run_files import training_folder, trial_folder
from recsweep.sweeps.study.final_claims import claim_training
from recsweep.sweeps.study.leftovers import refuse_leftovers


def test_a_studys_own_trials_and_trainings_are_no_leftovers(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    study = shared(tmp_path, config)
    refuse_leftovers(study)
    folder = Path(study.plan.folder)
    complete(study, claimed(study))
    trial_folder(folder, 0).mkdir(parents=True)
    winner = training_folder(folder, 0, 1)
    training = {"trial": 0, "index": 1, "folder": str(winner), "config": {"seed": 5}}
    assert claim_training(study, training) is not None
    winner.mkdir(parents=True)
    refuse_leftovers(study)


@pytest.mark.parametrize("left", ["trials/0001", "winner/0000/replicate-0"])
def test_what_the_study_has_not_begun_is_refused(
    refused: Any, tmp_path: Path, config: dict[str, Any], left: str
) -> None:
    study = shared(tmp_path, config)
    complete(study, claimed(study))
    (Path(study.plan.folder) / left).mkdir(parents=True)
    with refused("of another study", f"has {study.plan.folder}/{left}", "study=NAME"):
        refuse_leftovers(study)
