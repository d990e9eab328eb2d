"""Spaces from the command line and from YAML: their branches, what they refuse, round trips."""

import json
import pickle
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from contracts import each_model
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FixedTrial

from recsweep.build import build
from recsweep.command_line import VERSION_BASE
from recsweep.defaults import conf_folder
from recsweep.errors import InputError
from recsweep.sweeps.space.space import Space, make_space, overrides

MODELS = sorted(file.stem for file in (conf_folder() / "model").glob("*.yaml"))
VAE = ["model=multivae", "model.l2=0.0"]


def composed(overrides: list[str], folder: Path | None = None) -> dict[str, Any]:
    """As a sweep composes: interpolations are left as they are."""
    return _composed(tuple(overrides), folder or conf_folder())


@cache
def _composed(overrides: tuple[str, ...], folder: Path) -> dict[str, Any]:
    with initialize_config_dir(str(folder), **VERSION_BASE):
        config = compose("config", ["tracking=off", *overrides])
    container = OmegaConf.to_container(config, resolve=False)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def space(fixed: list[str], *swept: str) -> Space:
    return make_space(composed, fixed, list(swept))


def random_params(searched: Space, n_trials: int) -> list[dict[str, Any]]:
    """What Optuna's random sampler proposes."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=7))
    trials = [study.ask() for _ in range(n_trials)]
    for trial in trials:
        searched.suggest(trial)
        study.tell(trial, 0.0)
    return [trial.params for trial in study.trials]


def folder_with(tmp_path: Path, **files: str) -> Path:
    """The real configuration, with more files such as `model__mine="..."`."""
    folder = shutil.copytree(conf_folder(), tmp_path / "conf")
    for name, text in files.items():
        (folder / (name.replace("__", "/") + ".yaml")).write_text(text, encoding="utf-8")
    return folder


def model_yaml(search: str) -> str:
    return f"""# @package _global_
