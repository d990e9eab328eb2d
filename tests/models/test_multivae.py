"""Multi-VAE against a NumPy twin, and one backend against the other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from backends import assert_backends_agree

from recsweep.models.multivae import MultiVAE, MultiVAENetwork
from recsweep.seeds import Seeds
from recsweep.training.batches import Batch, ShuffledEpochs, in_order
from recsweep.training.engine import Engine
from recsweep.training.optimizers import SGD
from recsweep.training.programs import _PROGRAMS

N_ITEMS, HIDDEN, LATENT, N_ROWS = 12, (7, 5), 3, 8
HYPER = {"beta": 0.3, "l2": 0.01, "dropout_rate": 0.4, "decoder_dropout_rate": 0.2}


def fixed_noise(x: Any, _batch: Any = None) -> Any:
    """Noise in [0, 1) that both backends can be given: a pattern by position."""
    return (np.arange(np.prod(x.shape), dtype=np.float32) * 0.37 % 1).reshape(x.shape)


def clicks() -> sp.csr_matrix:
    dense = np.random.default_rng(8).random((6, N_ITEMS)) < 0.4  # 6 users in a batch of 8
    dense[2] = False
    return sp.csr_matrix(dense.astype(np.float32))


def one_step() -> dict[str, np.ndarray]:
    """Loss parts and gradients (weights before − after a step of SGD at rate 1)."""
    network = MultiVAENetwork(N_ITEMS, HIDDEN, LATENT, Seeds(0))
    network.noise.normal_like = network.noise.uniform_like = fixed_noise
    network.architecture = "multivae with fixed noise"
    random = np.random.default_rng(1)
    for variable in network.trainable_variables:
        variable.assign(random.normal(size=variable.shape).astype(np.float32) * 0.5)
    sgd = SGD(learning_rate=1.0, schedule="none", learning_rate_decay=1.0, momentum=0.0)
    engine = Engine(network, sgd, N_ROWS)
    before = engine.state()
    hyper = {name: np.float32([value]) for name, value in HYPER.items()}
    losses = engine.train(in_order(clicks(), N_ROWS), hyper, np.float32([1.0]))
    gradients = {name: before[name] - after for name, after in engine.state().items()}
    return {**gradients, **{name: np.float64(value) for name, value in losses.items()}}


@pytest.mark.extended
def test_loss_and_gradients_agree_between_the_backends(tmp_path: Path) -> None:
    assert_backends_agree(one_step, tmp_path)


def encoded(x: np.ndarray, w: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Mean and log-variance of z."""
    h = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)
    for layer in ("first", "encoder_1"):
        h = np.tanh(h @ w[f"{layer}/kernel"] + w[f"{layer}/bias"])
    return np.split(h @ w["posterior/kernel"] + w["posterior/bias"], 2, axis=1)


