"""Held-out interactions of users who are trained on, with shares worked out on the page."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from recsweep.data.interactions import Interactions
from recsweep.data.sources.jukebox import Jukebox
from recsweep.data.split import Split
from recsweep.data.splits.weak import Weak


def weak(**changes: object) -> Weak:
    settings = {
        "per": "user",
        "valid_fraction": 0.1,
        "test_fraction": 0.2,
        "unknown_items": "drop",
        "valid_items": False,
        "seed": 0,
    }
    return Weak(**settings | changes)


def users_with(*lengths: int) -> Interactions:
    """User u has items 0 … lengths[u] − 1."""
    rows = [(user, item, 1.0) for user, length in enumerate(lengths) for item in range(length)]
    return Interactions.from_table(pd.DataFrame(rows, columns=["user", "item", "value"]))


def counts(fold_or_train, user_ids: np.ndarray) -> dict[int, int]:
    return dict(zip(user_ids.tolist(), np.diff(fold_or_train.indptr).tolist(), strict=True))


# --- shares -------------------------------------------------------------------------------------


def test_each_user_gives_the_share_of_their_items_rounded_down():
    split = weak().split(users_with(10, 9, 5, 4, *20 * [40]))  # enough to train on every item
    # a tenth: 1, 0.9, 0.5, 0.4, 4; a fifth: 2, 1.8, 1, 0.8, 8
    many = range(4, 24)
    assert counts(split.valid.target, split.valid.user_ids) == {0: 1} | dict.fromkeys(many, 4)
    assert counts(split.test.target, split.test.user_ids) == {
        0: 2,
        1: 1,
        2: 1,
        **dict.fromkeys(many, 8),
    }
    assert counts(split.train, split.train_user_ids) == {
        0: 7,
        1: 8,
        2: 4,
        3: 4,
        **dict.fromkeys(many, 28),
    }


def test_a_share_of_all_interactions_is_drawn_from_all_of_them():
    # 60 of 600 and 120 of 600; with 20 users on 30 items training knows all items and users
    split = weak(per="all").split(users_with(*20 * [30]))
    assert split.valid.target.nnz == 60
    assert split.test.target.nnz == 120
    assert split.train.nnz == 420


def test_a_share_whose_product_falls_short_by_rounding_counts_in_full():
    assert 0.29 * 100 < 29
    split = weak(test_fraction=0.29).split(users_with(*20 * [100]))
    assert np.diff(split.test.target.indptr).tolist() == 20 * [29]


# --- what always holds, per user and over all -----------------------------------------------------


@pytest.fixture(params=["user", "all"])
def cut(request: pytest.FixtureRequest) -> Callable[..., tuple[Interactions, Split]]:
    def make(seed: int = 0) -> tuple[Interactions, Split]:
        data = users_with(*range(1, 41))
        return data, weak(per=request.param, seed=seed).split(data)

    return make


def items(matrix, row: int) -> set[int]:
    return set(matrix[row].indices.tolist())


def test_nothing_is_in_two_parts_and_nothing_known_is_lost(cut):
    data, split = cut()
    known = set(split.item_ids.tolist())
    valid = {user: items(split.valid.target, row) for row, user in enumerate(split.valid.user_ids)}
    test = {user: items(split.test.target, row) for row, user in enumerate(split.test.user_ids)}
    for row, user in enumerate(data.user_ids):
        parts = [items(split.train, row), valid.get(user, set()), test.get(user, set())]
        original = [{int(split.item_ids[item]) for item in part} for part in parts]
        assert sum(map(len, original)) == len(set().union(*original))
        assert set().union(*original) == items(data.matrix, row) & known


def test_a_history_is_all_that_comes_before_it(cut):
    _, split = cut()
    valid = {user: items(split.valid.target, row) for row, user in enumerate(split.valid.user_ids)}
    for row, user in enumerate(split.valid.user_ids):
        assert items(split.valid.history, row) == items(split.train, user)
    for row, user in enumerate(split.test.user_ids):
        earlier = items(split.train, user) | valid.get(user, set())
        assert items(split.test.history, row) == earlier
        assert not earlier & items(split.test.target, row)


def test_the_items_are_those_of_training_and_everyone_ranked_has_a_target(cut):
    _, split = cut()
    assert np.unique(split.train.indices).tolist() == list(range(len(split.item_ids)))
    assert np.diff(split.valid.target.indptr).min() > 0
    assert np.diff(split.test.target.indptr).min() > 0


def test_the_same_seed_gives_the_same_split_and_another_seed_another(cut):
    assert cut(seed=3)[1].fingerprint == cut(seed=3)[1].fingerprint
    assert cut(seed=3)[1].fingerprint != cut(seed=4)[1].fingerprint


def test_the_draw_is_fair():
    # 2,000 users hold out 1 of 5 for test: each place is drawn 400 ± 5 × 18 times (binomial)
    split = weak(valid_fraction=0.2).split(users_with(*2000 * [5]))
    times = np.bincount(split.test.target.indices, minlength=5)
    assert times.sum() == 2000
    assert abs(times - 400).max() < 90


# --- what training does not know ------------------------------------------------------------------


def loners() -> Interactions:
    """Ten users with the same ten items and one item each that nobody else has."""
    rows = [(user, item, 1.0) for user in range(10) for item in [*range(10), 100 + user]]
    return Interactions.from_table(pd.DataFrame(rows, columns=["user", "item", "value"]))


@pytest.mark.parametrize("per", ["user", "all"])
def test_unknown_items_are_dropped_or_count_as_relevant(per: str):
    data = loners()
    dropped, counted = (
        weak(per=per, valid_fraction=0.3, test_fraction=0.3, unknown_items=choice).split(data)
        for choice in ("drop", "count")
    )
    own = [item for item in range(100, 110) if item not in dropped.item_ids]
    assert own, "three in ten are held out in each fold"
    assert counted.item_ids.tolist() == dropped.item_ids.tolist()
    assert dropped.test.n_unknown is None
    assert counted.valid.n_unknown.sum() + counted.test.n_unknown.sum() == len(own)
    n_held_out = 33 if per == "all" else 30  # of 110 in all, or of 11 ten times
    assert counted.test.n_relevant.sum() == n_held_out
    assert dropped.test.target.nnz == n_held_out - counted.test.n_unknown.sum()
    assert dropped.fingerprint != counted.fingerprint


def test_a_user_of_whom_only_unknown_items_are_held_out_is_ranked_and_misses():
    # 30 users with one common item and one of their own
    rows = [(user, item, 1.0) for user in range(30) for item in (0, 100 + user)]
    data = Interactions.from_table(pd.DataFrame(rows, columns=["user", "item", "value"]))
    split = weak(per="all", unknown_items="count").split(data)
    hopeless = np.diff(split.test.target.indptr) == 0
    assert hopeless.any()
    assert split.test.n_relevant[hopeless].tolist() == hopeless.sum() * [1]


@pytest.mark.parametrize("choice", ["drop", "count"])
def test_a_user_of_whom_test_took_everything_is_nowhere(choice: str):
    split = weak(per="all", test_fraction=0.5, unknown_items=choice).split(users_with(*60 * [2]))
    assert 0 < len(split.train_user_ids) < 60
    assert np.diff(split.train.indptr).min() > 0
    for fold in (split.valid, split.test):
        assert set(fold.user_ids) <= set(split.train_user_ids)
        assert np.diff(fold.history.indptr).min() > 0


@pytest.mark.parametrize("choice", ["drop", "count"])
def test_a_refit_knows_the_items_that_only_validation_has(choice: str):
    settings = {"valid_fraction": 0.3, "test_fraction": 0.3, "unknown_items": choice}
    split = weak(**settings).split(loners())
    wider = weak(**settings, valid_items=True).split(loners())
    n_items = len(split.item_ids)
    late = wider.item_ids[n_items:].tolist()
    assert late, "three in ten are held out for validation"
    assert wider.item_ids[:n_items].tolist() == split.item_ids.tolist(), "and these stay in place"
    assert (wider.train[:, :n_items] != split.train).nnz == 0
    assert wider.train[:, n_items:].nnz == 0

    # each of these items is the only one's own: a target in validation, known for good in a refit
    assert (wider.valid.target[:, n_items:].sum(axis=0) == 1).all()
    _, rows = wider.without_test()
    assert np.unique(rows.indices).tolist() == list(range(n_items + len(late)))
    assert wider.test.history[:, n_items:].nnz == len(late)
    n_known = sum(item in wider.item_ids for item in range(100, 110))
    if choice == "count":
        assert wider.valid.n_unknown.sum() == 0
        assert split.valid.n_unknown.sum() == len(late)
        assert wider.test.n_unknown.sum() == split.test.n_unknown.sum() == 10 - n_known
        assert wider.test.n_relevant.tolist() == split.test.n_relevant.tolist()


def test_a_test_target_that_only_validation_knows_can_be_recommended():
    # 60 users with item 0 and one of 30 others each, which two of them share
    rows = [(user, item, 1.0) for user in range(60) for item in (0, 100 + user // 2)]
    data = Interactions.from_table(pd.DataFrame(rows, columns=["user", "item", "value"]))
    settings = {"per": "all", "valid_fraction": 0.4, "test_fraction": 0.3}
    split, wider = (weak(**settings, valid_items=known).split(data) for known in (False, True))
    late = [n for n, item in enumerate(wider.item_ids) if item not in split.item_ids]
    gained = wider.test.target[:, late]
    assert gained.nnz == wider.test.target.nnz - split.test.target.nnz > 0
    _, rows = wider.without_test()
    assert np.diff(rows[:, late].tocsc().indptr)[np.unique(gained.indices)].min() == 1


def test_training_and_validation_together_are_all_but_test(cut):
    _, split = cut()
    user_ids, rows = split.without_test()
    assert user_ids.tolist() == split.train_user_ids.tolist()
    assert rows.nnz == split.train.nnz + split.valid.target.nnz
    for row, user in enumerate(split.test.user_ids):
        place = int(np.flatnonzero(user_ids == user)[0])
        assert items(rows, place) == items(split.test.history, row)
    known_ids, known = split.known_histories()
    assert known_ids.tolist() == user_ids.tolist()
    assert (known != rows).nnz == 0


@pytest.mark.realdata
def test_jukeboxes_random_split_has_about_the_notebooks_size(shared_data: Path):
    source = Jukebox(
        name="jukebox", path=shared_data / "jukebox", min_rating=None, min_user_interactions=1,
        n_heldout_users=None,
    )  # fmt: skip
    notebook = weak(per="all", valid_fraction=0.01, unknown_items="count")
    split = notebook.split(source.load(source.files(shared_data)))
    assert split.valid.target.nnz + split.valid.n_unknown.sum() == 3_378  # a hundredth
    assert 8_080 < split.train.shape[1] < 8_150  # the notebook's had 8,115 items
    assert 20_030 < split.train.shape[0] < 20_100
    # a fifth is 67,576, less what users had whom training does not know
    assert 67_200 < split.test.n_relevant.sum() < 67_576
    assert 100 < split.test.n_unknown.sum() < 200


# --- what is refused ------------------------------------------------------------------------------


def test_shares_that_hold_nothing_out_are_refused(refused):
    with refused("split.valid_fraction=0.1", "at most 9 interactions", "use split.per=all"):
        weak().split(users_with(9, 9, 5))


def test_held_out_items_that_nobody_trains_on_are_refused(refused):
    rows = [(user, 10 * user + n, 1.0) for user in range(3) for n in range(10)]
    data = Interactions.from_table(pd.DataFrame(rows, columns=["user", "item", "value"]))
    with refused("validation has no users with target items"):
        weak().split(data)


def test_data_that_comes_split_is_refused(refused):
    with refused("already split", "use split=presplit"):
        weak().split(weak().split(users_with(20, 20)))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"valid_fraction": 0}, "valid_fraction"),
        ({"test_fraction": 1}, "test_fraction"),
        ({"valid_fraction": 0.5, "test_fraction": 0.5}, "below 1 to leave something to train on"),
        ({"per": "item"}, "'user' or 'all'"),
        ({"unknown_items": "keep"}, "'drop' or 'count'"),
        ({"valid_items": "yes"}, "valid_items"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_setting_out_of_range_is_refused(change: dict[str, object], complaint: str):
    with pytest.raises(ValidationError, match=complaint):
        weak(**change)
