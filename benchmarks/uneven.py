"""A model that takes as long as it is told to, for benchmarks/sweep.py."""

import time
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.interfaces import CSR, STRICT, OnEpoch, State
from recsweep.seeds import Seeds


@dataclass(kw_only=True, config=STRICT)
class Uneven:
    """Popularity after a sleep of `seconds`."""

    seconds: Annotated[float, Field(ge=0)]

    def __post_init__(self) -> None:
        self._counts: State = {}

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:  # noqa: ARG002 - no draw
        """Wait, then count."""
        time.sleep(self.seconds)
        self._counts = {"counts": np.asarray(train.sum(axis=0), np.float32).ravel()}
        on_epoch(0, {})

    def score(self, history: CSR) -> Any:
        """The same for everyone."""
        return np.tile(self._counts["counts"], (history.shape[0], 1))

    def state(self) -> State:
        """The counts."""
        return self._counts

    def restore(self, state: State) -> None:
        """Take them over."""
        self._counts = state
