"""Values of interactions before and after, worked out on the page."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pandas as pd
import pytest
from contracts import composed

from recsweep.data.interactions import Interactions
from recsweep.data.splits.weak import Weak
from recsweep.data.transform import Binary, Log1p, Raw, Transform, apply_transform

COUNTS = np.array([1, 3, 99.5, 0], np.float32)


def played() -> Interactions:
    """Ten users play six songs, the more often the higher both numbers are."""
    rows = [(user, song, user * song + 1) for user in range(10) for song in range(6)]
    return Interactions.from_table(pd.DataFrame(rows, columns=["user", "item", "value"]))


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (Binary(), [1, 1, 1, 1]),
        (Log1p(), [1 + math.log(2), 1 + math.log(4), 1 + math.log(100.5), 1]),
        (Raw(), [1, 3, 99.5, 0]),
    ],
)
def test_each_value_becomes_what_the_name_says(transform: Transform, expected: list[float]):
    before = COUNTS.copy()
    after = transform.apply(COUNTS)
    assert after.dtype == np.float32
    assert after.tolist() == np.array(expected, np.float32).tolist()
    after[:] = 7
    assert before.tolist() == COUNTS.tolist(), "the values of the source stay"


def test_who_played_what_stays_the_same():
    data = played()
    logs = apply_transform(data, Log1p())
    assert isinstance(logs, Interactions)
    assert logs.matrix[3].toarray()[0] == pytest.approx(
        [1 + math.log(3 * song + 2) for song in range(6)]
    )
    assert logs.matrix.indices.tolist() == data.matrix.indices.tolist()
    assert (logs.user_ids.tolist(), logs.item_ids.tolist()) == (list(range(10)), list(range(6)))
    assert logs.fingerprint != data.fingerprint


@pytest.mark.parametrize("value", [2e15, 3e38, 5e-16, 1e-45])
def test_values_whose_products_leave_float32_are_refused_unless_transformed(
    value: float, refused: Callable[..., AbstractContextManager[None]]
) -> None:
    rows = pd.DataFrame([("u", "a", 1), ("u", "b", value)], columns=["user", "item", "value"])
    data = Interactions.from_table(rows)
    with refused("between 1e-15 and 1e+15 in size", f"one is {np.float32(value):g}", "binary"):
        apply_transform(data, Raw())
    for transform in (Binary(), Log1p()):
        apply_transform(data, transform)
    for edge in (0, 1e-15, 1e15):
        at_edge = Interactions.from_table(rows.assign(value=[1, edge]))
        assert apply_transform(at_edge, Raw()).matrix.data.tolist() == [1, np.float32(edge)]


def test_before_or_after_the_cut_is_the_same():
    weak = Weak(
        per="all",
        valid_fraction=0.3,
        test_fraction=0.3,
        unknown_items="count",
        valid_items=False,
        seed=1,
    )
    before = weak.split(apply_transform(played(), Log1p()))
    after = apply_transform(weak.split(played()), Log1p())
    assert before.fingerprint == after.fingerprint


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), "Binary"),
        (("data=jukebox",), "Log1p"),
        (("data=jukebox", "transform=raw"), "Raw"),
        (("transform=raw", "data=jukebox"), "Raw"),
        (("data=ml-1m", "transform=log1p"), "Log1p"),
        (("experiment=notebook_jukebox",), "Log1p"),
        (("experiment=notebook_jukebox", "transform=raw"), "Raw"),
        (("experiment=liang2018",), "Binary"),
        (("experiment=liang2018", "data=jukebox"), "Log1p"),
    ],
)
def test_jukebox_has_its_own_default_and_the_command_line_wins(
    overrides: tuple[str, ...], expected: str
):
    assert composed(*overrides)["transform"]["_target_"].endswith(f".{expected}")
