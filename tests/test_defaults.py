"""Classes that are built by hand take what is not given from their YAML."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
from contracts import composed
from omegaconf import OmegaConf

from recsweep.build import build
from recsweep.defaults import conf_folder, published_data, resolve
from recsweep.errors import InputError
from recsweep.models.ease import EASE
from recsweep.models.multivae import MultiVAE
from recsweep.training.optimizers import Adam

MODELS = sorted(file.stem for file in (conf_folder() / "model").glob("*.yaml"))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_without_arguments_is_the_one_of_the_command_line(name: str) -> None:
    by_command = build(composed(f"model={name}")["model"], "model")
    assert type(by_command)() == by_command


@pytest.mark.parametrize("name", sorted(f.stem for f in (conf_folder() / "optimizer").glob("*")))
def test_an_optimizer_without_arguments_is_the_one_of_the_command_line(name: str) -> None:
    by_command = build(composed(f"optimizer={name}")["optimizer"], "optimizer")
    assert type(by_command)() == by_command


def test_what_is_given_is_taken() -> None:
    assert EASE(l2=3.0) == EASE(l2=3.0, dropout_rate=0.0)
    own = MultiVAE(optimizer=Adam(learning_rate=0.5), hidden_dims=[7])
    assert (own.optimizer.learning_rate, own.hidden_dims, own.latent_dim) == (0.5, [7], 200)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"l2": -1.0},
            r"^model\.l2 must be at least 0 and at most 1e\+30, but is -1\.0; change model\.l2$",
        ),
        (
            {"droput_rate": 0.5},
            r"^unknown key model\.droput_rate; did you mean model\.dropout",
        ),
    ],
)
def test_a_wrong_value_is_the_line_of_the_command_line(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        EASE(**values)


def test_a_configuration_must_be_whole() -> None:
    """What an older run did not write down is not taken from today's file."""
    with pytest.raises(InputError, match=r"^model\.dropout_rate must be given, but is missing"):
        build({"_target_": "recsweep.models.ease.EASE", "l2": 1.0}, "model")


def test_a_subclass_takes_the_values_of_its_parent() -> None:
    class Mine(EASE):
        pass

    assert (Mine().l2, Mine(l2=2.0).l2) == (500.0, 2.0)


def test_instances_are_copied_and_sent_to_other_processes() -> None:
    model = EASE(l2=3.0)
    assert copy.deepcopy(model) == model == pickle.loads(pickle.dumps(model))  # noqa: S301


def test_the_folder_of_the_configuration_is_absolute() -> None:
    assert (conf_folder() / "config.yaml").is_file()
    assert Path(conf_folder()).is_absolute()


def test_a_data_set_is_known_by_its_class_and_its_name() -> None:
    for name in ("ml-1m", "gowalla"):
        data = composed(f"data={name}")["data"]
        assert published_data(data["_target_"], name) == data
        assert published_data(data["_target_"], "mine") == {}
    assert published_data("evil.Data", "ml-1m") == {}


def test_a_value_that_is_missing_is_named() -> None:
    with pytest.raises(InputError, match=r"model\.l2 must have a value, .*; set model\.l2"):
        resolve(OmegaConf.create({"model": {"l2": "${nothing}"}}))
