"""GF-CF by hand and against a dense twin by NumPy's full decomposition."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from recsweep.errors import InputError
from recsweep.models.gf_cf import GFCF
from recsweep.seeds import Seeds


def fitted(train: np.ndarray, alpha: float, latent_dim: int) -> GFCF:
    model = GFCF(alpha=alpha, latent_dim=latent_dim)
    model.fit(sp.csr_matrix(train.astype(np.float32)), lambda *_: True, Seeds(0))
    return model


def dense_twin(train: np.ndarray, alpha: float, latent_dim: int) -> np.ndarray:
    """The matrix that histories are multiplied by, in float64."""
    of_users, of_items = train.sum(axis=1), train.sum(axis=0)
    of_users[of_users == 0] = of_items[of_items == 0] = 1
    scaled = train / np.sqrt(np.outer(of_users, of_items))
    vectors = np.linalg.svd(scaled)[2][:latent_dim]
    roots = np.sqrt(of_items)
    return scaled.T @ scaled + alpha * (vectors.T @ vectors) / roots[:, None] * roots


def test_two_items_by_hand() -> None:
    # users of 1 and 2 items, items of 2 and 1 users: R̃ = [[1/√2, 0], [1/2, 1/√2]],
    # R̃ᵀR̃ = [[3/4, 1/√8], [1/√8, 1/2]] with eigenvalue 1 at v = (√2, 1)/√3, so that
    # D^(−½)·vvᵀ·D^(½) = [[2/3, 1/3], [2/3, 1/3]]
    model = fitted(np.array([[1, 0], [1, 1]]), 0.6, 1)
    scores = model.score(sp.csr_matrix(np.eye(2, dtype=np.float32)))
    expected = [[0.75 + 0.4, 8**-0.5 + 0.2], [8**-0.5 + 0.4, 0.5 + 0.2]]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


@pytest.mark.parametrize(("alpha", "latent_dim"), [(0.0, 3), (0.3, 1), (0.3, 8), (2.0, 29)])
@pytest.mark.parametrize("n_users", [50, 30])
def test_it_equals_a_dense_twin(n_users: int, alpha: float, latent_dim: int) -> None:
    random = np.random.default_rng(3)
    train = (random.random((n_users, 40)) < 0.2).astype(np.float64)
    train[4], train[:, 7] = 0, 0  # nobody and nothing
    others = (random.random((20, 40)) < 0.2).astype(np.float64)  # not in the training data
    expected = others @ dense_twin(train, alpha, latent_dim)
    scores = fitted(train, alpha, latent_dim).score(sp.csr_matrix(others.astype(np.float32)))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-6)  # float32 sums


def test_frequencies_that_no_user_has_are_left_out() -> None:
    # two groups of two items that always go together: rank 2
    train = np.kron(np.eye(2), np.ones((4, 2)))
    model = fitted(train, 1.0, 3)
    assert model.state()["frequencies"].shape == (2, 4)
    pair = np.kron(np.eye(2), np.full((2, 2), 0.5))  # both filters are this projection
    scores = model.score(sp.csr_matrix(np.eye(4, dtype=np.float32)))
    np.testing.assert_allclose(scores, 2 * pair, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5)])
def test_more_frequencies_than_there_are_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=r"latent_dim must be below .* but is 5; lower"):
        fitted(np.ones(shape), 0.3, 5)


def blocks(*shapes: tuple[int, int]) -> np.ndarray:
    """Groups of users who all have the same items, and no others."""
    return sp.block_diag([np.ones(shape) for shape in shapes]).toarray()


def scores_of_all(train: np.ndarray, alpha: float, latent_dim: int) -> np.ndarray:
    return fitted(train, alpha, latent_dim).score(sp.csr_matrix(train.astype(np.float32)))


@pytest.mark.parametrize("latent_dim", [64, 100])
def test_every_component_has_its_own_frequency(latent_dim: int) -> None:
    random = np.random.default_rng(1)
    connected = (random.random((400, 170)) < 0.1).astype(np.float64)  # too large for a dense SVD
    train = sp.block_diag([connected, blocks(*[(1, 5)] * 40)]).toarray()
    values = np.linalg.svd(dense_twin(train, 0, 1))[1] ** 0.5
    assert values[latent_dim - 1] - values[latent_dim] > 1e-4  # no other choice of vectors
    expected = train @ dense_twin(train, 1.0, latent_dim)
    np.testing.assert_allclose(scores_of_all(train, 1.0, latent_dim), expected, atol=1e-5)


def test_the_largest_components_come_first_and_then_those_of_the_first_user() -> None:
    # 6, 4, 6 and 9 interactions; a block of ones is its own projection, so that R̃ᵀR̃ adds it too
    train = blocks((3, 2), (2, 2), (2, 3), (3, 3))
    groups = np.repeat(np.arange(4), [2, 2, 3, 3])
    same_group = (groups[:, None] == groups) / np.bincount(groups)[groups]
    for latent_dim, chosen in ((1, [3]), (2, [3, 0]), (3, [3, 0, 2]), (4, [0, 1, 2, 3])):
        projection = same_group * np.isin(groups, chosen)
        expected = train @ (same_group + projection)
        np.testing.assert_allclose(scores_of_all(train, 1.0, latent_dim), expected, atol=1e-6)


def test_restarts_of_lanczos_method_draw_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.sparse import linalg

    draws, eigsh = [], linalg.eigsh

    def spy(*args: Any, rng: np.random.Generator, **settings: Any) -> Any:
        draws.append((settings["v0"][:3].tolist(), rng.normal()))
        return eigsh(*args, **settings)

    monkeypatch.setattr(linalg, "eigsh", spy)
    train = np.random.default_rng(0).random((300, 300)) < 0.1
    for _ in range(2):
        fitted(train, 1.0, 3)
    assert draws[0] == draws[1]


def test_a_failure_of_arpack_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.sparse import linalg

    def fail(*_: object, **__: object) -> None:
        raise linalg.ArpackNoConvergence("no convergence", [], [])

    monkeypatch.setattr(linalg, "eigsh", fail)
    train = np.random.default_rng(0).random((300, 300)) < 0.1
    with pytest.raises(InputError, match=r"largest singular values must be found.*; lower"):
        fitted(train, 1.0, 3)
