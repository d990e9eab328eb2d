"""The points of a finite space, numbered."""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from recsweep.sweeps.space.branch import Branch

Grid = dict[str, Sequence[Any]]
"""The values of each of Optuna's parameters."""


def n_grid_points(branches: Sequence[Branch]) -> int:
    """Number of grid points, summed over branches.

    Args:
        branches: Branches with choices and ranges only.
    """
    return sum(_size(_grid(branch)) for branch in branches)


def grid_point(branches: Sequence[Branch], index: int) -> dict[str, Any]:
    """Optuna's parameters of one point: the digits of its index in the grid's mixed radix.

    Args:
        branches: Branches with choices and ranges only; their grids are concatenated.
        index: Index of the point, from 0 to `n_grid_points` - 1.
    """
    for grid in map(_grid, branches):
        if index < _size(grid):
            break
        index -= _size(grid)
    point = {}
    for name, values in grid.items():
        index, digit = divmod(index, len(values))
        point[name] = values[digit]
    return point


def _size(grid: Grid) -> int:
    return math.prod(map(len, grid.values()))


def _grid(branch: Branch) -> Grid:
    groups = {group: [option] for group, option in branch.choices.items()}
    return groups | {d.name: _values(d.distribution) for d in branch.dimensions.values()}


def _values(found: BaseDistribution) -> Sequence[Any]:
    """All values of a finite distribution; those of a range exactly as written."""
    if isinstance(found, CategoricalDistribution):
        return found.choices
    if isinstance(found, IntDistribution):
        return range(found.low, found.high + 1, found.step)
    if not isinstance(found, FloatDistribution):
        raise TypeError(f"a distribution without a grid: {found}")
    low, high, step = (Decimal(repr(n)) for n in (found.low, found.high, found.step or 1.0))
    return [float(low + i * step) for i in range(int((high - low) / step) + 1)]
