"""Users are recognised by all of their training items, however many they have had since."""

import numpy as np
import pytest
import scipy.sparse as sp

from recsweep.data.known_users import KnownUsers

TRAIN = [[1, 1, 0, 0, 0], [0, 1, 1, 1, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0]]


def matrix(rows: list[list[int]]) -> sp.csr_matrix:
    return sp.csr_matrix(np.array(rows, np.float32))


@pytest.mark.parametrize(
    ("history", "user"),
    [
        ([1, 1, 0, 0, 0], 0),  # and user 4, who comes later; user 2 has fewer items
        ([1, 1, 0, 0, 1], 0),
        ([0, 1, 1, 0, 0], -1),  # user 1's third item is missing
        ([0, 1, 1, 1, 1], 1),
        ([1, 0, 0, 0, 1], 2),  # a half of it
        ([1, 0, 1, 0, 1], -1),  # a third
        ([0, 0, 0, 0, 0], -1),
    ],
)
def test_a_user_is_found_by_their_items(history: list[int], user: int) -> None:
    assert KnownUsers(matrix(TRAIN)).find(matrix([history])).tolist() == [user]


def test_values_do_not_matter_and_zero_is_an_interaction() -> None:
    train = sp.csr_matrix((np.array([0.0, 7.0], np.float32), ([0, 0], [1, 3])), (1, 5))
    history = sp.csr_matrix((np.array([2.0, 0.0], np.float32), ([0, 0], [1, 3])), (1, 5))
    assert KnownUsers(train).find(history).tolist() == [0]


def test_of_many_users_with_the_same_items_the_first_is_found_without_trying_all() -> None:
    n_users = 20_000
    train = sp.csr_matrix((n_users + 1, 5), dtype=np.float32)
    train = sp.vstack([matrix([[0, 1, 0, 0, 0]] * n_users), matrix([[0, 1, 1, 0, 0]])], "csr")
    known = KnownUsers(train)
    assert known._by_rarest.nnz == 2
    assert known.find(matrix([[0, 1, 0, 0, 0], [0, 1, 1, 0, 0]])).tolist() == [0, n_users]


def test_many_users_are_found_as_a_search_through_all_finds_them() -> None:
    random = np.random.default_rng(7)
    train = random.random((80, 15)) < random.uniform(0.05, 0.5, (80, 1))
    history = (train | (random.random((80, 15)) < 0.15))[random.permutation(80)]

    def search(row: np.ndarray) -> int:
        inside = [u for u in range(80) if train[u].any() and not (train[u] & ~row).any()]
        large = [u for u in inside if train[u].sum() >= 0.5 * row.sum()]
        return max(large, key=lambda u: (train[u].sum(), -u), default=-1)

    found = KnownUsers(sp.csr_matrix(train.astype(np.float32))).find(
        sp.csr_matrix(history.astype(np.float32))
    )
    assert found.tolist() == [search(row) for row in history]
    assert (found >= 0).sum() > 40
    assert (found < 0).any()


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], "20 of 20 users"),  # users 0 and 4 have the same items
        ([[0, 1, 1, 1, 0]], "20 of 21 users"),
        ([[0, 1, 1, 1, 0]] * 1979, "20 of 1,999 users"),
        ([[0, 1, 1, 1, 0]] * 1980, None),  # 1 %
        ([[0, 0, 0, 0, 1]], "20 of 21 users"),  # nobody's
    ],
)
def test_users_with_the_same_items_are_told_once(
    others: list[list[int]], expected: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    known = KnownUsers(matrix(TRAIN))
    for _ in range(2):
        known.find(matrix([*[[1, 1, 0, 0, 0], [1, 1, 0, 0, 1]] * 10, *others]))
    assert len(caplog.messages) == (expected is not None)
    assert (expected or "") in caplog.text


def test_users_who_fit_equally_well_are_told_whatever_their_items(
    caplog: pytest.LogCaptureFixture,
) -> None:
    known = KnownUsers(matrix([[1, 1, 0], [0, 1, 1]]))
    assert known.find(matrix([[1, 1, 1]] * 10)).tolist() == [0] * 10
    assert not caplog.text, "too few"
    assert known.find(matrix([[1, 1, 1]] * 11)).tolist() == [0] * 11
    assert "11 of 11 users cannot be told apart" in caplog.text
