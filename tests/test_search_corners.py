"""Every corner of every model's default search space ends in finite numbers or in one clear line.

In a sweep a line is the reason of a failed trial.
"""

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contracts import composed
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from recsweep.app import Settings, load_split
from recsweep.build import validate
from recsweep.command_line import VERSION_BASE
from recsweep.data.split import Split
from recsweep.defaults import conf_folder
from recsweep.errors import InputError
from recsweep.experiment import Experiment
from recsweep.sweeps.space.branch import Branch
from recsweep.sweeps.space.space import make_space

pytestmark = pytest.mark.extended

MODELS = sorted(file.stem for file in (conf_folder() / "model").glob("*.yaml"))
SMALL = (
    "data=synthetic", "data.n_users=150", "data.n_items=60", "data.mean_clicks=10", "k=[5]",
    "threads=1",
)  # fmt: skip
N_EPOCHS = 2
REFUSED = {"gf_cf": "model.latent_dim must be below the 117 users and 60 items, but is 512; lower"}
"""Corners that such small data cannot have."""


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    cache = tmp_path_factory.mktemp("cache")
    return load_split(validate(Settings, composed(*SMALL, f"cache_dir={cache}"), ""))


def branch_of(name: str) -> Branch:
    (branch,) = make_space(
        lambda lines: OmegaConf.to_container(compose("config", lines)), [f"model={name}"], []
    ).branches
    return branch


def corners(branch: Branch) -> list[list[str]]:
    """Each end of each interval, and the first and the last choice, with those of all others."""
    ends = [(d.edges[0], d.edges[-1]) for d in branch.dimensions.values()]
    keys = list(branch.dimensions)
    return [
        [f"{key}={value}" for key, value in zip(keys, corner, strict=True)]
        for corner in itertools.product(*ends)
    ]


@pytest.mark.parametrize("name", MODELS)
def test_every_corner_ends_in_finite_numbers_or_in_one_line(
    name: str, split: Split, config: Callable[..., dict[str, Any]]
) -> None:
    with initialize_config_dir(str(conf_folder()), **VERSION_BASE):
        branch = branch_of(name)
    own = [f"model.n_epochs={N_EPOCHS}"] if "n_epochs" in branch.config["model"] else []
    n_results, lines = 0, []
    for corner in corners(branch):
        settings = validate(Settings, config(f"model={name}", *SMALL, *own, *corner), "")
        run = Experiment.prepare(settings, None, split)
        with Path(os.devnull).open("w", encoding="utf-8") as silent:
            try:
                fitted = run.fit([], silent)
            except InputError as error:
                lines.append(str(error))
                continue
        numbers = [value for epoch in fitted.curves for value in epoch.values()]
        numbers += [*fitted.valid.means.values(), *run.evaluate_on_test().means.values()]
        assert np.isfinite(numbers).all(), corner
        n_results += 1
    assert n_results == 2 ** len(branch.dimensions) - len(lines)
    assert n_results, "a model has a corner that works"
    for line in lines:
        assert name in REFUSED
        assert line.startswith(REFUSED[name])
        assert "\n" not in line
