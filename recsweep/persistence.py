"""What is kept on disk: a fitted model, and folders that appear whole or not at all.

A model is a folder of arrays and YAML, nothing that runs code when it is read:

    model.yaml      the class and its settings
    weights.npz     what it has learned
    items.parquet   original id of each column of its scores
"""

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import yaml

from recsweep.build import build
from recsweep.data.disk import disk_errors_in_one_line
from recsweep.errors import InputError
from recsweep.interfaces import Recommender


def save_model(
    model: Recommender, spec: Mapping[str, Any], item_ids: np.ndarray, folder: Path
) -> None:
    """Write a fitted model.

    Args:
        model: Fitted.
        spec: The configuration it was built from, with `_target_`.
        item_ids: Original id of each column of its scores.
        folder: Made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(dict(spec), sort_keys=False, allow_unicode=True)
    (folder / "model.yaml").write_text(text, encoding="utf-8")
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


@contextmanager
def whole_folder(target: Path, setting: str) -> Iterator[Path]:
    """A folder beside `target` that takes its name in one step, once all files are written.

    Args:
        target: Must not exist yet, or be empty.
        setting: Where the user can say another folder.

    Raises:
        InputError: The disk refuses, or `target` holds something.
    """
    unfinished = target.absolute().with_name(f".{target.name}.{uuid.uuid4().hex}")
    made = [parent for parent in unfinished.parents if not parent.exists()]
    with disk_errors_in_one_line(target, setting):
        try:
            unfinished.mkdir(parents=True)
            yield unfinished
            unfinished.replace(target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
            with suppress(OSError):  # not empty, as it should be
                for parent in made:
                    parent.rmdir()


def refuse_folder(target: Path, setting: str) -> None:
    """Find out before long work whether `whole_folder` could write there.

    Raises:
        InputError: It holds something, or cannot be made.
    """
    with disk_errors_in_one_line(target, setting):
        place = next(path for path in (target, *target.absolute().parents) if path.exists())
        is_free = place.is_dir() and os.access(place, os.W_OK)
        if is_free and not (place == target and any(place.iterdir())):
            return
    raise InputError(
        f"{setting} must be a new or empty folder that can be written, but {place} is not; give "
        f"{setting}=FOLDER"
    )
