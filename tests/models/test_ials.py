"""iALS: the stated loss in float64, its exact half steps, its gradient, and histories."""

import numpy as np
import pytest
import scipy.sparse as sp
from contracts import composed

from recsweep import memory
from recsweep.build import build
from recsweep.errors import InputError, TrainingDivergedError
from recsweep.models.ials import IALS, principal, ridge, solve
from recsweep.seeds import Seeds

L2, UNOBSERVED, EXPONENT = 0.05, 0.3, 0.7
N_USERS, N_ITEMS = 40, 12


def listens() -> np.ndarray:
    random = np.random.default_rng(5)
    dense = (random.random((N_USERS, N_ITEMS)) < 0.3) * (1 + random.random((N_USERS, N_ITEMS)))
    dense[0], dense[:, 3] = 0, 0
    return dense


def sparse(dense: np.ndarray) -> sp.csr_matrix:
    return sp.csr_matrix(dense.astype(np.float32))


def model(n_epochs: int = 1, latent_dim: int = 4, exponent: float = EXPONENT) -> IALS:
    return IALS(
        latent_dim=latent_dim, l2=L2, l2_exponent=exponent, unobserved_weight=UNOBSERVED,
        n_epochs=n_epochs,
    )  # fmt: skip


def fitted(n_epochs: int, **settings: float) -> tuple[IALS, list[float]]:
    found = model(n_epochs, **settings)  # type: ignore[arg-type]
    losses: list[float] = []

    def on_epoch(_epoch: int, parts: dict[str, float]) -> bool:
        losses.append(parts["loss"])
        return True

    found.fit(sparse(listens()), on_epoch, Seeds(1))
    return found, losses


def penalties(values: np.ndarray, exponent: float) -> np.ndarray:
    """The weight of each user's ‖x‖², by the formula of Rendle et al."""
    of_users = values.sum(axis=1) + UNOBSERVED * N_ITEMS
    train = listens()
    cells = [train.sum(axis=1) + UNOBSERVED * N_ITEMS, train.sum(axis=0) + UNOBSERVED * N_USERS]
    plain = sum(weights.sum() for weights in cells)
    scaled = sum((weights**exponent).sum() for weights in cells)
    return L2 * plain / scaled * of_users**exponent


def item_penalties(exponent: float) -> np.ndarray:
    of_items = listens().sum(axis=0) + UNOBSERVED * N_USERS
    first = listens()[:1]
    per_weight = penalties(first, exponent) / (first.sum() + UNOBSERVED * N_ITEMS) ** exponent
    return per_weight * of_items**exponent


def loss(users: np.ndarray, items: np.ndarray, exponent: float) -> float:
    """The loss as it is stated, over every cell."""
    values, predicted = listens(), users @ items.T
    of_users, of_items = penalties(values, exponent), item_penalties(exponent)
    return float(
        (values * (1 - predicted) ** 2).sum()
        + UNOBSERVED * (predicted**2).sum()
        + of_users @ (users**2).sum(axis=1)
        + of_items @ (items**2).sum(axis=1)
    )


def best(values: np.ndarray, others: np.ndarray, l2: float) -> np.ndarray:
    """The normal equations: (YᵀVY + α₀YᵀY + l2) x = YᵀV 1."""
    cells = np.diag(values + UNOBSERVED)
    matrix = others.T @ cells @ others + l2 * np.eye(others.shape[1])
    return np.linalg.solve(matrix, others.T @ values)


def best_users(values: np.ndarray, items: np.ndarray, exponent: float) -> np.ndarray:
    l2s = penalties(values, exponent)
    return np.stack([best(row, items, l2) for row, l2 in zip(values, l2s, strict=True)])


@pytest.mark.parametrize("latent_dim", [3, 30])  # fewer and more than a row has interactions
def test_a_half_step_solves_the_normal_equations(latent_dim: int) -> None:
    random = np.random.default_rng(2)
    items = principal(random.normal(size=(N_ITEMS, latent_dim)).astype(np.float32))
    l2 = random.random(N_USERS) + 0.1
    found, gain = solve(sparse(listens()), items, UNOBSERVED, l2)
    dense = items.astype(np.float64)
    expected = np.stack(
        [best(row, dense, weight) for row, weight in zip(listens(), l2, strict=True)]
    )
    np.testing.assert_allclose(found, expected, atol=2e-5)  # float32, factors up to 1
    predicted = expected @ dense.T
    left = (listens() * (1 - predicted) ** 2 + UNOBSERVED * predicted**2).sum()
    left += (l2[:, None] * expected**2).sum()
    assert gain == pytest.approx(listens().sum() - left, rel=1e-5)
    assert np.abs(expected).max() > 0.1


def test_principal_factors_have_orthogonal_columns_and_the_same_products() -> None:
    factors = np.random.default_rng(3).normal(size=(9, 5)).astype(np.float32)
    turned = principal(factors)
    np.testing.assert_allclose(turned @ turned.T, factors @ factors.T, atol=1e-5)
    gram = turned.T @ turned
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-5)


