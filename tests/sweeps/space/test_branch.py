"""A branch's configuration takes values at its dotted keys, and is held to what builds."""

from dataclasses import replace
from typing import Any

import pytest

from recsweep.errors import InputError
from recsweep.sweeps.space.branch import Branch, as_text, unused_overrides
from recsweep.sweeps.space.dimension import dimension, encode


def branch(*sweeps: str, **model: Any) -> Branch:
    """EASE beside an SGD that it does not use, unless `model` says otherwise."""
    ease = {"_target_": "recsweep.models.ease.EASE", "l2": 500.0, "dropout_rate": 0.0}
    sgd = {
        "_target_": "recsweep.training.optimizers.SGD", "learning_rate": 0.05,
        "schedule": "exponential", "learning_rate_decay": 0.99, "momentum": 0.0,
    }  # fmt: skip
    config = {"rate": 0.25, "optimizer": sgd, "model": {**ease, **model}}
    return Branch({}, config, {d.name: d for d in map(dimension, sweeps)})


def test_values_are_set_at_their_keys_and_interpolations_follow() -> None:
    searched = branch("optimizer.momentum=interval(0,0.9)", twin="${optimizer}", dims=[1])
    config = searched.at({"optimizer.momentum": 0.30000000000000004})
    assert config["model"]["twin"] == config["optimizer"]
    assert config["optimizer"]["momentum"] == 0.30000000000000004
    assert searched.config["model"]["twin"] == "${optimizer}", "the branch itself is untouched"


def test_its_own_values_are_plain_and_resolved() -> None:
    searched = branch(
        "model.l2=1,2", "model.dims=[1],[2]", "model.dropout_rate=interval(0,0.5)",
        dims=[1], dropout_rate="${rate}",
    )  # fmt: skip
    assert searched.own_settings() == {
        "model.l2": 500.0, "model.dims": [1], "model.dropout_rate": 0.25,
    }  # fmt: skip
    assert searched.outside() == ["model.l2"]


# --- what a study has stored ----------------------------------------------------------------------

SEARCHED = (
    "model.l2=interval(1,100)", "model.dims=[1],[2],null", "model.name=a,b", "model.n=range(2,9,2)",
)  # fmt: skip
FITTING = {"model.l2": 5.0, "model.dims": [2], "model.name": "b", "model.n": 4}


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"model.l2": 1}, {"model.l2": 500.0}, {"model.dims": None}, {"model.name": "own"},
        {"model.n": 8.0}, {"model.dims": [7]},
    ],
)  # fmt: skip
def test_values_of_the_space_and_the_configurations_own_are_fitting(
    changes: dict[str, Any],
) -> None:
    searched = branch(*SEARCHED, dims=[7], name="own", n=3)
    searched.refuse_foreign({**FITTING, **changes})


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("model.l2", "${oc.env:SECRET}", "'${oc.env:SECRET}'"),
        ("model.l2", "5.0", "'5.0'"),
        ("model.l2", 101.0, "101.0"),
        ("model.l2", True, "True"),
        ("model.l2", float("nan"), "nan"),
        ("model.l2", None, "None"),
        ("model.dims", [[2]], "[[2]]"),
        ("model.dims", ["${rate}"], "['${rate}']"),
        ("model.dims", "null", "'null'"),
        ("model.name", "c", "'c'"),
        ("model.name", "${rate}", "'${rate}'"),
        ("model.n", 5, "5"),
        ("model._target_", "os.system", "'os.system'"),
        ("optimizer", "adam", "'adam'"),
        ("model.name", "x" * 900, "'" + "x" * 58 + "…"),
    ],
)
def test_a_stored_value_of_another_space_is_refused(key: str, value: Any, shown: str) -> None:
    searched = branch(*SEARCHED, dims=[7], name="own", n=3)
    with pytest.raises(InputError) as refused:
        searched.refuse_foreign({**FITTING, key: value})
    assert str(refused.value) == (
        f"a stored trial must have values of the search space, but {key} is {shown}; restore the "
        "study from a backup, or start a new one with study=NAME"
    )


@pytest.mark.parametrize("key", sorted(FITTING))
def test_a_stored_trial_has_every_searched_key(key: str) -> None:
    searched = branch(*SEARCHED, dims=[7], name="own", n=3)
    left = {name: value for name, value in FITTING.items() if name != key}
    with pytest.raises(InputError, match=rf"but {key} is missing; restore"):
        searched.refuse_foreign(left)


def test_what_the_command_line_searches_may_refer_to_others() -> None:
    searched = branch("model.l2=choice(${rate},2)")
    settings = {"model.l2": "${rate}"}
    searched.refuse_foreign(settings)
    assert searched.at(settings)["model"]["l2"] == 0.25


