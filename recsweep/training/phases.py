"""The phases of an epoch: which weights a pass over the users trains, and what its loss is given.

Most networks have one phase, which trains everything. A network with others lists them as `phases`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from recsweep.interfaces import LossInputs, LossParts, Tensor


@dataclass(frozen=True)
class Phase:
    """Consecutive passes over the users.

    Args:
        n_passes: Passes, each with an order of its own.
        trains: How the paths of the trained weights begin; all others stay as they are.
        without: Inputs that the loss is not given.
    """

    n_passes: int = 1
    trains: tuple[str, ...] = ("",)
    without: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Stage:
    """A phase of a network, with an optimizer of its own.

    Args:
        phase: The phase.
        trained: Places of its weights among the network's.
        optimizer: Its optimizer, built for them.
        state: Place of the optimizer's variables among those of all stages.
    """

    phase: Phase
    trained: tuple[int, ...]
    optimizer: keras.optimizers.Optimizer
    state: slice

    def of(self, weights: list[Tensor]) -> list[Tensor]:
        """The trained ones among the weights of the network."""
        return [weights[place] for place in self.trained]

    def rest_of(self, weights: list[Tensor]) -> list[Tensor]:
        """The others."""
        return [each for place, each in enumerate(weights) if place not in self.trained]

    def join(self, trained: list[Tensor], rest: list[Tensor]) -> list[Tensor]:
        """The weights of the network from both."""
        rest_in_order, of_place = iter(rest), dict(zip(self.trained, trained, strict=True))
        n_weights = len(trained) + len(rest)
        return [of_place[i] if i in of_place else next(rest_in_order) for i in range(n_weights)]

    def inputs(
        self, network: keras.Model, before: list[Tensor], batch: Any, hyper: LossInputs
    ) -> LossInputs:
        """What the loss is given in this phase; `before` is what `weights_before` returned."""
        hyper = {name: each for name, each in hyper.items() if name not in self.phase.without}
        if before:
            mapping = list(zip(network.trainable_variables, before, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                hyper["old"] = network.old(batch)
        return hyper

    def weights_before(self, network: keras.Model, weights: list[Tensor]) -> list[Tensor]:
        """The weights that an epoch began with, if the loss of this phase needs them."""
        return weights if hasattr(network, "old") and "old" not in self.phase.without else []


class EpochPlan:
    """The stages of a network's epochs, each with an optimizer of its own.

    Args:
        network: The network.
        build: Makes an optimizer.
    """

    def __init__(
        self, network: keras.Model, build: Callable[[], keras.optimizers.Optimizer]
    ) -> None:
        self.stages: list[Stage] = []
        self.variables: list[Tensor] = []
        for phase in getattr(network, "phases", (Phase(),)):
            paths = [variable.path for variable in network.trainable_variables]
            trained = tuple(i for i, path in enumerate(paths) if path.startswith(phase.trains))
            optimizer = build()
            optimizer.build([network.trainable_variables[i] for i in trained])
            start = len(self.variables)
            self.variables += optimizer.variables
            state = slice(start, len(self.variables))
            self.stages.append(Stage(phase, trained, optimizer, state))

    @property
    def n_passes(self) -> int:
        """Passes over the users in an epoch."""
        return sum(stage.phase.n_passes for stage in self.stages)

    def cut(self, steps: Any) -> Iterator[tuple[Stage, Any]]:
        """Each stage with its part of the steps of an epoch, the first axis of all arrays."""
        if len(self.stages) == 1:
            yield self.stages[0], steps
            return
        n_steps = keras.tree.flatten(steps)[0].shape[0] // self.n_passes
        start = 0
        for stage in self.stages:
            part = slice(start, start + n_steps * stage.phase.n_passes)
            yield stage, keras.tree.map_structure(lambda each, part=part: each[part], steps)
            start = part.stop

    def means(self, parts: list[LossParts], n_users: np.ndarray) -> dict[str, float]:
        """Loss parts, means per user over the steps that have them.

        Args:
            parts: The parts by step, for each stage.
            n_users: Users of each step of the epoch.
        """
        found: dict[str, list[Tensor]] = {}
        for of_stage, (_, users) in zip(parts, self.cut(n_users), strict=True):
            for name, values in of_stage.items():
                found.setdefault(name, []).append((ops.convert_to_numpy(values), users))
        totals = {
            name: [np.concatenate(x) for x in zip(*p, strict=True)] for name, p in found.items()
        }
        return {
            name: float(np.average(each, weights=users)) for name, (each, users) in totals.items()
        }
