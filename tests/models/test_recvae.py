"""RecVAE against a NumPy twin in float64, phase by phase, and one backend against the other."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from backends import assert_backends_agree
from contracts import planted_split, small_spec
from scipy.integrate import quad

from recsweep.build import build
from recsweep.models.recvae import RecVAENetwork, log_composite_prior
from recsweep.seeds import Seeds
from recsweep.training import layout
from recsweep.training.batches import Batch, in_order
from recsweep.training.engine import Engine
from recsweep.training.layout import Layout
from recsweep.training.optimizers import SGD

N_ITEMS, HIDDEN, LATENT, N_ROWS, N_ENCODER = 12, 5, 3, 8, 2
HYPER = {"gamma": 0.07, "l2": 0.01, "dropout_rate": 0.4}
RECVAE = "recsweep.models.recvae.RecVAE"
Weights = dict[str, np.ndarray]


def fixed_noise(x: Any, _batch: Any = None) -> Any:
    """Noise in [0, 1) that both backends can be given: a pattern by position."""
    return (np.arange(np.prod(x.shape), dtype=np.float32) * 0.37 % 1).reshape(x.shape)


def clicks() -> sp.csr_matrix:
    dense = np.random.default_rng(8).random((6, N_ITEMS)) < 0.4  # 6 users in a batch of 8
    dense[2] = False
    return sp.csr_matrix(dense.astype(np.float32))


def new_engine(momentum: float = 0.0) -> Engine:
    network = RecVAENetwork(N_ITEMS, HIDDEN, LATENT, N_ENCODER, Seeds(0))
    network.noise.normal_like = network.noise.uniform_like = fixed_noise
    network.architecture = "recvae with fixed noise"
    random = np.random.default_rng(1)
    for variable in network.trainable_variables:
        variable.assign(random.normal(size=variable.shape).astype(np.float32) * 0.5)
    sgd = SGD(learning_rate=1.0, schedule="none", learning_rate_decay=1.0, momentum=momentum)
    return Engine(network, sgd, N_ROWS)


def train(engine: Engine, rates: list[float]) -> dict[str, float]:
    """Parts of one epoch with one batch per pass: two steps of the encoder, one of the decoder."""
    batches = in_order(clicks(), N_ROWS)
    repeated = Batch(*(np.repeat(part, len(rates), axis=0) for part in batches))
    hyper = {name: np.full(len(rates), value, np.float32) for name, value in HYPER.items()}
    return engine.train(repeated, hyper, np.float32(rates))


def one_epoch() -> Weights:
    """Loss parts and changes of weights in an epoch with a single batch."""
    engine = new_engine()
    before = engine.state()
    losses = train(engine, [0.01, 0.02, 0.03])
    changes = {name: 100 * (before[name] - after) for name, after in engine.state().items()}
    return {**changes, **{name: np.float64(value) for name, value in losses.items()}}


@pytest.mark.extended
def test_an_epoch_agrees_between_the_backends(tmp_path: Path) -> None:
    assert_backends_agree(one_epoch, tmp_path)


# --- the twin, from the paper's equations --------------------------------------------------------


def encoded(x: np.ndarray, w: Weights) -> list[np.ndarray]:
    """Mean and log-variance of z."""
    outputs: list[np.ndarray] = []
    h = x
    for i, name in enumerate(["first", *(f"encoder_{i}" for i in range(1, 5))]):
        a = h @ w[f"{name}/kernel"] + w[f"{name}/bias"] + sum(outputs)
        a = a / (1 + np.exp(-a))
        centred = a - a.mean(axis=1, keepdims=True)
        h = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 0.1)
        h = h * w[f"norm_{i}/gamma"] + w[f"norm_{i}/beta"]
        outputs.append(h)
    return np.split(h @ w["posterior/kernel"] + w["posterior/bias"], 2, axis=1)


def density(z: Any, mean: Any, variance: Any) -> Any:
    return np.exp(-((z - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def prior_density(z: Any, mean: Any, log_variance: Any) -> Any:
    standard, wide = density(z, 0, 1), density(z, 0, np.exp(10))
    return 0.15 * standard + 0.75 * density(z, mean, np.exp(log_variance)) + 0.1 * wide


def twin(
    w: Weights, old: Weights, *, dropout: bool, noise: bool = True, has_kl: bool = True
) -> dict[str, float]:
    """Loss parts of `clicks`, each a mean per user."""
    x = clicks().toarray().astype(np.float64)
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)
    kept = np.ones_like(x)
    if dropout:  # sparse entries in the order of rows, as in a batch padded to 1024
        kept[x > 0] = (fixed_noise(np.empty(1024))[: int(x.sum())] >= 0.4) / (1 - np.float32(0.4))
    mean, log_variance = encoded(unit * kept, w)
    epsilon = fixed_noise(np.empty((N_ROWS, LATENT)))[: len(x)] if noise else 0
    z = mean + np.exp(0.5 * log_variance) * epsilon
    logits = z @ w["output/kernel"] + w["output/bias"]
    log_softmax = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    losses = -(x * log_softmax).sum(axis=1)
    l2 = 0.01 * sum((v**2).sum() for name, v in w.items() if name.endswith("kernel"))
    parts = {"reconstruction": losses.mean(), "l2": l2}
    if has_kl:
        posterior = density(z, mean, np.exp(log_variance))
        kl = np.log(posterior / prior_density(z, *encoded(unit, old))).sum(axis=1)
        losses = losses + 0.07 * x.sum(axis=1) * kl
        parts["kl"] = kl.mean()
    return {"loss": losses.mean() + l2, **parts}


def float64(state: Weights) -> Weights:
    return {name: value.astype(np.float64) for name, value in state.items()}


def test_the_composite_priors_density_equals_numpy_and_has_mass_1() -> None:
    random = np.random.default_rng(3)
    z, mean, log_variance = (random.normal(size=(4, 5)).astype(np.float32) for _ in range(3))
    found = np.asarray(log_composite_prior(z, mean, log_variance))
    np.testing.assert_allclose(found, np.log(prior_density(z, mean, log_variance)), rtol=1e-5)
    mass, _ = quad(lambda at: prior_density(at, 0.7, -1.0), -2000, 2000, points=[-10, 0, 0.7, 10])
    assert mass == pytest.approx(1, abs=1e-6)


def test_the_loss_equals_a_numpy_twin_whose_previous_encoder_is_the_current_one() -> None:
    engine = new_engine()
    w = float64(engine.state())
    found = engine.loss(clicks(), HYPER)
    expected = twin(w, w, dropout=False, noise=False)
    assert found == pytest.approx(expected, rel=1e-5)


def test_scores_are_the_twins_logits_at_the_mean() -> None:
    engine = new_engine()
    w = float64(engine.state())
    x = clicks().toarray().astype(np.float64)
    mean, _ = encoded(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6), w)
    expected = mean @ w["output/kernel"] + w["output/bias"]
    np.testing.assert_allclose(np.asarray(engine.scores(clicks())), expected, rtol=1e-4, atol=1e-5)


def test_the_phases_of_an_epoch_have_the_losses_of_the_twin() -> None:
    """Two steps of the encoder, of which only the first moves it, and one of the decoder."""
    engine = new_engine()
    start = float64(engine.state())
    found = train(engine, [0.05, 0.0, 0.0])
    end = float64(engine.state())
    assert not np.allclose(start["first/kernel"], end["first/kernel"])
    steps = [
        twin(start, start, dropout=True),
        twin(end, start, dropout=True),  # the prior has the encoder that the epoch began with
        twin(end, start, dropout=False, has_kl=False),
    ]
    for name in ("loss", "reconstruction", "l2", "kl"):
        values = [step[name] for step in steps if name in step]
        assert found[name] == pytest.approx(np.mean(values), rel=2e-5)
    stale = twin(end, end, dropout=True)["kl"]
    assert abs(stale - steps[1]["kl"]) > 0.01, "else any encoder is as good as the previous one"


def gradient(loss: Any, w: Weights, name: str) -> np.ndarray:
    """Central differences of a loss in float64."""
    slopes = np.zeros_like(w[name])
    for place in np.ndindex(w[name].shape):
        values = []
        for shift in (1e-5, -1e-5):
            moved = w[name].copy()
            moved[place] += shift
            values.append(loss({**w, name: moved})["loss"])
        slopes[place] = (values[0] - values[1]) / 2e-5
    return slopes


def test_gradients_are_those_of_the_twin_and_each_phase_moves_its_own_weights() -> None:
    engine = new_engine()
    start = float64(engine.state())
    train(engine, [1.0, 0.0, 0.0])
    of_encoder = float64(engine.state())
    for name, value in of_encoder.items():
        if name.startswith("output/"):
            np.testing.assert_array_equal(value, start[name])
            continue
        expected = gradient(lambda w: twin(w, start, dropout=True), start, name)
        np.testing.assert_allclose(start[name] - value, expected, rtol=1e-4, atol=2e-5)
    engine = new_engine()
    train(engine, [0.0, 0.0, 1.0])
    of_decoder = float64(engine.state())
    for name, value in of_decoder.items():
        if not name.startswith("output/"):
            np.testing.assert_array_equal(value, start[name])
            continue
        expected = gradient(lambda w: twin(w, start, dropout=False), start, name)
        np.testing.assert_allclose(start[name] - value, expected, rtol=1e-4, atol=2e-5)


# --- slots and the model -------------------------------------------------------------------------

TRIALS = [{"latent_dim": 16}, {"latent_dim": 5, "gamma": 0.02}, {"dropout_rate": 0.2, "l2": 1e-3}]


Curve = tuple[list[dict[str, float]], dict[str, float], Weights]


def curve(spec: dict[str, Any]) -> Curve:
    """Losses of every epoch, validation's loss after the last one, and the weights."""
    split = planted_split()
    model: Any = build(spec, "model")
    model.watch(split.valid.history, split.valid.target, 5)
    losses: list[dict[str, float]] = []

    def on_epoch(_epoch: int, parts: Any) -> bool:
        losses.append({**parts, **{f"valid/{k}": v for k, v in model.ranking().losses.items()}})
        return True

    model.fit(split.train, on_epoch, Seeds(1))
    return losses, model.loss(split.valid.history + split.valid.target), model.state()


