"""Folds for tuning: every user but test's is held out once, and test stays as it is."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recsweep.data.held_out_users import HeldOutUsers
from recsweep.data.interactions import Interactions
from recsweep.data.split import Split
from recsweep.data.tuning_folds import TuningFolds

N_USERS = 53


@pytest.fixture(scope="module")
def split() -> Split:
    """53 users with 5 to 20 of 30 items: 41 to train, 6 to validate, 6 to test."""
    random = np.random.default_rng(3)
    rows = [
        (user, int(item), 1.0)
        for user in range(N_USERS)
        for item in random.permutation(30)[: random.integers(5, 21)]
    ]
    data = Interactions.from_table(pd.DataFrame(rows, columns=["user", "item", "value"]))
    users = random.permutation(N_USERS)
    return HeldOutUsers(0.2, 1).split(data, users[:41], users[41:47], users[47:])


def folds(split: Split, n_folds: int = 5, target_fraction: float | None = 0.2) -> TuningFolds:
    return TuningFolds(split, n_folds, target_fraction, seed=7)


def rows_of(split: Split) -> dict[int, set[int]]:
    """User -> items, of all that is not test."""
    ids, rows = split.without_test()
    return {int(user): set(rows[place].indices) for place, user in enumerate(ids)}


@pytest.mark.parametrize("n_folds", [2, 5, 47])
def test_the_folds_partition_the_users_of_training_and_validation(split: Split, n_folds: int):
    made = folds(split, n_folds)
    made.refuse()
    cut = [made.fold(index) for index in range(n_folds)]
    pool = {*split.train_user_ids.tolist(), *split.valid.user_ids.tolist()}
    held_out = [each.valid.user_ids.tolist() for each in cut]
    assert sorted(user for users in held_out for user in users) == sorted(pool)
    sizes = {len(users) for users in held_out}
    assert max(sizes) - min(sizes) <= 1
    for each, users in zip(cut, held_out, strict=True):
        assert set(each.train_user_ids.tolist()) == pool - set(users), "the others are trained on"


def test_test_is_the_splits_own_and_none_of_its_users_is_in_a_fold(split: Split):
    for index in range(5):
        fold = folds(split).fold(index)
        assert fold.test is split.test
        used = np.concatenate([fold.train_user_ids, fold.valid.user_ids])
        assert not np.isin(split.test.user_ids, used).any()
        assert fold.item_ids is split.item_ids
        assert fold.data_fingerprint == split.data_fingerprint


def test_a_held_out_user_shows_four_fifths_of_what_the_fold_knows(split: Split):
    everything = rows_of(split)
    for index in range(5):
        fold = folds(split).fold(index)
        known = set(fold.train.indices.tolist())
        for place, user in enumerate(fold.valid.user_ids):
            shown, ranked = (
                set(rows[place].indices.tolist())
                for rows in (fold.valid.history, fold.valid.target)
            )
            assert shown.isdisjoint(ranked)
            assert shown | ranked == everything[int(user)] & known
            assert len(ranked) == int(0.2 * len(shown | ranked))
        for place, user in enumerate(fold.train_user_ids):
            assert set(fold.train[place].indices.tolist()) == everything[int(user)], "whole rows"


def test_an_item_that_a_fold_does_not_train_on_is_not_ranked_there(split: Split):
    one = int(split.train_user_ids[0])
    rare = replace(split, train=split.train.tolil())
    rare.train[:, 4] = 0
    rare.train[0, 4] = 1
    valid = split.valid
    without = [rows.multiply(np.arange(30) != 4).tocsr() for rows in (valid.history, valid.target)]
    for rows in without:
        rows.eliminate_zeros()  # a value of 0 is an interaction, too
    alone = replace(
        split, train=rare.train.tocsr(), valid=replace(valid, history=without[0], target=without[1])
    )
    (its_fold,) = (
        fold for fold in map(folds(alone).fold, range(5)) if one in fold.valid.user_ids.tolist()
    )
    assert its_fold.train[:, 4].nnz == 0
    assert its_fold.valid.history[:, 4].nnz == its_fold.valid.target[:, 4].nnz == 0
    assert its_fold.train.shape[1] == 30, "it keeps its column"


def test_the_same_seed_cuts_the_same_folds_and_another_one_others(split: Split):
    once, again = folds(split).fold(1), folds(split).fold(1)
    other = TuningFolds(split, 5, 0.2, seed=8).fold(1)
    assert once.fingerprint == again.fingerprint != other.fingerprint


def test_a_share_that_nobody_gives_is_that_of_validation():
    """Ten users with 5 items, ten with 9, one target each: (20 + 10) / 140 = 0.214, not 0.143."""
    rows = [(user, item, 1.0) for user in range(40) for item in range(5 + 4 * (user % 2))]
    data = Interactions.from_table(pd.DataFrame(rows, columns=["user", "item", "value"]))
    users = np.arange(40)
    split = HeldOutUsers(0.2, 1).split(data, users[:10], users[10:30], users[30:])
    assert split.valid.target.nnz == 20
    for index in range(3):
        fold = folds(split, 3, target_fraction=None).fold(index)
        assert set(np.diff(fold.valid.target.indptr)) == {1}


def test_users_in_several_parts_are_refused(split: Split, refused):
    shared = replace(
        split.valid, user_ids=np.r_[split.train_user_ids[:2], split.valid.user_ids[2:]]
    )
    with refused("needs a split of whole users", "2 users are in several", "sweep.seeds_per_trial"):
        folds(replace(split, valid=shared)).refuse()
    tested = replace(split.test, user_ids=np.r_[split.valid.user_ids[:3], split.test.user_ids[3:]])
    with refused("3 users are in several of training, validation and test"):
        folds(replace(split, test=tested)).refuse()


def test_more_folds_than_users_are_refused(split: Split, refused):
    with refused("sweep.folds must leave a user to each fold, but is 48 for 47 users"):
        folds(split, 48).refuse()
