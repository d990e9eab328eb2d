"""Changes to a saved model that an attacker or a damaged disk could make."""

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from recsweep.persistence import ITEMS, SPEC, WEIGHTS

State = dict[str, Any]


def state_of(folder: Path) -> State:
    with np.load(folder / WEIGHTS) as arrays:
        return dict(arrays)


def largest(state: State) -> str:
    """The name of the array with the most floats."""
    return max((n for n in state if state[n].dtype.kind == "f"), key=lambda name: state[name].size)


def rewrite(folder: Path, **arrays: np.ndarray | None) -> None:
    """Save the weights again with other arrays; None leaves one out."""
    state = {**state_of(folder), **arrays}
    kept = {name: array for name, array in state.items() if array is not None}
    np.savez(folder / WEIGHTS, **kept)  # type: ignore[arg-type]


def change_largest(folder: Path, change: Callable[[np.ndarray], np.ndarray | None]) -> None:
    state = state_of(folder)
    name = largest(state)
    rewrite(folder, **{name: change(state[name])})


def change_part(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda folder: rewrite(folder, **{name: change(state_of(folder)[name])})


def with_last(value: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda array: np.append(array[:-1], array.dtype.type(value))


def with_value(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array.flat[-1] = value
        return array

    return change


def state_terabytes(folder: Path) -> None:
    """A header of 10^12 numbers before those that were there."""
    state = state_of(folder)
    name = largest(state)
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        out, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)}
    )
    replace_member(folder, f"{name}.npy", out.getvalue() + state[name].tobytes())


