"""Checkpoints: a fitted model is a folder of arrays and YAML; loading it executes no stored code.

model.yaml      the class and its settings
weights.npz     its learned arrays
items.parquet   original id of each score column
SHA256SUMS      checksums of the three, as `sha256sum` writes and checks them
"""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from recsweep.build import build
from recsweep.errors import InputError
from recsweep.files import file_sha256
from recsweep.interfaces import Recommender
from recsweep.run_files import parse_yaml, read, write_yaml

CHECKSUMS = "SHA256SUMS"
SPEC, WEIGHTS, ITEMS = MODEL_FILES = ("model.yaml", "weights.npz", "items.parquet")


def save_model(
    model: Recommender, spec: Mapping[str, Any], item_ids: np.ndarray, folder: Path
) -> None:
    """Write a fitted model.

    Args:
        model: Fitted.
        spec: The configuration it was built from, with `_target_`.
        item_ids: Original id of each column of its scores.
        folder: Created if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_yaml(folder / SPEC, dict(spec))
    np.savez(folder / WEIGHTS, **model.state())  # type: ignore[arg-type]
    pd.DataFrame({"item": item_ids}).to_parquet(folder / ITEMS, index=False)
    write_checksums(folder)


def load_model(folder: Path) -> tuple[Recommender, np.ndarray]:
    """Read a model written by `save_model`.

    Returns:
        The model, ready to score, and the original id of each column of its scores.

    Raises:
        InputError: A file is missing or was changed.
    """
    _refuse_changed(folder)
    model = cast("Recommender", read(folder / SPEC, _model, object))
    read(folder / WEIGHTS, lambda file: model.restore(_arrays(file)), type(None))
    return model, read_item_ids(folder)


def read_item_ids(folder: Path) -> np.ndarray:
    """Original id of each column of a saved model's scores."""
    return read(folder / ITEMS, lambda file: pd.read_parquet(file)["item"].to_numpy(), np.ndarray)


def _model(file: Path) -> Recommender:
    model = build(parse_yaml(file), "model")
    if not hasattr(model, "restore"):
        raise TypeError(f"{type(model).__name__} is no model")
    return cast("Recommender", model)


def _arrays(file: Path) -> dict[str, np.ndarray]:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as weights:
            return dict(weights)
    except (zipfile.BadZipFile, zlib.error, EOFError, MemoryError) as error:
        raise ValueError(error) from error


def write_checksums(folder: Path) -> None:
    """Write the checksums of a model's files."""
    sums = "".join(f"{file_sha256(folder / name)}  {name}\n" for name in MODEL_FILES)
    (folder / CHECKSUMS).write_text(sums, encoding="utf-8")


def _refuse_changed(folder: Path) -> None:
    """Verify the checksums of a model's files before anything is built from them."""
    if not (folder / CHECKSUMS).is_file():
        raise InputError(
            f"a model must have its checksums, but {folder / CHECKSUMS} is not there; copy "
            "the run's whole folder again, or train the model again"
        )
    lines = (folder / CHECKSUMS).read_text(encoding="utf-8", errors="replace").splitlines()
    saved = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name in MODEL_FILES:
        file = folder / name
        found = file_sha256(file) if file.is_file() else "missing"
        if found != saved.get(name):
            raise InputError(
                f"{file} must be the file that was saved, sha256 {saved.get(name, 'unknown')}, "
                f"but is {found}; copy the run's whole folder again, or train the model again"
            )
