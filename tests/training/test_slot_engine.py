"""A training in a slot: the same network on dense batches, widened, and back again."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from contracts import planted_split, small_spec

from recsweep.build import build
from recsweep.data.split import Split
from recsweep.seeds import Seeds
from recsweep.training import layout
from recsweep.training.layers import NEVER
from recsweep.training.layout import Layout
from recsweep.training.slot_engine import SlotEngine, _narrowed, _widened, padded_width

WIDE = {
    name: {"latent_dim": 24}
    for name in (
        "recsweep.models.multivae.MultiVAE", "recsweep.models.multidae.MultiDAE",
        "recsweep.models.shallow_ae.ShallowAE", "recsweep.models.elsa.ELSA",
        "recsweep.models.recvae.RecVAE",
    )
}  # fmt: skip
NAMES = ["multivae", "multidae", "recvae", "shallow_ae", "shallow_ae full", "elsa"]


@pytest.fixture(scope="module")
def split() -> Split:
    return planted_split()


def fitted(name: str, train: sp.csr_matrix, **changes: Any) -> Any:
    model = build(small_spec(name, **{"n_epochs": 3, **changes}), "model")
    model.fit(train, lambda _epoch, _losses: True, Seeds(1))
    return model


def test_widths_are_multiples_of_64() -> None:
    assert [padded_width(n) for n in (1, 64, 65)] == [64, 64, 128]


def test_each_block_is_widened_by_itself_and_found_again() -> None:
    small = np.arange(12, dtype=np.float32).reshape(2, 6)
    wide = _widened(small, (3, 10), 2, fill=-1)
    assert wide.tolist() == [
        [0, 1, 2, -1, -1, 3, 4, 5, -1, -1],
        [6, 7, 8, -1, -1, 9, 10, 11, -1, -1],
        10 * [-1],
    ]
    np.testing.assert_array_equal(_narrowed(wide, (2, 6), 2), small)
    vector = _widened(np.float32([1, 2]), (4,), 1, fill=7)
    assert vector.tolist() == [1, 2, 7, 7]


@pytest.mark.parametrize("name", NAMES)
def test_a_widened_network_gives_what_it_gives_alone(name: str, split: Split) -> None:
    spec = small_spec(name, l2=1e-3, **({} if "full" in name else {"latent_dim": 6}))
    rows, model = split.valid.history[:9], build(spec, "model")
    weights = model.network(split.train.shape[1], Seeds(1)).trainable_variables
    state = {each.path: np.asarray(each) for each in weights}
    model.restore(state)
    with layout.use(Layout(2, WIDE)):
        wide = build(spec, "model")
        wide.restore(state)
        assert isinstance(wide._engine, SlotEngine)
        found, losses, restored = np.asarray(wide.score(rows)), wide.loss(rows), wide.state()
    np.testing.assert_allclose(found, np.asarray(model.score(rows)), rtol=1e-4, atol=1e-5)
    assert losses == pytest.approx(model.loss(rows), rel=1e-5)
    for path, weight in state.items():
        np.testing.assert_array_equal(restored[path], weight)


@pytest.mark.extended
@pytest.mark.parametrize("name", NAMES)
def test_scores_and_loss_are_those_of_sparse_batches(name: str, split: Split) -> None:
    rows = split.valid.history + split.valid.target
    with layout.use(Layout(2, WIDE)):
        dense = fitted(name, split.train)
        assert isinstance(dense._engine, SlotEngine)
        state, scores, loss = dense.state(), np.asarray(dense.score(rows)), dense.loss(rows)
    sparse = fitted(name, split.train[:40])
    sparse.restore(state)
    np.testing.assert_allclose(scores, np.asarray(sparse.score(rows)), rtol=1e-4, atol=1e-5)
    for part, value in sparse.loss(rows).items():
        if part not in ("l2", "loss"):  # this one has seen another number of steps
            assert loss[part] == pytest.approx(value, rel=1e-4)


@pytest.mark.extended
@pytest.mark.parametrize("name", NAMES)
def test_what_a_network_is_widened_by_changes_nothing(name: str, split: Split) -> None:
    latent = {} if "full" in name else {"latent_dim": 6}
    with layout.use(Layout(2)):
        own = fitted(name, split.train, l2=1e-3, **latent)
    with layout.use(Layout(2, WIDE)):
        wide = fitted(name, split.train, l2=1e-3, **latent)
    for path, weights in own.state().items():
        assert wide.state()[path].shape == weights.shape
        np.testing.assert_allclose(wide.state()[path], weights, rtol=1e-3, atol=1e-5)


@pytest.mark.extended
def test_weights_beyond_the_networks_own_stay_as_they_were(split: Split) -> None:
    with layout.use(Layout(2, WIDE)):
        model = fitted("multivae", split.train, latent_dim=6, l2=1e-3)
        wide = dict(zip(model.state(), map(np.asarray, model._engine._weights), strict=True))
    assert wide["output/bias"][60:].tolist() == 4 * [np.float32(NEVER)]
    assert not wide["first/kernel"][60:].any()
    assert not wide["output/kernel"][:, 60:].any()
    assert not wide["decoder_0/kernel"][6:].any()
    for places in (slice(6, 24), slice(30, 48)):
        assert not wide["posterior/kernel"][:, places].any()


@pytest.mark.extended
@pytest.mark.parametrize("name", ["multivae", "shallow_ae full"])
def test_a_state_goes_from_either_engine_to_the_other(name: str, split: Split) -> None:
    rows, sparse = split.valid.history, fitted(name, split.train)
    expected = np.asarray(sparse.score(rows))
    with layout.use(Layout(2, WIDE)):
        dense = build(small_spec(name), "model")
        dense.restore(sparse.state())
        np.testing.assert_allclose(np.asarray(dense.score(rows)), expected, rtol=1e-4, atol=1e-5)
        for path, weights in dense.state().items():
            np.testing.assert_array_equal(weights, sparse.state()[path])


@pytest.mark.extended
def test_the_kept_weights_are_those_of_their_epoch(split: Split) -> None:
    with layout.use(Layout(2)):
        model, seen = build(small_spec("multivae", n_epochs=4), "model"), []

        def on_epoch(epoch: int, _losses: object) -> bool:
            seen.append(model.state())
            if epoch == 1:
                model.keep()
            return True

        model.fit(split.train, on_epoch, Seeds(1))
        last = model.state()
        model.return_to_kept()
    for path, weights in model.state().items():
        np.testing.assert_array_equal(weights, seen[1][path])
        np.testing.assert_array_equal(last[path], seen[3][path])
        assert not np.array_equal(weights, last[path])


def test_weights_kept_at_the_last_epoch_are_the_last_ones(split: Split) -> None:
    with layout.use(Layout(2)):
        model = build(small_spec("multivae", n_epochs=2), "model")

        def keep(_epoch: int, _losses: object) -> bool:
            model.keep()
            return True

        model.fit(split.train, keep, Seeds(1))
        last = model.state()
        model.return_to_kept()
    for path, weights in model.state().items():
        np.testing.assert_array_equal(weights, last[path])
