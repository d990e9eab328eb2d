"""Popularity: everyone gets the items that most users clicked."""

from typing import Any

import numpy as np
from pydantic.dataclasses import dataclass

from recsweep.interfaces import CSR, STRICT, OnEpoch, State
from recsweep.seeds import Seeds


@dataclass(kw_only=True, config=STRICT)
class Popularity:
    """The same scores for every user: the sum of each item's training values."""

    def __post_init__(self) -> None:
        self._totals: np.ndarray | None = None

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:  # noqa: ARG002 - no draw
        """Add up each item's column."""
        self._totals = np.asarray(train.sum(axis=0), np.float32).ravel()
        on_epoch(0, {})

    def score(self, history: CSR) -> Any:
        """The totals once per user: users × items."""
        return np.broadcast_to(self.state()["totals"], history.shape)

    def state(self) -> State:
        """The totals."""
        if self._totals is None:
            raise RuntimeError("a model must be fitted or restored first; call fit or restore")
        return {"totals": self._totals}

    def restore(self, state: State) -> None:
        """Take over the totals."""
        self._totals = state["totals"]
