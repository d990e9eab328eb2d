"""Every YAML composes and builds; search spaces name real settings, inside their range."""

from pathlib import Path

import pytest
from contracts import composed, skip_without_its_library
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, RangeSweep, Sweep
from omegaconf import OmegaConf

from recsweep.app import Settings
from recsweep.build import build, validated
from recsweep.command_line import conf_folder
from recsweep.errors import InputError

VOCABULARY = {
    "_target_", "latent_dim", "hidden_dims", "dropout_rate", "decoder_dropout_rate", "batch_size",
    "n_epochs", "l2", "beta", "beta_warmup_steps", "optimizer", "n_neighbors", "shrinkage", "alpha",
}  # fmt: skip
"""One word per idea in every model: a new one is a deliberate change here."""


def stems(group: str) -> list[str]:
    return sorted(file.stem for file in (conf_folder() / group).glob("*.yaml"))


def choices(*groups: str) -> list[str]:
    return [f"{group}={stem}" for group in groups for stem in stems(group)]


@pytest.mark.parametrize("choice", choices("model", "optimizer", "data", "split", "task"))
def test_every_choice_composes_and_builds(choice: str) -> None:
    skip_without_its_library(choice.removeprefix("model="))
    config = composed(choice)
    validated(Settings, config, "")
    for group in ("model", "optimizer", "data", "split"):
        build(config[group], group)


@pytest.mark.parametrize("recipe", stems("experiment"))
def test_a_recipe_only_overrides(recipe: str) -> None:
    config = composed(f"experiment={recipe}")
    validated(Settings, config, "")
    build(config["model"], "model")
    raw = OmegaConf.load(conf_folder() / "experiment" / f"{recipe}.yaml")
    assert "_target_" not in OmegaConf.to_yaml(raw)


@pytest.mark.parametrize("name", stems("model"))
def test_models_share_one_vocabulary(name: str) -> None:
    assert set(composed(f"model={name}")["model"]) <= VOCABULARY


def test_an_unknown_a_missing_and_a_wrong_setting_fail() -> None:
    spec = dict(composed("model=multivae")["model"])
    with pytest.raises(InputError, match=r"did you mean model\.dropout_rate"):
        build({**spec, "droput_rate": 0.5}, "model")
    with pytest.raises(InputError, match=r"model\.beta"):
        build({key: value for key, value in spec.items() if key != "beta"}, "model")
    with pytest.raises(InputError, match=r"model\.dropout_rate .*7"):
        build({**spec, "dropout_rate": 7}, "model")


def edges(space: object) -> list[object]:
    """The values at which a search space ends."""
    if isinstance(space, IntervalSweep | RangeSweep):
        return [space.start, space.end if isinstance(space, IntervalSweep) else space.stop]
    if isinstance(space, ChoiceSweep):
        return list(space.list)
    raise AssertionError(f"not a search space: {space!r}")


@pytest.mark.parametrize("name", stems("model"))
def test_a_search_space_lies_in_what_the_model_accepts(name: str) -> None:
    skip_without_its_library(name)
    config = composed(f"model={name}")
    lines = [f"{key}={value}" for key, value in config["search"].items()]
    for override in OverridesParser.create().parse_overrides(lines):
        space = override.value()
        assert isinstance(space, Sweep), override.input_line
        for edge in edges(space):
            changed = composed(f"model={name}", f"{override.key_or_group}={edge}")
            build(changed["optimizer"], "optimizer")
            build(changed["model"], "model")


def test_the_wheel_and_the_checkout_read_the_same_folder() -> None:
    assert (conf_folder() / "config.yaml").is_file()
    assert conf_folder().name == "conf"
    assert Path(conf_folder()).is_absolute()
