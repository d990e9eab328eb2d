"""What is kept on disk: a fitted model, and folders that appear whole or not at all.

A model is a folder of arrays and YAML, nothing that runs code when it is read:

    model.yaml      the class and its settings
    weights.npz     what it has learned
    items.parquet   original id of each column of its scores
    SHA256SUMS      checksums of the three, as `sha256sum` writes and checks them
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
from recsweep.data.disk import disk_errors_in_one_line, file_sha256
from recsweep.errors import InputError
from recsweep.interfaces import Recommender

CHECKSUMS = "SHA256SUMS"
MODEL_FILES = ("model.yaml", "weights.npz", "items.parquet")


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
    write_checksums(folder)


def load_model(folder: Path) -> tuple[Recommender, np.ndarray]:
    """Read what `save_model` wrote.

    Returns:
        The model, ready to score, and the original id of each column of its scores.

    Raises:
        InputError: A file is missing, or no longer what was saved.
    """
    _refuse_changed(folder)
    spec = yaml.safe_load((folder / "model.yaml").read_text(encoding="utf-8"))
    model = cast("Recommender", build(spec, "model"))
    with np.load(folder / "weights.npz", allow_pickle=False) as weights:
        model.restore(dict(weights))
    return model, pd.read_parquet(folder / "items.parquet")["item"].to_numpy()


def write_checksums(folder: Path) -> None:
    """Note what a model's files are now."""
    sums = "".join(f"{file_sha256(folder / name)}  {name}\n" for name in MODEL_FILES)
    (folder / CHECKSUMS).write_text(sums, encoding="utf-8")


def _refuse_changed(folder: Path) -> None:
    """Hold every file of a model against its checksum, before anything is built from it."""
    if not (folder / CHECKSUMS).is_file():
        raise InputError(
            f"a model must come with its checksums, but {folder / CHECKSUMS} is not there; copy "
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


def refuse_file(target: Path, setting: str, overwrite: bool) -> Path:
    """Find out before long work whether a new file could be written there.

    Args:
        target: The file.
        setting: Where the user can say another one.
        overwrite: Whether it may already be there.

    Returns:
        `target`, absolute.

    Raises:
        InputError: It exists, or cannot be written.
    """
    file = target.absolute()
    with disk_errors_in_one_line(file, setting):
        place = next(path for path in file.parents if path.exists())
        if not (place.is_dir() and os.access(place, os.W_OK)):
            found, do = f"{place} is no such folder", "fix it"
        elif file.is_dir():
            found, do = f"{file} is a folder itself", "name a file in it"
        elif file.exists() and not overwrite:
            found = f"{file} is already there"
            do = f"set {setting.rpartition('.')[0]}.overwrite=true"
        else:
            return file
    raise InputError(
        f"{setting} must be a new file in a folder that can be written, but {found}; {do}, or "
        f"give {setting}=FILE"
    )
