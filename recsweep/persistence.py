"""A fitted model on disk: arrays and YAML, nothing that runs code when it is read.

    model.yaml      the class and its settings
    weights.npz     what it has learned
    items.parquet   original id of each column of its scores
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import yaml

from recsweep.build import build
from recsweep.interfaces import Recommender


def save_model(model: Recommender, spec: Mapping[str, Any], item_ids: np.ndarray, folder: Path) -> None:
    """Write a fitted model.

    Args:
        model: Fitted.
        spec: The configuration it was built from, with `_target_`.
        item_ids: Original id of each column of its scores.
        folder: Made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.yaml").write_text(yaml.safe_dump(dict(spec), sort_keys=False), encoding="utf-8")
    np.savez(folder / "weights.npz", **model.state())  # type: ignore[arg-type]
    pd.DataFrame({"item": item_ids}).to_parquet(folder / "items.parquet", index=False)


def load_model(folder: Path) -> tuple[Recommender, np.ndarray]:
    """Read what `save_model` wrote.

    Returns:
        The model, ready to score, and the original id of each column of its scores.
    """
    spec = yaml.safe_load((folder / "model.yaml").read_text(encoding="utf-8"))
    model = cast("Recommender", build(spec, "model"))
    with np.load(folder / "weights.npz", allow_pickle=False) as weights:
        model.restore(dict(weights))
    return model, pd.read_parquet(folder / "items.parquet")["item"].to_numpy()
