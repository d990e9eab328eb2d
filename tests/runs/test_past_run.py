"""What the files of a run say."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_runs import SMALL_DATA

from recsweep.app import run
from recsweep.errors import InputError
from recsweep.run_files import read_yaml, write_yaml
from recsweep.runs.past_run import PastRun

OWN = {"_target_": "evil.Model"}


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


@pytest.fixture
def stored(results: Path) -> Any:
    """The configuration of that run with changes, as it is read; and this command line's own."""
    before = read_yaml(results / "config.yaml")

    def read(own: Any = None, trusted: Any = (), **changes: Any) -> dict[str, Any]:
        write_yaml(results / "config.yaml", {**before, **changes})
        return PastRun("one", results).config(trusted, own)

    return read


def test_a_class_that_the_user_did_not_choose_is_refused(stored: Any, refused: Any) -> None:
    for part in ({"model": OWN}, {"metrics": {"a": [{"_target_": "evil.Model"}]}}, {"k": OWN}):
        with refused("one uses the class 'evil.Model'", "trust=[evil]", "--config-dir=FOLDER"):
            stored(own={"debug": False}, **part)
        with refused("one uses the class 'evil.Model'", "set RECSWEEP_TRUST=evil"):
            stored(**part)
        assert part.items() <= stored(trusted=["evil.Model"], **part).items()


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (None, "task must be a group of settings"),
        ({}, "a stored run must be a training"),
        ({"_target_": "recsweep.tasks.upload.Upload"}, "a stored run must be a training"),
    ],
)
def test_only_trainings_are_repeated(task: Any, why: str, stored: Any, refused: Any) -> None:
    with refused(why):
        stored(task=task)


def test_a_stored_task_is_a_training_without_anything_else(stored: Any) -> None:
    task = {"_target_": "recsweep.tasks.train.Train"}
    assert stored(task={**task, "extra": OWN})["task"] == task


def test_without_a_command_line_a_run_says_nothing_about_other_parts(stored: Any) -> None:
    for part in ("tracking", "sampler", "search", "sweep"):
        assert stored(**{part: OWN}).get(part) != OWN


def test_what_is_used_is_what_is_checked(stored: Any, refused: Any) -> None:
    with refused("uses the class 'evil.Model'"):
        stored(own={"sampler": OWN})


def test_parts_of_this_command_line_take_the_place_of_stored_ones(stored: Any) -> None:
    ours = {"cache_dir": "here", "debug": True, "trust": ["a"], "fetch": True, "tracking": {"b": 1}}
    found = stored(
        own={**ours, "task": {"_target_": "x"}, "seed": 1},
        cache_dir="/there", trust=["evil"], fetch=False, tracking=OWN, sampler=OWN, seed=7,
    )  # fmt: skip
    assert ours.items() <= found.items()
    assert (found["task"]["_target_"], found["seed"]) == ("recsweep.tasks.train.Train", 7)
    assert stored(cache_dir="/there")["cache_dir"] is None


def test_the_name_of_a_data_set_is_no_path(stored: Any, refused: Any) -> None:
    data = stored()["data"]
    for name in ("/a", "../a", "a/b", ".."):
        with refused("data.name of one must be a name"):
            stored(data={**data, "name": name})


def test_a_data_set_comes_from_where_recsweep_or_the_command_line_says(
    stored: Any, config: Any
) -> None:
    ours = config("data=ml-1m")["data"]
    evil = {
        "url": "http://evil/a.zip",
        "sha256": None,
        "wheel": {"requirement": "e", "member": "m"},
    }
    assert stored(data={**ours, **evil})["data"] == ours
    typed = {**ours, "url": "http://mirror/ml-1m.zip"}
    assert stored(own={"data": typed}, data={**ours, **evil})["data"] == typed
    for other in ({"name": "mine"}, {"_target_": "recsweep.data.sources.lastfm.LastFM"}):
        found = stored(own={"data": typed}, data={**ours, **evil, **other})["data"]
        assert (found["url"], found["wheel"]) == ("***", None)
    hidden = {**ours, "url": "http://host/a.zip?token=***"}
    assert stored(data=hidden)["data"] == hidden
    assert stored(data={**hidden, "sha256": "1" * 64, "wheel": evil["wheel"]})["data"] == hidden
