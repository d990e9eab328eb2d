"""EASE against a twin that solves column by column, dropout against all ways to drop."""

import weakref
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from commands import run_command

from recsweep import accelerator, environment
from recsweep.data.sources.liang import Liang
from recsweep.errors import InputError
from recsweep.evaluation import Evaluator
from recsweep.models import ease
from recsweep.models.ease import EASE, solve_in_place, solve_on_device, solve_on_host
from recsweep.seeds import Seeds
from recsweep.training import programs


def listens(n_users: int, n_items: int) -> np.ndarray:
    random = np.random.default_rng(2)
    is_heard = random.random((n_users, n_items)) < 0.5
    return np.where(is_heard, 1 + random.random((n_users, n_items)), 0)


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of an accelerator, on JAX's CPU."""
    monkeypatch.setattr(accelerator, "is_available", lambda: True)


@pytest.fixture
def on_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of a CPU, even where there is an accelerator."""
    monkeypatch.setattr(accelerator, "is_available", lambda: False)


def fitted(train: np.ndarray, l2: float, dropout_rate: float = 0.0) -> EASE:
    model = EASE(l2=l2, dropout_rate=dropout_rate)
    model.fit(sp.csr_matrix(train.astype(np.float32)), lambda _epoch, _losses: True, Seeds(0))
    return model


def solved_by_column(square: np.ndarray, products: np.ndarray, l2: float) -> np.ndarray:
    """Ridge regression of each item on all others, from E[X̃ᵀX̃] and E[X̃ᵀX]."""
    n_items = len(square)
    weights = np.zeros((n_items, n_items))
    for item in range(n_items):
        others = np.arange(n_items) != item
        ridge = square[np.ix_(others, others)] + l2 * np.eye(n_items - 1)
        weights[others, item] = np.linalg.solve(ridge, products[others, item])
    return weights


@pytest.mark.parametrize("tile", [3, 256])
def test_it_is_a_ridge_regression_of_each_item_on_the_others(
    tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ease, "TILE", tile)
    train = listens(60, 20)
    weights = fitted(train, l2=7.0).state()["weights"]
    expected = solved_by_column(train.T @ train, train.T @ train, l2=7.0)
    np.testing.assert_allclose(weights, expected, atol=1e-5)  # float32, weights below 1
    assert (np.diagonal(weights) == 0).all()


def test_dropout_is_the_mean_over_all_ways_to_drop() -> None:
    train, rate, l2 = listens(5, 4), 0.3, 0.5
    square, products = np.zeros((4, 4)), np.zeros((4, 4))
    for keep in product([0, 1], repeat=4):  # each user's masks are alike: 2⁴ of them
        probability = np.prod([1 - rate if kept else rate for kept in keep])
        dropped = train * keep / (1 - rate)
        square += probability * dropped.T @ dropped
        products += probability * dropped.T @ train
    expected = solved_by_column(square, products, l2)
    np.testing.assert_allclose(fitted(train, l2, rate).state()["weights"], expected, atol=1e-5)
    assert np.abs(expected - fitted(train, l2).state()["weights"]).max() > 0.05


def fewer_users_than_items() -> np.ndarray:
    """Two thirds of the Gram matrix's eigenvalues are 0, so l2 alone sets its condition."""
    popularity = np.arange(1, 301) ** -0.8
    return (np.random.default_rng(0).random((100, 300)) < popularity * 3).astype(np.float64)


