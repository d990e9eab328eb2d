"""Shallow autoencoder against a NumPy twin, its diagonal, and one backend against the other."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from backends import assert_backends_agree
from contracts import composed

from recsweep.errors import InputError
from recsweep.models.shallow_ae import ShallowAE
from recsweep.seeds import Seeds
from recsweep.training.batches import in_order
from recsweep.training.engine import Engine
from recsweep.training.optimizers import SGD

N_USERS, N_ITEMS, RATE, L2, DROPOUT = 6, 9, 0.03, 0.02, 0.4
RANKS = [None, 4]


def listens() -> sp.csr_matrix:
    random = np.random.default_rng(8)
    dense = (random.random((N_USERS, N_ITEMS)) < 0.4) * (1 + random.random((N_USERS, N_ITEMS)))
    dense[2] = 0
    return sp.csr_matrix(dense.astype(np.float32))


def model(latent_dim: int | None, n_epochs: int = 1, **changes: float) -> ShallowAE:
    sgd = SGD(learning_rate=RATE, schedule="none", learning_rate_decay=1.0, momentum=0.0)
    settings = {"dropout_rate": 0.0, "l2": L2, "batch_size": 4, **changes}
    return ShallowAE(latent_dim=latent_dim, n_epochs=n_epochs, optimizer=sgd, **settings)  # type: ignore[arg-type]


def product(weights: list[np.ndarray]) -> np.ndarray:
    """P of a full or a low-rank model."""
    matrix = weights[0] if len(weights) == 1 else weights[0] @ weights[1].T
    return matrix - np.diag(np.diag(matrix))


def one_step(latent_dim: int | None) -> dict[str, np.ndarray]:
    """Weights before and after a step on 8 rows of which 6 are users, and what it lost."""
    network = model(latent_dim, l2=L2).network(N_ITEMS, Seeds(0))
    network.noise.uniform_like = lambda x: (np.arange(x.shape[0], dtype=np.float32) * 0.37) % 1
    network.architecture = (*network.architecture, "fixed noise")
    random = np.random.default_rng(1)
    for variable in network.trainable_variables:
        weights = random.normal(size=variable.shape).astype(np.float32) * 0.5
        if latent_dim is None:
            np.fill_diagonal(weights, 0)
        variable.assign(weights)
    sgd = SGD(learning_rate=1.0, schedule="none", learning_rate_decay=1.0, momentum=0.0)
    engine = Engine(network, sgd, 8)
    before = engine.state()
    hyper = {"dropout_rate": np.float32([DROPOUT]), "l2": np.float32([L2])}
    losses = engine.train(in_order(listens(), 8), hyper, np.float32([RATE]))
    return {
        **{f"{name} before": value for name, value in before.items()},
        **{f"{name} after": value for name, value in engine.state().items()},
        **{name: np.float64(value) for name, value in losses.items()},
    }


def loss_of(weights: list[np.ndarray], x: np.ndarray, dropped: np.ndarray) -> float:
    squared_errors = ((dropped @ product(weights) - x) ** 2).sum()
    return float(squared_errors / N_USERS + L2 * sum((w**2).sum() for w in weights))


@pytest.mark.parametrize("latent_dim", RANKS)
def test_loss_and_step_equal_a_numpy_twin(latent_dim: int | None) -> None:
    found = one_step(latent_dim)
    weights = [v.astype(np.float64) for name, v in found.items() if name.endswith("before")]
    after = [v for name, v in found.items() if name.endswith("after")]
    x = listens().astype(np.float64)
    dropped = x.copy()
    dropped.data *= ((np.arange(x.nnz) * 0.37 % 1) >= DROPOUT) / (1 - DROPOUT)
    x, dropped = x.toarray(), dropped.toarray()
    assert found["loss"] == pytest.approx(loss_of(weights, x, dropped), rel=1e-5)
    assert found["loss"] == pytest.approx(found["reconstruction"] + found["l2"], rel=1e-6)
    for place, weight in enumerate(weights):
        slope = np.zeros_like(weight)
        for cell in np.ndindex(*weight.shape):  # the loss is a polynomial: central differences
            ends = []
            for step in (1e-4, -1e-4):
                moved = [w.copy() for w in weights]
                moved[place][cell] += step
                ends.append(loss_of(moved, x, dropped))
            slope[cell] = (ends[0] - ends[1]) / 2e-4
        if latent_dim is None:
            slope -= np.diag(np.diag(slope))
        np.testing.assert_allclose(after[place], weight - RATE * slope, rtol=1e-5, atol=3e-6)
        assert np.abs(slope).max() > 0.1


@pytest.mark.extended
@pytest.mark.parametrize("latent_dim", RANKS)
def test_a_step_agrees_between_the_backends(latent_dim: int | None, tmp_path: Path) -> None:
    assert_backends_agree(one_step, tmp_path, latent_dim)


def test_the_diagonal_starts_at_zero_and_stays_there() -> None:
    trained = model(None, n_epochs=5, dropout_rate=0.3)
    matrices = []
    trained.fit(listens(), lambda *_: matrices.append(*trained.state().values()) or True, Seeds(0))  # type: ignore[func-returns-value]
    for matrix in matrices:
        np.testing.assert_array_equal(np.diag(matrix), 0)
    assert np.abs(matrices[-1] - matrices[0]).max() > 0.01


@pytest.mark.parametrize("latent_dim", RANKS)
def test_scores_are_the_history_times_the_matrix(latent_dim: int | None) -> None:
    trained = model(latent_dim, n_epochs=3)
    trained.fit(listens(), lambda *_: True, Seeds(0))
    expected = listens().toarray() @ product(list(trained.state().values()))
    np.testing.assert_allclose(np.asarray(trained.score(listens())), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("latent_dim", RANKS)
def test_the_loss_of_rows_is_a_mean_over_users_whatever_fills_up_a_batch(
    latent_dim: int | None,
) -> None:
    losses = []
    for batch_size in (3, 4, 50):
        trained = model(latent_dim, batch_size=batch_size)
        trained.restore(model_state(latent_dim))
        losses.append(trained.loss(listens())["loss"])
    weights = [w.astype(np.float64) for w in model_state(latent_dim).values()]
    x = listens().toarray()
    assert losses == pytest.approx([loss_of(weights, x, x)] * 3, rel=1e-5)


def model_state(latent_dim: int | None) -> dict[str, np.ndarray]:
    trained = model(latent_dim)
    trained.fit(listens(), lambda *_: True, Seeds(0))
    return trained.state()


@pytest.mark.parametrize("latent_dim", RANKS)
def test_initial_weights_make_a_matrix_of_small_normal_numbers(latent_dim: int | None) -> None:
    network = model(latent_dim).network(300, Seeds(0))
    matrix = product([np.asarray(v.value) for v in network.trainable_variables])
    off_diagonal = matrix[~np.eye(300, dtype=bool)]
    assert off_diagonal.std() == pytest.approx(0.001, rel=0.1)
    assert abs(off_diagonal.mean()) < 1e-4


def test_a_low_rank_model_holds_two_thin_matrices() -> None:
    assert [w.shape for w in model_state(4).values()] == [(N_ITEMS, 4), (N_ITEMS, 4)]


def test_a_full_matrix_that_cannot_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"1,000,000 items .* set model.latent_dim"):
        model(None).network(1_000_000, Seeds(0))


LARGE = """
import numpy as np, scipy.sparse as sp
from recsweep.environment import choose_backend, load_backend
choose_backend("jax", threads=None)
load_backend()
from recsweep.data.split import Fold
from recsweep.evaluation import Evaluator
from recsweep.memory import peak_bytes
from recsweep.models.shallow_ae import ShallowAE
from recsweep.seeds import Seeds
from recsweep.training.optimizers import SGD

