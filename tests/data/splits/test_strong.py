"""Held-out users with fold-in: the paper's procedure, restated naively and on its real data."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from recsweep.data.interactions import Interactions
from recsweep.data.sources.liang import write_liang
from recsweep.data.split import Fold, Split
from recsweep.data.splits.strong import Strong

Pairs = list[tuple[int, int]]


def clicks_of(n_users: int, n_items: int, n_clicks: tuple[int, int], seed: int) -> pd.DataFrame:
    """Users from 0 on click on between `n_clicks` items each; the rare ones are rare indeed."""
    random = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, n_items + 1)
    rows = [
        (user, item, 1.0)
        for user in range(n_users)
        for item in random.choice(
            n_items,
            size=random.integers(*n_clicks, endpoint=True),
            replace=False,
            p=popularity / popularity.sum(),
        )
    ]
    return pd.DataFrame(rows, columns=["user", "item", "value"])


def strong(n_heldout_users: int | None = 10, target_fraction: float = 0.2, seed: int = 1) -> Strong:
    return Strong(n_heldout_users=n_heldout_users, target_fraction=target_fraction, seed=seed)


def pairs_of(matrix, user_ids: np.ndarray, item_ids: np.ndarray) -> Pairs:
    """Original ids of each entry, users ascending, a user's items in the stored order."""
    rows = np.repeat(user_ids, np.diff(matrix.indptr))
    pairs = list(zip(rows.tolist(), item_ids[matrix.indices].tolist(), strict=True))
    return sorted(pairs, key=lambda pair: pair[0])


def parts_of(split: Split) -> list[Pairs]:
    ids = [split.train_user_ids]
    ids += [fold.user_ids for fold in (split.valid, split.test) for _ in range(2)]
    return [
        pairs_of(matrix, users, split.item_ids)
        for matrix, users in zip(split.matrices, ids, strict=True)
    ]


# --- the procedure ------------------------------------------------------------------------------


def naive_parts(clicks: pd.DataFrame, n_heldout: int, fraction: float, seed: int) -> list[Pairs]:
    """Liang et al. 2018 in pandas, a group at a time: train, then tr and te of both folds."""
    generator = np.random.RandomState(seed)
    users = np.array(sorted(clicks["user"].unique()))
    users = users[generator.permutation(len(users))]
    train_users = users[: len(users) - 2 * n_heldout]
    valid_users = users[len(users) - 2 * n_heldout : len(users) - n_heldout]
    test_users = users[len(users) - n_heldout :]
    train = clicks[clicks["user"].isin(train_users)]
    known = clicks[clicks["item"].isin(train["item"].unique())]
    parts = [train]
    for held_out in (valid_users, test_users):
        generator = np.random.RandomState(seed)
        history, target = [], []
        for _, group in known[known["user"].isin(held_out)].groupby("user"):
            chosen = np.zeros(len(group), bool)
            if len(group) >= 5:
                n_chosen = int(fraction * len(group))
                chosen[generator.choice(len(group), size=n_chosen, replace=False)] = True
            history.append(group[~chosen])
            target.append(group[chosen])
        parts += [pd.concat(history), pd.concat(target)]
    return [list(zip(p["user"].tolist(), p["item"].tolist(), strict=True)) for p in parts]


@pytest.mark.parametrize("seed", [0, 1, 98765])
def test_it_draws_what_the_papers_procedure_draws(seed: int):
    clicks = clicks_of(n_users=120, n_items=500, n_clicks=(5, 12), seed=seed)
    split = strong(20, 0.2, seed).split(Interactions.from_table(clicks))
    assert np.diff(split.valid.target.indptr).min() == 0  # unknown items left under five to some
    assert parts_of(split) == naive_parts(clicks, 20, 0.2, seed)


def test_items_are_numbered_as_training_users_first_meet_them():
    clicks = clicks_of(n_users=60, n_items=40, n_clicks=(5, 12), seed=3)
    split = strong().split(Interactions.from_table(clicks))
    train = clicks[clicks["user"].isin(split.train_user_ids)]
    assert split.item_ids.tolist() == train["item"].unique().tolist()


@pytest.mark.realdata
def test_movielens_1m_gives_the_five_files_of_the_paper_byte_for_byte(
    shared_data: Path, tmp_path: Path, ml_1m: Interactions
):
    split = strong(600, 0.2, 98765).split(ml_1m)
    written = write_liang(split, tmp_path / "pro_sg")
    assert [file.name for file in written] == [
        "train.csv", "validation_tr.csv", "validation_te.csv", "test_tr.csv", "test_te.csv",
        "unique_sid.txt", "user_ids.txt",
    ]  # fmt: skip
    for file in written[:-1]:  # the paper has none of the last
        assert file.read_bytes() == (shared_data / "ml-1m-pro_sg" / file.name).read_bytes()


