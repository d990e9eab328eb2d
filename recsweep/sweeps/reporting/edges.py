"""Dimensions whose best values lie at an edge of what was searched: better ones may lie beyond."""

import math
from typing import Any

from recsweep.messages import shorten
from recsweep.sweeps.space.branch import Branch
from recsweep.sweeps.space.dimension import Dimension, encode
from recsweep.sweeps.space.space import Space
from recsweep.sweeps.study.status import StudyStatus, TrialRow

N_BEST = 5
"""The best trials that are looked at; all but one of them must be at the edge, the winner too."""
N_ENOUGH = 10
"""With fewer trials, good and bad ones are often at the same edge."""
MARGIN = 0.05
"""A share of an interval, on the scale that was searched, that counts as its edge."""
_SHOWN_CHARACTERS = 60


def remarks_on_edges(space: Space, status: StudyStatus) -> list[str]:
    """A sentence for each dimension whose best values lie at an edge that can be moved.

    A dimension is an interval, a range, or at least three different numbers to choose from. An edge
    cannot be moved where the model refuses values beyond it, such as a negative dropout rate.

    Args:
        space: What is searched.
        status: The study's status.

    Returns:
        Sentences without a full stop; none with several objectives or for fewer than `N_ENOUGH`
        complete and pruned trials of the winner's branch.
    """
    winner = status.best
    if winner is None:
        return []
    branch = space.branch(winner.params)

    def is_in_branch(row: TrialRow) -> bool:
        return all(row.settings.get(group) == name for group, name in branch.choices.items())

    best = [row for row in status.ranking if is_in_branch(row)][:N_BEST]
    if len(best) < N_BEST or sum(map(is_in_branch, status.leaderboard)) < N_ENOUGH:
        return []
    remarks = (_remark(key, branch, best) for key in branch.dimensions)
    return [remark for remark in remarks if remark]


def _remark(key: str, branch: Branch, best: list[TrialRow]) -> str:
    searched = branch.dimensions[key]
    ends = _ends(searched)
    sides = [_side(searched, row.settings[key]) for row in best]
    side, n_there = sides[0], sides.count(sides[0])
    if ends is None or side is None or n_there < N_BEST - 1:
        return ""  # a dimension that is not ordered, or better values inside
    edge = ends[side]
    beyond = edge + _step(searched, ends) * (1 if side else -1)
    if not branch.is_valid({**best[0].settings, key: beyond}):
        return ""
    which, where = (("highest", "above"), ("lowest", "below"))[1 - side]
    there = [row.settings[key] for row, at in zip(best, sides, strict=True) if at == side]
    near = "" if all(value == edge for value in there) else "near "
    sweep = shorten(str(searched), _SHOWN_CHARACTERS)
    return (
        f"{key} is {near}{encode(edge)}, the {which} value of {sweep}, in {n_there} of the best "
        f"{N_BEST} trials; a new study should search {where} it, too"
    )


def _ends(searched: Dimension) -> tuple[Any, Any] | None:
    """The lowest and the highest value; None where there is no order or too few values."""
    values = searched.edges
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return None
    is_choice = hasattr(searched.distribution, "choices")
    low, high = min(values), max(values)
    too_few = len(set(values)) < 3 if is_choice else high - low < 2 * _step(searched, (low, high))
    return None if too_few else (low, high)


def _step(searched: Dimension, ends: tuple[Any, Any]) -> Any:
    """A small distance on the dimension."""
    step = getattr(searched.distribution, "step", None)
    if step is None:
        step = 1 if all(isinstance(end, int) for end in ends) else MARGIN * (ends[1] - ends[0])
    return min(step, ends[0] / 2) if searched.is_log and isinstance(step, float) else step


def _side(searched: Dimension, value: Any) -> int | None:
    """0 = at the lower edge or below it, 1 = at the upper one or above it, None = at neither.

    Args:
        searched: The dimension.
        value: A setting; the configuration's own may lie outside and need not be a number.
    """
    ends = _ends(searched)
    if ends is None or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    low, high = ends
    if value <= low or value >= high:
        return int(value >= high)
    if hasattr(searched.distribution, "choices"):
        return None
    scale = math.log if searched.is_log else float
    position = (scale(value) - scale(low)) / (scale(high) - scale(low))
    return 0 if position <= MARGIN else 1 if position >= 1 - MARGIN else None
