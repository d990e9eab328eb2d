"""Points are numbered without gaps, through every branch, with the values as they are written."""

from recsweep.sweeps.sampling.grid import grid_point, n_grid_points
from recsweep.sweeps.space.branch import Branch
from recsweep.sweeps.space.dimension import dimension


def branch(choices: dict[str, str], *lines: str) -> Branch:
    return Branch(choices, {}, {found.name: found for found in map(dimension, lines)})


def test_every_number_is_another_point_of_the_branches_in_turn() -> None:
    branches = [
        branch({"optimizer": "adam"}, "model.a=x,y", "model.n=range(0,6,2)"),
        branch({"optimizer": "sgd"}, "model.n=int(interval(1,2))"),
        branch({"optimizer": "adamw"}, "model.a=x,y,z"),
    ]
    assert n_grid_points(branches) == 11
    points = [grid_point(branches, index) for index in range(11)]
    assert points == [
        *({"optimizer": "adam", "model.a": a, "model.n": n} for n in (0, 2, 4) for a in "xy"),
        *({"optimizer": "sgd", "model.n": n} for n in (1, 2)),
        *({"optimizer": "adamw", "model.a": a} for a in "xyz"),
    ]


def test_values_of_a_range_are_the_written_decimals() -> None:
    branches = [branch({}, "model.rate=range(0.1,0.5,0.1)")]
    assert n_grid_points(branches) == 4
    values = [grid_point(branches, index)["model.rate"] for index in range(4)]
    assert values == [0.1, 0.2, 0.3, 0.4], "not 0.30000000000000004"


def test_nothing_to_search_is_one_point() -> None:
    assert n_grid_points([branch({})]) == 1
    assert grid_point([branch({})], 0) == {}
