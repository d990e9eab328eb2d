"""Reads and writes a strong split in the format of Liang et al. 2018: a folder of CSV files.

`train.csv`, `validation_tr.csv`, `validation_te.csv`, `test_tr.csv` and `test_te.csv` have columns
uid and sid; line k of `unique_sid.txt` (optional) is the original id of sid k.
"""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic.dataclasses import dataclass

from recsweep.data.columns import KNOWN, plain
from recsweep.data.formats import Layout
from recsweep.data.ids import id_text
from recsweep.data.interactions import quote, typed_ids
from recsweep.data.matrix import fingerprint, from_pairs, matrix_arrays, repeated_pairs
from recsweep.data.sources.source import Source, files_of_folder
from recsweep.data.split import Fold, Split
from recsweep.data.table import read_table
from recsweep.errors import InputError
from recsweep.files import disk_errors_in_one_line, no_file
from recsweep.interfaces import CSR, STRICT

log = logging.getLogger(__name__)

PARTS = ("train", "validation_tr", "validation_te", "test_tr", "test_te")
NAMES = "unique_sid.txt"


@dataclass(kw_only=True, config=STRICT)
class Liang(Source):
    """A split stored as a folder of CSV files."""

    def files(self, cache: Path) -> list[Path]:  # noqa: ARG002 - nothing to download
        """The five files, and the item ids if present."""
        if self.path is None:
            raise InputError(
                "data=liang needs the folder with the five CSV files; give data.path=FOLDER"
            )
        files = files_of_folder(self.path, [f"{part}.csv" for part in PARTS])
        names = self.path / NAMES
        if names.is_file():
            return [*files, names]
        if (found := no_file(names)) != "is not there":
            raise InputError(
                f"{names} must be a file with an item id per line, but {found}; fix it, or remove "
                "it to use the sids as ids"
            )
        return files

    def load(self, files: list[Path]) -> Split:
        """The split."""
        tables = {file.stem: _read_pairs(file) for file in files[: len(PARTS)]}
        item_ids = _item_ids(files, tables)
        users = np.unique(tables["train"]["user"])
        train = _matrix(tables["train"], users, len(item_ids), files[0])
        valid, test = (
            _fold(tables, part, len(item_ids), files[0].parent) for part in ("validation", "test")
        )
        split = Split(train, users, valid, test, item_ids, data_fingerprint="")
        arrays = (array for matrix in split.matrices for array in matrix_arrays(matrix))
        return replace(split, data_fingerprint=fingerprint(item_ids, *arrays))


def _read_pairs(file: Path) -> pd.DataFrame:
    table = read_table(file, Layout(",", None, "uid", "sid", None))
    for column in ("user", "item"):
        texts = table[column].cat.categories.astype(str)
        is_number = texts.str.fullmatch(r"[0-9]{1,9}")
        if not is_number.all():
            raise InputError(
                f"uid and sid must be whole numbers from 0 to 999,999,999, but {file} has "
                f"{quote(texts[~is_number][0])}; fix it"
            )
        table[column] = texts.to_numpy(dtype=str).astype(np.int64)[table[column].cat.codes]
    return table


def _item_ids(files: list[Path], tables: dict[str, pd.DataFrame]) -> np.ndarray:
    last_item = max(int(table["item"].max()) for table in tables.values())
    n_lines = sum(map(len, tables.values()))
    if last_item >= n_lines:
        raise InputError(
            f"sid must number the items from 0 on, but the highest sid in {files[0].parent} is "
            f"{last_item:,} in only {n_lines:,} lines; number the items without gaps"
        )
    if len(files) == len(PARTS):
        return np.arange(last_item + 1)
    try:
        lines = files[-1].read_text(encoding="utf-8-sig").rstrip("\r\n").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{files[-1]} must be UTF-8 text, but {error}; fix it") from error
    if len(lines) == last_item + 2 and plain(lines[0]) in KNOWN["item"]:
        log.warning("first line of %s, %s, is treated as a header", files[-1], quote(lines.pop(0)))
    ids = [id_text(line) or "" for line in lines]
    if "" in ids:
        raise InputError(
            f"every line of {files[-1]} must name an item, but line {ids.index('') + 1:,} is "
            "blank; fix it, or remove the file to use the sids as ids"
        )
    if len(set(ids)) <= last_item or len(set(ids)) < len(ids):
        raise InputError(
            f"{files[-1]} must name every item once, but {len(ids):,} lines with {len(set(ids)):,} "
            f"different ids stand for sids up to {last_item:,}; fix it, or remove it to use the "
            "sids as ids"
        )
    return typed_ids(ids)


def _fold(tables: dict[str, pd.DataFrame], part: str, n_items: int, folder: Path) -> Fold:
    history, target = tables[f"{part}_tr"], tables[f"{part}_te"]
    users = np.unique(history["user"])
    strangers = np.setdiff1d(target["user"], users)
    if len(strangers):
        raise InputError(
            f"every user of {part}_te.csv must have a history in {part}_tr.csv, but "
            f"{len(strangers):,} have none (first: uid {strangers[0]}); fix the files in {folder}"
        )
    return Fold(
        _matrix(history, users, n_items, folder / f"{part}_tr.csv"),
        _matrix(target, users, n_items, folder / f"{part}_te.csv"),
        users,
    )


def _matrix(pairs: pd.DataFrame, users: np.ndarray, n_items: int, file: Path) -> CSR:
    """Rows in the order of `users`; entries within a row keep the file's order."""
    rows = np.searchsorted(users, pairs["user"])
    matrix = from_pairs(
        rows, pairs["item"].to_numpy(), pairs["value"].to_numpy(), (len(users), n_items)
    )
    repeated = repeated_pairs(matrix)
    if len(repeated):
        user, item = repeated[0]
        raise InputError(
            f"every pair in {file} must occur once, but {len(repeated):,} occur more than once "
            f"(first: uid {users[user]}, sid {item}); remove the repeats"
        )
    return matrix


def write_liang(split: Split, folder: Path) -> list[Path]:
    """Write a split with held-out users as the five files and `unique_sid.txt`.

    A user's uid is their row in train, validation and test concatenated; lines are sorted by
    original user id, as in the reference procedure if the source is sorted that way.

    Args:
        split: A split from `split=strong`.
        folder: Created if it does not exist.

    Returns:
        The files written.

    Raises:
        InputError: The folder cannot be written.
    """
    valid, test = split.valid.user_ids, split.test.user_ids
    user_ids = (split.train_user_ids, valid, valid, test, test)
    n_train, n_valid = len(split.train_user_ids), len(valid)
    first_uids = (0, n_train, n_train, n_train + n_valid, n_train + n_valid)
    files = [folder / f"{part}.csv" for part in PARTS]
    with disk_errors_in_one_line(folder, "the output"):
        folder.mkdir(parents=True, exist_ok=True)
        for file, matrix, ids, first_uid in zip(
            files, split.matrices, user_ids, first_uids, strict=True
        ):
            order = np.argsort(ids, kind="stable")
            uids = np.repeat(order + first_uid, np.diff(matrix.indptr)[order])
            pairs = pd.DataFrame({"uid": uids, "sid": matrix[order].indices})
            pairs.to_csv(file, index=False, lineterminator="\n")
        names = "".join(f"{item}\n" for item in split.item_ids)
        (folder / NAMES).write_text(names, encoding="utf-8", newline="\n")
    return [*files, folder / NAMES]
