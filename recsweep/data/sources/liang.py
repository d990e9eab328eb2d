"""Reads and writes a split in the format of Liang et al. 2018: a folder of CSV files.

`train.csv`, `validation_tr.csv`, `validation_te.csv`, `test_tr.csv` and `test_te.csv` have columns
uid and sid; line k of `unique_sid.txt` (optional) is the original id of sid k. Their splits are
strong: each user is in one part. `user_ids.txt` (optional, not theirs) does the same for users,
and with it a user may be in several parts and need no history.
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
from recsweep.data.interactions import parse_ids, quote
from recsweep.data.matrix import find_repeated_pairs, fingerprint, from_pairs, matrix_arrays
from recsweep.data.sources.source import Source, files_of_folder
from recsweep.data.split import Fold, Split
from recsweep.data.table import read_table
from recsweep.errors import InputError
from recsweep.files import disk_errors_in_one_line, no_file
from recsweep.interfaces import CSR, STRICT

log = logging.getLogger(__name__)

PARTS = ("train", "validation_tr", "validation_te", "test_tr", "test_te")
ITEM_NAMES, USER_NAMES = "unique_sid.txt", "user_ids.txt"


@dataclass(kw_only=True, config=STRICT)
class Liang(Source):
    """A split stored as a folder of CSV files."""

    @property
    def has_shared_users(self) -> bool:
        """Whether the users are named, so that a uid is the same user in every part."""
        return self.path is not None and (self.path / USER_NAMES).is_file()

    def files(self, cache: Path) -> list[Path]:  # noqa: ARG002 - nothing to download
        """The five files, and the original ids if present."""
        if self.path is None:
            raise InputError(
                "data=liang needs the folder with the five CSV files; give data.path=FOLDER"
            )
        files = files_of_folder(self.path, [f"{part}.csv" for part in PARTS])
        for name, what in ((ITEM_NAMES, "item"), (USER_NAMES, "user")):
            names = self.path / name
            if names.is_file():
                files.append(names)
            elif (found := no_file(names)) != "is not there":
                raise InputError(
                    f"{names} must be a file with one {what} id per line, but {found}; fix it, or "
                    f"remove it to use the numbers of the {what}s as ids"
                )
        return files

    def load(self, files: list[Path]) -> Split:
        """The split."""
        tables = {file.stem: _read_pairs(file) for file in files[: len(PARTS)]}
        named = {file.name: file for file in files[len(PARTS) :]}
        item_ids = _ids("item", tables, files[0].parent, named.get(ITEM_NAMES))
        user_ids = None
        if USER_NAMES in named:
            user_ids = _ids("user", tables, files[0].parent, named[USER_NAMES])
        users = np.unique(tables["train"]["user"])
        train = _matrix(tables["train"], users, len(item_ids), files[0])
        valid, test = (
            _fold(tables, part, len(item_ids), files[0].parent, user_ids)
            for part in ("validation", "test")
        )
        names = [item_ids]
        if user_ids is not None:
            users = user_ids[users]
            names += [users, valid.user_ids, test.user_ids]
        split = Split(train, users, valid, test, item_ids, data_fingerprint="")
        arrays = (array for matrix in split.matrices for array in matrix_arrays(matrix))
        return replace(split, data_fingerprint=fingerprint(*names, *arrays))


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


def _ids(kind: str, tables: dict[str, pd.DataFrame], folder: Path, file: Path | None) -> np.ndarray:
    """The original ids of the items or users, in the order of their numbers.

    Args:
        kind: `item` or `user`.
        tables: The five files.
        folder: Their folder.
        file: The ids, one a line; None = the numbers themselves.
    """
    number = {"item": "sid", "user": "uid"}[kind]
    last = max(int(table[kind].max()) for table in tables.values())
    n_lines = sum(map(len, tables.values()))
    if last >= n_lines:
        raise InputError(
            f"{number} must number the {kind}s from 0 on, but the highest {number} in {folder} is "
            f"{last:,} in only {n_lines:,} lines; number the {kind}s without gaps"
        )
    if file is None:
        return np.arange(last + 1)
    try:
        lines = file.read_text(encoding="utf-8-sig").rstrip("\r\n").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} must be UTF-8 text, but {error}; fix it") from error
    if len(lines) == last + 2 and plain(lines[0]) in KNOWN[kind]:
        log.warning("first line of %s, %s, is treated as a header", file, quote(lines.pop(0)))
    ids = [id_text(line) or "" for line in lines]
    if "" in ids:
        raise InputError(
            f"every line of {file} must name one {kind}, but line {ids.index('') + 1:,} is "
            f"blank; fix it, or remove the file to use the {number}s as ids"
        )
    if len(set(ids)) <= last or len(set(ids)) < len(ids):
        raise InputError(
            f"{file} must name every {kind} once, but {len(ids):,} lines with {len(set(ids)):,} "
            f"different ids stand for {number}s up to {last:,}; fix it, or remove it to use the "
            f"{number}s as ids"
        )
    return parse_ids(ids)


def _fold(
    tables: dict[str, pd.DataFrame],
    part: str,
    n_items: int,
    folder: Path,
    user_ids: np.ndarray | None,
) -> Fold:
    history, target = tables[f"{part}_tr"], tables[f"{part}_te"]
    users = np.unique(history["user"])
    strangers = np.setdiff1d(target["user"], users)
    if user_ids is not None:
        users = np.union1d(users, strangers)
    elif len(strangers):
        raise InputError(
            f"every user of {part}_te.csv must have a history in {part}_tr.csv, but "
            f"{len(strangers):,} have none (first: uid {strangers[0]}); fix the files in {folder}"
        )
    return Fold(
        _matrix(history, users, n_items, folder / f"{part}_tr.csv"),
        _matrix(target, users, n_items, folder / f"{part}_te.csv"),
        users if user_ids is None else user_ids[users],
    )


def _matrix(pairs: pd.DataFrame, users: np.ndarray, n_items: int, file: Path) -> CSR:
    """Rows in the order of `users`; entries within a row keep the file's order."""
    rows = np.searchsorted(users, pairs["user"])
    matrix = from_pairs(
        rows, pairs["item"].to_numpy(), pairs["value"].to_numpy(), (len(users), n_items)
    )
    repeated = find_repeated_pairs(matrix)
    if len(repeated):
        user, item = repeated[0]
        raise InputError(
            f"every pair in {file} must occur once, but {len(repeated):,} occur more than once "
            f"(first: uid {users[user]}, sid {item}); remove the repeats"
        )
    return matrix


