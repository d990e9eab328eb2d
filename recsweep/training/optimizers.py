"""The choices of `optimizer=` for gradient-trained models."""

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
from jaxtyping import Float
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from recsweep import environment
from recsweep.defaults import with_defaults
from recsweep.interfaces import STRICT
from recsweep.memory import refuse_beyond_memory
from recsweep.training.schedules import Schedule, learning_rates

if TYPE_CHECKING:
    import keras


RATES = ("learning_rate", "schedule", "learning_rate_decay")
"""Settings that reach a step only as its learning rate."""


@dataclass(kw_only=True, config=STRICT)
class Optimizer(ABC):
    """An optimizer and its learning rate schedule.

    Args:
        learning_rate: Learning rate of the first step.
        schedule: `none`, `exponential` (rate · decay^epochs) or `cosine` (down to rate · decay).
        learning_rate_decay: Factor per epoch, or the share left at the end; 1 keeps the rate.
    """

    learning_rate: Annotated[float, Field(gt=0, le=10)]
    schedule: Schedule
    learning_rate_decay: Annotated[float, Field(ge=0, le=1)]

    @model_validator(mode="after")
    def _decay_is_used(self) -> Self:
        if self.schedule == "none" and self.learning_rate_decay != 1:
            raise ValueError("schedule=none leaves learning_rate_decay unused: set it to 1")
        if self.schedule == "exponential" and self.learning_rate_decay == 0:
            raise ValueError("schedule=exponential needs a learning_rate_decay above 0")
        if self.schedule == "cosine" and self.learning_rate_decay == 1:
            raise ValueError("schedule=cosine needs a learning_rate_decay below 1, such as 0")
        return self

    @abstractmethod
    def build(self) -> "keras.optimizers.Optimizer":
        """A new Keras optimizer; its learning rate is overwritten at each step."""

    @property
    def n_moments(self) -> int:
        """Numbers that it keeps for each weight."""
        return 2

    def refuse_beyond_memory(self, n_weights: int, what: str, remedy: str) -> None:
        """Check that a training fits: weights, gradients, the best epoch's copy and moments.

        Args:
            n_weights: Numbers that are trained.
            what: What has them, such as `model=bpr`.
            remedy: What the user can do.

        Raises:
            InputError: Less memory is available.
        """
        n_bytes = 4 * (3 + self.n_moments) * n_weights
        what, room = f"{what} with {n_weights:,} weights", environment.device_memory()
        if room is not None:  # all of it is on the device, and the host has the initial weights
            refuse_beyond_memory(n_bytes, f"{what} on {environment.device()}", remedy, room)
            n_bytes = 4 * n_weights
        refuse_beyond_memory(n_bytes, what, remedy)

    def constants(self) -> tuple[Hashable, ...]:
        """The settings compiled into a step: all except the learning rate, which is its input."""
        settings = {key: value for key, value in vars(self).items() if key not in RATES}
        return type(self), *sorted(settings.items())

    def rates(
        self, progress: Float[np.ndarray, " steps"], n_epochs: int
    ) -> Float[np.ndarray, " steps"]:
        """The learning rate of each step; `progress` is the number of epochs done before it."""
        return learning_rates(
            self.schedule, self.learning_rate, self.learning_rate_decay, progress, n_epochs
        )


@with_defaults("optimizer")
@dataclass(kw_only=True, config=STRICT)
class Adam(Optimizer):
    """Kingma & Ba 2015, with Keras' β₁ = .9, β₂ = .999, ε = 1e-7."""

    def build(self) -> "keras.optimizers.Optimizer":
        """A new Keras Adam."""
        import keras  # loads a backend: only for training

        from recsweep.training.backend import fused

        return fused(keras.optimizers.Adam)(learning_rate=self.learning_rate)


@with_defaults("optimizer")
@dataclass(kw_only=True, config=STRICT)
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019).

    Args:
        weight_decay: Fraction of each weight subtracted per step, times the learning rate.
    """

    weight_decay: Annotated[float, Field(ge=0, le=1)]

    def build(self) -> "keras.optimizers.Optimizer":
        """A new Keras AdamW."""
        import keras  # loads a backend: only for training

        from recsweep.training.backend import fused

        return fused(keras.optimizers.AdamW)(
            learning_rate=self.learning_rate, weight_decay=self.weight_decay
        )


@with_defaults("optimizer")
@dataclass(kw_only=True, config=STRICT)
class SGD(Optimizer):
    """Stochastic gradient descent.

    Args:
        momentum: Fraction of the previous step kept; 0 = plain SGD.
    """

    momentum: Annotated[float, Field(ge=0, le=0.999999)]

    @property
    def n_moments(self) -> int:
        """One, or none without momentum."""
        return int(self.momentum > 0)

    def build(self) -> "keras.optimizers.Optimizer":
        """A new Keras SGD."""
        import keras  # loads a backend: only for training

        return keras.optimizers.SGD(learning_rate=self.learning_rate, momentum=self.momentum)
