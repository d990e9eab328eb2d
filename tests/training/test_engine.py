"""The engine: averages, weights in and out, and programs that are kept."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from backends import assert_backends_agree

from recsweep.models.multidae import MultiDAENetwork
from recsweep.models.multivae import MultiVAENetwork
from recsweep.seeds import Seeds
from recsweep.training import backend, programs
from recsweep.training.batches import ShuffledEpochs, stack_batches
from recsweep.training.engine import Engine
from recsweep.training.optimizers import SGD, AdamW, Optimizer

HYPER = {"beta": 0.3, "l2": 0.0, "dropout_rate": 0.0, "decoder_dropout_rate": 0.0}


def clicks(n_users: int, n_items: int = 9) -> sp.csr_matrix:
    dense = np.random.default_rng(n_users).random((n_users, n_items)) < 0.5
    return sp.csr_matrix(dense.astype(np.float32))


def engine(n_rows: int, momentum: float = 0.0, latent_dim: int = 2) -> Engine:
    sgd = SGD(learning_rate=1.0, schedule="none", learning_rate_decay=1.0, momentum=momentum)
    return Engine(MultiVAENetwork(9, (5,), latent_dim, Seeds(0)), sgd, n_rows)


def steps(n: int, rate: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    hyper = {name: np.full(n, value, np.float32) for name, value in HYPER.items()}
    return hyper, np.full(n, rate, np.float32)


def test_an_epochs_losses_are_means_over_users_not_over_batches() -> None:
    users = clicks(7)
    batches = stack_batches(users, np.arange(7), n_rows=4, capacity=64)  # 4 users, then 3
    trained = engine(4).train(batches, *steps(2, rate=0.0))
    # at rate 0 nothing moves, and the KL has no noise in it
    assert trained["kl"] == pytest.approx(engine(4).loss(users, HYPER)["kl"], rel=1e-5)


def test_one_epoch_of_two_batches_is_two_epochs_of_one() -> None:
    users = clicks(8)
    batches = stack_batches(users, np.arange(8), n_rows=4, capacity=64)
    together, apart = engine(4), engine(4)
    together.train(batches, *steps(2, rate=0.1))
    for half in range(2):
        one = type(batches)(*(part[half : half + 1] for part in batches))
        apart.train(one, *steps(1, rate=0.1))
    for name, weights in together.state().items():
        np.testing.assert_allclose(weights, apart.state()[name], rtol=1e-5, atol=1e-7)


def weights_and_programs() -> dict[str, np.ndarray]:
    """Two epochs with AdamW and the same users, from equal weights on both backends."""
    programs._PROGRAMS.clear()
    adamw = AdamW(learning_rate=0.01, weight_decay=0.1, schedule="none", learning_rate_decay=1.0)
    trained = Engine(MultiDAENetwork(9, (5,), 2, Seeds(0)), adamw, 4)
    batches = stack_batches(clicks(8), np.arange(8), n_rows=4, capacity=64)
    hyper = {name: np.zeros(2, np.float32) for name in ("dropout_rate", "l2")}
    for _ in range(2):
        trained.train(batches, hyper, np.full(2, 0.01, np.float32))
    return {**trained.state(), "programs": np.float32([len(programs._PROGRAMS)])}


def test_the_backends_agree_on_two_epochs_of_one_program(tmp_path: Path) -> None:
    assert_backends_agree(weights_and_programs, tmp_path)
    assert weights_and_programs()["programs"] == 1


def test_batches_that_were_made_ahead_are_those_of_the_next_epoch() -> None:
    epochs = ShuffledEpochs(clicks(8), n_rows=4, n_epochs=3, seed=1)
    ahead, apart = engine(4), engine(4)
    for epoch in (0, 1, 2, 0, 0, 2):  # the next, and others
        inputs = steps(2, rate=0.1)
        losses = ahead.train_epoch(epochs, epoch, *inputs)
        assert losses == apart.train(epochs.batches(epoch), *inputs)
    for name, weights in ahead.state().items():
        np.testing.assert_array_equal(weights, apart.state()[name])


@pytest.mark.skipif(backend.name() != "jax", reason="TensorFlow returns when an epoch is done")
def test_an_engine_keeps_no_batches_of_a_training_that_stopped() -> None:
    epochs = ShuffledEpochs(clicks(8), n_rows=4, n_epochs=3, seed=1)
    trained = engine(4)
    trained.train_epoch(epochs, 0, *steps(2, rate=0.1))
    made = weakref.ref(epochs._ahead[1].values)
    del epochs
    gc.collect()
    assert made() is None


def share_of_equal_weights() -> dict[str, np.ndarray]:
    """Two trainings of one architecture in two threads, against each of them alone."""

    def train(seed: int) -> dict[str, np.ndarray]:
        adamw = AdamW(weight_decay=0.1, **CONSTANT)
        trained = Engine(MultiDAENetwork(9, (5,), 2, Seeds(seed)), adamw, 4)
        epochs = ShuffledEpochs(clicks(80), n_rows=4, n_epochs=30, seed=seed)
        hyper = {name: np.zeros(20, np.float32) for name in ("dropout_rate", "l2")}
        for epoch in range(30):
            trained.train_epoch(epochs, epoch, hyper, np.full(20, 0.01, np.float32))
        return trained.state()

    alone = [train(seed) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(train, (1, 2)))
    equal = [x[name] == y[name] for x, y in zip(alone, together, strict=True) for name in x]
    return {"share": np.concatenate([np.ravel(each) for each in equal]).mean(keepdims=True)}


def test_two_threads_train_one_architecture_on_both_backends(tmp_path: Path) -> None:
    assert share_of_equal_weights()["share"] == 1
    assert_backends_agree(share_of_equal_weights, tmp_path)


def test_the_state_is_a_copy_that_training_does_not_change() -> None:
    users = clicks(4)
    batches = stack_batches(users, np.arange(4), n_rows=4, capacity=64)
    trained = engine(4)
    state = trained.state()
    kept = {name: value.copy() for name, value in state.items()}
    trained.train(batches, *steps(1, rate=0.5))
    for name, value in state.items():
        np.testing.assert_array_equal(value, kept[name])
        assert not np.array_equal(value, trained.state()[name])


def test_restored_weights_score_as_before_and_can_be_trained_on() -> None:
    users = clicks(4)
    batches = stack_batches(users, np.arange(4), n_rows=4, capacity=64)
    trained = engine(4)
    state, scores = trained.state(), np.array(trained.scores(users))
    trained.train(batches, *steps(1, rate=0.5))
    assert not np.array_equal(np.asarray(trained.scores(users)), scores)
    trained.restore(state)
    np.testing.assert_array_equal(np.asarray(trained.scores(users)), scores)
    trained.train(batches, *steps(1, rate=0.5))
    trained.restore(state)  # the state itself survived being trained on
    np.testing.assert_array_equal(np.asarray(trained.scores(users)), scores)


def trained_by(optimizer: Optimizer, network: type = MultiVAENetwork) -> dict[str, np.ndarray]:
    users = clicks(8)
    batches = stack_batches(users, np.arange(8), n_rows=4, capacity=64)
    one = Engine(network(9, (5,), 2, Seeds(0)), optimizer, 4)
    one.train(batches, *steps(2, rate=0.1))
    return one.state()


CONSTANT = {"learning_rate": 0.1, "schedule": "none", "learning_rate_decay": 1.0}


@pytest.mark.extended
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (SGD(momentum=0.0, **CONSTANT), SGD(momentum=0.9, **CONSTANT)),
        (AdamW(weight_decay=0.0, **CONSTANT), AdamW(weight_decay=1.0, **CONSTANT)),
    ],
)
def test_programs_are_not_shared_by_optimizers_with_other_constants(
    first: Optimizer, second: Optimizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_PROGRAMS", {})
    alone = trained_by(second)
    programs._PROGRAMS.clear()
    before, after = trained_by(first), trained_by(second)
    for name, weights in alone.items():
        np.testing.assert_array_equal(after[name], weights)
    assert any(not np.array_equal(before[name], after[name]) for name in alone)


def test_programs_are_not_shared_by_networks_that_only_call_themselves_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(programs, "_PROGRAMS", {})

    class Halved(MultiVAENetwork):
        """As a user's copy of the model would be, with another loss."""

        def call(self, batch: Any, hyper: Any, *, training: bool = False) -> dict[str, Any]:
            parts = super().call(batch, hyper, training=training)
            return {name: 0.5 * part for name, part in parts.items()}

    sgd = SGD(momentum=0.0, **CONSTANT)
    whole, half = trained_by(sgd), trained_by(sgd, Halved)
    assert any(not np.array_equal(whole[name], half[name]) for name in whole)


