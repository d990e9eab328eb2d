"""Every YAML composes and builds; search spaces name real settings, inside their range."""

from pathlib import Path
from typing import Any

import pytest
from contracts import composed
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import recsweep
from recsweep.app import Settings
from recsweep.build import build, validate
from recsweep.command_line import VERSION_BASE
from recsweep.defaults import conf_folder
from recsweep.errors import InputError
from recsweep.sweeps.execution.setup import SweepSettings
from recsweep.sweeps.space.space import make_space

VOCABULARY = {
    "_target_", "latent_dim", "hidden_dims", "dropout_rate", "decoder_dropout_rate", "batch_size",
    "n_epochs", "l2", "beta", "beta_warmup_steps", "optimizer", "n_neighbors", "shrinkage", "alpha",
    "power", "filter_order", "xi", "l1", "positive", "hidden_dim", "n_encoder_epochs", "gamma",
    "l2_exponent", "unobserved_weight", "n_layers",
}  # fmt: skip
"""One word per idea in every model: a new one is a deliberate change here."""


def stems(group: str) -> list[str]:
    return sorted(file.stem for file in (conf_folder() / group).glob("*.yaml"))


def choices(*groups: str) -> list[str]:
    return [f"{group}={stem}" for group in groups for stem in stems(group)]


@pytest.mark.parametrize(
    "choice",
    choices(
        "model", "optimizer", "data", "transform", "split", "task", "sweep", "sampler", "pruner"
    ),
)
def test_every_choice_composes_and_builds(choice: str) -> None:
    config = composed(choice)
    validate(Settings, config, "")
    validate(SweepSettings, config["sweep"], "sweep")
    for group in (
        "model", "optimizer", "data", "transform", "split", "task", "sampler", "pruner",
    ):  # fmt: skip
        build(config[group], group)


@pytest.mark.parametrize("recipe", stems("experiment"))
def test_a_recipe_only_overrides(recipe: str) -> None:
    config = composed(f"experiment={recipe}")
    validate(Settings, config, "")
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


@pytest.mark.parametrize("name", stems("model"))
def test_a_search_space_lies_in_what_the_model_accepts(name: str) -> None:

    def unresolved(lines: list[str]) -> Any:
        return OmegaConf.to_container(compose("config", lines))

    with initialize_config_dir(str(conf_folder()), **VERSION_BASE):
        space = make_space(unresolved, [f"model={name}"], [])
    (branch,) = space.branches
    assert sorted(branch.dimensions) == sorted(branch.config["search"])
    assert space.default_params() is not None  # the model's own values are near enough to try


def test_the_folder_of_yaml_files_is_found() -> None:
    assert (conf_folder() / "config.yaml").is_file()
    assert conf_folder().name == "conf"
    assert Path(conf_folder()).is_absolute()


def test_a_model_without_a_search_section_composes(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    text = "_target_: recsweep.models.ease.EASE\nl2: 3.0\ndropout_rate: 0.0\n"
    (tmp_path / "model" / "bare.yaml").write_text(text, encoding="utf-8")
    config = recsweep.load_config("model=bare", config_dir=tmp_path)
    assert validate(Settings, dict(config), "").search == {}
