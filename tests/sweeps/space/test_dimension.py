"""Sweeps of Hydra's grammar become Optuna's distributions; values survive as text."""

import json
import math
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from recsweep.errors import InputError
from recsweep.sweeps.space.dimension import (
    Dimension,
    Distribution,
    decode,
    dimension,
    encode,
    parse,
)

SWEEPS: dict[str, Distribution] = {
    "interval(0, 1)": FloatDistribution(0.0, 1.0),
    "tag(log, interval(1e-8, 1e-3))": FloatDistribution(1e-8, 1e-3, log=True),
    "int(interval(5, 1000))": IntDistribution(5, 1000),
    "tag(log, int(interval(5, 1000)))": IntDistribution(5, 1000, log=True),
    "int(tag(log, interval(5, 1000)))": IntDistribution(5, 1000, log=True),
    "range(5, 50, 5)": IntDistribution(5, 45, step=5),
    "range(5, 51, 5)": IntDistribution(5, 50, step=5),
    "range(3)": IntDistribution(0, 2),
    "range(10, 0, -3)": IntDistribution(1, 10, step=3),
    "range(0, 1, 0.1)": FloatDistribution(0.0, 0.9, step=0.1),
    "range(0.5, 2)": FloatDistribution(0.5, 1.5, step=1.0),
    "50,100": CategoricalDistribution((50, 100)),
    "choice(adam, sgd)": CategoricalDistribution(("adam", "sgd")),
    "choice(0.5)": CategoricalDistribution((0.5,)),
    "true,false": CategoricalDistribution((True, False)),
    "'50',sgd": CategoricalDistribution(("50", "sgd")),
}


@pytest.mark.parametrize("text", SWEEPS)
def test_a_sweep_is_the_distribution_that_it_says(text: str) -> None:
    assert dimension(f"model.x={text}") == Dimension("model.x", SWEEPS[text])


def test_a_range_of_one_value_has_one_edge_and_is_written_as_a_choice() -> None:
    for text in ("range(100,101)", "range(0,50,100)", "int(range(3.2,4))"):
        found = dimension(f"model.x={text}")
        assert len(found.edges) == 1, text
        assert dimension(f"model.x={found}").edges == found.edges
        assert found.distribution.single()


@pytest.mark.parametrize(
    "text", [*SWEEPS, "[600],[300]", "null,128", "1,true,1.0,'1'", "{a:1},{a:'1'}", "a b,'it\\'s'"]
)
def test_a_dimension_is_written_in_the_grammar_that_it_was_read_from(text: str) -> None:
    found = dimension(f"model.x={text}")
    assert dimension(f"model.x={found}") == found


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("choice([600],[300,'a b'])", [[600], [300, "a b"]]),
        ("null,128", [None, 128]),
        ("1,true,1.0,'1'", [1, True, 1.0, "1"]),
        ("null,'null'", [None, "null"]),
        ("{a:1},{a:1.0}", [{"a": 1}, {"a": 1.0}]),
    ],
)
def test_choices_that_optuna_cannot_keep_are_texts_to_it(text: str, values: list[Any]) -> None:
    found = dimension(f"model.x={text}")
    assert isinstance(found.distribution, CategoricalDistribution)
    assert all(isinstance(choice, str) for choice in found.distribution.choices)
    decoded = [found.value(choice) for choice in found.distribution.choices]
    assert [(type(value), value) for value in decoded] == [(type(v), v) for v in values]


EXACT = [
    0.1 + 0.2, 1e-08, 1e16, 5e-324, 1.7976931348623157e308, -0.0, 1.0, 3, -3, 10**20, True, False,
    None, "", "sgd", "50", "1e-3", "true", "Null", "nan", "a b", " a", "a,b", "a=b", "it's", 'a"b',
    "a\\", "\\'", "[1]", "{a:1}", "${optimizer}", "interval(0,1)", "β", [], [600],
    [1, 1.0, "1", True], [[1], ["a,b", None]], {"a": [1, "2"]},
]  # fmt: skip


