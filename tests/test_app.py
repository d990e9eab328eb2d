"""Configuration becomes objects, or one line about what is wrong with it."""

from pathlib import Path
from typing import Any

import pytest
from runs import SMALL

from recsweep.app import parameters, run
from recsweep.errors import InputError


def test_a_group_that_builds_something_else_is_refused(config: Any, tmp_path: Path) -> None:
    settings = config(*SMALL)
    settings["model"] = settings["optimizer"]
    with pytest.raises(InputError, match=r"model\._target_ must name a class with a method fit"):
        run(settings, tmp_path, [])


def test_every_leaf_of_the_configuration_is_a_parameter() -> None:
    config = {"a": 1, "b": {"c": [1, 2], "d": {"e": None}}, "f": {}, "g.h": 2}
    assert parameters(config) == {"a": 1, "b.c": [1, 2], "b.d.e": None, "f": {}, "g.h": 2}
