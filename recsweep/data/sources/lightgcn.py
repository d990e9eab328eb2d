"""Splits in the format of LightGCN and its successors: two files of `user item item …` lines.

           train.txt       train         valid target   test history   test target
    user 0 0 1 2    ──▶    x . x . .     . x . . .      x x x . .      . . . x .  ◀── test.txt
    user 1 1 2 4           . x . . x     . . x . .      . x x . x      x . . . .

There is no validation part: a share of each user's line in train.txt is drawn for it. The history
of a validation user is the rest of that line; the history of a test user is the whole line.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.data.download import download
from recsweep.data.holdout_draw import draw_held_out
from recsweep.data.interactions import quote
from recsweep.data.matrix import (
    find_repeated_pairs,
    fingerprint,
    from_pairs,
    keep_entries,
    matrix_arrays,
)
from recsweep.data.sources.source import (
    Counts,
    Source,
    files_of_folder,
    refuse_other_counts,
)
from recsweep.data.split import Fold, Split
from recsweep.errors import InputError
from recsweep.interfaces import CSR, STRICT

log = logging.getLogger(__name__)

FILES = ("train.txt", "test.txt")
MAX_DIGITS = 18
"""Maximum digits of an id, which is stored in 64 bits."""


@plain_dataclass(frozen=True)
class _Pairs:
    """The content of one file: its user ids, and the user and item id of each pair."""

    file: Path
    user_ids: np.ndarray
    users: np.ndarray
    items: np.ndarray


@dataclass(kw_only=True, config=STRICT)
class LightGCN(Source):
    """A folder with train.txt and test.txt.

    Args:
        valid_fraction: Share of each user's training items to hold out for validation.
        seed: The draw's seed.
    """

    has_shared_users = True

    valid_fraction: Annotated[float, Field(gt=0, lt=1)]
    seed: Annotated[int, Field(ge=0)]

    def files(self, cache: Path) -> list[Path]:  # noqa: ARG002 - nothing to download
        """The two files."""
        if self.path is None:
            raise InputError(
                f"data=lightgcn needs the folder with {' and '.join(FILES)}; give data.path=FOLDER"
            )
        return files_of_folder(self.path, FILES)

    def load(self, files: list[Path]) -> Split:
        """The split, with the items of both files; test-only items cannot be recommended."""
        known, held_out = map(_read, files)
        user_ids = np.union1d(known.user_ids, held_out.user_ids)
        item_ids = np.union1d(known.items, held_out.items)
        rows, target = (_matrix(pairs, user_ids, item_ids) for pairs in (known, held_out))
        is_valid, _ = draw_held_out(
            np.diff(rows.indptr), "user", self.valid_fraction, 0.0, self.seed
        )
        train, valid_target = (keep_entries(rows, kept) for kept in (~is_valid, is_valid))
        test = Fold(rows, target, user_ids).drop_users_without_targets()
        _warn_of_unknown(test, files[1])
        return Split(
            train=train,
            train_user_ids=user_ids,
            valid=Fold(train, valid_target, user_ids).drop_users_without_targets(),
            test=test,
            item_ids=item_ids,
            data_fingerprint=fingerprint(
                user_ids, item_ids, *matrix_arrays(rows), *matrix_arrays(target)
            ),
        )


@dataclass(kw_only=True, config=STRICT)
class LightGCNDownload(LightGCN):
    """A published folder, downloaded unless there is a copy at `path`.

    Args:
        url: The folder's official address.
        sha256: Checksums of train.txt and test.txt; None = unknown.
        counts: Users, items and interactions as published; None = not checked.
    """

    url: str
    sha256: Annotated[list[str], Field(min_length=2, max_length=2)] | None
    counts: Counts | None

    def files(self, cache: Path) -> list[Path]:
        """The two files."""
        if self.path is not None:
            return super().files(cache)
        folder = cache / "downloads" / self.name
        checksums: Sequence[str | None] = self.sha256 or (None, None)
        parts = urlsplit(self.url)  # files are named before a query
        return [
            download(
                parts._replace(path=f"{parts.path}/{name}").geturl(), folder / name, sha256=sha256
            )
            for name, sha256 in zip(FILES, checksums, strict=True)
        ]

    def load(self, files: list[Path]) -> Split:
        """The split, if it is as large as published."""
        split = super().load(files)
        users, rows = split.without_test()
        n_interactions = rows.nnz + split.test.target.nnz
        refuse_other_counts(self.name, self.counts, (len(users), rows.shape[1], n_interactions))
        return split


def number_lists(file: Path, what: str) -> Iterator[np.ndarray]:
    """The whole numbers of each line that is not blank.

    Args:
        file: A text file.
        what: What a line is, for messages.

    Raises:
        InputError: A line has something else.
    """
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            fields = line.split()
            if not fields:
                continue
            if not b"".join(fields).isdigit() or max(map(len, fields)) > MAX_DIGITS:
                bad = next(f for f in fields if not f.isdigit() or len(f) > MAX_DIGITS)
                raise InputError(
                    f"lines must be {what}, all whole numbers from 0 on, but line "
                    f"{number:,} of {file} has {quote(bad.decode(errors='replace'))}; fix it"
                )
            yield np.array(fields).astype(np.int64)


def _read(file: Path) -> _Pairs:
    """All pairs of a file; a user may have none, or several lines."""
    rows = list(number_lists(file, "a user and their items"))
    lists = [row[1:] for row in rows]
    items = np.concatenate([np.empty(0, np.int64), *lists])
    if not len(items):
        raise InputError(f"{file} must hold at least one user with an item, but has none; fix it")
    users = np.array([row[0] for row in rows], np.int64)
    return _Pairs(file, users, np.repeat(users, [len(each) for each in lists]), items)


def _matrix(pairs: _Pairs, user_ids: np.ndarray, item_ids: np.ndarray) -> CSR:
    """Users × items; entries within a row keep the file's order."""
    cells = (np.searchsorted(user_ids, pairs.users), np.searchsorted(item_ids, pairs.items))
    matrix = from_pairs(*cells, np.ones(len(pairs.items)), (len(user_ids), len(item_ids)))
    repeated = find_repeated_pairs(matrix)
    if len(repeated):
        user, item = repeated[0]
        raise InputError(
            f"every pair in {pairs.file} must occur once, but {len(repeated):,} occur more than "
            f"once (first: user {user_ids[user]}, item {item_ids[item]}); remove the repeats"
        )
    return matrix


def _warn_of_unknown(test: Fold, file: Path) -> None:
    """Warn about users with no items in train.txt: they count too, as in the published figures."""
    unknown = test.user_ids[np.diff(test.history.indptr) == 0]
    if len(unknown):
        log.warning(
            "%s of %s users in %s have no items in train.txt, so their lists are not personal "
            "(such as user %s)", f"{len(unknown):,}", f"{len(test.user_ids):,}", file, unknown[0],
        )  # fmt: skip
