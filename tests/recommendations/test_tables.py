"""Histories in, lists out, as tables; a registered model, in test_serving.py, does the same."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_runs import SMALL_DATA

from recsweep.app import Settings
from recsweep.build import validate
from recsweep.command_line import compose_config
from recsweep.errors import InputError
from recsweep.recommendations.fitted_model import FittedModel
from recsweep.recommendations.tables import recommend_to


class Fixed:
    """The same scores for everybody."""

    def score(self, history: Any) -> np.ndarray:
        return np.tile(np.float32([0.5, 2.0, 1.0]), (history.shape[0], 1))


@pytest.fixture(scope="module")
def fitted() -> FittedModel:
    settings = validate(Settings, compose_config("model=popularity", *SMALL_DATA), "")
    model: Any = Fixed()
    return FittedModel(settings, "", model, np.array([10, 20, 30]))


def test_users_get_what_they_do_not_have_in_the_order_of_their_first_rows(
    fitted: FittedModel,
) -> None:
    table = pd.DataFrame({"user": ["b", "a", "b"], "item": [20, 10, 99]})
    found = recommend_to(fitted, table, k=2)
    assert found.values.tolist() == [
        ["b", 1, 30, 1.0], ["b", 2, 10, 0.5], ["a", 1, 20, 2.0], ["a", 2, 30, 1.0],
    ]  # fmt: skip
    assert list(found) == ["user", "rank", "item", "score"]


@pytest.mark.parametrize("kind", ["float16", "float32", "Float32", "float64"])
def test_a_value_is_a_click_from_the_threshold_on_whatever_its_type(kind: str) -> None:
    settings = validate(
        Settings, compose_config("model=popularity", *SMALL_DATA, "data.min_rating=4.1"), ""
    )
    model: Any = Fixed()
    fitted = FittedModel(settings, "", model, np.array([10, 20, 30]))
    table = pd.DataFrame({"user": ["a", "a"], "item": [20, 30], "value": [4.1, 4]})
    found = recommend_to(fitted, table.astype({"value": kind}), k=3)
    assert found["item"].tolist() == [30, 10]


@pytest.mark.parametrize(
    ("table", "how", "expected"),
    [
        ({"user": ["a"], "item": [10]}, {"k": 4}, "k must be from 1 to the catalogue's 3 items"),
        ({"user": ["a"], "item": [99]}, {"unknown_items": "refuse"}, "every item must be known"),
        ({"user": ["a"], "item": [10]}, {"unknown_items": "keep"}, "must be ignore or refuse"),
        ({"user": ["a"], "thing": [10]}, {}, "must have the columns user, item"),
        ({"user": ["a", "a"], "item": [10, 10]}, {}, "that occurs once"),
        ({"user": ["a"], "item": [10]}, {"k": 2.0}, "k must be from 1 to"),
        ({"user": ["a"], "item": [10]}, {"k": True}, "k must be from 1 to"),
        ({"user": ["a"], "item": [10]}, {"k": "2"}, "k must be from 1 to"),
        ({"user": ["a"], "item": [10]}, {"k": None}, "k must be from 1 to"),
        (
            {"user": ["a"], "item": [10], "value": pd.to_datetime(["2024-05-31"])},
            {},
            "must hold numbers, but has datetime64",
        ),
        ({"user": ["a"], "item": [10], "value": [1j]}, {}, "must hold numbers, but has complex"),
        ({"user": pd.to_datetime(["2024-05-31"]), "item": [10]}, {}, "as text or numbers"),
        ({"user": ["a"], "item": [10], "value": ["x"]}, {}, r"first: .*, value 'x'\)"),
        (
            {"user": ["a"], "item": [10], "value": [1e39]},
            {},
            r"have a number from 0 to 3.4028235e\+38 as value, .* value 1e\+39\)",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line(
    fitted: FittedModel, table: Any, how: Any, expected: str
) -> None:
    with pytest.raises(InputError, match=expected) as caught:
        recommend_to(fitted, pd.DataFrame(table), **{"k": 2, **how})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [3e38, 1e-40])
def test_values_that_models_cannot_multiply_are_refused_as_in_training(value: float) -> None:
    settings = validate(
        Settings, compose_config("model=popularity", *SMALL_DATA, "transform=raw"), ""
    )
    model: Any = Fixed()
    fitted = FittedModel(settings, "", model, np.array([10, 20, 30]))
    table = pd.DataFrame({"user": ["a", "a"], "item": [20, 30], "value": [1, value]})
    expected = r"between 1e-15 and 1e\+15 in size.*; give the values of the histories on the scale"
    with pytest.raises(InputError, match=expected):
        recommend_to(fitted, table, k=1)
