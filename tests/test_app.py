"""Configuration becomes objects, or one line about what is wrong with it."""

import pwd
from pathlib import Path
from typing import Any

import pytest
from small_runs import SMALL

from recsweep.app import Settings, check_settings, parameters, run, sweep_folder
from recsweep.build import validate
from recsweep.errors import InputError


def test_a_group_that_builds_something_else_is_refused(config: Any, tmp_path: Path) -> None:
    settings = config(*SMALL)
    settings["model"] = settings["optimizer"]
    with pytest.raises(InputError, match=r"model\._target_ must name a class with a method fit"):
        run(settings, tmp_path, [])


@pytest.mark.parametrize(("folder", "shown"), [("2024", "2024"), ("null", "None")])
def test_a_folder_of_studies_is_a_path(config: Any, refused: Any, folder: str, shown: str) -> None:
    settings = check_settings(config(f"sweep.folder={folder}"))
    with refused(
        f"sweep.folder must be a path, but is {shown}; give a folder, such as sweep.folder=sweeps"
    ):
        sweep_folder(settings)


def test_every_leaf_of_the_configuration_is_a_parameter() -> None:
    config = {"a": 1, "b": {"c": [1, 2], "d": {"e": None}}, "f": {}, "g.h": 2}
    assert parameters(config) == {"a": 1, "b.c": [1, 2], "b.d.e": None, "f": {}, "g.h": 2}


def test_without_a_home_folder_the_cache_must_be_named(
    config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    settings = config()
    assert validate(Settings, settings, "").cache == Path(settings["cache_dir"])
    with pytest.raises(InputError, match=r"but ~/.cache/recsweep is in a home folder that the"):
        _ = validate(Settings, {**settings, "cache_dir": None}, "").cache
