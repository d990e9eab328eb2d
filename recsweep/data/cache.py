"""Prepared splits on disk: cut once, shared by every run, trial and worker."""

import hashlib
import json
import logging
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from filelock import FileLock

from recsweep.data.download import file_sha256
from recsweep.data.source import Source
from recsweep.data.split import Fold, Split
from recsweep.errors import InputError

log = logging.getLogger(__name__)


class Splitter(Protocol):
    """A protocol such as `Strong`: cuts what a source loaded."""

    def split(self, data: Any) -> Split:
        """The split."""


def prepare(source: Source, splitter: Splitter, cache: Path) -> Split:
    """The split of a source, from the cache if it was made before.

    Args:
        source: Where interactions come from.
        splitter: How they are cut.
        cache: Folder for downloads and prepared splits.

    Raises:
        InputError: Something about the data or the folder is wrong.
    """
    files = source.files(cache)
    for file in files:
        if not file.exists():
            raise InputError(f"data.path must name an existing file, but {file} is not there")
    target = cache / "splits" / f"{_key(source, splitter, files)}.npz"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            split = _load(target) if target.exists() else None
            if split is None:
                split = splitter.split(source.load(files))
                _save(split, target)
            return split
    except OSError as error:
        raise InputError(
            f"cache_dir must be a folder that can be written, but {error.strerror or error} "
            f"({error.filename or cache}); set cache_dir=FOLDER"
        ) from error


def _key(source: Source, splitter: Splitter, files: list[Path]) -> str:
    """Changes with the files' content, any setting, or the code of this package."""
    settings = {
        "source": [type(source).__name__, {**_settings(source), "path": None}],
        "splitter": [type(splitter).__name__, _settings(splitter)],
        "files": [file_sha256(file) for file in files],
        "code": [file_sha256(file) for file in sorted(Path(__file__).parent.glob("*.py"))],
    }
    return hashlib.sha256(json.dumps(settings, default=str, sort_keys=True).encode()).hexdigest()[:32]


def _settings(thing: Any) -> dict[str, Any]:
    return asdict(thing)


_MATRICES = ("train", "valid_history", "valid_target", "test_history", "test_target")


def _arrays(split: Split) -> Mapping[str, np.ndarray]:
    matrices = (
        split.train, split.valid.history, split.valid.target, split.test.history, split.test.target,
    )  # fmt: skip
    arrays = {
        f"{name}.{part}": array
        for name, matrix in zip(_MATRICES, matrices, strict=True)
        for part, array in (
            ("indptr", matrix.indptr),
            ("indices", matrix.indices),
            ("data", matrix.data),
        )
    }
    ids = {
        "train_user_ids": split.train_user_ids,
        "valid_user_ids": split.valid.user_ids,
        "test_user_ids": split.test.user_ids,
        "item_ids": split.item_ids,
    }
    texts = {name: a.astype(str) if a.dtype == object else a for name, a in ids.items()}
    return {**arrays, **texts, "fingerprints": np.array([split.data_fingerprint, split.fingerprint])}


def _save(split: Split, target: Path) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, **_arrays(split))  # type: ignore[arg-type]
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _load(target: Path) -> Split | None:
    """The split at `target`, or None when the file is damaged and must be made again."""
    try:
        with np.load(target, allow_pickle=False) as file:
            arrays = dict(file)
        n_items = len(arrays["item_ids"])
        train, valid_history, valid_target, test_history, test_target = (
            _matrix(arrays, name, n_items) for name in _MATRICES
        )
        ids = {
            name: arrays[name].astype(object) if arrays[name].dtype.kind == "U" else arrays[name]
            for name in ("train_user_ids", "valid_user_ids", "test_user_ids", "item_ids")
        }
        data_fingerprint, fingerprint = (str(entry) for entry in arrays["fingerprints"])
        split = Split(
            train=train,
            train_user_ids=ids["train_user_ids"],
            valid=Fold(valid_history, valid_target, ids["valid_user_ids"]),
            test=Fold(test_history, test_target, ids["test_user_ids"]),
            item_ids=ids["item_ids"],
            data_fingerprint=data_fingerprint,
        )
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("prepared split %s is damaged (%s) and is made again", target, error)
        return None
    if split.fingerprint != fingerprint:
        log.warning("prepared split %s does not match its fingerprint and is made again", target)
        return None
    return split


def _matrix(arrays: Mapping[str, np.ndarray], name: str, n_items: int) -> sp.csr_matrix:
    indptr = arrays[f"{name}.indptr"]
    parts = (arrays[f"{name}.data"], arrays[f"{name}.indices"], indptr)
    return sp.csr_matrix(parts, shape=(len(indptr) - 1, n_items))
