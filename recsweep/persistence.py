"""Checkpoints: a fitted model is a folder of arrays and YAML; loading it executes no stored code.

model.yaml      the class and its settings
weights.npz     its learned arrays
items.parquet   original id of each score column
SHA256SUMS      checksums of the three, as `sha256sum` writes and checks them
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsweep.build import build
from recsweep.divergence import refuse_not_finite, remedy_for
from recsweep.errors import InputError
from recsweep.files import file_sha256
from recsweep.interfaces import HasShapes, Recommender, State
from recsweep.learned_arrays import CSR_PARTS
from recsweep.messages import shorten
from recsweep.run_files import read, read_yaml, write_yaml
from recsweep.stored_files import n_rows_of, read_arrays, read_table, sparse_rows
from recsweep.trust import refuse_foreign

CHECKSUMS = "SHA256SUMS"
SHOWN_CHARACTERS = 60
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

    Raises:
        TrainingDivergedError: A weight is NaN or infinite.
    """
    state = model.state()
    weights = {f"weight {name}": array for name, array in state.items()}
    refuse_not_finite(weights, remedy_for(model))
    folder.mkdir(parents=True, exist_ok=True)
    write_yaml(folder / SPEC, dict(spec))
    np.savez(folder / WEIGHTS, **state)  # type: ignore[arg-type]
    pd.DataFrame({"item": item_ids}).to_parquet(folder / ITEMS, index=False)
    write_checksums(folder)


def load_model(folder: Path, trusted: Collection[str] = ()) -> tuple[Recommender, np.ndarray]:
    """Read a model written by `save_model`.

    Args:
        folder: Its folder.
        trusted: Modules and classes whose code may be imported, see `recsweep.trust`.

    Returns:
        The model, ready to score, and the original id of each column of its scores.

    Raises:
        InputError: A file is missing, was changed, or does not go with the others, or its class is
            not trusted.
    """
    _refuse_changed(folder)
    model = _built(folder / SPEC, trusted)
    n_items = read(folder / ITEMS, n_rows_of, int)
    weights = read(folder / WEIGHTS, lambda file: _weights(file, model, n_items), dict)
    item_ids = read_item_ids(folder)
    model.restore(weights)
    return model, item_ids


def read_item_ids(folder: Path) -> np.ndarray:
    """Original id of each column of a saved model's scores.

    Raises:
        InputError: The file is damaged, or has an id twice.
    """
    return read(folder / ITEMS, _item_ids, np.ndarray)


def _item_ids(file: Path) -> np.ndarray:
    table = read_table(file, n_rows_of(file))
    if "item" not in table:
        raise ValueError("it must have a column item, but has none")
    ids = table["item"]
    if ids.dtype.kind not in "iu" and not all(isinstance(each, str) for each in ids):
        raise ValueError("every id must be a text or a whole number, but some are not")
    if not ids.is_unique:
        again = shorten(repr(ids[ids.duplicated()].iloc[0]), SHOWN_CHARACTERS)
        raise ValueError(f"ids must be unique, but {again} is repeated")
    return ids.to_numpy()


def _built(file: Path, trusted: Collection[str]) -> Recommender:
    """An unfitted model with the saved settings."""
    spec = read_yaml(file)
    refuse_foreign({"model": spec}, trusted, str(file.parent))
    try:
        model = build(spec, "model")
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    if not isinstance(model, Recommender):
        raise InputError(
            f"{file} must describe a model, but describes a {type(model).__name__}; copy the "
            "run's whole folder again, or train again"
        )
    return model


def _weights(file: Path, model: Recommender, n_items: int) -> State:
    """The arrays of a model with so many items."""
    try:
        shapes = model.shapes(n_items) if isinstance(model, HasShapes) else None
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    weights = read_arrays(file, shapes)
    if weights.keys() >= set(CSR_PARTS):
        sparse_rows([weights[name] for name in CSR_PARTS], n_items)
    return weights


def write_checksums(folder: Path) -> None:
    """Write the checksums of a model's files."""
    sums = "".join(f"{file_sha256(folder / name)}  {name}\n" for name in MODEL_FILES)
    (folder / CHECKSUMS).write_text(sums, encoding="utf-8")


def _refuse_changed(folder: Path) -> None:
    """Verify the checksums of a model's files before anything is built from them."""
    if not (folder / CHECKSUMS).is_file():
        raise InputError(
            f"a model must have its checksums, but {folder / CHECKSUMS} is missing; copy the "
            "run's whole folder again, or train the model again"
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
