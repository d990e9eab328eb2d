"""NaN and infinity in what a model learns, refused by the name of the quantity and its epoch."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from recsweep.errors import TrainingDivergedError


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
        return f"lower optimizer.learning_rate (now {optimizer.learning_rate:g})"
    l2 = getattr(model, "l2", None)
    stronger = "" if l2 is None else f", or raise model.l2 (now {l2:g})"
    return f"use smaller values, such as with transform=binary{stronger}"