def n_big_executables() -> int:
    """Executables of JAX in this process that are more than a single operation."""
    import jax

    found = jax.devices()[0].client.live_executables()
    return sum(each.hlo_modules()[0].name == "jit__lambda" for each in found)


@pytest.mark.extended
def test_batch_sizes_and_architectures_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    n_others = len(programs._PROGRAMS)
    monkeypatch.setattr(programs, "_PROGRAMS", {})
    monkeypatch.setattr(programs, "MAX_PROGRAMS", 4)
    users = clicks(12)

    def work(n_rows: int, latent_dim: int) -> np.ndarray:
        trained = engine(n_rows, latent_dim=latent_dim)
        batches = stack_batches(users, np.arange(12), n_rows=n_rows, capacity=1024)
        trained.train(batches, *steps(len(batches.is_user), rate=0.1))
        trained.loss(users, HYPER)
        return np.asarray(trained.scores(users))

    first, template = work(2, 4), weakref.ref(engine(2, latent_dim=4)._template)
    for n_rows in (3, 4, 5):
        work(n_rows, 4)
        assert template() is not None, "one network for all batch sizes"
    gc.collect()
    if backend.name() == "jax":
        assert n_big_executables() <= 4 + n_others, "nothing else keeps the others"
    for n_rows in (3, 4):
        work(n_rows, 3)
        assert len(programs._PROGRAMS) <= 4
    gc.collect()
    assert template() is None, "its variables are let go"
    np.testing.assert_array_equal(work(2, 4), first)
