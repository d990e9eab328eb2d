"""Where things lie in a study's folder."""

from pathlib import Path

from recsweep.sweeps.study.folder import trial_folder


def test_folders_of_trials_sort_as_their_numbers() -> None:
    assert trial_folder("sweeps/study", 7) == Path("sweeps/study/trials/0007")
