"""Learning rates and warm-ups as arrays over steps, which are inputs of a compiled epoch."""

from typing import Literal

import numpy as np
from jaxtyping import Float

Schedule = Literal["none", "exponential", "cosine"]


def learning_rates(
    schedule: Schedule,
    learning_rate: float,
    decay: float,
    progress: Float[np.ndarray, " steps"],
    n_epochs: int,
) -> Float[np.ndarray, " steps"]:
    """The learning rate of each step.

    Args:
        schedule: `none`: constant. `exponential`: learning_rate · decay^t with t in epochs.
            `cosine`: half a cosine from learning_rate down to learning_rate · decay.
        learning_rate: Learning rate of the first step.
        decay: `exponential`: factor per epoch; `cosine`: share of the rate left at the end.
        progress: Epochs done before each step, as a fraction.
        n_epochs: Length of the whole training, in epochs.
    """
    if schedule == "exponential":
        factors = decay**progress
    elif schedule == "cosine":
        factors = decay + (1 - decay) * (1 + np.cos(np.pi * progress / n_epochs)) / 2
    else:
        factors = np.ones_like(progress)
    return (learning_rate * factors).astype(np.float32)


def linear_warmup(
    cap: float, warmup_steps: int, steps: Float[np.ndarray, " steps"]
) -> Float[np.ndarray, " steps"]:
    """A weight that rises linearly from 0 to `cap` in `warmup_steps` and stays there.

    Args:
        cap: The final weight.
        warmup_steps: Steps until it is reached; 0 = `cap` from the first step.
        steps: Index of each step, from 0.

    Source:
        Liang et al. 2018, section 2.2.2 (KL annealing).
    """
    share = np.minimum(1.0, steps / warmup_steps) if warmup_steps else np.ones_like(steps)
    return (cap * share).astype(np.float32)
