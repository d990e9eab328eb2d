"""Runs a network's epochs and scores as one compiled program each, on either backend.

A network is a `keras.Model` written with `keras.ops` that defines, besides its layers,

    call(batch, hyper, training) -> dict of scalar loss parts, means per user; `loss` is the total
    scores(batch)                -> n_rows × items
    architecture                 -> hashable; equal ones of a class share compiled programs

and, if an epoch is not one pass that trains all weights,

    phases                       -> the parts of an epoch, see `recsweep.training.phases`
    old(batch)                   -> anything; what the weights that the epoch began with make of it
                                    is the loss's input `old` in training

Programs get weights and hyperparameters as inputs, so the next trial of a sweep compiles nothing.
All programs of one architecture share one network and its optimizers as templates.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Any
from weakref import WeakValueDictionary

import keras
import numpy as np
from jaxtyping import Float
from keras import ops

from recsweep.interfaces import CSR, State, Tensor
from recsweep.training.backend import Values, compile_program, epoch_of, with_values
from recsweep.training.backend import name as backend_name
from recsweep.training.batches import Batch, Epochs, Triples, in_order
from recsweep.training.optimizers import Optimizer
from recsweep.training.phases import EpochPlan
from recsweep.training.programs import call_program

_TEMPLATES: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
"""Networks and plans of their epochs, as long as an engine or a program refers to them."""


def _loss_of(network: keras.Model) -> Callable[..., Any]:
    return compile_program(
        lambda values, batch, hyper: with_values(
            network, values, lambda: network(batch, hyper=hyper, training=False)
        )
    )


def _scores_of(network: keras.Model) -> Callable[..., Any]:
    return compile_program(
        lambda values, batch: with_values(network, values, lambda: network.scores(batch))
    )


class Engine:
    """A network's weights in training.

    Args:
        network: See the module's docstring; its variables hold the initial weights, whose memory
            the engine takes over.
        optimizer: The optimizer.
        n_rows: Users per batch.
    """

    def __init__(self, network: keras.Model, optimizer: Optimizer, n_rows: int) -> None:
        self.network, self.n_rows = network, n_rows
        self._architecture = (type(network), network.architecture)
        self._step_key = (self._architecture, optimizer.constants())
        self._template = _TEMPLATES.setdefault(("network", self._architecture), network)
        plan = EpochPlan(self._template, optimizer.build)
        self._plan = _TEMPLATES.setdefault(("plan", self._step_key), plan)
        self._values = Values(
            [ops.convert_to_tensor(v) for v in network.trainable_variables],
            [ops.convert_to_tensor(v) for v in network.non_trainable_variables],
            [ops.convert_to_tensor(v) for v in plan.variables],
        )
        self._kept: list[Tensor] | None = None

    @property
    def n_passes(self) -> int:
        """Passes over the users in an epoch."""
        return self._plan.n_passes

    def train_epoch(
        self,
        epochs: Epochs,
        epoch: int,
        hyper: Mapping[str, Float[np.ndarray, " steps"]],
        rates: Float[np.ndarray, " steps"],
    ) -> dict[str, float]:
        """Train the epoch of this number, see `train`.

        The next epoch's batches are made while JAX computes this one.
        """

        def make_next() -> None:
            if backend_name() == "jax":  # TensorFlow returns when the epoch is done
                epochs.make_ahead(epoch + 1)

        return self.train(epochs.take(epoch), hyper, rates, meanwhile=make_next)

    def train(
        self,
        batches: Batch | Triples,
        hyper: Mapping[str, Float[np.ndarray, " steps"]],
        rates: Float[np.ndarray, " steps"],
        meanwhile: Callable[[], None] = lambda: None,
    ) -> dict[str, float]:
        """Train one epoch.

        Args:
            batches: Stacked batches.
            hyper: The loss's inputs at each step.
            rates: Learning rate of each step.
            meanwhile: Called once JAX has begun the epoch, or TensorFlow has done it.

        Returns:
            Loss parts, means per user over the epoch.
        """
        self._values, parts = call_program(
            ("epoch", self._step_key), lambda: epoch_of(self._template, self._plan),
            self._values, (batches, dict(hyper), rates),
        )  # fmt: skip
        meanwhile()
        return self._plan.means(parts, batches.is_user.sum(axis=1))

    def loss(self, rows: CSR, hyper: Mapping[str, float]) -> dict[str, float]:
        """Loss parts of whole rows without noise, means per user."""
        totals: dict[str, float] = {}
        constants = {name: np.float32(value) for name, value in hyper.items()}
        for batch in _unstack(in_order(rows, self.n_rows)):
            parts = self._call("loss", _loss_of, batch, constants)
            share = float(batch.is_user.sum()) / rows.shape[0]
            for name, part in parts.items():
                totals[name] = totals.get(name, 0.0) + share * float(part)
        return totals

    def scores(self, history: CSR) -> Tensor:
        """Scores of every item for each row of `history`: users × items."""
        batches = in_order(history, min(self.n_rows, history.shape[0]))
        parts = [self._call("scores", _scores_of, batch) for batch in _unstack(batches)]
        n_users = history.shape[0]
        if len(parts) == 1 and n_users == parts[0].shape[0]:
            return parts[0]
        return call_program(
            ("rows", n_users),
            lambda: compile_program(lambda *p: ops.concatenate(p)[:n_users]),
            *parts,
        )

    def _call(
        self, kind: str, make: Callable[[keras.Model], Callable[..., Any]], *inputs: Any
    ) -> Any:
        """Call a program of this network."""
        key = (kind, self._architecture)
        return call_program(key, lambda: make(self._template), self._values, *inputs)

    def keep(self) -> None:
        """Keep a copy of the current weights, in place of an earlier one."""
        self._kept = [ops.copy(value) for value in self._values.trainable]

    def return_to_kept(self) -> None:
        """Replace the weights by the kept ones."""
        if self._kept is not None:
            self._values, self._kept = self._values._replace(trainable=self._kept), None

    def leave(self) -> None:
        """The end of the training: nothing to do, since an engine has its own arrays."""

    def state(self) -> State:
        """The weights, as copies."""
        return {
            variable.path: np.array(ops.convert_to_numpy(value))
            for variable, value in zip(
                self.network.trainable_variables, self._values.trainable, strict=True
            )
        }

    def restore(self, state: State) -> None:
        """Load weights returned by `state`."""
        paths = [variable.path for variable in self.network.trainable_variables]
        weights = [ops.convert_to_tensor(state[path]) for path in paths]
        self._values = self._values._replace(trainable=weights)


def _unstack(batches: Batch) -> list[Batch]:
    return [Batch(*parts) for parts in zip(*batches, strict=True)]
