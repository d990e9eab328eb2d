"""Files of an earlier study in a study's folder are refused: they would pass for its own."""

from pathlib import Path

from recsweep.errors import InputError
from recsweep.run_files import REPLICATE, TRIALS, WINNER
from recsweep.sweeps.study.final_claims import began_name
from recsweep.sweeps.study.shared_study import SharedStudy


def refuse_leftovers(study: SharedStudy) -> None:
    """Check that the study has begun every trial and every training of a winner in its folder.

    A study that lost its journal, or moved to a database, starts again without them.

    Args:
        study: The study.

    Raises:
        InputError: It has not.
    """
    folder = Path(study.plan.folder)
    # folders first: whoever makes one has told the study before
    trials = sorted(folder.glob(f"{TRIALS}/[0-9]*"))
    trainings = sorted(folder.glob(f"{WINNER}/[0-9]*/{REPLICATE}[0-9]*"))
    numbers = {trial.number for trial in study.trials()} if trials else set()
    left = [each for each in trials if int(each.name) not in numbers]
    noted = study.study.user_attrs
    for each in trainings:
        trial, index = int(each.parent.name), int(each.name.removeprefix(REPLICATE))
        left += [each] * (began_name(trial, index) not in noted)
    if left:
        raise InputError(
            f"the folder of study {study.plan.study} must hold no files of another study, but has "
            f"{left[0]}, which this study has not begun; delete {folder} to start over, or choose "
            "another name with study=NAME"
        )