@pytest.mark.extended
def test_trials_in_slots_are_as_if_each_were_alone() -> None:
    specs = [small_spec("recvae", n_epochs=3, **trial) for trial in TRIALS]
    with layout.use(Layout(3, {RECVAE: {"latent_dim": 16}})):
        alone = [curve(spec) for spec in specs]
        with ThreadPoolExecutor(3) as pool:
            together = list(pool.map(curve, specs))
    for (losses, _, state), (others, _, other_state) in zip(alone, together, strict=True):
        assert losses == others
        for name, value in state.items():
            np.testing.assert_array_equal(value, other_state[name])
    losses, loss, _ = alone[1]
    for name, value in loss.items():
        assert losses[-1][f"valid/{name}"] == pytest.approx(value, rel=1e-5)


@pytest.mark.extended
def test_a_narrow_network_trains_as_if_no_zeros_filled_it_up() -> None:
    spec = small_spec("recvae", n_epochs=3, **TRIALS[1])
    with layout.use(Layout(3, {RECVAE: {"latent_dim": 16}})):
        wide, _, wide_state = curve(spec)
    with layout.use(Layout(3)):
        own, _, own_state = curve(spec)
    for one, other in zip(own, wide, strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    for name, value in own_state.items():
        assert value.shape == wide_state[name].shape
        np.testing.assert_allclose(value, wide_state[name], rtol=1e-3, atol=1e-4)
