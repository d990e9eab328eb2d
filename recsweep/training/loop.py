"""The epoch loop shared by all gradient-trained models."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float

from recsweep.errors import TrainingDivergedError
from recsweep.interfaces import OnEpoch
from recsweep.training.batches import Epochs
from recsweep.training.optimizers import Optimizer


class TrainsEpochs(Protocol):
    """What the loop needs of an engine."""

    def train_epoch(
        self,
        epochs: Epochs,
        epoch: int,
        hyper: Mapping[str, Float[np.ndarray, " steps"]],
        rates: Float[np.ndarray, " steps"],
    ) -> dict[str, float]:
        """Train the epoch of this number; returns loss parts, means per user."""


Hyper = dict[str, Float[np.ndarray, " steps"]]
"""The inputs of a network's loss at each step, by name."""


def constant(steps: Float[np.ndarray, " steps"], **values: float) -> Hyper:
    """Constant inputs.

    Args:
        steps: Index of each step.
        values: One value per name.
    """
    return {name: np.full(len(steps), value, np.float32) for name, value in values.items()}


def train_epochs(
    engine: TrainsEpochs,
    epochs: Epochs,
    optimizer: Optimizer,
    hyper_at: Callable[[Float[np.ndarray, " steps"]], Hyper],
    on_epoch: OnEpoch,
    logged: Sequence[str] = (),
) -> None:
    """Train until the epochs are exhausted or `on_epoch` returns False.

    Args:
        engine: The engine with the network.
        epochs: The batches to train on.
        optimizer: Determines each step's learning rate.
        hyper_at: Returns the loss's inputs at each step, given the steps' indices.
        on_epoch: Receives the epoch's losses, the last learning rate and the `logged` inputs.
        logged: Names of inputs returned by `hyper_at`.

    Raises:
        TrainingDivergedError: The loss is no longer finite.
    """
    for epoch in range(epochs.n_epochs):
        steps = np.arange(epochs.n_batches, dtype=np.float64) + epoch * epochs.n_batches
        hyper = hyper_at(steps)
        rates = optimizer.rates(steps / epochs.n_batches, epochs.n_epochs)
        losses = engine.train_epoch(epochs, epoch, hyper, rates)
        if not np.isfinite(losses["loss"]):
            raise TrainingDivergedError(
                f"the loss must stay finite, but it is {losses['loss']} in epoch {epoch + 1}; "
                f"lower optimizer.learning_rate (now {rates[-1]:g}) or model.l2"
            )
        settings = {name: float(hyper[name][-1]) for name in logged}
        if not on_epoch(epoch, {**losses, **settings, "learning_rate": float(rates[-1])}):
            return
