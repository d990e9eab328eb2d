"""A new study does not take files of an earlier one for its own."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from toy_claims import claimed, shared

from recsweep.run_files import JOURNAL, TRIALS, summary_file
from recsweep.sweeps.study.leftovers import has_trainings, storage_of


@pytest.fixture
def folder(tmp_path: Path, config: dict[str, Any]) -> Path:
    """The folder of a study with a trial and a winner."""
    study = shared(tmp_path, config)
    claimed(study)
    folder = Path(study.plan.folder)
    assert not has_trainings(folder)
    for trained in ("trials/0000", "winner/0000/replicate-0"):
        (folder / trained).mkdir(parents=True)
    return folder


def test_a_study_finds_its_own_files_again(
    tmp_path: Path, config: dict[str, Any], folder: Path
) -> None:
    assert has_trainings(folder)
    assert len(shared(tmp_path, config).trials()) == 1


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
@pytest.mark.parametrize("left", [TRIALS, "winner"])
def test_a_new_study_refuses_the_files_of_an_earlier_one_and_leaves_nothing(
    refused: Any, tmp_path: Path, config: dict[str, Any], folder: Path, kind: str, left: str
) -> None:
    (folder / JOURNAL).unlink()
    shutil.rmtree(folder / ({TRIALS, "winner"} - {left}).pop())
    storage = f"sqlite:///{tmp_path}/s.db" if kind == "sqlite" else None
    for _ in range(2):
        with refused(
            "study toy has no trials yet", f"folder {folder} has", "or choose another name"
        ):
            shared(tmp_path, config, storage=storage)
    assert not (folder / JOURNAL).exists()


def test_where_the_trials_are_is_told(refused: Any, tmp_path: Path, config: dict[str, Any]) -> None:
    folder = tmp_path / "toy"
    (folder / TRIALS / "0000").mkdir(parents=True)
    file = summary_file(folder)
    file.parent.mkdir()
    command = "python -m recsweep -m model=ease sweep.storage=sqlite:///my.db"
    file.write_text(yaml.safe_dump({"resume": command}), "utf-8")
    assert storage_of(folder) == "sweep.storage=sqlite:///my.db"
    with refused("to resume that one add sweep.storage=sqlite:///my.db, or choose another name"):
        shared(tmp_path, config)
