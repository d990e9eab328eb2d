"""Runs a network's epochs and scores as one compiled program each, on either backend.

A network is a `keras.Model` written with `keras.ops` that says, besides its layers,

    call(batch, hyper, training) -> dict of scalar loss parts, means per user; `loss` is the total
    scores(batch)                -> n_rows × items
    architecture                 -> hashable; equal architectures share compiled programs

Programs get weights and hyperparameters as inputs, so the next trial of a sweep compiles nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from jaxtyping import Float
from keras import ops

from recsweep.interfaces import CSR, State
from recsweep.training.backend import Epoch, Values, compiled, epoch_of
from recsweep.training.batches import Batch, in_order
from recsweep.training.optimizers import Optimizer

_PROGRAMS: dict[Any, "Programs"] = {}
_MAX_PROGRAMS = 16


class Programs(NamedTuple):
    """The compiled functions of one architecture."""

    epoch: Epoch
    loss: Callable[..., Any]
    scores: Callable[..., Any]


def _with_values(network: Any, values: Values, function: Callable[[], Any]) -> Any:
    """`function()` while the network's variables stand for `values`."""
    mapping = [
        *zip(network.trainable_variables, values.trainable, strict=True),
        *zip(network.non_trainable_variables, values.other, strict=True),
    ]
    with keras.StatelessScope(state_mapping=mapping):
        return function()


def _programs(network: Any, optimizer: Any, key: Any) -> Programs:
    """The compiled programs for `key`, made with this network as the template if they are new."""
    if key not in _PROGRAMS:
        while len(_PROGRAMS) >= _MAX_PROGRAMS:
            _PROGRAMS.pop(next(iter(_PROGRAMS)))

        def loss(values: Values, batch: Batch, hyper: Any) -> Any:
            return _with_values(
                network, values, lambda: network(batch, hyper=hyper, training=False)
            )

        def scores(values: Values, batch: Batch) -> Any:
            return _with_values(network, values, lambda: network.scores(batch))

        _PROGRAMS[key] = Programs(
            epoch=epoch_of(network, optimizer),
            loss=compiled(loss),
            scores=compiled(scores),
        )
    return _PROGRAMS[key]


class Engine:
    """A network's weights in training.

    Args:
        network: See the module's docstring; its variables hold the initial weights, whose memory
            the engine takes over.
        optimizer: The gradient method.
        n_rows: Users per batch.
    """

    def __init__(self, network: Any, optimizer: Optimizer, n_rows: int) -> None:
        method = optimizer.build()
        method.build(network.trainable_variables)
        self.network = network
        self.n_rows = n_rows
        key = (type(network), network.architecture, optimizer.constants())
        self._programs = _programs(network, method, key)
        self._values = Values(
            [ops.convert_to_tensor(v) for v in network.trainable_variables],
            [ops.convert_to_tensor(v) for v in network.non_trainable_variables],
            [ops.convert_to_tensor(v) for v in method.variables],
        )

    def train(
        self,
        batches: Batch,
        hyper: Mapping[str, Float[np.ndarray, " steps"]],
        rates: Float[np.ndarray, " steps"],
    ) -> dict[str, float]:
        """One epoch.

        Args:
            batches: Stacked batches.
            hyper: What the loss is given at each step.
            rates: Learning rate of each step.

        Returns:
            Loss parts, means per user over the epoch.
        """
        self._values, parts = self._programs.epoch(self._values, (batches, dict(hyper), rates))
        users = batches.is_user.sum(axis=1)
        return {name: float(np.average(part, weights=users)) for name, part in parts.items()}

    def loss(self, rows: CSR, hyper: Mapping[str, float]) -> dict[str, float]:
        """Loss parts of whole rows without noise, means per user."""
        totals: dict[str, float] = {}
        constants = {name: np.float32(value) for name, value in hyper.items()}
        for batch in _unstack(in_order(rows, self.n_rows)):
            parts = self._programs.loss(self._values, batch, constants)
            share = float(batch.is_user.sum()) / rows.shape[0]
            for name, part in parts.items():
                totals[name] = totals.get(name, 0.0) + share * float(part)
        return totals

    def scores(self, history: CSR) -> Any:
        """Scores of every item for each row of `history`: users × items."""
        batches = in_order(history, min(self.n_rows, history.shape[0]))
        parts = [self._programs.scores(self._values, batch) for batch in _unstack(batches)]
        scores = parts[0] if len(parts) == 1 else ops.concatenate(parts)
        return scores[: history.shape[0]]

    def state(self) -> State:
        """The weights, as copies."""
        return {
            variable.path: np.array(ops.convert_to_numpy(value))
            for variable, value in zip(
                self.network.trainable_variables, self._values.trainable, strict=True
            )
        }

    def restore(self, state: State) -> None:
        """Take over weights that `state` gave."""
        paths = [variable.path for variable in self.network.trainable_variables]
        weights = [ops.convert_to_tensor(state[path]) for path in paths]
        self._values = self._values._replace(trainable=weights)


def _unstack(batches: Batch) -> list[Batch]:
    return [Batch(*parts) for parts in zip(*batches, strict=True)]