@pytest.mark.parametrize("path", ["on_host", pytest.param("on_device", marks=pytest.mark.extended)])
def test_float32_is_held_to_float64_up_to_a_condition_of_1e10(
    path: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    """|B − B₆₄| ≤ (10 + cond)·2⁻²⁴ of the largest weight; beyond 1 % it is said, or refused."""
    request.getfixturevalue(path)
    train, outcomes = fewer_users_than_items(), {}
    gram = train.T @ train
    for condition in (10.0**n for n in range(1, 11)):
        l2 = float(np.linalg.norm(gram, 2) / (condition - 1))
        inverse = np.linalg.inv(gram + l2 * np.eye(300))
        exact = np.where(np.eye(300), 0, -inverse / np.diagonal(inverse))
        caplog.clear()
        try:
            weights = np.asarray(fitted(train, l2).state()["weights"])
        except InputError as error:
            is_one_line = "raise model.l2" in str(error) and "\n" not in str(error)
            outcomes[condition] = "refused" if is_one_line else str(error)
            continue
        error_of_weights = np.abs(weights - exact).max() / np.abs(exact).max()
        assert error_of_weights <= (10 + condition) * 2**-24
        outcomes[condition] = "warned" if "float32 is too coarse" in caplog.text else "silent"
        if outcomes[condition] == "silent":
            assert error_of_weights < 0.01
    found = list(outcomes.values())
    assert found == sorted(found, key=["silent", "warned", "refused"].index)
    assert found[:4] == ["silent"] * 4, "what the default search space has"
    assert found[-2:] == ["refused"] * 2
    assert "warned" in found


def test_the_residual_is_that_of_the_equations() -> None:
    train = sp.csr_matrix(listens(60, 20))
    weights = solve_on_host(train.astype(np.float32), 7.0, 0.0)
    assert ease.residual(weights, train, 7.0, 0.0) < 1e-5
    wrong = weights.copy()
    wrong[3, 5] += 0.1
    assert ease.residual(wrong, train, 7.0, 0.0) > 0.01


@pytest.mark.parametrize("limit", [0.5, 1e-12])
def test_a_solution_that_misses_its_equations_is_refused(
    limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Float32's last digits are missing from every solution, so a limit below them refuses it."""
    monkeypatch.setattr(ease, "LARGEST_ERROR", limit)
    if limit == 0.5:
        fitted(listens(60, 20), l2=7.0)
        return
    with pytest.raises(InputError, match=r"weights are off by about 0%; raise model\.l2 \(now 7\)"):
        fitted(listens(60, 20), l2=7.0)


def test_two_items_by_hand() -> None:
    # XᵀX = [[2, 1], [1, 2]], l2 = 1: item 1 on item 0 is 1/(2+1), and the other way round
    model = fitted(np.array([[1, 0], [1, 1], [0, 1]]), l2=1.0)
    np.testing.assert_allclose(model.state()["weights"], [[0, 1 / 3], [1 / 3, 0]], rtol=1e-6)
    scores = model.score(sp.csr_matrix([[3.0, 0.0]]))
    np.testing.assert_allclose(scores, [[0, 1]], rtol=1e-6)
    assert scores.dtype == np.float32


def test_it_is_solved_in_the_gram_matrixs_own_memory() -> None:
    matrix = (np.eye(700) + 0.1).astype(np.float32)
    assert np.shares_memory(solve_in_place(matrix), matrix)


def test_only_the_upper_triangle_is_read() -> None:
    matrix = (np.eye(300) + 0.1).astype(np.float32)
    inverse = np.linalg.inv(matrix.astype(np.float64))
    expected = np.where(np.eye(300), 0, -inverse / np.diagonal(inverse))
    matrix[np.tri(300, k=-1, dtype=bool)] = np.nan
    np.testing.assert_allclose(solve_in_place(matrix), expected, atol=1e-6)


@pytest.mark.parametrize("ratio", [0.0, 0.5])
@pytest.mark.parametrize("is_count", [True, False])
def test_a_device_gives_the_same_matrix(is_count: bool, ratio: float) -> None:
    train = listens(400, 300)
    train = sp.csr_matrix((np.rint(train) if is_count else train).astype(np.float32))
    on_device = np.asarray(solve_on_device(train, 5.0, ratio))
    on_host = solve_on_host(train, 5.0, ratio)
    assert on_device.shape == (300, 300)
    np.testing.assert_allclose(on_device, on_host, atol=2e-5)  # two float32 inverses
    assert (np.diagonal(on_device) == 0).all()


@pytest.mark.parametrize("solve", [solve_on_host, solve_on_device])
def test_a_gram_matrix_without_inverse_is_refused(solve: Callable[..., object]) -> None:
    for train in (np.ones((3, 3)), np.zeros((3, 3)), np.eye(3)[:2]):
        with pytest.raises(np.linalg.LinAlgError):
            solve(sp.csr_matrix(train.astype(np.float32)), 0.0, 0.0)


def test_a_matrix_without_inverse_is_refused() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        solve_in_place(np.diag([1.0, -1.0, 1.0]).astype(np.float32))


@pytest.mark.usefixtures("on_device")
def test_on_a_device_it_stays_there_and_its_state_is_numpys() -> None:
    train = listens(60, 20)
    model = fitted(train, l2=7.0)
    weights = model.learned["weights"]
    assert not isinstance(weights, np.ndarray)
    assert type(model.state()["weights"]) is np.ndarray
    model.restore(model.state())
    assert model.learned["weights"] is weights
    expected = solve_on_host(sp.csr_matrix(train.astype(np.float32)), 7.0, 0.0)
    np.testing.assert_allclose(model.state()["weights"], expected, atol=1e-5)


@pytest.mark.usefixtures("on_device")
def test_a_device_scores_what_it_solved_and_what_was_restored() -> None:
    model, other = fitted(listens(60, 20), l2=7.0), EASE(l2=7.0, dropout_rate=0.0)
    other.restore(model.state())
    cells = (np.array([1, 2, 3, 4], np.float32), [3, 3, 0, 19], [0, 2, 2, 4])  # 3 is there twice
    history = sp.csr_matrix(cells, shape=(3, 20))
    expected = history.toarray() @ model.state()["weights"]
    np.testing.assert_allclose(model.score(history), expected, atol=1e-5)  # float32, other order
    np.testing.assert_array_equal(np.asarray(other.score(history)), model.score(history))
    assert not isinstance(other.learned["weights"], np.ndarray), "it is sent once"
    assert history.nnz == 4


@pytest.mark.usefixtures("on_device")
def test_a_device_compiles_once_for_all_fits() -> None:
    fitted(listens(60, 23), l2=7.0)
    before = dict(programs._PROGRAMS)
    fitted(listens(50, 23), l2=3.0, dropout_rate=0.4)  # other users, other settings
    assert set(programs._PROGRAMS.values()) == set(before.values())
    assert {program._cache_size() for program in list(before.values())[-2:]} == {1}


@pytest.mark.usefixtures("on_device")
def test_a_device_without_room_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # 4 matrices of 128 × 128; 24 · 1,024 bytes of entries; 4,096 users × 128 items
    needed = 4 * 4 * 128**2 + 24 * 1024 + 4 * 4096 * 128
    monkeypatch.setattr(environment, "device", lambda: "GPU")
    monkeypatch.setattr(environment, "device_memory", lambda: needed - 1)
    with pytest.raises(
        InputError, match=r"^the item–item matrix on GPU must have .*; set device=cpu$"
    ):
        fitted(listens(60, 20), l2=7.0)
    monkeypatch.setattr(environment, "device_memory", lambda: needed)
    fitted(listens(60, 20), l2=7.0)


@pytest.mark.parametrize("is_on_device", [False, True])
def test_items_that_nobody_can_tell_apart_need_l2(
    is_on_device: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerator, "is_available", lambda: is_on_device)
    train = np.repeat(listens(30, 5), 2, axis=1)
    with pytest.raises(
        InputError, match=r"positive definite.*raise model\.l2 \(now 0\)"
    ) as refusal:
        fitted(train, l2=0.0)
    assert "\n" not in str(refusal.value)
    fitted(train, l2=1.0)


@pytest.mark.usefixtures("on_host")
def test_what_cannot_fit_is_refused_before_it_is_allocated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 4·n² bytes are 93,132.26 GiB, blocks of the Gram matrix 1/32 in each thread
    monkeypatch.setattr(environment, "n_threads", lambda: 30)
    wide = sp.csr_matrix((2, 5_000_000), dtype=np.float32)
    refusal = r"5,000,000 items must have 93,133\.2 GiB of memory.*; choose model=mrf, which keeps"
    with pytest.raises(InputError, match=refusal):
        EASE(l2=1.0, dropout_rate=0.0).fit(wide, lambda *_: True, Seeds(0))


@pytest.mark.usefixtures("on_host")
def test_a_kept_gram_matrix_gives_the_same_weights(tmp_path: Path) -> None:
    train = listens(60, 20)
    expected = fitted(train, l2=3.0).state()["weights"]
    environment.use_cache(tmp_path)
    try:
        first, second = (fitted(train, l2=3.0).state()["weights"] for _ in range(2))
    finally:
        environment.use_cache(None)
    assert list(tmp_path.rglob("*.npz"))
    np.testing.assert_array_equal(first, expected)
    np.testing.assert_array_equal(second, expected)


def test_the_first_fit_is_let_go_before_the_refit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, matrices, are_held = EASE.fit, [], []

    def watched(self: EASE, *arguments: Any) -> None:
        are_held.append([matrix() is not None for matrix in matrices])
        fit(self, *arguments)
        matrices.append(weakref.ref(self.state()["weights"]))

    monkeypatch.setattr(EASE, "fit", watched)
    ended = run_command(tmp_path / "run", "model=ease data=synthetic refit=true k=5 tracking=off")
    assert ended.code == 0, ended.err
    assert are_held == [[], [False]]


@pytest.mark.realdata
def test_it_gives_the_figures_measured_on_movielens(shared_data: Path) -> None:
    source = Liang(name="ml-1m", path=shared_data / "ml-1m-pro_sg")
    split = source.load(source.files(shared_data))
    model = EASE(l2=500.0, dropout_rate=0.0)
    model.fit(split.train, lambda _epoch, _losses: True, Seeds(0))
    evaluator = Evaluator(
        k=[20, 50, 100], metrics=["ndcg", "recall"], batch_size=500, objective=None
    )
    means = evaluator.evaluate(model.score, split.test).means
    assert means["ndcg@100"] == pytest.approx(0.4263, abs=0.0005)
    assert means["recall@20"] == pytest.approx(0.3564, abs=0.0005)
    assert means["recall@50"] == pytest.approx(0.4787, abs=0.0005)
