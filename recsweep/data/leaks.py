"""Refuses a split that shows held-out interactions to a model: for splits made outside recsweep."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from recsweep.data.interactions import quote
from recsweep.data.split import Split
from recsweep.errors import InputError
from recsweep.interfaces import CSR

Part = tuple[str, np.ndarray, CSR]
"""A name for messages, original user ids, and the rows."""


def refuse_leaks(split: Split, *, has_shared_users: bool) -> None:
    """Check that all target items are really held out.

    A user has one row per part, and no target may also be in train or a history; validation
    targets are known before test is ranked.

    Args:
        split: The split that came with the data.
        has_shared_users: Whether a user may be in several of train, validation and test (weak
            generalisation); else each must be in one.

    Raises:
        InputError: A target is known to the model.
    """
    valid, test = split.valid, split.test
    users = [
        ("train", split.train_user_ids), ("validation", valid.user_ids), ("test", test.user_ids)
    ]  # fmt: skip
    for name, ids in [("the items", split.item_ids), *((f"{n}'s users", ids) for n, ids in users)]:
        _refuse_twice(name, ids)
    train = ("train", split.train_user_ids, split.train)
    valid_history = ("validation's histories", valid.user_ids, valid.history)
    valid_target = ("validation's targets", valid.user_ids, valid.target)
    test_history = ("test's histories", test.user_ids, test.history)
    test_target = ("test's targets", test.user_ids, test.target)
    found = [
        *_leaks(valid_target, [train, valid_history], split.item_ids),
        *_leaks(test_target, [train, valid_history, valid_target, test_history], split.item_ids),
    ]
    if not has_shared_users:
        _refuse_shared(users, found)
    if found:
        raise InputError(
            f"target items must not occur in training or history, but {'; '.join(found)}; "
            "remove them from one of the two"
        )


def _refuse_twice(name: str, ids: np.ndarray) -> None:
    twice = np.flatnonzero(_texts(ids).duplicated())
    if len(twice):
        raise InputError(
            f"ids of {name} must be different, but {len(twice):,} are repeated (first: "
            f"{quote(ids[twice[0]])}); keep one row or column of each"
        )


def _refuse_shared(users: Sequence[tuple[str, np.ndarray]], leaks: Sequence[str]) -> None:
    shared = []
    for (name, ids), (other, other_ids) in combinations(users, 2):
        both = ids[_texts(ids).isin(_texts(other_ids))]
        if len(both):
            shared.append(f"{name} and {other} share {len(both):,} (first: user {quote(both[0])})")
    if shared:
        raise InputError(
            f"train, validation and test must have different users, but {'; '.join(shared)}"
            f"{''.join(f'; {leak}' for leak in leaks[:2])}; remove each user from all parts but "
            "one, or, if every part numbers its users from 0, give every user a different number"
        )


def _leaks(target: Part, known: Sequence[Part], item_ids: np.ndarray) -> list[str]:
    """A phrase for each part that contains some of the targets."""
    name, ids, rows = target
    found = []
    for other, other_ids, other_rows in known:
        place = _texts(other_ids).get_indexer(_texts(ids))
        in_both = np.flatnonzero(place >= 0)
        both = _ones(rows[in_both]).multiply(_ones(other_rows[place[in_both]])).tocoo()
        if both.nnz:
            first = np.lexsort((both.col, both.row))[0]
            user, item = ids[in_both[both.row[first]]], item_ids[both.col[first]]
            found.append(
                f"{both.nnz:,} of {name} are in {other} too (first: user {quote(user)}, item "
                f"{quote(item)})"
            )
    return found


def _texts(ids: np.ndarray) -> pd.Index:
    """Ids as text: 7 in one file equals '7' in another that also has names."""
    return pd.Index(ids).astype(str)


def _ones(rows: CSR) -> CSR:
    """All entries set to 1: a value of 0 is an interaction, too."""
    return sp.csr_matrix((np.ones(rows.nnz, np.float32), rows.indices, rows.indptr), rows.shape)
