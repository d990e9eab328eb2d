"""NaN and infinity in what a model learns, refused by the name of the quantity and its epoch."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from recsweep.errors import TrainingDivergedError

LARGE_WEIGHT = 100
"""Of a penalty in a loss; sweeps search at most 1."""


def refuse_not_finite(values: Mapping[str, Any], remedy: str, epoch: int | None = None) -> None:
    """Check numbers or arrays.

    Args:
        values: By name, such as `train/loss`; anything but floating point is ignored.
        remedy: What to do, see `remedy_for`.
        epoch: Index of their epoch, from 0; None = not known.

    Raises:
        TrainingDivergedError: One is NaN or infinite.
    """
    for name, value in values.items():
        array = np.asarray(value)
        if not np.issubdtype(array.dtype, np.floating) or not array.size:
            continue
        ends = array.min(), array.max()  # without a copy, which may not fit into memory
        if not np.isfinite(ends).all():
            found = f"is {float(ends[0])}" if array.ndim == 0 else "has NaN or infinity"
            when = "" if epoch is None else f" in epoch {epoch + 1}"
            raise TrainingDivergedError(f"{name} must be finite, but {found}{when}; {remedy}")


def remedy_for(model: object) -> str:
    """What to do about a model whose numbers are not finite.

    Args:
        model: Its settings say whether it takes steps or is solved.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        lower = [f"optimizer.learning_rate (now {optimizer.learning_rate:g})"]
        return f"lower {' or '.join([*lower, *_weights_above(LARGE_WEIGHT, model)])}"
    l2 = getattr(model, "l2", None)
    stronger = "" if l2 is None else f", or raise model.l2 (now {l2:g})"
    return f"use smaller values, such as with transform=binary{stronger}"


def remedy_for_equal_scores(model: object) -> str:
    """What to do about a model whose scores are all equal.

    Args:
        model: Its settings say which penalties may have made all weights 0.
    """
    found = _weights_above(0, model)
    return f"lower {' or '.join(found)}" if found else "use more data, or choose another model"


def _weights_above(least: float, model: object) -> list[str]:
    """The model's penalties that are larger, with their values."""
    values = {name: getattr(model, name, 0) for name in ("l1", "l2", "beta")}
    return [
        f"model.{name} (now {value:g})"
        for name, value in values.items()
        if isinstance(value, int | float) and value > least
    ]