# --- what always holds --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clicks() -> pd.DataFrame:
    return clicks_of(n_users=100, n_items=80, n_clicks=(5, 20), seed=5)


@pytest.fixture(scope="module")
def split(clicks: pd.DataFrame) -> Split:
    return strong().split(Interactions.from_table(clicks))


def test_users_are_in_one_part_each_and_nobody_is_lost(split: Split):
    assert len(split.valid.user_ids) == len(split.test.user_ids) == 10
    everybody = [*split.train_user_ids, *split.valid.user_ids, *split.test.user_ids]
    assert sorted(everybody) == list(range(100))


def test_a_training_user_keeps_every_click(clicks: pd.DataFrame, split: Split):
    for row, user in enumerate(split.train_user_ids):
        items = split.item_ids[split.train[row].indices]
        assert items.tolist() == clicks[clicks["user"] == user]["item"].tolist()


@pytest.mark.parametrize("part", ["valid", "test"])
def test_history_and_target_are_disjoint_and_together_a_users_known_clicks(
    clicks: pd.DataFrame, split: Split, part: str
):
    fold: Fold = getattr(split, part)
    known = set(split.item_ids)
    for row, user in enumerate(fold.user_ids):
        history = set(split.item_ids[fold.history[row].indices])
        target = set(split.item_ids[fold.target[row].indices])
        assert not history & target
        assert history | target == set(clicks[clicks["user"] == user]["item"]) & known
        n_known = len(history) + len(target)
        assert len(target) == (int(0.2 * n_known) if n_known >= 5 else 0)


def test_a_tenth_of_the_users_is_held_out_unless_a_number_is_given(clicks: pd.DataFrame):
    split = strong(None).split(Interactions.from_table(clicks[clicks["user"] < 60]))
    assert split.profile()["n_valid_users"] == split.profile()["n_test_users"] == 6


def test_one_user_of_three_is_held_out_for_each_part() -> None:
    assert strong(n_heldout_users=None)._n_held_out(3) == 1


def test_the_same_seed_gives_the_same_split_and_another_seed_another(
    clicks: pd.DataFrame, split: Split
):
    data = Interactions.from_table(clicks)
    assert strong().split(data).fingerprint == split.fingerprint
    assert strong(seed=2).split(data).fingerprint != split.fingerprint


def test_the_input_stays_as_it_was(clicks: pd.DataFrame):
    data = Interactions.from_table(clicks)
    before = data.fingerprint
    strong().split(data)
    assert Interactions(data.matrix, data.user_ids, data.item_ids).fingerprint == before


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(("n_users", "n_heldout"), [(20, 10), (20, 11), (2, None), (1, None)])
def test_too_few_users_are_refused(refused, n_users: int, n_heldout: int | None):
    clicks = clicks_of(n_users, n_items=30, n_clicks=(5, 9), seed=0)
    with refused("must leave users to train on", f"of {n_users} are held out", "n_heldout_users"):
        strong(n_heldout).split(Interactions.from_table(clicks))


@pytest.mark.parametrize(
    ("fraction", "needed"),
    [(0.2, 5), (0.3, 4), (0.1, 10), (1 / 49, 50)],  # 1/49 × 49 is a little below 1
)
def test_held_out_users_too_short_to_fold_in_are_refused(refused, fraction: float, needed: int):
    data = {n: clicks_of(40, 60, (n, n), seed=0) for n in (needed - 1, needed)}
    with refused(f"must have {needed} interactions", "but 10 have fewer", "first: user"):
        strong(10, fraction).split(Interactions.from_table(data[needed - 1]))
    strong(10, fraction).split(Interactions.from_table(data[needed]))


def test_held_out_users_of_whom_training_knows_no_item_are_refused(refused):
    rows = [(user, 10 * user + n, 1.0) for user in range(20) for n in range(5)]
    data = Interactions.from_table(pd.DataFrame(rows, columns=["user", "item", "value"]))
    with refused("validation has no users with target items", "training does not know"):
        strong(2).split(data)


def test_data_that_comes_split_is_refused(refused, split: Split):
    with refused("already split", "use split=presplit"):
        strong().split(split)


@pytest.mark.parametrize(
    "change", [{"n_heldout_users": 0}, {"target_fraction": 0}, {"target_fraction": 1}, {"seed": -1}]
)
def test_a_setting_out_of_range_is_refused(change: dict[str, float]):
    with pytest.raises(ValidationError, match=next(iter(change))):
        strong(**change)