@pytest.mark.parametrize("value", EXACT, ids=repr)
def test_a_value_survives_as_text_to_the_last_bit(value: Any) -> None:
    back = decode(encode(value))
    assert (type(back), repr(back)) == (type(value), repr(value))
    assert parse(f"model.x={encode([value])}").value() == [value]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("5", r"must be interval\(a,b\).*, but model\.x=5 is not"),
        ("", r"but model\.x= is not"),
        ("glob(*)", r"glob\(\*\) is not"),
        ("interval(0", r"interval\(0 is not \(.*\); fix it"),
        ("choice(null, 128)", r"accepts no null\); write .* null,128"),
        ("int(interval(1, inf))", r"must be .*, but .* is not \(.*infinity"),
        ("interval(1, 1)", r"start below its end, but model\.x=interval\(1, 1\)"),
        ("int(interval(1.2, 1.7))", r"start below its end"),
        ("interval(0, inf)", r"finite, but .* has inf"),
        ("interval(nan, 1)", r"finite, but .* has nan"),
        ("range(0, inf, 0.5)", r"finite, but .* has inf"),
        ("0.5,nan", r"finite, but .* has nan"),
        ("range(5, 5)", r"must contain a value, but model\.x=range\(5, 5\)"),
        ("range(1, 5, -1)", r"must contain a value"),
        ("range(1, 5, 0)", r"must contain a value"),
        ("tag(log, interval(0, 1))", r"above 0, but .* starts at 0\.0"),
        ("tag(log, int(interval(0, 8)))", r"above 0, but .* starts at 0;"),
        ("tag(log, choice(1, 2))", r"the tag log needs an interval, but .*choice"),
        ("tag(log, range(1, 9))", r"the tag log needs an interval, but .*range"),
        ("tag(log, lin, interval(1, 2))", r"the only tag .* is log, but .* has lin"),
        ("1,2,1", r"choices must differ, but .* has 1 twice"),
        ("int(interval(1, 1e30))", r"fit into 64 bits, but .* has 1000000000000000019884624838656"),
        ("range(0, 9223372036854775808)", r"fit into 64 bits"),
        ("[1],[1]", r"choices must differ, but .* has \[1\] twice"),
        ("interval(0,1),5", r"between values"),
    ],
)
def test_what_cannot_be_searched_gets_one_line(text: str, line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        dimension(f"model.x={text}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "own", "parameter"),
    [
        ("interval(0, 1)", 0.30000000000000004, 0.30000000000000004),
        ("interval(0, 1)", 1, 1.0),
        ("interval(0, 1)", 1.5, None),
        ("interval(0, 1)", True, None),
        ("interval(0, 1)", None, None),
        ("interval(0, 1)", math.nan, None),
        ("tag(log, interval(1e-8, 1e-3))", 0.0, None),
        ("range(0, 1, 0.1)", 0.7, 0.7),
        ("range(0, 1, 0.1)", 0.75, None),
        ("int(interval(1, 8))", 8, 8),
        ("int(interval(1, 8))", 7.5, None),
        ("int(interval(1, 8))", math.inf, None),
        ("range(5, 50, 5)", 7, None),
        ("50,100", 100, 100),
        ("0,1", True, None),
        ("0,0.5", 0.0, 0),
        ("50,100", 200, None),
        ("[600],[300]", [300], "[300]"),
        ("null,64", None, "null"),
    ],
)
def test_a_configurations_own_value_is_exact_or_outside(
    text: str, own: Any, parameter: Any
) -> None:
    found = dimension(f"model.x={text}").parameter(own)
    assert (type(found), found) == (type(parameter), parameter)


@pytest.mark.parametrize("text", [*SWEEPS, "[600],[300]", "1,true,'1'"])
def test_what_optuna_suggests_is_a_plain_value_of_the_sweep(text: str) -> None:
    searched = dimension(f"model.x={text}")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(20):
        trial = study.ask()
        value = searched.value(searched.suggest(trial))
        assert trial.distributions == {"model.x": searched.distribution}
        assert type(json.loads(json.dumps(value))) is type(value)
        assert searched.parameter(value) == trial.params["model.x"]
        if isinstance(searched.distribution, CategoricalDistribution):
            assert value in searched.edges
        else:
            assert searched.edges[0] <= value <= searched.edges[1]
