"""iALS: factors of a history against the normal equations, and what a missing library says."""

import sys

import numpy as np
import pytest
import scipy.sparse as sp
from contracts import composed

from recsweep.build import build
from recsweep.errors import InputError
from recsweep.seeds import Seeds

pytest.importorskip("implicit", reason="model=ials needs pip install 'recsweep[baselines]'")
from recsweep.models.ials import IALS

L2, ALPHA = 0.7, 3.0


def listens() -> np.ndarray:
    random = np.random.default_rng(5)
    dense = (random.random((40, 12)) < 0.3) * (1 + random.random((40, 12)))
    dense[0] = 0
    return dense


def fitted(n_epochs: int, latent_dim: int = 4) -> tuple[IALS, list[float]]:
    model = IALS(latent_dim=latent_dim, l2=L2, alpha=ALPHA, n_epochs=n_epochs)
    losses: list[float] = []

    def on_epoch(_epoch: int, parts: dict[str, float]) -> bool:
        losses.append(parts["loss"])
        return True

    model.fit(sp.csr_matrix(listens().astype(np.float32)), on_epoch, Seeds(1))
    return model, losses


def solved(items: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Hu et al.'s equation 4: x = (YᵀCY + λI)⁻¹ YᵀC p."""
    confidence = np.diag(1 + ALPHA * row)
    ridge = items.T @ confidence @ items + L2 * np.eye(items.shape[1])
    return np.linalg.solve(ridge, items.T @ confidence @ (row > 0))


def test_a_history_is_scored_by_the_factors_that_solve_it() -> None:
    model, _ = fitted(n_epochs=3)
    items = model.state()["item_factors"].astype(np.float64)
    unseen = np.random.default_rng(9).random((6, 12)) * (np.arange(12) % 3 == 0)
    expected = np.stack([items @ solved(items, row) for row in unseen])
    scores = model.score(sp.csr_matrix(unseen.astype(np.float32)))
    np.testing.assert_allclose(scores, expected, atol=1e-5)  # float32, scores up to 1
    assert np.abs(expected).max() > 0.1


def test_training_ends_where_users_and_items_solve_each_other() -> None:
    model, losses = fitted(n_epochs=100)
    items = model.state()["item_factors"].astype(np.float64)
    users = np.stack([solved(items, row) for row in listens()])
    again = np.stack([solved(users, column) for column in listens().T])
    # three steps of conjugate gradients in float32 per pass come close, not to the last digit
    np.testing.assert_allclose(again, items, atol=2e-3)
    assert losses[-1] < losses[0]
    assert len(losses) == 100


def test_an_epoch_goes_on_where_the_last_one_ended() -> None:
    _, losses = fitted(n_epochs=5)
    assert losses == sorted(losses, reverse=True)
    assert fitted(n_epochs=2)[1] == losses[:2]


def test_a_kept_epoch_is_not_overwritten_by_the_next() -> None:
    model = IALS(latent_dim=4, l2=L2, alpha=ALPHA, n_epochs=2)
    kept: list[dict[str, np.ndarray]] = []
    train = sp.csr_matrix(listens().astype(np.float32))
    model.fit(train, lambda _epoch, _losses: kept.append(model.state()) is None, Seeds(1))
    assert not np.array_equal(kept[0]["item_factors"], kept[1]["item_factors"])


def test_an_empty_history_scores_zero() -> None:
    model, _ = fitted(n_epochs=2)
    assert not model.score(sp.csr_matrix((1, 12), dtype=np.float32)).any()


def test_a_missing_library_is_said_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "implicit", None)
    with pytest.raises(InputError, match=r"pip install 'recsweep\[baselines\]'"):
        build(composed("model=ials")["model"], "model")
