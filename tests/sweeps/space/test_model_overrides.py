"""`model.l2` and `model.l2@ease` for several models."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from recsweep.errors import InputError
from recsweep.sweeps.space.model_overrides import overrides_by_model

KEYS = {
    "ease": {"model.l2", "model.dropout_rate"},
    "shallow_ae": {"model.l2", "model.n_epochs"},
    "popularity": set(),
}


def by_model(*lines: str, models: tuple[str | None, ...]) -> tuple[list[list[str]], list[str]]:
    overrides = OverridesParser.create().parse_overrides(list(lines))
    own, remarks = overrides_by_model(overrides, models, KEYS.__getitem__)
    return [[str(each.input_line) for each in lines] for lines in own], remarks


def test_a_setting_is_for_the_models_that_have_it() -> None:
    lines = ("seed=1", "model.l2=interval(1,9)", "model.n_epochs=3")
    own, remarks = by_model(*lines, models=("ease", "shallow_ae", "popularity"))
    assert own == [[lines[0], lines[1]], list(lines), [lines[0]]]
    assert remarks == [
        "model.l2 is for ease, shallow_ae; popularity has no such setting",
        "model.n_epochs is for shallow_ae; ease, popularity have no such setting",
    ]


def test_one_with_a_models_name_is_for_that_model_alone_and_goes_first() -> None:
    lines = ("model.l2=1", "model.l2@ease=interval(1,9)", "model.dropout_rate@ease=0.1")
    own, remarks = by_model(*lines, models=("ease", "shallow_ae"))
    assert own == [list(lines[1:]), [lines[0]]]
    assert remarks == []


def test_one_is_left_to_all_to_be_explained_if_a_model_is_not_known() -> None:
    own, remarks = by_model("model.droput=1", models=("ease", "popularity"))
    assert own == [["model.droput=1"], ["model.droput=1"]]
    assert remarks == []


@pytest.mark.parametrize("models", [("ease", "shallow_ae"), ("shallow_ae", "ease")])
def test_one_that_is_misspelt_is_explained_by_the_settings_of_all(models: tuple[str, ...]) -> None:
    for typed, meant in (("model.droput=1", "model.dropout_rate"), ("model.epoch=1", "n_epochs")):
        with pytest.raises(InputError, match=rf"unknown key .*; did you mean .*{meant}\?"):
            by_model(typed, models=models)
    with pytest.raises(InputError, match=r"unknown key model\.xyz; model has dropout_rate, l2"):
        by_model("model.xyz=1", models=models)
    assert by_model("+model.droput=1", models=models)[0] == [["+model.droput=1"]] * 2


def test_a_single_model_keeps_all_settings() -> None:
    lines = ("model=ease", "model.nothing=1", "model.l2@ease=2")
    assert by_model(*lines, models=(None,)) == ([list(lines)], [])
    assert by_model("model.l2=2", models=(None,)) == ([["model.l2=2"]], [])


def test_a_group_may_go_to_another_package() -> None:
    assert by_model("data@other=a", models=("ease",)) == ([["data@other=a"]], [])


@pytest.mark.parametrize(
    ("line", "models", "expected"),
    [
        ("model.l2@esae=1", ("ease", "popularity"), "ease, popularity, but model.l2@esae=1 has"),
        ("model.l2@esae=1", ("ease", "popularity"), "did you mean model.l2@ease?"),
        ("model.l2@xyz=1", ("ease", "popularity"), "write model.l2=… for all models"),
        ("model.l2@ease=1", (None,), "and one must be given, but"),
    ],
)
def test_a_model_that_is_not_searched_is_refused(
    line: str, models: tuple[str | None, ...], expected: str
) -> None:
    with pytest.raises(InputError) as error:
        by_model(line, models=models)
    assert expected in str(error.value)
