"""Every interaction is visited once per epoch, with a negative that the user does not have."""

import numpy as np
import pytest
import scipy.sparse as sp

from recsweep.errors import InputError
from recsweep.training.triples import Negatives, TripleEpochs


@pytest.fixture
def train() -> sp.csr_matrix:
    random = np.random.default_rng(5)
    dense = random.random((23, 11)) < 0.4
    dense[4], dense[7] = False, True  # nothing, and everything
    dense[9], dense[9, 3] = True, False  # one negative
    return sp.csr_matrix(dense.astype(np.float32))


def flat(epochs: TripleEpochs, epoch: int) -> tuple[np.ndarray, ...]:
    batches = epochs.batches(epoch)
    kept = batches.is_triple.ravel() == 1
    return tuple(part.ravel()[kept] for part in batches[:3])


def test_an_epoch_visits_every_interaction_of_users_with_a_negative(train: sp.csr_matrix) -> None:
    epochs = TripleEpochs(train, 8, 5, seed=1)
    expected = {(u, i) for u, i in zip(*train.nonzero(), strict=True) if u != 7}
    for epoch in range(2):
        users, positives, _ = flat(epochs, epoch)
        assert len(users) == len(expected)
        assert set(zip(users, positives, strict=True)) == expected
    assert epochs.batches(0).is_triple.shape == (epochs.n_batches, 8)
    assert epochs.n_batches == -(-len(expected) // 8)
    assert epochs.n_bytes == sum(part.nbytes for part in epochs.batches(0))


def test_negatives_are_never_positive(train: sp.csr_matrix) -> None:
    dense = train.toarray()
    epochs = TripleEpochs(train, 8, 50, seed=1)
    for epoch in range(50):
        users, _, negatives = flat(epochs, epoch)
        assert not dense[users, negatives].any()
        assert set(negatives[users == 9]) == {3}


def test_negatives_are_uniform_over_the_other_items() -> None:
    train = sp.csr_matrix(np.array([[0, 1, 0, 0, 1, 1, 0]], np.float32))
    train.indices[:] = train.indices[::-1].copy()  # not in ascending order
    drawn = Negatives(train).draw(np.zeros(40_000, np.int32), np.random.default_rng(2))
    counts = np.bincount(drawn, minlength=7)
    assert counts[[1, 4, 5]].tolist() == [0, 0, 0]
    np.testing.assert_allclose(counts[[0, 2, 3, 6]], 10_000, atol=350)  # 4 deviations of 87


def test_epochs_follow_from_the_seed(train: sp.csr_matrix) -> None:
    first, again, other = (flat(TripleEpochs(train, 8, 5, seed=s), 3) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, flat(TripleEpochs(train, 8, 5, seed=1), 4))


def test_no_triple_at_all_is_refused() -> None:
    full = sp.csr_matrix(np.ones((2, 3), np.float32))
    with pytest.raises(InputError, match="an item that they do not have"):
        TripleEpochs(full, 8, 5, seed=1)


@pytest.mark.parametrize("n_rows", [10**11, 4096, 50])
def test_a_batch_is_hardly_longer_than_an_epoch(train: sp.csr_matrix, n_rows: int) -> None:
    epochs = TripleEpochs(train, n_rows, 5, seed=1)
    assert epochs.batches(0).is_triple.shape[1] == min(n_rows, 4096)
    wanted = TripleEpochs(train, 7, 5, seed=1)
    for found, expected in zip(flat(epochs, 0), flat(wanted, 0), strict=True):
        np.testing.assert_array_equal(found, expected)