model:
  _target_: recsweep.models.ease.EASE
  l2: 500.0
  dropout_rate: 0.0
{search}
"""


# --- what a space is ------------------------------------------------------------------------------


def test_yaml_gives_the_space_and_the_command_line_wins_per_key() -> None:
    searched = space(["model=ease"], "model.l2=10,20")
    assert searched.describe() == {
        "model.dropout_rate": "interval(0.0,0.8)", "model.l2": "10,20",
    }  # fmt: skip


def test_a_key_that_the_command_line_fixes_is_not_searched() -> None:
    searched = space(["model=ease", "model.l2=3.0"])
    assert list(searched.describe()) == ["model.dropout_rate"]
    assert searched.config({"model.dropout_rate": 0.5})["model"]["l2"] == 3.0


def test_a_model_without_settings_has_an_empty_space() -> None:
    searched = space(["model=popularity"])
    assert searched.describe() == {}
    assert searched.default_params() == {}
    assert searched.settings({}) == {}
    assert searched.config({})["model"]["_target_"].endswith("Popularity")
    assert random_params(searched, 2) == [{}, {}]


def test_a_searched_group_has_a_branch_per_option_and_keys_only_where_they_exist() -> None:
    searched = space(VAE, "optimizer=adam,sgd", "optimizer.momentum=interval(0,0.9)")
    adam, sgd = searched.branches
    assert (adam.choices, sgd.choices) == ({"optimizer": "adam"}, {"optimizer": "sgd"})
    assert set(sgd.dimensions) - set(adam.dimensions) == {"optimizer.momentum"}
    assert adam.config["model"]["optimizer"] == "${optimizer}"
    seen = random_params(searched, 20)
    assert {params["optimizer"] for params in seen} == {"adam", "sgd"}
    assert all(("optimizer.momentum" in p) == (p["optimizer"] == "sgd") for p in seen)


def test_keys_are_in_one_order_however_they_are_written() -> None:
    sweeps = ["model.beta=0,1", "model.latent_dim=8,9", "optimizer=adam,sgd"]
    one, other = space(VAE, *sweeps), space(VAE, *reversed(sweeps))
    assert one == other
    assert json.dumps(one.plain()) == json.dumps(other.plain())
    assert random_params(one, 5) == random_params(other, 5)
    assert next(iter(one.describe())) == "optimizer"


def test_branches_with_other_distributions_have_other_names(tmp_path: Path) -> None:
    """The command line is the same for all branches, so only YAML can make them differ."""
    yaml = (conf_folder() / "model" / "multivae.yaml").read_text(encoding="utf-8")
    decay = "  optimizer.learning_rate_decay: interval(0.9, 1.0)\n"
    assert decay in yaml
    folder = folder_with(tmp_path, model__free=yaml.replace(decay, ""))
    for name, sweep in {"adam": "interval(0.1, 1.0)", "sgd": "interval(0.5, 1.0)"}.items():
        file = folder / "optimizer" / f"{name}.yaml"
        settings = file.read_text(encoding="utf-8").splitlines()
        nested = "\n".join(f"  {line}" for line in settings)
        file.write_text(
            f"# @package _global_\noptimizer:\n{nested}\nsearch:\n"
            f"  optimizer.learning_rate_decay: {sweep}\n  optimizer.learning_rate: 0.1,0.2\n",
            encoding="utf-8",
        )
    searched = make_space(
        lambda overrides: composed(overrides, folder),
        ["model=free", "model.l2=0.0", "model.dropout_rate=0.5", "model.latent_dim=8"],
        ["optimizer=adam,sgd", "model.beta=0,1"],
    )
    assert searched.describe() == {
        "optimizer": "adam,sgd",
        "model.beta": "0,1",
        "optimizer.learning_rate": "0.1,0.2",
        "optimizer.learning_rate_decay[optimizer=adam]": "interval(0.1,1.0)",
        "optimizer.learning_rate_decay[optimizer=sgd]": "interval(0.5,1.0)",
    }
    for params in random_params(searched, 5):
        decay = params[f"optimizer.learning_rate_decay[optimizer={params['optimizer']}]"]
        assert searched.settings(params)["optimizer.learning_rate_decay"] == decay
        assert (
            searched.config(searched.settings(params))["model"]["optimizer"]["learning_rate_decay"]
            == decay
        )


def test_a_group_in_yaml_is_searched_unless_the_command_line_fixes_it(tmp_path: Path) -> None:
    yaml = (conf_folder() / "model" / "multivae.yaml").read_text(encoding="utf-8")
    more = "  optimizer: choice(adam, sgd)\n  optimizer.momentum: interval(0, 0.9)\n"
    folder = folder_with(tmp_path, model__mine=yaml + more)

    def made(*fixed: str) -> Space:
        return make_space(lambda o: composed(o, folder), ["model=mine", *fixed], [])

    assert [b.choices["optimizer"] for b in made().branches] == ["adam", "sgd"]
    assert "optimizer.momentum" in made("optimizer=sgd").describe()
    adam = made("optimizer=adam")
    assert [b.choices for b in adam.branches] == [{}]
    assert "optimizer.momentum" not in adam.describe(), "it is of an option that was not chosen"


# --- parameters, settings, overrides, configuration -----------------------------------------------


@pytest.mark.parametrize("model", each_model(MODELS))
def test_random_trials_of_every_model_build_and_their_overrides_compose_to_them(model: str) -> None:
    searched = space([f"model={model}"])
    for n, params in enumerate(random_params(searched, 20)):
        config = searched.config(searched.settings(params))
        build(config["optimizer"], "optimizer")
        build(config["model"], "model")
        if n < 2:  # composing is slow
            again = composed([f"model={model}", *overrides(searched.settings(params))])
            assert OmegaConf.to_container(OmegaConf.create(again), resolve=True) == config


def test_overrides_reproduce_lists_null_groups_and_floats_exactly() -> None:
    searched = space(
        VAE, "optimizer=adam,sgd", "model.hidden_dims=[600],[300,20]", "model.beta=interval(0,1)",
    )  # fmt: skip
    params = random_params(searched, 1)[0] | {"model.hidden_dims": "[300,20]", "optimizer": "sgd"}
    params |= {"model.beta": 0.1 + 0.2}
    assert searched.settings(params)["model.hidden_dims"] == [300, 20]
    lines = overrides(searched.settings(params))
    assert {"optimizer=sgd", "model.hidden_dims=[300,20]"} <= set(lines)
    assert "model.beta=0.30000000000000004" in lines
    again = OmegaConf.create(composed([*VAE, *lines]))
    assert OmegaConf.to_container(again, resolve=True) == searched.config(searched.settings(params))


def test_settings_are_plain_python_values() -> None:
    searched = space(["model=item_knn"])
    params = {"model.n_neighbors": np.int64(7), "model.shrinkage": np.float64(0.1)}
    settings = searched.settings(params)
    assert [type(value) for value in settings.values()] == [int, float]
    assert overrides(searched.settings(params)) == ["model.n_neighbors=7", "model.shrinkage=0.1"]


def test_the_configurations_own_values_are_a_trial_of_the_space() -> None:
    searched = space(
        ["model=shallow_ae"], "optimizer=adam,sgd", "model.latent_dim=null,64",
        "optimizer.momentum=interval(0,0.9)",
    )  # fmt: skip
    params = searched.default_params()
    assert params is not None
    assert searched.default_outside() == []
    assert (params["optimizer"], params["model.latent_dim"]) == ("sgd", "null")
    config = OmegaConf.create(composed(["model=shallow_ae"]))
    assert searched.config(searched.settings(params)) == OmegaConf.to_container(
        config, resolve=True
    )
    asked = FixedTrial(params)
    searched.suggest(asked)
    assert asked.params == params


def test_own_values_beyond_an_interval_are_a_trial_that_the_sampler_sees_at_its_end() -> None:
    searched = space(["model=ease", "model.dropout_rate=0"], "model.l2=interval(1,100)")
    assert searched.default_params() == {"model.l2": 100.0}
    assert searched.default_outside() == ["model.l2 is 500.0, outside of interval(1.0,100.0)"]
    settings = searched.default_settings()
    assert settings == {"model.l2": 500.0}
    assert searched.config(settings)["model"]["l2"] == 500.0
    assert overrides(settings) == ["model.l2=500.0"]


def test_there_is_no_trial_of_own_values_that_are_no_choice() -> None:
    searched = space(["model=ease"], "model.l2=1,2")
    assert searched.default_params() is None
    assert searched.default_settings() is None
    assert searched.default_outside() == ["model.l2 is 500.0, outside of 1,2"]
    both = space(["model=ease"], "model.l2=interval(1,2)", "model.dropout_rate=0.1,0.2")
    assert both.default_outside() == ["model.dropout_rate is 0.0, outside of 0.1,0.2"]
    other = space(["model=shallow_ae"], "optimizer=adam,adamw")
    assert other.default_params() is None
    assert other.default_outside() == ["optimizer is none of adam,adamw"]


def test_a_space_survives_json_and_pickle() -> None:
    searched = space(
        VAE, "optimizer=adam,sgd", "optimizer.momentum=range(0,1,0.25)", "model.hidden_dims=[9],[8]"
    )
    plain = json.loads(json.dumps(searched.plain(), sort_keys=True))
    for again in (Space.of(plain), pickle.loads(pickle.dumps(searched))):  # noqa: S301 - our own
        assert again == searched
        assert again.describe() == searched.describe()
        assert random_params(again, 5) == random_params(searched, 5)


def test_a_stored_space_resolves_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3cr3t")
    searched = space(["model=ease"])
    settings = searched.default_settings()
    assert settings is not None
    plain = json.loads(json.dumps(searched.plain()))
    assert Space.of_study(plain).config(settings) == searched.config(settings)
    plain["branches"][0]["config"]["study"] = "${oc.env:SECRET}"
    assert Space.of(plain).config(settings)["study"] == "s3cr3t"
    assert Space.of_study(plain).config(settings)["study"] == "${oc.env:SECRET}"


@pytest.mark.parametrize("optimizer", ["adagrad", "${oc.env:SECRET}", None, ["sgd"]])
def test_a_stored_trial_of_no_branch_is_refused(optimizer: Any) -> None:
    searched = space(["model=shallow_ae"], "optimizer=adam,sgd")
    settings = searched.default_settings()
    assert settings is not None
    assert searched.config(settings)["optimizer"]["momentum"] == 0
    with pytest.raises(InputError, match="must have values of the search space, but optimizer is"):
        searched.config({**settings, "optimizer": optimizer})
    del settings["optimizer"]
    with pytest.raises(InputError, match="but optimizer is missing; restore"):
        searched.config(settings)


def test_groups_and_dimensions_carry_optunas_distributions() -> None:
    searched = space(VAE, "optimizer=adam,sgd")
    assert searched.groups["optimizer"].distribution == CategoricalDistribution(("adam", "sgd"))
    beta = searched.branches[0].dimensions["model.beta"]
    assert (beta.name, beta.distribution) == ("model.beta", FloatDistribution(0.0, 1.0))


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sweep", "line"),
    [
        ("model.btea=interval(0,1)", r"unknown key model\.btea; did you mean model\.beta\?"),
        ("sead=1,2", r"unknown key sead; did you mean seed\?"),
        (
            "optimizer.momentum=0,0.9",
            r"unknown key optimizer\.momentum; optimizer has learning_rate",
        ),
        ("model.optimizer.learning_rate=1,2", r"did you mean optimizer\.learning_rate\?"),
        ("seed=1,2", r"seed must be the same .* seed=1,2 .*\(seeds are replicates, not settings\)"),
        ("k=[5],[10]", r"k must be the same in all trials, .* one objective"),
        ("threads=1,2", r"threads must be the same .*only settings of model and optimizer"),
        ("data.name=a,b", r"data\.name must be the same"),
        ("refit=true,false", r"refit must be the same"),
        ("+model.beta=0,1", r"\+model\.beta=0,1 adds a new one; write model\.beta=0,1"),
        ("model.beta=interval(1,0)", r"an interval must start below its end"),
        ("model.dropout_rate=interval(0,1)", r"includes 1\.0: .*at least 0 and at most 0\.99"),
        ("model.latent_dim=interval(1,8)", r"write 'model\.latent_dim=int\(interval\(1,8\)\)'"),
        ("optimizer=adam,sdg", r"optimizer must be one of adam, adamw, sgd, .* did you mean sgd\?"),
        ("optimizer=null,sgd", r"optimizer must be one of adam, .*, but is null"),
        ("optimizer=5,6", r"optimizer must be one of adam, .*, but is 5"),
        ("optimizer=interval(0,1)", r"a group must be searched by its options"),
    ],
)
def test_a_sweep_that_cannot_be_searched_gets_one_line(sweep: str, line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        space(VAE, sweep)
    assert "\n" not in str(error.value)


def test_a_key_is_given_once() -> None:
    with pytest.raises(InputError, match=r"model\.beta is given twice"):
        space(VAE, "model.beta=interval(0,1)", "model.beta=0,1")
    with pytest.raises(InputError, match=r"model\.beta is given twice"):
        space([*VAE, "model.beta=1"], "model.beta=interval(0,1)")


def test_every_choice_must_compose() -> None:
    fixed = [*VAE, "optimizer=sgd", "optimizer.momentum=0.5"]
    assert space(fixed).branches[0].config["optimizer"]["momentum"] == 0.5
    with pytest.raises(ConfigCompositionException):  # nothing searched: the command line's own
        space([*VAE, "optimizer.momentum=0.5"])
    fixed = ["model=shallow_ae", "optimizer.momentum=0.5"]  # its optimizer is sgd
    with pytest.raises(InputError, match=r"cannot compose optimizer=adam: .*optimizer\.momentum"):
        space(fixed, "optimizer=sgd,adam")


def test_what_does_not_reach_the_model_is_refused() -> None:
    with pytest.raises(InputError, match=r"EASE does not use optimizer; drop"):
        space(["model=ease"], "optimizer=adam,sgd")
    with pytest.raises(InputError, match=r"EASE does not use optimizer\.learning_rate"):
        space(["model=ease"], "optimizer.learning_rate=0.1,0.2")


@pytest.mark.parametrize(
    ("search", "line"),
    [
        ("search: {model.l2: 5}", r"search has model\.l2: 5; fix it"),
        ("search: {model.l2: [1, 2]}", r"search has model\.l2: \[1, 2\]"),
        ("search: {model: {l2: 'interval(1,2)'}}", r"each dotted key a sweep .* model: \{"),
        ("search: {model.l2: high}", r"model\.l2=high is not; use one of these"),
        ("search: {model.l2: 'interval(1'}", r"model\.l2=interval\(1 is not \(.*\); fix it"),
        ("search: {model.droprate: '0,0.5'}", r"did you mean model\.dropout_rate\?"),
        ("search: {seed: '1,2'}", r"seed must be the same in all trials"),
        ("search: [model.l2]", r"search must list settings and their sweeps, but is \['model"),
        ("search:", r"search must list settings and their sweeps, but is None"),
        ("search: {model.l2: 'interval(-1,2)'}", r"includes -1\.0: model\.l2 must be at least 0"),
    ],
)
def test_a_search_block_that_is_malformed_gets_one_line(
    tmp_path: Path, search: str, line: str
) -> None:
    folder = folder_with(tmp_path, model__mine=model_yaml(search))
    with pytest.raises(InputError, match=line) as error:
        make_space(lambda overrides: composed(overrides, folder), ["model=mine"], [])
    assert "\n" not in str(error.value)


def test_a_yaml_without_search_is_searched_by_the_command_line(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, model__mine=model_yaml(""))
    found = make_space(lambda o: composed(o, folder), ["model=mine"], ["model.l2=interval(1,2)"])
    assert found.describe() == {"model.l2": "interval(1.0,2.0)"}