n_users, n_items = 20_000, 200_000
random = np.random.default_rng(0)
rows = np.repeat(np.arange(n_users), 20)
items = (n_items * random.random(rows.size) ** 3).astype(int)
train = sp.csr_matrix((np.ones(rows.size, np.float32), (rows, items)), (n_users, n_items))
train.data[:] = 1
model = ShallowAE(
    latent_dim=256, dropout_rate=0.1, l2=1e-4, batch_size=1024, n_epochs=1,
    optimizer=SGD(learning_rate=0.05, schedule="none", learning_rate_decay=1.0, momentum=0.0),
)
model.fit(train, lambda *_: True, Seeds(0))
evaluator = Evaluator(k=[100], metrics=["ndcg"], batch_size=500, objective=None)
half = train[:1000]
fold = Fold(history=half, target=train[1000:2000], user_ids=np.arange(1000))
print(evaluator.evaluate(model.score, fold).means)
print(peak_bytes())
"""


@pytest.mark.slow
def test_a_catalogue_of_200_000_items_is_trained_and_scored_within_4_gb() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LARGE], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert int(done.stdout.splitlines()[-1]) < 4e9


@pytest.mark.parametrize(("choices", "optimizer"), [([], "SGD"), (["optimizer=adam"], "Adam")])
def test_the_models_own_optimizer_gives_way_to_the_command_line(
    choices: list[str], optimizer: str
) -> None:
    config = composed("model=shallow_ae", *choices)
    assert config["model"]["optimizer"]["_target_"].endswith(f".{optimizer}")
    assert config["optimizer"] == config["model"]["optimizer"]
