"""BPR: its loss and gradients against float64, and how histories are scored."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from backends import assert_backends_agree
from contracts import composed, small_spec
from pairwise_loss import L2, NEGATIVES, POSITIVES, USERS, batch, numeric_gradient

from recsweep.build import build
from recsweep.models.bpr import BPR, EmbeddingNetwork
from recsweep.seeds import Seeds
from recsweep.training.batches import Triples
from recsweep.training.engine import Engine
from recsweep.training.optimizers import Adam


def loss_in_float64(users: np.ndarray, items: np.ndarray) -> float:
    """−ln σ(u·(i − j)) + l2/2·(‖u‖² + ‖i‖² + ‖j‖²), mean over the three triples."""
    total = 0.0
    for u, i, j in list(zip(USERS, POSITIVES, NEGATIVES, strict=True))[:3]:
        margin = users[u] @ (items[i] - items[j])
        squares = sum((v**2).sum() for v in (users[u], items[i], items[j]))
        total += np.log1p(np.exp(-margin)) + L2 / 2 * squares
    return total / 3


def test_the_loss_is_that_of_rendle_et_al() -> None:
    network = EmbeddingNetwork((3, 5), 4, Seeds(1))
    users, items = (np.asarray(v, np.float64) for v in (network.users, network.items))
    parts = network(batch(), hyper={"l2": np.float32(L2)}, training=True)
    assert (users.shape, items.shape) == ((3, 4), (5, 4))
    assert float(parts["loss"]) == pytest.approx(loss_in_float64(users, items), rel=1e-6)
    assert float(parts["loss"]) == pytest.approx(float(parts["ranking"] + parts["l2"]), rel=1e-6)


def test_training_begins_without_a_preference() -> None:
    """Every score is near 0, so the loss is −ln σ(0) = ln 2."""
    latent_dim = composed("model=bpr")["model"]["latent_dim"]
    network = EmbeddingNetwork((500, 500), latent_dim, Seeds(1))
    triples = Triples(*np.random.default_rng(0).integers(500, size=(3, 10_000)), np.ones(10_000))
    ranking = float(network(triples, hyper={"l2": np.float32(0)}, training=True)["ranking"])
    assert ranking == pytest.approx(np.log(2), rel=0.01)


def test_gradients_are_those_of_float64() -> None:
    jax = pytest.importorskip("jax")
    from recsweep.training.backend import Values, jax_gradients, name

    if name() != "jax":
        pytest.skip("gradients of a network are taken by JAX")
    network = EmbeddingNetwork((3, 5), 4, Seeds(1))
    users, items = (np.asarray(v, np.float64) for v in (network.users, network.items))
    values = Values([jax.numpy.asarray(v) for v in network.trainable_variables], [], [])
    _, _, (of_users, of_items) = jax_gradients(network, values, batch(), {"l2": np.float32(L2)})
    expected = numeric_gradient(lambda each: loss_in_float64(each, items), users)
    np.testing.assert_allclose(of_users, expected, atol=1e-7)
    expected = numeric_gradient(lambda each: loss_in_float64(users, each), items)
    np.testing.assert_allclose(of_items, expected, atol=1e-7)


def after_three_steps() -> dict[str, np.ndarray]:
    """Embeddings after three steps of Adam, in which users and items occur twice."""
    network = EmbeddingNetwork((3, 5), 4, Seeds(1))
    adam = Adam(learning_rate=0.01, schedule="none", learning_rate_decay=1.0)
    engine = Engine(network, adam, len(USERS))
    triples = Triples(*(np.stack([np.asarray(part)] * 3) for part in batch()))
    engine.train(triples, {"l2": np.full(3, L2, np.float32)}, np.full(3, 0.01, np.float32))
    return engine.state()


def test_rows_that_occur_twice_are_added_up_on_both_backends(tmp_path: Path) -> None:
    assert np.bincount([*POSITIVES[:3], *NEGATIVES[:3]]).max() == 3
    assert_backends_agree(after_three_steps, tmp_path)


def matrix(*rows: list[int]) -> sp.csr_matrix:
    return sp.csr_matrix(np.array(rows, np.float32))


@pytest.fixture(scope="module")
def fitted() -> BPR:
    model: BPR = build(small_spec("bpr", n_epochs=3, latent_dim=2), "model")
    train = matrix([1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 1, 0, 0, 1])
    model.fit(train, lambda _epoch, _losses: True, Seeds(1))
    return model


def test_training_users_are_scored_by_their_own_embeddings(fitted: BPR) -> None:
    state = fitted.state()
    expected = state["bpr/users"] @ state["bpr/items"].T
    history = matrix([0, 1, 0, 0, 1], [1, 1, 0, 0, 0], [0, 0, 1, 1, 1])  # one has had an item since
    np.testing.assert_allclose(fitted.score(history), expected[[2, 0, 1]], rtol=1e-6)


def test_others_are_folded_in_by_the_descent_of_the_loss_at_zero(fitted: BPR) -> None:
    """At u = 0 the gradient of the mean of −ln σ(u·(i − j)) is −½ of the mean of i − j."""
    items = fitted.state()["bpr/items"].astype(np.float64)
    pairs = [items[i] - items[j] for i in (0, 3) for j in range(5)]
    expected = items @ np.mean(pairs, axis=0)
    np.testing.assert_allclose(fitted.score(matrix([1, 0, 0, 1, 0]))[0], expected, rtol=1e-4)


def test_nobody_gets_the_taste_of_all(fitted: BPR) -> None:
    state = fitted.state()
    expected = state["bpr/items"] @ state["bpr/users"].mean(axis=0)
    np.testing.assert_allclose(fitted.score(matrix([0] * 5))[0], expected, rtol=1e-5, atol=1e-7)


def test_the_kept_weights_return(fitted: BPR) -> None:
    model: BPR = build(composed("model=bpr")["model"], "model")
    model.restore(fitted.state())
    history = matrix([1, 1, 0, 0, 0])
    before = model.score(history)
    model.keep()
    scores = []

    def on_epoch(epoch: int, _losses: object) -> bool:
        if epoch == 0:
            model.keep()
        scores.append(model.score(history))
        return epoch < 2

    model.fit(matrix([1, 1, 0, 0, 0], [0, 0, 1, 1, 0]), on_epoch, Seeds(3))
    assert not np.array_equal(scores[0], scores[2])
    model.return_to_kept()
    np.testing.assert_array_equal(model.score(history), scores[0])
    np.testing.assert_array_equal(fitted.score(history), before)
