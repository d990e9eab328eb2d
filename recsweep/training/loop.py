"""The epoch loop that every gradient-trained model shares."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from recsweep.errors import TrainingDivergedError
from recsweep.interfaces import OnEpoch
from recsweep.training.batches import Epochs
from recsweep.training.engine import Engine
from recsweep.training.optimizers import Optimizer

Hyper = dict[str, Float[np.ndarray, " steps"]]
"""What a network's loss is given at each step, by name."""


def constant(steps: Float[np.ndarray, " steps"], **values: float) -> Hyper:
    """Inputs that stay as they are.

    Args:
        steps: Index of each step.
        values: One per name.
    """
    return {name: np.full(len(steps), value, np.float32) for name, value in values.items()}


def train_epochs(
    engine: Engine,
    epochs: Epochs,
    optimizer: Optimizer,
    hyper_at: Callable[[Float[np.ndarray, " steps"]], Hyper],
    on_epoch: OnEpoch,
    logged: Sequence[str] = (),
) -> None:
    """Train until the epochs are used up or `on_epoch` answers False.

    Args:
        engine: Holds the network.
        epochs: What it reads.
        optimizer: Gives each step's learning rate.
        hyper_at: Gives the loss's inputs at each step, from the steps' indices.
        on_epoch: Is told the epoch's losses, the last learning rate and the `logged` inputs.
        logged: Names among what `hyper_at` gives.

    Raises:
        TrainingDivergedError: The loss is no longer a finite number.
    """
    for epoch, batches in enumerate(epochs):
        steps = np.arange(epochs.n_batches, dtype=np.float64) + epoch * epochs.n_batches
        hyper = hyper_at(steps)
        rates = optimizer.rates(steps / epochs.n_batches, epochs.n_epochs)
        losses = engine.train(batches, hyper, rates)
        del batches  # before the next epoch's are made
        if not np.isfinite(losses["loss"]):
            raise TrainingDivergedError(
                f"the loss must stay finite, but it is {losses['loss']} in epoch {epoch + 1}; "
                f"lower optimizer.learning_rate (now {rates[-1]:g}) or model.l2"
            )
        settings = {name: float(hyper[name][-1]) for name in logged}
        if not on_epoch(epoch, {**losses, **settings, "learning_rate": float(rates[-1])}):
            return
