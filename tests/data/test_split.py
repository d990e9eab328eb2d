"""A split says what it is made of, and every protocol keeps what is held out from models."""

import gc
import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from contracts import composed

from recsweep.build import build
from recsweep.data.interactions import Interactions
from recsweep.data.matrix import fingerprint, matrix_arrays
from recsweep.data.split import Fold, Split, Splitter
from recsweep.defaults import conf_folder


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
    assert known.drop_users_without_targets().user_ids.tolist() == [5]
    left = counted.drop_users_without_targets()
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


def test_interactions_of_value_0_are_kept_and_of_two_values_the_larger(split: Split):
    def rows(*entries: tuple[int, int, float]) -> sp.csr_matrix:
        users, items, values = zip(*entries, strict=True)
        return sp.csr_matrix((np.array(values, np.float32), (users, items)), (1, 3))

    zeros = replace(
        split,
        train=rows((0, 0, 0), (0, 1, -2)),
        train_user_ids=np.array([10]),
        valid=Fold(rows((0, 0, 0), (0, 1, -1)), rows((0, 2, 0)), np.array([10])),
        test=Fold(rows((0, 2, 0)), rows((0, 0, 1)), np.array([13])),
    )
    user_ids, known = zeros.known_histories()
    assert user_ids.tolist() == [10, 13]
    assert known.nnz == 4
    assert known.indices.tolist() == [0, 1, 2, 2]
    assert known.toarray().tolist() == [[0, -1, 0], [0, 0, 0]]


def test_those_who_train_on_all_but_test_share_one_matrix(split: Split):
    (ids, rows), (same_ids, same) = split.without_test(), split.without_test()
    assert rows is same
    assert same_ids is ids
    del rows, same
    gc.collect()
    assert split.without_test()[1].toarray().tolist() == [[1, 1, 0], [0, 1, 1], [1, 1, 1]]
    assert pickle.loads(pickle.dumps(split)).without_test()[1].nnz == 7  # noqa: S301


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
    with refused("validation has no users with target items", "use more data"):
        replace(split, valid=empty)
    with refused("test has no users with target items"):
        replace(split, test=empty)


# --- contracts of every protocol ------------------------------------------------------------------

PROTOCOLS = sorted(file.stem for file in (conf_folder() / "split").glob("*.yaml"))
PROTOCOLS.remove("presplit")  # it cuts nothing; the files are checked by recsweep.data.leaks
Pairs = set[tuple[int, int]]
settings_of = cache(lambda name: composed(f"split={name}", "data=synthetic")["split"])


@pytest.fixture(scope="module", params=range(3))
def table(request: pytest.FixtureRequest) -> pd.DataFrame:
    """150 users with 5 to 25 of 50 items, the rare ones rare, at times with ties."""
    random = np.random.default_rng(request.param)
    chances = 1 / np.arange(1, 51)
    rows = [
        (user, int(item), float(random.integers(1, 6)), int(random.integers(0, 200)))
        for user in range(150)
        for item in random.choice(50, random.integers(5, 26), False, chances / chances.sum())
    ]
    return pd.DataFrame(rows, columns=["user", "item", "value", "timestamp"])


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest, table: pd.DataFrame, tmp_path: Path) -> Splitter:
    """Each choice of `split=`, as configured by default."""
    settings = dict(settings_of(request.param))
    if "path" in settings:
        settings["path"] = str(tmp_path / "truth.txt")
        every = {(user, item) for user in range(150) for item in range(50)}
        new = sorted(every - set(zip(table["user"], table["item"], strict=True)))[::9]
        Path(settings["path"]).write_text("".join(f"{user} {item}\n" for user, item in new))
    return build(settings, "split")


def pairs_of(split: Split, user_ids: np.ndarray, matrix: sp.csr_matrix) -> Pairs:
    users = np.repeat(user_ids, np.diff(matrix.indptr))
    pairs = list(zip(users.tolist(), split.item_ids[matrix.indices].tolist(), strict=True))
    assert len(pairs) == len(set(pairs))
    return set(pairs)


def test_what_is_held_out_is_in_nothing_that_a_model_sees_before(
    protocol: Splitter, table: pd.DataFrame
):
    split = protocol.split(Interactions.from_table(table))
    train, valid_history, valid, test_history, test = (
        pairs_of(split, ids, matrix)
        for ids, matrix in zip(
            (split.train_user_ids, *2 * [split.valid.user_ids], *2 * [split.test.user_ids]),
            split.matrices,
            strict=True,
        )
    )
    assert valid
    assert test
    assert not valid & (train | valid_history)
    assert not test & (train | valid_history | valid | test_history)
    for known in (split.without_test(), split.known_histories()):
        assert not test & pairs_of(split, *known)
    every = set(zip(table["user"], table["item"], strict=True))
    assert train | valid_history | valid | test_history <= every


def test_parts_have_one_item_axis_values_of_the_data_and_nobody_without_a_target(
    protocol: Splitter, table: pd.DataFrame
):
    split = protocol.split(Interactions.from_table(table))
    assert len(set(split.item_ids.tolist())) == len(split.item_ids)
    for fold in (split.valid, split.test):
        shape = (len(fold.user_ids), len(split.item_ids))
        assert fold.history.shape == fold.target.shape == shape
        assert len(set(fold.user_ids.tolist())) == len(fold.user_ids)
        assert np.diff(fold.history.indptr).min() > 0
    assert split.train.shape == (len(split.train_user_ids), len(split.item_ids))
    value = table.set_index(["user", "item"])["value"]
    users = np.repeat(split.train_user_ids, np.diff(split.train.indptr))
    items = split.item_ids[split.train.indices]
    np.testing.assert_array_equal(value[list(zip(users, items, strict=True))], split.train.data)


def test_a_protocol_repeats_itself_and_leaves_its_input_as_it_was(
    protocol: Splitter, table: pd.DataFrame
):
    data = Interactions.from_table(table)
    times = data.times.copy()
    first = protocol.split(data)
    assert protocol.split(Interactions.from_table(table)).fingerprint == first.fingerprint
    assert first.data_fingerprint == Interactions.from_table(table).fingerprint
    assert replace(data).fingerprint == first.data_fingerprint
    np.testing.assert_array_equal(data.times, times)


def test_a_protocol_refuses_data_that_come_split(
    refused: Callable[..., object], protocol: Splitter, split: Split
):
    with refused("already split", "use split=presplit"):
        protocol.split(split)
