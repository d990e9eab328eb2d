"""Batches hold exactly the users' interactions; padding is invisible."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from recsweep import memory
from recsweep.errors import InputError
from recsweep.training import batches
from recsweep.training.batches import (
    Batch,
    SampledEpochs,
    ShuffledEpochs,
    in_order,
    stack_batches,
)


@pytest.fixture
def train() -> sp.csr_matrix:
    random = np.random.default_rng(5)
    dense = (random.random((23, 11)) < 0.3) * random.random((23, 11))
    dense[4] = 0  # a user without interactions
    return sp.csr_matrix(dense.astype(np.float32))


def densified(batches: Batch, n_items: int) -> np.ndarray:
    n_batches, n_rows = batches.is_user.shape
    dense = np.zeros((n_batches, n_rows, n_items), np.float32)
    for b in range(n_batches):
        np.add.at(dense[b], (batches.rows[b], batches.items[b]), batches.values[b])
    return dense.reshape(-1, n_items)


@pytest.mark.parametrize("n_rows", [1, 5, 23, 40])
def test_batches_laid_end_to_end_are_the_matrix(train: sp.csr_matrix, n_rows: int) -> None:
    batches = in_order(train, n_rows)
    n_users = train.shape[0]
    np.testing.assert_array_equal(densified(batches, 11)[:n_users], train.toarray())
    np.testing.assert_array_equal(densified(batches, 11)[n_users:], 0)
    np.testing.assert_array_equal(
        batches.is_user.ravel(), np.arange(batches.is_user.size) < n_users
    )


def test_users_come_in_the_given_order(train: sp.csr_matrix) -> None:
    order = np.random.default_rng(1).permutation(23)
    batches = stack_batches(train, order, 5, capacity=64)
    np.testing.assert_array_equal(densified(batches, 11)[:23], train.toarray()[order])


def test_rows_ascend_within_a_batch_padding_included(train: sp.csr_matrix) -> None:
    assert (np.diff(in_order(train, 5).rows, axis=1) >= 0).all()


@pytest.mark.parametrize("n_rows", [5, 40])
def test_the_starts_cut_a_batch_by_row_and_by_item(train: sp.csr_matrix, n_rows: int) -> None:
    batches = in_order(train, n_rows)
    expected = densified(batches, 11).reshape(-1, n_rows, 11)
    for batch, dense in zip(zip(*batches, strict=True), expected, strict=True):
        rows, items, values, _, row_starts, by_item, item_starts = batch
        np.testing.assert_array_equal(np.diff(row_starts), np.bincount(rows, minlength=n_rows))
        by_row = sp.csr_matrix((values, items, row_starts), shape=(n_rows, 11))
        np.testing.assert_array_equal(by_row.toarray(), dense)
        columns = sp.csc_matrix((values[by_item], rows[by_item], item_starts), shape=(n_rows, 11))
        np.testing.assert_array_equal(columns.toarray(), dense)
        np.testing.assert_array_equal(np.sort(by_item), np.arange(len(items)))


def test_sampled_epochs_draw_users_with_replacement_into_full_batches(
    train: sp.csr_matrix,
) -> None:
    epochs = SampledEpochs(train, n_rows=5, n_epochs=400, seed=7)
    first = epochs.order(0)
    assert len(first) == 25  # ceil(23 / 5) batches of 5
    np.testing.assert_array_equal(first, SampledEpochs(train, 5, 400, 7).order(0))
    assert not np.array_equal(first, epochs.order(1))
    draws = np.bincount(np.concatenate([epochs.order(epoch) for epoch in range(400)]), minlength=23)
    assert len(draws) == 23
    # 10,000 draws: 435 each, with a standard deviation of sqrt(435 · 22 / 23) = 20.4
    assert np.abs(draws - 10_000 / 23).max() < 4.5 * 20.4
    assert epochs.batches(0).is_user.all()


def test_an_epoch_visits_every_user_once_and_epochs_differ(train: sp.csr_matrix) -> None:
    epochs = ShuffledEpochs(train, n_rows=5, n_epochs=3, seed=7)
    orders = [epochs.order(epoch) for epoch in range(3)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(23))
    assert not np.array_equal(orders[0], orders[1])
    np.testing.assert_array_equal(orders[2], ShuffledEpochs(train, 5, 3, 7).order(2))


def test_all_epochs_have_one_shape(train: sp.csr_matrix) -> None:
    epochs = ShuffledEpochs(train, n_rows=5, n_epochs=6, seed=7)
    batches = [epochs.batches(epoch) for epoch in range(6)]
    assert len({batch.rows.shape for batch in batches}) == 1
    assert epochs.n_batches == 5
    for batch in batches:
        assert densified(batch, 11).sum() == pytest.approx(train.sum(), rel=1e-6)


def test_rows_of_an_epoch_are_its_order_filled_up_by_nobody(train: sp.csr_matrix) -> None:
    epochs = ShuffledEpochs(train, n_rows=5, n_epochs=3, seed=7)
    rows = epochs.rows(1)
    assert rows.shape == (5, 5)
    np.testing.assert_array_equal(rows.ravel()[:23], epochs.order(1))
    np.testing.assert_array_equal(rows.ravel()[23:], 23)


def test_an_epoch_of_several_passes_visits_every_user_as_often(train: sp.csr_matrix) -> None:
    epochs = ShuffledEpochs(train, n_rows=5, n_epochs=2, seed=7, n_passes=3)
    assert epochs.n_batches == 15
    rows = epochs.rows(1)
    for number in range(3):  # each pass begins a batch and has an order of its own
        one = rows[5 * number : 5 * number + 5].ravel()
        np.testing.assert_array_equal(one[:23], epochs.order(3 + number))
        np.testing.assert_array_equal(one[23:], 23)
    batches = epochs.batches(1)
    dense = np.vstack([train.toarray(), np.zeros(11)])
    np.testing.assert_array_equal(densified(batches, 11), dense[rows.ravel()])
    np.testing.assert_array_equal(batches.is_user, rows < 23)


def test_a_matrix_without_interactions_has_batches_too() -> None:
    batches = in_order(sp.csr_matrix((3, 4), dtype=np.float32), 2)
    assert batches.is_user.sum() == 3
    assert not batches.values.any()


def test_an_epoch_beyond_memory_is_refused_before_it_is_made(
    refused: Any, monkeypatch: pytest.MonkeyPatch, train: sp.csr_matrix
) -> None:
    monkeypatch.setattr("recsweep.memory.available_bytes", lambda: 1_000)
    with refused("an epoch of", "batches of 2 users must have", "raise model.batch_size"):
        ShuffledEpochs(train, 2, 1, 5).batches(0)
    assert in_order(train, 2).items.size  # of a part of the users


def test_an_epoch_needs_the_memory_of_its_arrays(
    monkeypatch: pytest.MonkeyPatch, train: sp.csr_matrix
) -> None:
    n_bytes = sum(part.nbytes for part in ShuffledEpochs(train, 5, 1, 7, n_passes=2).batches(0))
    monkeypatch.setattr(memory, "available_bytes", lambda: n_bytes)
    ShuffledEpochs(train, 5, 1, 7, n_passes=2).batches(0)
    monkeypatch.setattr(memory, "available_bytes", lambda: n_bytes - 1)
    with pytest.raises(InputError, match="an epoch of 10 batches of 5 users must have"):
        ShuffledEpochs(train, 5, 1, 7, n_passes=2).batches(0)


def test_the_fullest_batch_has_the_interactions_of_all_its_users() -> None:
    lengths = np.array([1500, 10, 700, 20, 30, 1400, 5])
    train = sp.csr_matrix((np.arange(1500) < lengths[:, None]).astype(np.float32))
    for seed in range(7):  # other users come first
        assert ShuffledEpochs(train, 7, 2, seed).capacity == 4 * 1024


@pytest.mark.parametrize("kind", [ShuffledEpochs, SampledEpochs])
def test_a_huge_number_of_epochs_begins_at_once_and_holds_any_batch(
    kind: type[ShuffledEpochs | SampledEpochs],
) -> None:
    lengths = np.array([1500, 10, 700, 20, 30, 1400, 5])
    dense = np.arange(1500) < lengths[:, None]
    train = sp.csr_matrix(dense.astype(np.float32))
    epochs = kind(train, 3, 10**15, seed=0)
    # the three longest, or the longest three times, in multiples of 1,024
    assert epochs.capacity == {ShuffledEpochs: 4 * 1024, SampledEpochs: 5 * 1024}[kind]
    for epoch in range(20):
        assert (
            epochs.batches(epoch).values.sum()
            == lengths[np.concatenate(epochs._users(epoch))].sum()
        )
    few = kind(train, 3, 1_000, seed=0, n_passes=1)
    assert few.capacity <= epochs.capacity


@pytest.mark.parametrize(("n_rows", "advice"), [(10**13, "lower"), (3, "raise")])
def test_an_epoch_beyond_memory_is_told_which_way_to_change_the_batch(
    n_rows: int, advice: str, train: sp.csr_matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    with pytest.raises(InputError, match=f"; {advice} model.batch_size"):
        _ = ShuffledEpochs(train, n_rows, 1, seed=0).capacity


@pytest.mark.parametrize(("n_epochs_of_room", "is_made"), [(2.1, True), (1.9, False)])
def test_batches_are_made_ahead_only_where_there_is_room(
    n_epochs_of_room: float, is_made: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = sp.csr_matrix(np.eye(6, 5, dtype=np.float32))
    epochs = ShuffledEpochs(train, n_rows=2, n_epochs=2, seed=0)
    room = int(n_epochs_of_room * sum(part.nbytes for part in epochs.batches(0)))
    monkeypatch.setattr(batches, "available_bytes", lambda: room)
    for epoch in (1, 2):  # there is no third epoch
        epochs.make_ahead(epoch)
    assert list(epochs._ahead) == [1] * is_made
