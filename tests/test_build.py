"""A configuration node becomes an object, or one sentence says which value is wrong."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from recsweep.build import build, validate
from recsweep.errors import InputError
from recsweep.interfaces import STRICT


@dataclass(kw_only=True, config=STRICT)
class Inner:
    share: Annotated[float, Field(gt=0, le=1)]


@dataclass(kw_only=True, config=STRICT)
class Outer:
    size: Annotated[int, Field(ge=1)]
    widths: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    kind: Literal["exponential", "cosine"]
    inner: Inner | None
    patience: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> "Outer":
        if self.size > 100:
            raise ValueError("size must not exceed 100; lower it")
        return self


@dataclass(kw_only=True, config=STRICT)
class Unfinished(ABC):
    @abstractmethod
    def work(self) -> None: ...


@dataclass(kw_only=True, config=STRICT)
class Place:
    folder: Annotated[Path, Field(strict=False)]


class Unchecked:
    pass


def a_function() -> None:
    raise AssertionError("a function named in a configuration must not be called")


HERE = __name__
GOOD = {"size": 3, "widths": [4], "kind": "cosine", "inner": None}


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """This file under a dotted name, whichever way pytest imported it."""
    monkeypatch.setitem(__import__("sys").modules, "built_here", request.module)


def spec(**changes: Any) -> dict[str, Any]:
    return {"_target_": "built_here.Outer", **GOOD, **changes}


def sentence(node: Any) -> str:
    with pytest.raises(InputError) as caught:
        build(node, "model")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_children_are_built_before_their_parent() -> None:
    built = build(spec(inner={"_target_": "built_here.Inner", "share": 0.5}), "model")
    assert isinstance(built.inner, Inner)
    assert (built.size, built.widths, built.inner.share) == (3, [4], 0.5)


def test_plain_values_stay_what_they_are() -> None:
    assert build({"a": [1, {"b": None}]}, "x") == {"a": [1, {"b": None}]}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"size": 0}, "model.size must be at least 1, but is 0; change model.size"),
        ({"size": 2.5}, "model.size must be a valid integer, but is 2.5; change model.size"),
        ({"size": "x"}, "model.size must be a valid integer, but is 'x'; change model.size"),
        ({"size": ""}, "model.size must be a valid integer, but is ''; change model.size"),
        (
            {"widths": []},
            "model.widths must have at least 1 item, but is [], an empty list; write "
            "'model.widths=[VALUE]'",
        ),
        ({"widths": [4, 0]}, "model.widths[1] must be at least 1, but is 0; change model.widths"),
        ({"patience": 0}, "model.patience must be at least 1, but is 0; change model.patience"),
        (
            {"kind": "cosin"},
            "model.kind must be 'exponential' or 'cosine', but is 'cosin'; did you mean cosine?",
        ),
        ({"size": 101}, "model: size must not exceed 100; lower it"),
    ],
)
def test_a_bad_value_is_named_with_what_must_hold(changes: dict[str, Any], expected: str) -> None:
    assert sentence(spec(**changes)) == expected


def test_a_path_is_asked_for_in_plain_words() -> None:
    with pytest.raises(InputError) as caught:
        validate(Place, {"folder": None}, "sweep")
    assert str(caught.value) == "sweep.folder must be a path, but is None; change sweep.folder"


def test_both_ends_of_a_range_are_told() -> None:
    inner = {"_target_": "built_here.Inner", "share": 7}
    told = "model.inner.share must be above 0 and at most 1, but is 7; change model.inner.share"
    assert sentence(spec(inner=inner)) == told


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_none_is_refused(value: float) -> None:
    inner = {"_target_": "built_here.Inner", "share": value}
    assert "model.inner.share must be a finite number" in sentence(spec(inner=inner))


def test_a_missing_and_an_unknown_value_are_told_apart() -> None:
    without = {key: value for key, value in spec().items() if key != "size"}
    assert sentence(without) == "model.size must be given, but is missing; add model.size=VALUE"
    assert "unknown key model.sise; did you mean model.size?" in sentence(spec(sise=1))


def test_a_long_value_is_cut() -> None:
    assert len(sentence(spec(size="x" * 5000))) < 250


@pytest.mark.parametrize("name", ["Unfinished", "Unchecked", "a_function", "HERE"])
def test_only_a_finished_class_that_checks_its_values_is_built(name: str) -> None:
    assert f"'built_here.{name}' is not" in sentence({"_target_": f"built_here.{name}"})


@pytest.mark.parametrize("name", ["os.system", "no_such_module.Model", "Model", "", None, 3])
def test_nothing_else_is_run_or_imported(name: Any) -> None:
    assert "model._target_ must be" in sentence({"_target_": name})


def test_a_value_error_at_the_top_has_no_empty_name() -> None:
    with pytest.raises(InputError, match=r"^size must not exceed 100"):
        validate(Outer, {**GOOD, "size": 101}, "")


@pytest.mark.parametrize(
    "target",
    ["unittest.__main__.TestProgram", "recsweep.build.FieldInfo", "a b.C", "", ".", "a..b"],
)
def test_a_name_that_is_no_class_of_its_module_is_one_line(target: str, refused: Any) -> None:
    with refused("model._target_ must be the dotted name of a class that can be imported, but"):
        build({"_target_": target}, "model")
