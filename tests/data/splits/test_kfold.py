"""Folds of users: each is in test once, and nobody is trained on who is ranked."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from recsweep.data.interactions import Interactions
from recsweep.data.splits.kfold import KFold


def kfold(**changes: object) -> KFold:
    return KFold(**{"fold": 0, "n_folds": 5, "target_fraction": 0.2, "seed": 1} | changes)


@pytest.fixture(scope="module")
def data() -> Interactions:
    """53 users with 5 to 20 of 30 items."""
    random = np.random.default_rng(3)
    rows = [
        (user, int(item), 1.0)
        for user in range(53)
        for item in random.permutation(30)[: random.integers(5, 21)]
    ]
    return Interactions.from_table(pd.DataFrame(rows, columns=["user", "item", "value"]))


@pytest.mark.parametrize("n_folds", [3, 5, 10])
def test_every_user_is_once_in_test_and_once_in_validation(data: Interactions, n_folds: int):
    splits = [kfold(fold=fold, n_folds=n_folds).split(data) for fold in range(n_folds)]
    for name in ("valid", "test"):
        users = [getattr(split, name).user_ids.tolist() for split in splits]
        assert sorted(user for each in users for user in each) == list(range(53))
        sizes = {len(each) for each in users}
        assert max(sizes) - min(sizes) <= 1, "53 users do not divide evenly"
    for number, split in enumerate(splits):
        parts = [split.train_user_ids, split.valid.user_ids, split.test.user_ids]
        assert sorted(np.concatenate(parts)) == list(range(53)), "and each is in one part"
        following = splits[(number + 1) % n_folds]
        assert split.valid.user_ids.tolist() == following.test.user_ids.tolist()


def test_a_held_out_user_shows_four_fifths_and_ranks_a_fifth(data: Interactions):
    split = kfold(fold=2).split(data)
    lengths = np.diff(data.matrix.indptr)
    known = np.isin(data.item_ids, split.item_ids)
    assert known.all(), "so the shares are of all items"
    for fold in (split.valid, split.test):
        n_targets = np.diff(fold.target.indptr)
        assert n_targets.tolist() == [int(0.2 * lengths[user]) for user in fold.user_ids]
        n_shown = np.diff(fold.history.indptr)
        assert (n_shown + n_targets).tolist() == lengths[fold.user_ids].tolist()


def test_a_fold_may_be_a_single_user(data: Interactions):
    split = kfold(n_folds=53).split(data)
    assert len(split.test.user_ids) == len(split.valid.user_ids) == 1


def test_another_seed_cuts_other_folds(data: Interactions):
    one, same, other = (kfold(seed=seed).split(data) for seed in (1, 1, 2))
    assert one.fingerprint == same.fingerprint
    assert set(one.test.user_ids) != set(other.test.user_ids)


# --- what is refused ------------------------------------------------------------------------------


def test_fewer_users_than_folds_are_refused(refused, data: Interactions):
    with refused("a user in each fold", "53 users for 54 folds", "lower split.n_folds"):
        kfold(n_folds=54).split(data)


def test_users_too_short_to_fold_in_are_refused(refused, data: Interactions):
    with refused("must have 10 interactions", "raise split.target_fraction"):
        kfold(target_fraction=0.1).split(data)


def test_data_that_comes_split_is_refused(refused, data: Interactions):
    with refused("already split", "use split=presplit"):
        kfold().split(kfold().split(data))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"fold": 5}, "from 0 to 4 with split.n_folds=5, but is 5"),
        ({"fold": -1}, "fold"),
        ({"n_folds": 2}, "n_folds"),
        ({"target_fraction": 1}, "target_fraction"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_setting_out_of_range_is_refused(change: dict[str, object], complaint: str):
    with pytest.raises(ValidationError, match=complaint):
        kfold(**change)
