"""Ridge regressions over neighbours: by hand, against a dense twin, and against EASE."""

import numpy as np
import pytest
import scipy.sparse as sp

from recsweep import environment, memory, step_lines
from recsweep.data.gram import BLOCK_CELLS
from recsweep.errors import InputError
from recsweep.models import mrf
from recsweep.models.ease import EASE
from recsweep.models.mrf import MRF
from recsweep.seeds import Seeds


def fitted(train: np.ndarray, n_neighbors: int, l2: float, dropout_rate: float = 0.0) -> np.ndarray:
    """The weights, column j those for item j."""
    model = MRF(n_neighbors=n_neighbors, l2=l2, dropout_rate=dropout_rate)
    model.fit(sp.csr_matrix(train.astype(np.float32)), lambda *_: True, Seeds(0))
    n_items = train.shape[1]
    return np.asarray(model.score(sp.eye(n_items, format="csr", dtype=np.float32)))


def values(n_users: int, n_items: int, share: float = 0.3) -> np.ndarray:
    random = np.random.default_rng(3)
    is_there = random.random((n_users, n_items)) < share
    train = is_there * (1 + random.random((n_users, n_items)))  # real: no ties
    train[4], train[:, 7] = 0, 0  # nobody and nothing
    return train


def ease_weights(train: np.ndarray, l2: float, ratio: float) -> np.ndarray:
    """EASE's matrix in float64: −P_ij/P_jj with a zero diagonal (Steck 2019, equation 8)."""
    gram = train.T @ train
    inverse = np.linalg.inv(gram + np.diag(l2 + ratio * np.diagonal(gram)))
    weights = -inverse / np.diagonal(inverse)
    np.fill_diagonal(weights, 0)
    return np.asarray(weights)


def test_two_of_three_items_by_hand() -> None:
    # products: 0 and 1 have 2 common users, 1 and 2 have 1, 0 and 2 none. Item 1 is nearest to 0
    # (2/√6 ≥ 1/√6) and to 2; with l2 = 1 its weights are 2/(3 + 1) for both and 0 to it 2/(2 + 1)
    train = np.array([[1, 1, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]])
    expected = [[0, 2 / 3, 0], [2 / 4, 0, 1 / 4], [0, 0, 0]]
    np.testing.assert_allclose(fitted(train, 1, 1.0), expected, rtol=1e-6)


@pytest.mark.parametrize("dropout_rate", [0.0, 0.4])
@pytest.mark.parametrize("share", [0.02, 0.3])
def test_with_all_neighbours_it_is_ease(share: float, dropout_rate: float) -> None:
    train = values(200, 40, share)
    expected = ease_weights(train, 2.0, dropout_rate / (1 - dropout_rate))
    found = fitted(train, 39, 2.0, dropout_rate)
    np.testing.assert_allclose(found, expected, atol=1e-6)  # float32, weights below 1
    ease = EASE(l2=2.0, dropout_rate=dropout_rate)
    ease.fit(sp.csr_matrix(train.astype(np.float32)), lambda *_: True, Seeds(0))
    scores = np.asarray(ease.score(sp.csr_matrix(train.astype(np.float32))))
    np.testing.assert_allclose(train @ found, scores, atol=1e-5)


@pytest.mark.parametrize("n_neighbors", [1, 6, 38])
@pytest.mark.parametrize("dropout_rate", [0.0, 0.4])
def test_it_is_a_ridge_regression_on_the_largest_cosines(
    n_neighbors: int, dropout_rate: float
) -> None:
    train, l2 = values(200, 40), 2.0
    gram = train.T @ train
    norms = np.sqrt(np.diagonal(gram))
    cosines = gram / np.maximum(np.outer(norms, norms), 1e-12)
    np.fill_diagonal(cosines, 0)
    penalties = l2 + dropout_rate / (1 - dropout_rate) * np.diagonal(gram)
    expected = np.zeros_like(gram)
    for item in range(40):
        chosen = np.argsort(-cosines[item])[:n_neighbors]
        chosen = chosen[cosines[item, chosen] > 0]
        square = gram[np.ix_(chosen, chosen)] + np.diag(penalties[chosen])
        expected[chosen, item] = np.linalg.solve(square, gram[chosen, item])
    assert (expected[:, 7] == 0).all()
    found = fitted(train, n_neighbors, l2, dropout_rate)
    np.testing.assert_allclose(found, expected, atol=1e-6)  # float32, weights below 1
    assert np.count_nonzero(found[:, 0]) == n_neighbors


def test_the_number_of_threads_changes_no_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for n_threads, block in ((1, 128), (4, 3)):
        monkeypatch.setattr(environment, "n_threads", lambda n=n_threads: n)
        monkeypatch.setattr(mrf, "BLOCK", block)
        found.append(fitted(values(200, 40), 20, 1.0))
    np.testing.assert_array_equal(*found)


def test_items_that_nobody_can_tell_apart_need_l2() -> None:
    train = np.repeat(np.array([[1, 1], [1, 0], [1, 1]]), 3, axis=1)
    with pytest.raises(InputError, match=r"identical users; raise model\.l2 \(now 0\)$"):
        fitted(train, 3, 0.0)


def test_a_catalogue_of_one_item_has_no_weight() -> None:
    np.testing.assert_array_equal(fitted(np.ones((3, 1)), 5, 1.0), [[0]])


def test_a_long_fit_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(step_lines, "LINE_EVERY_S", 0.0)
    monkeypatch.setattr(mrf, "BLOCK", 15)
    fitted(values(200, 40), 5, 1.0)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        "ridge regressions: 1 of 3 blocks", "ridge regressions: 2 of 3 blocks",
    ]  # fmt: skip


def test_neighbours_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "n_threads", lambda: 2)
    needed = 20 * 40 * 10 + 2 * 8 * BLOCK_CELLS
    monkeypatch.setattr(memory, "available_bytes", lambda: needed)
    fitted(values(200, 40), 10, 1.0)
    monkeypatch.setattr(memory, "available_bytes", lambda: needed - 1)
    with pytest.raises(
        InputError, match=r"^10 neighbours of each of 40 items must have .*; lower model\.n_neighb"
    ):
        fitted(values(200, 40), 10, 1.0)


def test_float32_is_held_to_float64_in_each_item(caplog: pytest.LogCaptureFixture) -> None:
    """As EASE: what is silent is right to 1 %, and what is off by half is refused."""
    random, outcomes = np.random.default_rng(0), []
    train = (random.random((30, 60)) < np.arange(1, 61) ** -0.5).astype(np.float64)
    largest = np.linalg.norm(train.T @ train, 2)
    for condition in (10.0**n for n in range(1, 10)):
        l2 = float(largest / condition)
        exact = ease_weights(train, l2, 0.0)
        caplog.clear()
        try:
            error = np.abs(fitted(train, 59, l2) - exact).max() / np.abs(exact).max()
        except InputError as refused:
            outcomes.append("refused" if "raise model.l2" in str(refused) else str(refused))
            continue
        is_said = "float32 is too coarse" in caplog.text
        assert error < (0.5 if is_said else 0.01)
        outcomes.append("warned" if is_said else "silent")
    assert outcomes == sorted(outcomes, key=["silent", "warned", "refused"].index)
    assert set(outcomes) == {"silent", "warned", "refused"}
    assert outcomes[:4] == ["silent"] * 4
