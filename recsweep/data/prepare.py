"""Prepared splits on disk: made once, shared by every run, trial and worker."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recsweep import source_code
from recsweep.data.leaks import refuse_leaks
from recsweep.data.matrix import pack_ids, unpack_ids
from recsweep.data.sources.source import Source
from recsweep.data.split import Fold, Split, Splitter
from recsweep.data.transform import Transform, apply_transform
from recsweep.errors import InputError
from recsweep.files import (
    disk_errors_in_one_line,
    file_sha256,
    no_file,
    read_errors_in_one_line,
    sole_writer,
    whole_file,
)
from recsweep.interfaces import CSR
from recsweep.learned_arrays import CSR_PARTS
from recsweep.messages import describe_error
from recsweep.run_files import DAMAGE
from recsweep.stored_files import read_arrays, sparse_rows

log = logging.getLogger(__name__)

MATRICES = ("train", "valid_history", "valid_target", "test_history", "test_target")
IDS = ("train_user_ids", "valid_user_ids", "test_user_ids", "item_ids")


def prepare(source: Source, transform: Transform, splitter: Splitter, cache: Path) -> Split:
    """The split of a source, from the cache if it was prepared before.

    Args:
        source: The source of the interactions.
        transform: How their values are transformed.
        splitter: How they are split.
        cache: Folder for downloads and prepared splits.

    Raises:
        InputError: The data or the folder cannot be used.
    """
    with read_errors_in_one_line(source.path or cache):
        files = source.files(cache)
        for file in files:
            if not file.is_file():
                here = "" if file.is_absolute() else f" in {Path.cwd()}"
                raise InputError(
                    f"data.path must name a file, but {file} {no_file(file)}{here}; give another "
                    "path"
                )
        key = _key([source, transform, splitter], [*files, *splitter.files()])
        target = cache / "splits" / f"{key}.npz"
    with disk_errors_in_one_line(cache, "cache_dir"), sole_writer(target):
        split = _loaded(target) if target.is_file() else None
        if split is None:
            with read_errors_in_one_line(source.path or cache):
                data = source.load(files)
                if isinstance(data, Split):
                    refuse_leaks(data, has_shared_users=source.has_shared_users)
                split = splitter.split(apply_transform(data, transform))
            with whole_file(target) as out:
                np.savez(out, allow_pickle=False, **_arrays(split))
    return split


def _key(steps: list[object], files: list[Path]) -> str:
    """A key that changes with file contents, settings, and the code of this package or a class."""
    described = [_described(step) for step in steps]
    settings = {
        "steps": [{**step, "path": None} for step in described],
        "files": [_content(file) for file in files],
        "package": source_code.of_folder(Path(__file__).parent),
        "code": source_code.of_names(source_code.targets(described)),
    }
    text = json.dumps(settings, default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _content(file: Path) -> str:
    with read_errors_in_one_line(file):
        return file_sha256(file)


def _described(value: Any) -> Any:
    """A step and its parts, as a configuration would describe them."""
    if isinstance(value, Mapping):
        return {str(key): _described(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_described(each) for each in value]
    if not is_dataclass(value):
        return value
    settings = {field.name: _described(getattr(value, field.name)) for field in fields(value)}
    return {"_target_": f"{type(value).__module__}.{type(value).__qualname__}", **settings}


def _arrays(split: Split) -> dict[str, np.ndarray]:
    ids = (split.train_user_ids, split.valid.user_ids, split.test.user_ids, split.item_ids)
    arrays = {name: pack_ids(each) for name, each in zip(IDS, ids, strict=True)}
    for name, matrix in zip(MATRICES, split.matrices, strict=True):
        arrays[f"{name}.indptr"] = matrix.indptr
        arrays[f"{name}.indices"] = matrix.indices
        arrays[f"{name}.data"] = matrix.data
    for name, fold in (("valid", split.valid), ("test", split.test)):
        if fold.n_unknown is not None:
            arrays[f"{name}_n_unknown"] = fold.n_unknown
    return {**arrays, "fingerprints": np.array([split.data_fingerprint, split.fingerprint])}


def _loaded(target: Path) -> Split | None:
    """The split at `target`, or None if the file is damaged and must be made again."""
    try:
        arrays = read_arrays(target)
        data_fingerprint, fingerprint = (str(entry) for entry in arrays["fingerprints"])
        split = _split(arrays, data_fingerprint)
        damage = "" if split.fingerprint == fingerprint else "not what its fingerprint says"
    except DAMAGE as error:
        damage = describe_error(error)
    if damage:
        log.warning("prepared split %s is damaged (%s): rebuilding it", target, damage)
        return None
    return split


def _split(arrays: Mapping[str, np.ndarray], data_fingerprint: str) -> Split:
    train_users, valid_users, test_users, items = (unpack_ids(arrays[name]) for name in IDS)
    train, valid_history, valid_target, test_history, test_target = (
        _matrix(arrays, name, len(items)) for name in MATRICES
    )
    return Split(
        train=train,
        train_user_ids=train_users,
        valid=Fold(valid_history, valid_target, valid_users, arrays.get("valid_n_unknown")),
        test=Fold(test_history, test_target, test_users, arrays.get("test_n_unknown")),
        item_ids=items,
        data_fingerprint=data_fingerprint,
    )


def _matrix(arrays: Mapping[str, np.ndarray], name: str, n_items: int) -> CSR:
    return sparse_rows([arrays[f"{name}.{part}"] for part in CSR_PARTS], n_items)
