"""A split says what it is made of."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from recsweep.data.split import Fold, Split


def csr(*rows: list[int]) -> sp.csr_matrix:
    return sp.csr_matrix(np.array(rows, np.float32))


def fold(history: list[int], target: list[int], user: int) -> Fold:
    return Fold(csr(history), csr(target), np.array([user]))


@pytest.fixture
def split() -> Split:
    return Split(
        train=csr([1, 1, 0], [0, 1, 1]),
        train_user_ids=np.array([10, 11]),
        valid=fold([1, 0, 0], [0, 1, 1], user=12),
        test=fold([0, 1, 1], [1, 0, 0], user=13),
        item_ids=np.array(["a", "b", "c"], object),
        data_fingerprint="of the table",
    )


def test_the_profile_counts_users_items_and_what_must_be_ranked(split: Split):
    assert split.profile() == {
        "n_items": 3,
        "n_train_users": 2,
        "n_train_interactions": 4,
        "n_valid_users": 1,
        "n_valid_targets": 2,
        "n_test_users": 1,
        "n_test_targets": 1,
    }


def test_the_fingerprint_follows_every_part(split: Split):
    others = [
        replace(split, train=csr([1, 1, 0], [1, 1, 0])),
        replace(split, train_user_ids=np.array([10, 14])),
        replace(split, valid=fold([0, 0, 0], [0, 1, 1], user=12)),
        replace(split, valid=fold([1, 0, 0], [0, 1, 0], user=12)),
        replace(split, test=fold([0, 1, 1], [1, 0, 0], user=14)),
        replace(split, valid=split.test, test=split.valid),
        replace(split, item_ids=np.array(["a", "b", "d"], object)),
    ]
    assert len({each.fingerprint for each in [split, *others]}) == 8
    assert replace(split).fingerprint == split.fingerprint


def test_a_split_without_anything_to_rank_is_refused(refused, split: Split):
    empty = fold([1, 0, 0], [0, 0, 0], user=12)
    with refused("an item to rank in validation", "use more data"):
        replace(split, valid=empty)
    with refused("an item to rank in test"):
        replace(split, test=empty)
