"""Whole runs that take a moment, and what they wrote."""

import json
from pathlib import Path
from typing import Any

SMALL_DATA = ("data=synthetic", "data.n_users=120", "data.n_items=50", "k=[5,10]")
"""A data set for runs that only have to go through."""

SMALL = (
    *SMALL_DATA, "model.n_epochs=3", "model.hidden_dims=[16]", "model.latent_dim=8",
    "model.beta_warmup_steps=0",
)  # fmt: skip
"""With it, a network that trains in a moment."""


def metrics(folder: Path) -> dict[str, Any]:
    """The metrics that a run in `folder` wrote."""
    found: dict[str, Any] = json.loads((folder / "results" / "metrics.json").read_text("utf-8"))
    return found