@pytest.mark.parametrize("exponent", [0.0, EXPONENT, 1.0])
def test_a_history_is_scored_by_the_factors_that_solve_it(exponent: float) -> None:
    found, _ = fitted(n_epochs=3, exponent=exponent)
    items = found.state()["item_factors"].astype(np.float64)
    unseen = np.random.default_rng(9).random((6, N_ITEMS)) * (np.arange(N_ITEMS) % 4 == 0)
    expected = best_users(unseen, items, exponent) @ items.T
    scores = found.score(sparse(unseen))
    np.testing.assert_allclose(scores, expected, atol=1e-5)  # float32, scores up to 1
    assert np.abs(expected).max() > 0.1


@pytest.mark.extended
@pytest.mark.parametrize("exponent", [EXPONENT, 0.0, 1.0])
def test_training_ends_where_the_gradient_of_the_stated_loss_is_zero(exponent: float) -> None:
    found, losses = fitted(n_epochs=300, exponent=exponent)
    items = found.state()["item_factors"].astype(np.float64)
    users = best_users(listens(), items, exponent)
    assert losses[-1] * N_USERS == pytest.approx(loss(users, items, exponent), rel=1e-5)

    def slope(direction: np.ndarray) -> float:
        step = 1e-4 * direction
        ahead, behind = loss(users, items + step, exponent), loss(users, items - step, exponent)
        return (ahead - behind) / 2e-4

    random = np.random.default_rng(4)
    directions = [random.normal(size=items.shape) for _ in range(20)]
    slopes = [abs(slope(direction)) for direction in directions]
    there = items.copy()
    items = items * 1.1  # where it is not zero
    away = [abs(slope(direction)) for direction in directions]
    assert max(slopes) < 1e-3 * np.mean(away)  # float32
    assert np.abs(there).max() > 0.1


def test_each_epoch_lowers_the_loss_and_the_same_seed_repeats_it() -> None:
    _, losses = fitted(n_epochs=5)
    assert losses == sorted(losses, reverse=True)
    assert fitted(n_epochs=2)[1] == losses[:2]


def test_the_same_l2_penalises_as_much_at_every_exponent() -> None:
    at = {exponent: penalties(listens(), exponent).sum() + item_penalties(exponent).sum()
          for exponent in (0.0, EXPONENT, 1.0)}  # fmt: skip
    assert at[0.0] == pytest.approx(at[1.0])
    assert at[EXPONENT] == pytest.approx(at[1.0])


def test_a_kept_epoch_is_not_overwritten_by_the_next() -> None:
    found = model(n_epochs=2)
    kept: list[dict[str, np.ndarray]] = []
    found.fit(sparse(listens()), lambda _epoch, _: kept.append(found.state()) is None, Seeds(1))
    assert not np.array_equal(kept[0]["item_factors"], kept[1]["item_factors"])


def test_an_empty_history_scores_zero() -> None:
    found, _ = fitted(n_epochs=2)
    assert not found.score(sparse(np.zeros((1, N_ITEMS)))).any()


@pytest.mark.parametrize("shape", [(3, 8), (8, 3)])
def test_a_problem_that_rounding_makes_indefinite_is_solved_in_float64(
    shape: tuple[int, int],
) -> None:
    column = 1e6 * np.random.default_rng(1).random((shape[0], 1)).astype(np.float32)
    design = np.repeat(column, shape[1], axis=1)
    found = ridge(design, np.ones(shape[0], np.float32))
    dense = design.astype(np.float64)
    expected = np.linalg.lstsq(
        np.vstack([dense, np.eye(shape[1])]), np.r_[np.ones(shape[0]), np.zeros(shape[1])]
    )[0]
    np.testing.assert_allclose(found, expected, rtol=1e-2)  # condition 1e13 in float64


def test_negative_values_are_refused() -> None:
    with pytest.raises(InputError, match=r"must not be negative, but one is -1; set transform"):
        model().fit(sparse(-np.eye(4)), lambda _epoch, _losses: True, Seeds(0))


def test_factors_beyond_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    with pytest.raises(InputError, match=r"model\.latent_dim=4 must have .*; lower model\.latent"):
        model().fit(sparse(listens()), lambda _epoch, _losses: True, Seeds(0))


def test_a_setting_of_the_former_loss_is_refused() -> None:
    with pytest.raises(InputError, match=r"model\.alpha"):
        build({**composed("model=ials")["model"], "alpha": 5.0}, "model")


def test_penalties_beyond_float64_are_refused() -> None:
    large = IALS(latent_dim=4, l2=1.0, l2_exponent=10.0, unobserved_weight=1e30, n_epochs=1)
    with pytest.raises(InputError, match=r"must be finite .*; lower model.l2_exponent"):
        large.fit(sparse(listens()), lambda *_: True, Seeds(0))  # (1e30 · 12)¹⁰


def test_factors_that_are_not_finite_are_refused() -> None:
    with pytest.raises(TrainingDivergedError, match="every factor must be finite"):
        principal(np.float32([[1, 2], [np.inf, 3]]))
