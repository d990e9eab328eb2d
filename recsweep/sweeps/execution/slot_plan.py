"""How many trials a worker trains at the same time: the slots of its compiled program."""

from collections.abc import Mapping
from math import prod
from typing import Any

from optuna.distributions import CategoricalDistribution

from recsweep.build import build
from recsweep.sweeps.space.branch import Branch
from recsweep.sweeps.space.dimension import Dimension
from recsweep.sweeps.space.space import Space
from recsweep.training import layout
from recsweep.training.gradient_model import GradientModel
from recsweep.training.optimizers import RATES

MOST_SLOTS = 32
"""More slots hardly speed up an H100, and the sampler learns less before it proposes."""
MOST_PROGRAMS = 4
"""Searched settings that need more programs than this would leave most slots empty."""
MEMORY_SHARE = 0.6
"""Share of a device's memory for slots; the rest is for data, scores and the backend."""


def widest(space: Space) -> dict[str, dict[str, int]]:
    """Class of a model -> its settings that widen the network -> their largest values.

    Args:
        space: The search space.
    """
    found: dict[str, dict[str, int]] = {}
    for branch in space.branches:
        model = _model(branch, {})
        if not isinstance(model, GradientModel):
            continue
        own = found.setdefault(layout.class_name(model), {})
        for name in model.padded:
            searched = branch.dimensions.get(f"model.{name}")
            edges = _edges(searched) if searched else [getattr(model, name)]
            sizes = [edge for edge in edges if isinstance(edge, int)]
            if sizes:
                own[name] = max(own.get(name, 0), *sizes)
    return found


def most_slots(space: Space, n_items: int, n_trials: int, memory_bytes: int) -> int:
    """As many slots as are useful on an accelerator and fit into its memory.

    Args:
        space: The search space.
        n_items: Items of the catalogue.
        n_trials: Trials of each worker.
        memory_bytes: Memory of the device that this worker may use.
    """
    sizes, n_programs = [], 0
    for branch in space.branches:
        model = _model(branch, _largest(branch))
        if isinstance(model, GradientModel):
            n_programs += prod(_n_programs(model, branch))
            sizes.append(model.slot_bytes(n_items))
    if not sizes or n_programs > MOST_PROGRAMS:
        return 1
    fitting = int(MEMORY_SHARE * memory_bytes / n_programs // max(sizes))
    return max(1, min(MOST_SLOTS, n_trials, fitting))


def _model(branch: Branch, settings: Mapping[str, Any]) -> Any:
    """The model of a branch: its own, but for these settings."""
    own = branch.own_settings()
    own.update({key: branch.dimensions[key].edges[0] for key in branch.outside()})
    return build(branch.at({**own, **settings})["model"], "model")


def _largest(branch: Branch) -> dict[str, Any]:
    """The searched sizes at their largest."""
    edges = {key: _edges(searched) for key, searched in branch.dimensions.items()}
    return {
        key: max(values)
        for key, values in edges.items()
        if values and all(type(value) is int for value in values)
    }


def _edges(searched: Dimension) -> list[Any]:
    return [value for value in searched.edges if value is not None]


def _n_programs(model: GradientModel, branch: Branch) -> list[int]:
    """How many programs each searched setting needs: as many as it has values, if it is fixed."""
    rates = [f"optimizer.{name}" for name in RATES]
    shared = {*rates, *(f"model.{name}" for name in (*model.shared_settings(), *rates)), "seed"}
    return [_n_values(searched) for key, searched in branch.dimensions.items() if key not in shared]


def _n_values(searched: Dimension) -> int:
    found = searched.distribution
    if isinstance(found, CategoricalDistribution):
        return len(found.choices)
    return 1 if found.single() else MOST_PROGRAMS + 1
