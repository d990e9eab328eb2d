"""LightGCN: its propagation and gradients against dense matrices, and how histories are scored."""

import numpy as np
import pytest
import scipy.sparse as sp
from contracts import small_spec
from pairwise_loss import L2, NEGATIVES, POSITIVES, USERS, batch, numeric_gradient

from recsweep.build import build
from recsweep.data.degrees import normalize
from recsweep.models.lightgcn import GraphNetwork, LightGCN
from recsweep.seeds import Seeds

TRAIN = np.array([[1, 1, 0, 0, 0], [0, 0, 0, 1, 0], [1, 0, 0, 1, 1]], np.float64)
"""Three users and five items, one of which nobody has."""
N_LAYERS = 3


def dense_means(users: np.ndarray, items: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Mean over k of Ãᵏ·E: He et al. 2020, equations 7 and 8, with (users + items)² cells."""
    n_users, n_items = train.shape
    graph = np.block([[np.zeros((n_users, n_users)), train], [train.T, np.zeros((n_items,) * 2)]])
    degrees = graph.sum(axis=1)
    roots = np.divide(1, np.sqrt(degrees), out=np.zeros(len(degrees)), where=degrees > 0)
    graph = roots[:, None] * graph * roots
    layers = [np.vstack([users, items])]
    for _ in range(N_LAYERS):
        layers.append(graph @ layers[-1])
    return np.mean(layers, axis=0)


def network() -> GraphNetwork:
    train = sp.csr_matrix(TRAIN.astype(np.float32))
    return GraphNetwork(normalize(train, -0.5, -0.5), N_LAYERS, 4, Seeds(1))


def weights_of(network: GraphNetwork) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(network.users, np.float64), np.asarray(network.items, np.float64)


def test_propagation_is_that_of_the_dense_graph() -> None:
    graph = network()
    arrays = [np.asarray(each) for each in (graph.users, graph.items)]
    found = np.vstack([np.asarray(part) for part in graph.propagate(*arrays)])
    np.testing.assert_allclose(found, dense_means(*weights_of(graph), TRAIN), atol=1e-7)


def loss_in_float64(users: np.ndarray, items: np.ndarray) -> float:
    """BPR's loss on the means of layers; l2 on the embeddings of layer 0."""
    means, total = dense_means(users, items, TRAIN), 0.0
    for u, i, j in list(zip(USERS, POSITIVES, NEGATIVES, strict=True))[:3]:
        margin = means[u] @ (means[3 + i] - means[3 + j])
        squares = sum((v**2).sum() for v in (users[u], items[i], items[j]))
        total += np.log1p(np.exp(-margin)) + L2 / 2 * squares
    return total / 3


def test_loss_and_gradients_are_those_of_float64() -> None:
    jax = pytest.importorskip("jax")
    from recsweep.training.backend import Values, jax_gradients, name

    if name() != "jax":
        pytest.skip("gradients of a network are taken by JAX")
    graph = network()
    users, items = weights_of(graph)
    weights, other = (
        [jax.numpy.asarray(variable) for variable in variables]
        for variables in (graph.trainable_variables, graph.non_trainable_variables)
    )
    values = Values(weights, other, [])
    parts, _, found = jax_gradients(graph, values, batch(), {"l2": np.float32(L2)})
    assert float(parts["loss"]) == pytest.approx(loss_in_float64(users, items), rel=1e-6)
    expected = numeric_gradient(lambda each: loss_in_float64(each, items), users)
    np.testing.assert_allclose(found[0], expected, atol=1e-7)
    expected = numeric_gradient(lambda each: loss_in_float64(users, each), items)
    np.testing.assert_allclose(found[1], expected, atol=1e-7)


@pytest.fixture(scope="module")
def fitted() -> LightGCN:
    model: LightGCN = build(small_spec("lightgcn", n_epochs=3, latent_dim=4), "model")
    model.fit(sp.csr_matrix(TRAIN.astype(np.float32)), lambda _epoch, _losses: True, Seeds(1))
    return model


def test_training_users_are_scored_by_the_means_of_layers(fitted: LightGCN) -> None:
    state = fitted.state()
    means = dense_means(state["bpr/users"], state["bpr/items"], TRAIN)
    scores = fitted.score(sp.csr_matrix(TRAIN[[2, 0, 1]].astype(np.float32)))
    np.testing.assert_allclose(scores, (means[:3] @ means[3:].T)[[2, 0, 1]], rtol=1e-4, atol=1e-7)


def test_others_get_the_mean_layer_0_and_the_layers_of_their_items(fitted: LightGCN) -> None:
    """As a user who joined the graph, whose edges the items do not see."""
    state = fitted.state()
    users, items = (state[name].astype(np.float64) for name in ("bpr/users", "bpr/items"))
    degrees = TRAIN.sum(axis=0)
    history = np.array([0, 1, 0, 0, 1])
    graph = TRAIN / np.sqrt(TRAIN.sum(axis=1, keepdims=True) * np.maximum(degrees, 1))
    vector, (layer_users, layer_items) = users.mean(axis=0), (users, items)
    for _ in range(N_LAYERS):
        vector = vector + (history / np.sqrt(2 * np.maximum(degrees, 1))) @ layer_items
        layer_users, layer_items = graph @ layer_items, graph.T @ layer_users
    expected = dense_means(users, items, TRAIN)[3:] @ vector / (N_LAYERS + 1)
    scores = fitted.score(sp.csr_matrix(history.astype(np.float32)[None]))
    np.testing.assert_allclose(scores[0], expected, rtol=1e-4, atol=1e-7)
