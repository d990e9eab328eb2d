"""The folder of CSV files in which Liang et al. 2018 keep a strong split, read and written.

`train.csv`, `validation_tr.csv`, `validation_te.csv`, `test_tr.csv` and `test_te.csv` have columns
uid and sid; line k of `unique_sid.txt` (optional) is the original id of sid k.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from pydantic.dataclasses import dataclass

from recsweep.data.delimited import Layout, read_table
from recsweep.data.interactions import fingerprint, matrix_arrays
from recsweep.data.source import Source
from recsweep.data.split import Fold, Split
from recsweep.errors import InputError
from recsweep.interfaces import CSR, STRICT

PARTS = ("train", "validation_tr", "validation_te", "test_tr", "test_te")


@dataclass(kw_only=True, config=STRICT)
class Liang(Source):
    """A folder of CSV files that hold a split."""

    def files(self, cache: Path) -> list[Path]:  # noqa: ARG002 - nothing to download
        """The five files, and the item ids where they are there."""
        if self.path is None:
            raise InputError("data=liang needs the folder with the five CSV files; give data.path=FOLDER")
        files = [self.path / f"{part}.csv" for part in PARTS]
        for file in files:
            if not file.is_file():
                raise InputError(
                    f"data.path must be a folder with {', '.join(p.name for p in files)}, but "
                    f"{file.name} not found in {self.path}; give the folder that holds them"
                )
        names = self.path / "unique_sid.txt"
        return [*files, names] if names.is_file() else files

    def load(self, files: list[Path]) -> Split:
        """The split."""
        tables = {file.stem: _read_pairs(file) for file in files[: len(PARTS)]}
        item_ids = _item_ids(files, max(int(t["item"].max()) for t in tables.values()))
        train_users = np.unique(tables["train"]["user"])
        train = _matrix(tables["train"], train_users, len(item_ids), files[0])
        valid, test = (
            self._fold(tables, part, len(item_ids), files[0].parent) for part in ("validation", "test")
        )
        parts = (train, valid.history, valid.target, test.history, test.target)
        digest = fingerprint(item_ids, *(array for m in parts for array in matrix_arrays(m)))
        return Split(train, train_users, valid, test, item_ids, digest)

    @staticmethod
    def _fold(tables: dict[str, pd.DataFrame], part: str, n_items: int, folder: Path) -> Fold:
        history, target = tables[f"{part}_tr"], tables[f"{part}_te"]
        users = np.unique(history["user"])
        strangers = np.setdiff1d(target["user"], users)
        if len(strangers):
            raise InputError(
                f"every user of {part}_te.csv must have a history in {part}_tr.csv, but "
                f"{len(strangers):,} have none (first: uid {strangers[0]}); mend the files in {folder}"
            )
        fold = Fold(
            _matrix(history, users, n_items, folder / f"{part}_tr.csv"),
            _matrix(target, users, n_items, folder / f"{part}_te.csv"),
            users,
        )
        n_both = fold.history.multiply(fold.target).nnz
        if n_both:
            raise InputError(
                f"an item must be in a user's history or target, not in both, but {n_both:,} pairs of "
                f"{part}_te.csv are in {part}_tr.csv too; mend the files in {folder}"
            )
        return fold


def _read_pairs(file: Path) -> pd.DataFrame:
    table = read_table(file, Layout(",", None, "uid", "sid", None))
    for column in ("user", "item"):
        categories = table[column].cat.categories.astype(str)
        whole = categories.str.fullmatch(r"\d{1,9}")
        if not whole.all():
            raise InputError(
                f"uid and sid in {file} must be whole numbers from 0 on, but "
                f"{categories[~whole][0]!r} is not"
            )
        numbers = categories.to_numpy(dtype=str).astype(np.int64)
        table[column] = numbers[table[column].cat.codes]
    return table


def _item_ids(files: list[Path], last_item: int) -> np.ndarray:
    if len(files) == len(PARTS):
        return np.arange(last_item + 1)
    ids = files[-1].read_text(encoding="utf-8").split()
    if len(ids) <= last_item:
        raise InputError(
            f"{files[-1]} must name every item, but it has {len(ids):,} lines and the highest sid is "
            f"{last_item:,}; mend it, or remove it to use the sids as ids"
        )
    return np.array(ids, np.int64 if all(i.isdecimal() for i in ids) else object)


def _matrix(pairs: pd.DataFrame, users: np.ndarray, n_items: int, file: Path) -> CSR:
    """Rows in the order of `users`; entries within a row keep the file's order."""
    rows = np.searchsorted(users, pairs["user"])
    order = np.argsort(rows, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(users)))])
    ones = np.ones(len(rows), np.float32)
    items = pairs["item"].to_numpy()[order].astype(np.int32)
    matrix = sp.csr_matrix((ones, items, indptr), shape=(len(users), n_items))
    keys = np.sort(rows.astype(np.int64) * n_items + pairs["item"].to_numpy())
    n_repeats = int((keys[1:] == keys[:-1]).sum())
    if n_repeats:
        raise InputError(
            f"every pair in {file} must occur once, but {n_repeats:,} lines repeat one; remove them"
        )
    return matrix


def write_liang(split: Split, folder: Path) -> list[Path]:
    """Write a split with held-out users as the five files and `unique_sid.txt`.

    A user's uid is their row in train, validation and test laid end to end; lines go by ascending
    original user id, as the reference procedure leaves them when the source is sorted so.

    Args:
        split: From `split=strong`.
        folder: Made if it is not there.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    n_train, n_valid = split.train.shape[0], split.valid.history.shape[0]
    parts = zip(
        PARTS,
        (split.train, split.valid.history, split.valid.target, split.test.history, split.test.target),
        (split.train_user_ids, *2 * [split.valid.user_ids], *2 * [split.test.user_ids]),
        (0, n_train, n_train, n_train + n_valid, n_train + n_valid),
        strict=True,
    )
    files = []
    for part, matrix, user_ids, first_uid in parts:
        order = np.argsort(user_ids, kind="stable")
        uids = np.repeat(order + first_uid, np.diff(matrix.indptr)[order])
        pairs = pd.DataFrame({"uid": uids, "sid": matrix[order].indices})
        files.append(folder / f"{part}.csv")
        pairs.to_csv(files[-1], index=False)
    files.append(folder / "unique_sid.txt")
    files[-1].write_text("".join(f"{item}\n" for item in split.item_ids), encoding="utf-8")
    return files
