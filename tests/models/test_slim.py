"""SLIM by hand, against scikit-learn's elastic net, and its neighbours against arithmetic."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import ElasticNet

from recsweep import memory, step_lines
from recsweep.errors import InputError
from recsweep.models import slim
from recsweep.models.slim import SLIM, descend
from recsweep.seeds import Seeds


def fitted(
    train: np.ndarray, n_neighbors: int, l1: float, l2: float, positive: bool = True
) -> np.ndarray:
    """The weights, column j those for item j."""
    model = SLIM(n_neighbors=n_neighbors, l1=l1, l2=l2, positive=positive)
    model.fit(sp.csr_matrix(train.astype(np.float32)), lambda *_: True, Seeds(0))
    n_items = train.shape[1]
    return np.asarray(model.score(sp.eye(n_items, format="csr", dtype=np.float32)))


def elastic_nets(
    train: np.ndarray, neighbors: np.ndarray, l1: float, l2: float, positive: bool
) -> np.ndarray:
    """scikit-learn's minimum of ‖x − Aw‖²/2n + l1/n·‖w‖₁ + l2/2n·‖w‖² for each item."""
    n_users, n_items = train.shape
    weights = np.zeros((n_items, n_items))
    net = ElasticNet(
        alpha=(l1 + l2) / n_users, l1_ratio=l1 / (l1 + l2), positive=positive,
        fit_intercept=False, tol=1e-12, max_iter=100_000,
    )  # fmt: skip
    for item in range(n_items):
        places = np.flatnonzero(neighbors[:, item])
        if places.size and train[:, item].any():
            weights[places, item] = net.fit(train[:, places], train[:, item]).coef_
    return weights


def values(n_users: int, n_items: int) -> np.ndarray:
    random = np.random.default_rng(6)
    taste = random.random((n_users, 3)) @ random.random((3, n_items)) > 1
    train = (taste & (random.random((n_users, n_items)) < 0.7)) * (
        1 + random.random((n_users, n_items))
    )
    train[4], train[:, 7] = 0, 0  # nobody and nothing
    return train


def test_two_items_by_hand() -> None:
    # a·a = 3, x·a = 2: (2 − l1)/(3 + l2) for item 1 from item 0, and (2 − l1)/(2 + l2) back
    train = np.array([[1, 1], [1, 1], [1, 0]])
    np.testing.assert_allclose(fitted(train, 5, 0.5, 1.0), [[0, 1.5 / 4], [1.5 / 3, 0]], rtol=1e-6)
    assert not fitted(train, 5, 2.0, 1.0).any(), "two common users are not more than l1"


@pytest.mark.parametrize("batch_cells", [1, 1000, 1 << 23])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize(("l1", "l2"), [(3.0, 2.0), (0.2, 20.0), (10.0, 0.5)])
def test_with_all_neighbours_it_is_the_elastic_net(
    l1: float, l2: float, positive: bool, batch_cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slim, "BATCH_CELLS", batch_cells)
    train = values(80, 25)
    gram = train.T @ train
    neighbors = (np.abs(gram) > l1) & ~np.eye(25, dtype=bool)
    if positive:  # those with x·a ≤ l1 get 0 in any case
        expected = elastic_nets(train, ~np.eye(25, dtype=bool), l1, l2, positive)
        assert (expected[~neighbors] == 0).all()
    else:
        expected = elastic_nets(train, neighbors, l1, l2, positive)
        assert (expected < 0).any() == (l1 < 10)
    found = fitted(train, 24, l1, l2, positive)
    assert 0 < np.count_nonzero(found) < 25 * 24
    np.testing.assert_allclose(found, expected, atol=5e-5)  # float32, weights below 1


def test_neighbours_are_those_with_the_largest_weights_alone() -> None:
    train = values(80, 25)
    gram = train.T @ train
    alone = np.maximum(gram - 1.0, 0) / (np.diagonal(gram)[:, None] + 5.0)
    np.fill_diagonal(alone, 0)
    least = np.sort(alone, axis=0)[-4]
    neighbors = (alone >= least) & (alone > 0)  # values are real: no ties
    expected = elastic_nets(train, neighbors, 1.0, 5.0, positive=True)
    np.testing.assert_allclose(fitted(train, 4, 1.0, 5.0), expected, atol=5e-5)


def test_places_without_a_neighbour_get_nothing() -> None:
    gram = np.diag([2.0, 0.0]).astype(np.float32)[:, :, None]
    target = np.array([[1.0], [0.0]], np.float32)
    np.testing.assert_array_equal(descend(gram, target, 0.0, 0.0, positive=False), [[0.5], [0]])


def test_a_long_fit_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(step_lines, "LINE_EVERY_S", 0.0)
    monkeypatch.setattr(slim, "BATCH_CELLS", 10 * 24**2)
    fitted(values(80, 25), 24, 1.0, 1.0)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        "elastic nets: 1 of 3 blocks", "elastic nets: 2 of 3 blocks",
    ]  # fmt: skip


def test_neighbours_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    with pytest.raises(InputError, match=r"nets of 24 neighbours must have .*lower model\.n_neigh"):
        fitted(values(80, 25), 30, 1.0, 1.0)


def test_weights_that_have_not_settled_are_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gram = np.array([[2, 1], [1, 2]], np.float32)[:, :, None]
    target = np.array([[1], [1]], np.float32)
    np.testing.assert_allclose(descend(gram, target, 0.0, 0.0, positive=False), 1 / 3, rtol=1e-4)
    assert caplog.messages == []
    monkeypatch.setattr(slim, "MAX_SWEEPS", 1)
    descend(gram, target, 0.0, 0.0, positive=False)
    assert caplog.messages == [
        "weights of 1 items still changed by 5.0e-01 after 1 sweeps; raise model.l2 if that matters"
    ]