def decoded(z: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    """A logit per item."""
    for layer in ("decoder_0", "decoder_1"):
        z = np.tanh(z @ w[f"{layer}/kernel"] + w[f"{layer}/bias"])
    return z @ w["output/kernel"] + w["output/bias"]


def log_probabilities(z: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    logits = decoded(z, w)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_the_loss_equals_a_numpy_twin() -> None:
    model = MultiVAE(
        hidden_dims=list(HIDDEN), latent_dim=LATENT, dropout_rate=0.5, decoder_dropout_rate=0.5,
        beta=0.3, beta_warmup_steps=0, l2=0.01, batch_size=4, n_epochs=1,
        optimizer=SGD(learning_rate=0.1, schedule="none", learning_rate_decay=1, momentum=0),
    )  # fmt: skip
    model.fit(clicks(), lambda _epoch, _losses: True, Seeds(3))
    w = {name: value.astype(np.float64) for name, value in model.state().items()}
    x = clicks().toarray().astype(np.float64)
    mean, log_variance = encoded(x, w)
    log_softmax = log_probabilities(mean, w)
    reconstruction = -(x * log_softmax).sum(axis=1).mean()
    kl = 0.5 * (np.exp(log_variance) + mean**2 - 1 - log_variance).sum(axis=1).mean()
    l2 = 0.01 * sum((v**2).sum() for name, v in w.items() if name.endswith("kernel"))
    parts = model.loss(clicks())
    assert parts["reconstruction"] == pytest.approx(reconstruction, rel=1e-5)
    assert parts["kl"] == pytest.approx(kl, rel=1e-5)
    assert parts["l2"] == pytest.approx(l2, rel=1e-5)
    assert parts["loss"] == pytest.approx(reconstruction + 0.3 * kl + l2, rel=1e-5)
    np.testing.assert_allclose(
        np.asarray(model.score(clicks())), decoded(mean, w), rtol=1e-4, atol=1e-5
    )


def test_the_noise_of_z_has_the_posteriors_standard_deviation() -> None:
    """Training's loss against NumPy, with known noise ε: z = mean + exp(½ log σ²) · ε."""
    network = MultiVAENetwork(N_ITEMS, HIDDEN, LATENT, Seeds(0))
    network.noise.normal_like = fixed_noise
    network.architecture = "multivae with fixed normal noise"
    random = np.random.default_rng(1)
    for variable in network.trainable_variables:
        variable.assign(random.normal(size=variable.shape).astype(np.float32) * 0.5)
    sgd = SGD(learning_rate=1.0, schedule="none", learning_rate_decay=1.0, momentum=0.0)
    engine = Engine(network, sgd, N_ROWS)
    w = {name: value.astype(np.float64) for name, value in engine.state().items()}
    hyper = {"beta": 0.3, "l2": 0.0, "dropout_rate": 0.0, "decoder_dropout_rate": 0.0}
    steps = {name: np.float32([value]) for name, value in hyper.items()}
    found = engine.train(in_order(clicks(), N_ROWS), steps, np.float32([0.0]))["reconstruction"]

    x = clicks().toarray().astype(np.float64)
    mean, log_variance = encoded(x, w)
    noise = fixed_noise(np.empty((N_ROWS, LATENT)))[: len(x)]
    log_softmax = log_probabilities(mean + np.exp(0.5 * log_variance) * noise, w)
    assert np.exp(log_variance).std() > 0.1, "else a standard deviation is as good as a variance"
    assert found == pytest.approx(-(x * log_softmax).sum(axis=1).mean(), rel=1e-5)


def test_each_seed_has_noise_of_its_own() -> None:
    networks = [MultiVAENetwork(N_ITEMS, HIDDEN, LATENT, Seeds(seed)) for seed in (1, 1, 2)]
    first, same, other = (
        np.asarray(network.noise.normal_like(np.zeros(5, np.float32))) for network in networks
    )
    np.testing.assert_array_equal(first, same)
    assert not np.isin(first, other).any()


def test_what_fills_up_a_batch_does_not_touch_the_loss() -> None:
    network = MultiVAENetwork(N_ITEMS, HIDDEN, LATENT, Seeds(0))
    sgd = SGD(learning_rate=1.0, schedule="none", learning_rate_decay=1.0, momentum=0.0)
    losses = [Engine(network, sgd, n).loss(clicks(), HYPER)["loss"] for n in (6, 8, 100)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-6)


def test_initial_weights_are_glorot_and_biases_nearly_zero() -> None:
    network = MultiVAENetwork(900, (600,), 200, Seeds(0))
    kernel = np.asarray(network.first.kernel.value)
    bound = np.sqrt(6 / (900 + 600))
    assert np.abs(kernel).max() <= bound
    assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.01)  # uniform on ±bound
    bias = np.asarray(network.output_layer.bias.value)
    assert 0 < np.abs(bias).max() <= 0.002 + 1e-6  # truncated at two standard deviations


def test_another_beta_dropout_and_rate_compile_nothing() -> None:
    def spec(beta: float, rate: float) -> MultiVAE:
        return MultiVAE(
            hidden_dims=[6], latent_dim=2, dropout_rate=beta, decoder_dropout_rate=0.0, beta=beta,
            beta_warmup_steps=5, l2=beta, batch_size=4, n_epochs=1,
            optimizer=SGD(learning_rate=rate, schedule="cosine", learning_rate_decay=0, momentum=0),
        )  # fmt: skip

    spec(0.1, 0.1).fit(clicks(), lambda _epoch, _losses: True, Seeds(1))
    before = dict(_PROGRAMS)
    spec(0.7, 0.5).fit(clicks(), lambda _epoch, _losses: True, Seeds(1))
    assert before == _PROGRAMS


def test_a_batch_of_an_epoch_is_what_the_engine_counts() -> None:
    epochs = ShuffledEpochs(clicks(), n_rows=4, n_epochs=1, seed=0)
    batches = epochs.batches(0)
    assert isinstance(batches, Batch)
    assert batches.is_user.sum() == 6
