"""Multi-DAE against a NumPy twin, and one backend against the other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from backends import assert_backends_agree

from recsweep.models.multidae import MultiDAE, MultiDAENetwork
from recsweep.seeds import Seeds
from recsweep.training.batches import in_order
from recsweep.training.engine import Engine
from recsweep.training.optimizers import SGD

N_ITEMS, LATENT, L2, DROPOUT = 12, 3, 0.01, 0.4


def clicks() -> sp.csr_matrix:
    dense = np.random.default_rng(8).random((6, N_ITEMS)) < 0.4
    dense[2] = False
    return sp.csr_matrix(dense.astype(np.float32))


def sgd(rate: float) -> SGD:
    return SGD(learning_rate=rate, schedule="none", learning_rate_decay=1.0, momentum=0.0)


def fixed_noise(x: Any, _batch: Any = None) -> Any:
    """Noise in [0, 1) that both backends can be given: a pattern by position."""
    return (np.arange(np.prod(x.shape), dtype=np.float32) * 0.37 % 1).reshape(x.shape)


def one_step() -> dict[str, np.ndarray]:
    """Loss parts and gradients (weights before − after a step of SGD at rate 1)."""
    network = MultiDAENetwork(N_ITEMS, (5,), LATENT, Seeds(0))
    network.noise.uniform_like = fixed_noise
    network.architecture = "multidae with fixed noise"
    random = np.random.default_rng(1)
    for variable in network.trainable_variables:
        variable.assign(random.normal(size=variable.shape).astype(np.float32) * 0.5)
    engine = Engine(network, sgd(1.0), 8)
    before = engine.state()
    hyper = {"dropout_rate": np.float32([DROPOUT]), "l2": np.float32([L2])}
    losses = engine.train(in_order(clicks(), 8), hyper, np.float32([1.0]))
    gradients = {name: before[name] - after for name, after in engine.state().items()}
    return {**gradients, **{name: np.float64(value) for name, value in losses.items()}}


@pytest.mark.extended
def test_loss_and_gradients_agree_between_the_backends(tmp_path: Path) -> None:
    assert_backends_agree(one_step, tmp_path)


@pytest.mark.parametrize("hidden_dims", [[], [7, 5]])
def test_the_loss_equals_a_numpy_twin(hidden_dims: list[int]) -> None:
    model = MultiDAE(
        hidden_dims=hidden_dims, latent_dim=LATENT, dropout_rate=0.5, l2=L2, batch_size=4,
        n_epochs=1, optimizer=sgd(0.1),
    )  # fmt: skip
    model.fit(clicks(), lambda _epoch, _losses: True, Seeds(3))
    w = {name: value.astype(np.float64) for name, value in model.state().items()}
    x = clicks().toarray().astype(np.float64)
    h = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)
    deeper = ["encoder_1", "encoder_2", "decoder_0", "decoder_1"] if hidden_dims else []
    for layer in ["first", *deeper]:
        h = np.tanh(h @ w[f"{layer}/kernel"] + w[f"{layer}/bias"])
    logits = h @ w["output/kernel"] + w["output/bias"]
    assert len(w) == 2 * (2 + len(deeper))
    log_softmax = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    reconstruction = -(x * log_softmax).sum(axis=1).mean()
    l2 = L2 * sum((v**2).sum() for name, v in w.items() if name.endswith("kernel"))
    parts = model.loss(clicks())
    assert parts["reconstruction"] == pytest.approx(reconstruction, rel=1e-5)
    assert parts["l2"] == pytest.approx(l2, rel=1e-5)
    assert parts["loss"] == pytest.approx(reconstruction + l2, rel=1e-5)
    np.testing.assert_allclose(np.asarray(model.score(clicks())), logits, rtol=1e-4, atol=1e-5)


def test_each_seed_has_noise_of_its_own() -> None:
    networks = [MultiDAENetwork(N_ITEMS, (5,), LATENT, Seeds(seed)) for seed in (1, 1, 2)]
    first, same, other = (
        np.asarray(network.noise.uniform_like(np.zeros(5, np.float32))) for network in networks
    )
    np.testing.assert_array_equal(first, same)
    assert not np.isin(first, other).any()