def replace_member(folder: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(folder / WEIGHTS) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    with zipfile.ZipFile(folder / WEIGHTS, "w") as archive:
        for each, before in {**members, name: content}.items():
            archive.writestr(each, before)


def nest_header(folder: Path) -> None:
    header = b"{'descr':" + b"-" * 9_000 + b"1}"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    replace_member(folder, f"{largest(state_of(folder))}.npy", content)


def compress_a_bomb(folder: Path) -> None:
    """A kilobyte for each megabyte of zeros."""
    zeros = dict.fromkeys(state_of(folder), np.zeros((1 << 9, 1 << 12), np.float32))
    np.savez_compressed(folder / WEIGHTS, **zeros)


def repeat_a_member(folder: Path) -> None:
    with zipfile.ZipFile(folder / WEIGHTS, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        archive.writestr(archive.namelist()[0], b"")


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def change_ids(folder: Path, change: Callable[[pd.Series], Any]) -> None:
    items = change(pd.read_parquet(folder / ITEMS)["item"])
    pd.DataFrame({"item": items}).to_parquet(folder / ITEMS, index=False)


def point_to_another_index(folder: Path) -> None:
    """What the file says of pandas' index is made up."""
    table = pq.read_table(folder / ITEMS)
    note = json.dumps({"index_columns": [7], "columns": [{"name": None}], "column_indexes": 3})
    pq.write_table(table.replace_schema_metadata({"pandas": note}), folder / ITEMS)


def write_many_ids(folder: Path) -> None:
    """A million equal ids of a kilobyte each: a file of kilobytes, and of a gigabyte in memory."""
    codes = pa.array(np.zeros(1 << 20, np.int8))
    ids = pa.DictionaryArray.from_arrays(codes, pa.array(["x" * 1000]))
    pq.write_table(pa.table({"item": ids}), folder / ITEMS)


def set_spec(folder: Path, **settings: Any) -> None:
    spec = yaml.safe_load((folder / SPEC).read_text("utf-8"))
    (folder / SPEC).write_text(yaml.safe_dump({**spec, **settings}), "utf-8")


TAMPERINGS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "objects": (
        "must hold numbers of this machine, but is object",
        lambda f: change_largest(f, lambda array: array.astype(object)),
    ),
    "an array is missing": ("must hold the arrays", lambda f: change_largest(f, lambda _: None)),
    "an array more": ("must hold the arrays", lambda f: rewrite(f, more=np.zeros(3, np.float32))),
    "another shape": (
        "must be|must ascend",
        lambda f: change_largest(f, lambda array: array[:-1]),
    ),
    "one axis more": ("must be", lambda f: change_largest(f, lambda array: array[None])),
    "whole numbers for floats": (
        "must hold floats of 4 or 8 bytes, but is int32",
        lambda f: change_largest(f, lambda array: array.astype(np.int32)),
    ),
    "text": (
        "must hold floats of 4 or 8 bytes, but is <U",
        lambda f: change_largest(f, lambda array: array.astype(str)),
    ),
    "the other byte order": (
        "must hold numbers of this machine, but is >f4",
        lambda f: change_largest(f, lambda array: array.astype(">f4")),
    ),
    "NaN": ("has NaN or infinity", lambda f: change_largest(f, with_value(np.nan))),
    "infinity": ("has NaN or infinity", lambda f: change_largest(f, with_value(-np.inf))),
    "a terabyte in a header": ("must have the size that its header states", state_terabytes),
    "a header nested deeply": ("must be an array, but is not one", nest_header),
    "half of the weights": ("BadZipFile", lambda f: truncate(f / WEIGHTS)),
    "no archive": ("BadZipFile", lambda f: (f / WEIGHTS).write_bytes(b"\x80\x04K\x01.")),
    "an empty file": ("BadZipFile", lambda f: (f / WEIGHTS).write_bytes(b"")),
    "a compressed bomb": ("larger than the file|not compressed", compress_a_bomb),
    "an array twice": ("2 times", repeat_a_member),
    "a file that is no array": (
        "must be an array that is not compressed",
        lambda f: replace_member(f, "model.pkl", b"\x80\x04K\x01."),
    ),
    "an id less": ("must be|must hold|must ascend", lambda f: change_ids(f, lambda ids: ids[:-1])),
    "an id more": (
        "must be|must hold",
        lambda f: change_ids(f, lambda ids: [*ids.astype(str), "one more"]),
    ),
    "an id twice": (
        "ids must be unique",
        lambda f: change_ids(f, lambda ids: [*ids[:-1], ids[0]]),
    ),
    "an id missing": (
        "every id must be a text or a whole number",
        lambda f: change_ids(f, lambda ids: [*ids[:-1].astype(str), None]),
    ),
    "a million ids": ("must be|must hold|must have", write_many_ids),
    "half of the ids": ("items.parquet", lambda f: truncate(f / ITEMS)),
    "a made-up index": ("items.parquet", point_to_another_index),
    "YAML that is none": ("model.yaml", lambda f: (f / SPEC).write_text("a: [", "utf-8")),
    "a list": ("model.yaml", lambda f: (f / SPEC).write_text("[1]", "utf-8")),
    "no class": ("model.yaml", lambda f: (f / SPEC).write_text("{}", "utf-8")),
    "a class that is no model": (
        "must describe a model, but describes a NDCG",
        lambda f: (f / SPEC).write_text("_target_: recsweep.metrics.ndcg.NDCG\n", "utf-8"),
    ),
    "an unknown setting": ("model.yaml: unknown key model.evil", lambda f: set_spec(f, evil=1)),
}
"""Name -> what the message must say, as a regular expression, and what is done to the folder."""

OF_SPARSE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a column beyond the catalogue": (
        "indices must be columns from 0 to",
        change_part("indices", with_last(2**31 - 1)),
    ),
    "a negative column": (
        "indices must be columns from 0 to",
        change_part("indices", with_last(-1)),
    ),
    "rows that descend": (
        "indptr must ascend",
        change_part("indptr", lambda part: np.append(part[-2::-1], part[-1])),
    ),
    "a last row beyond the entries": (
        "indptr must ascend",
        change_part("indptr", with_last(2**31 - 1)),
    ),
    "columns that are no whole numbers": (
        "indices must hold whole numbers of 4 or 8 bytes",
        change_part("indices", lambda part: part.astype(np.float32)),
    ),
}
"""Likewise, of models that store a sparse matrix."""
