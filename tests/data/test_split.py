"""A split says what it is made of."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from recsweep.data.matrix import fingerprint, matrix_arrays
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


def test_the_fingerprint_follows_unknown_items_and_is_as_before_without_them(split: Split):
    ids = (split.train_user_ids, split.valid.user_ids, split.test.user_ids, split.item_ids)
    arrays = [array for matrix in split.matrices for array in matrix_arrays(matrix)]
    assert split.fingerprint == fingerprint(*ids, *arrays)
    others = [replace(split, test=replace(split.test, n_unknown=np.array([n]))) for n in (0, 1, 2)]
    assert len({each.fingerprint for each in [split, *others]}) == 4


def test_what_is_relevant_includes_the_unknown():
    targets = csr([1, 1, 0], [0, 0, 0], [0, 0, 0])
    known = Fold(csr(*3 * [[0, 0, 1]]), targets, np.array([5, 6, 7]))
    assert known.n_relevant.tolist() == [2, 0, 0]
    counted = replace(known, n_unknown=np.array([1, 4, 0]))
    assert counted.n_relevant.tolist() == [3, 4, 0]
    assert known.of_whom_something_is_held_out().user_ids.tolist() == [5]
    left = counted.of_whom_something_is_held_out()
    assert left.user_ids.tolist() == [5, 6]
    assert left.n_relevant.tolist() == [3, 4]
    assert (left.history.shape, left.target.nnz) == ((2, 3), 2)


# --- what is known together -----------------------------------------------------------------------


def test_validation_users_become_further_training_rows(split: Split):
    user_ids, rows = split.without_test()
    assert user_ids.tolist() == [10, 11, 12]
    assert rows.toarray().tolist() == [[1, 1, 0], [0, 1, 1], [1, 1, 1]]


def test_histories_of_test_users_are_known_and_their_targets_are_not(split: Split):
    user_ids, rows = split.known_histories()
    assert user_ids.tolist() == [10, 11, 12, 13]
    assert rows.toarray()[3].tolist() == [0, 1, 1]


def test_a_training_users_held_out_part_joins_their_own_row(split: Split):
    both = replace(
        split,
        train=csr([2, 0, 0], [0, 3, 1]),
        valid=fold([0, 3, 1], [4, 0, 0], user=11),
        test=fold([2, 0, 0], [0, 0, 9], user=10),
    )
    for user_ids, rows in (both.without_test(), both.known_histories()):
        assert user_ids.tolist() == [10, 11]
        assert rows.toarray().tolist() == [[2, 0, 0], [4, 3, 1]]


def test_ids_of_text_are_joined_too(split: Split):
    names = np.array(["ann", "bob"], object)
    named = replace(
        split,
        train_user_ids=names,
        valid=replace(split.valid, user_ids=names[1:]),
        test=replace(split.test, user_ids=np.array(["eve"], object)),
    )
    user_ids, rows = named.known_histories()
    assert user_ids.tolist() == ["ann", "bob", "eve"]
    assert rows.toarray().tolist() == [[1, 1, 0], [1, 1, 1], [0, 1, 1]]


def test_a_split_without_anything_to_rank_is_refused(refused, split: Split):
    empty = fold([1, 0, 0], [0, 0, 0], user=12)
    with refused("validation must have a user with an item to rank", "use more data"):
        replace(split, valid=empty)
    with refused("test must have a user with an item to rank"):
        replace(split, test=empty)
