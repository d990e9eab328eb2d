"""What the files of a run say."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_runs import SMALL_DATA

from recsweep.app import run
from recsweep.errors import InputError
from recsweep.run_files import read_yaml
from recsweep.runs.past_run import PastRun


@pytest.fixture
def results(config: Any, tmp_path: Path) -> Path:
    """What a run left."""
    run(config("model=popularity", *SMALL_DATA), tmp_path / "trained", [])
    return tmp_path / "trained" / "results"


def test_the_configuration_of_another_version_is_refused_by_name(results: Path) -> None:
    config = yaml.safe_load((results / "config.yaml").read_text("utf-8"))
    past = PastRun("the run", results)
    with pytest.raises(InputError, match=r"the run: config\.yaml cannot .* unknown key flavour"):
        past.settings({**config, "flavour": "new"})
    del config["patience"]
    with pytest.raises(InputError, match=r"patience must be given, but is missing"):
        past.settings(config)


def test_a_damaged_file_is_named(results: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(results, tmp_path / "copy")
    (copy / "config.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(InputError, match=r"must have a readable config\.yaml") as caught:
        read_yaml(copy / "config.yaml")
    assert "\n" not in str(caught.value)