@pytest.mark.parametrize(
    "text",
    [
        "${oc.env:SECRET}", "a ${oc.env:SECRET} b", "${rate} ${oc.env:SECRET}", "${a.${b}}",
        "${oc.env:SECRET,7}", "${x y}",
        "${oc.select:rate,${oc.env:SECRET}}", "\\${oc.env:SECRET}", "\\\\${oc.env:SECRET}",
        "${oc.decode:'${oc.env:SECRET}'}", "${oc.create:{a:${oc.env:SECRET}}}",
        "${", "$ {rate}", "${oc.select:rate,'${oc.env:SECRET}'}", "${oc.dict.keys:model}",
    ],
)  # fmt: skip
def test_stored_text_stays_text(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3cr3t")
    stored = replace(branch(f"model.name=choice({encode(text)},b)"), is_stored=True)
    stored.config["note"] = [{"deep": text}]
    stored.config["model"]["name"] = text
    found = stored.at({"model.name": text})
    assert found["note"] == [{"deep": text}]
    assert found["model"]["name"] == text
    assert stored.own_settings() == {"model.name": text}
    assert "s3cr3t" not in str(found)


def test_stored_references_to_other_keys_are_followed() -> None:
    stored = replace(branch("optimizer.momentum=interval(0,0.9)"), is_stored=True)
    texts = {
        "twin": "${optimizer}", "half": "${rate}", "n": "${oc.select:optimizer.momentum,null}",
        "none": "${oc.select:data.n_users,null}",
    }  # fmt: skip
    stored.config["model"].update(texts)
    found = stored.at({"optimizer.momentum": 0.5})["model"]
    assert found["twin"]["momentum"] == found["n"] == 0.5
    assert (found["half"], found["none"]) == (0.25, None)
    assert as_text(texts) == texts


def test_a_space_that_builds_is_not_refused() -> None:
    branch("model.l2=tag(log,interval(1,100))", "model.dropout_rate=0,0.5").refuse_unusable()
    branch().refuse_unusable()


@pytest.mark.parametrize(
    ("sweep", "line"),
    [
        (
            "model.l2=interval(-1,5)",
            r"model\.l2=interval\(-1\.0,5\.0\) includes -1\.0: .*least 0",
        ),
        (
            "model.dropout_rate=0,1.5",
            r"model\.dropout_rate=0,1\.5 includes 1\.5: .*at most 0\.999999, but",
        ),
        ("model.l2=1,x", r"includes x: model\.l2 must be a valid number, but is 'x'"),
        (
            "optimizer.schedule=none,exponential",
            r"none,exponential includes none: .*unused",
        ),
        ("optimizer.learning_rate=interval(1,11)", r"includes 11\.0: .*at most 10"),
    ],
)
def test_an_edge_that_does_not_build_is_named(sweep: str, line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        branch(sweep).refuse_unusable()
    assert str(error.value).startswith("all searched values must be valid, but ")


@pytest.mark.parametrize(
    ("sweep", "hint"),
    [
        ("model.n_neighbors=interval(1,8)", r"write 'model\.n_neighbors=int\(interval\(1,8\)\)'$"),
        ("model.n_neighbors=range(1,8,0.5)", r"write whole numbers$"),
    ],
)
def test_a_float_for_an_integer_gets_the_grammar_that_helps(sweep: str, hint: str) -> None:
    knn = branch(sweep)
    knn.config["model"] = {
        "_target_": "recsweep.models.item_knn.ItemKNN", "n_neighbors": 100, "shrinkage": 10.0,
    }  # fmt: skip
    with pytest.raises(InputError, match=rf"valid integer, but is 1\.0; {hint}"):
        knn.refuse_unusable()


def test_what_is_wrong_beside_the_space_is_not_put_on_the_space() -> None:
    with pytest.raises(InputError, match=r"^model\.dropout_rate must be at least 0 .* is 7;"):
        branch("model.l2=1,2", dropout_rate=7).refuse_unusable()


def test_a_value_that_the_search_replaces_need_not_build() -> None:
    branch("model.dropout_rate=0,0.5", dropout_rate=7).refuse_unusable()


def test_a_setting_without_effect_on_the_model_is_refused() -> None:
    with pytest.raises(InputError, match=r"EASE does not use optimizer\.momentum; drop"):
        branch("optimizer.momentum=0,0.5").refuse_unusable()
    branch("optimizer.momentum=choice(0.5)").refuse_unusable()
    assert unused_overrides("x", {"_target_": "a.B"}).endswith("B does not use x; drop x")