def write_liang(split: Split, folder: Path) -> list[Path]:
    """Write a split as the five files, `unique_sid.txt` and `user_ids.txt`.

    Users are numbered in the order of train, then new ones of validation and test; lines are sorted
    by original user id, as in the reference procedure if the source is sorted that way.

    Args:
        split: Any split; values, and held-out items that are no column, are not written.
        folder: Created if it does not exist.

    Returns:
        The files written.

    Raises:
        InputError: The folder cannot be written.
    """
    valid, test = split.valid.user_ids, split.test.user_ids
    user_ids = (split.train_user_ids, valid, valid, test, test)
    users = pd.Index(np.concatenate([split.train_user_ids, valid, test])).unique()
    files = [folder / f"{part}.csv" for part in PARTS]
    with disk_errors_in_one_line(folder, "the output"):
        folder.mkdir(parents=True, exist_ok=True)
        for file, matrix, ids in zip(files, split.matrices, user_ids, strict=True):
            order = np.argsort(ids, kind="stable")
            uids = np.repeat(users.get_indexer(ids[order]), np.diff(matrix.indptr)[order])
            pairs = pd.DataFrame({"uid": uids, "sid": matrix[order].indices})
            pairs.to_csv(file, index=False, lineterminator="\n")
        for name, every in ((ITEM_NAMES, split.item_ids), (USER_NAMES, users)):
            lines = "".join(f"{each}\n" for each in every)
            (folder / name).write_text(lines, encoding="utf-8", newline="\n")
    return [*files, folder / ITEM_NAMES, folder / USER_NAMES]
