"""Trainings in slots are as if each were alone, whoever joins and leaves beside them."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier, Event
from typing import Any

import numpy as np
import pytest
from contracts import composed, planted_split, small_spec

from recsweep import app
from recsweep.build import build, validate
from recsweep.data.split import Split
from recsweep.evaluation import Evaluator, training_popularity
from recsweep.fitting import FitResult, fit_best_epoch
from recsweep.models.multivae import MultiVAE
from recsweep.seeds import Seeds
from recsweep.training import layout, slots
from recsweep.training.layout import Layout

WIDEST = {"recsweep.models.multivae.MultiVAE": {"latent_dim": 16}}
TRIALS: list[dict[str, Any]] = [
    {"latent_dim": 16, "beta": 0.2, "n_epochs": 5},
    {"latent_dim": 8, "beta": 0.5, "dropout_rate": 0.2, "n_epochs": 9},
    {"latent_dim": 12, "l2": 1e-3, "n_epochs": 3},
    {"latent_dim": 16, "beta": 1.0, "decoder_dropout_rate": 0.3, "n_epochs": 6},
    {"latent_dim": 5, "beta_warmup_steps": 30, "n_epochs": 4},
    {"latent_dim": 16, "dropout_rate": 0.8, "n_epochs": 7},
    {"latent_dim": 10, "n_epochs": 2},
]
"""Trials of different lengths: a slot is refilled while its neighbours go on."""


@pytest.fixture(scope="module")
def split() -> Split:
    return planted_split()


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    settings = validate(app.Settings, dict(composed("k=[5,10,45]")), "")
    return app.make_evaluator(settings)


@pytest.fixture
def three_slots() -> Iterator[None]:
    with layout.use(Layout(3, WIDEST)):
        yield


@pytest.fixture
def fit(split: Split, evaluator: Evaluator) -> Callable[..., FitResult]:
    specs = {str(t): small_spec("multivae", **t) for t in TRIALS}

    def one(number: int, listener: Any = None) -> FitResult:
        model = build(specs[str(TRIALS[number])], "model")
        listeners = [listener] if listener else []
        return fit_best_epoch(model, split.train, split.valid, evaluator, Seeds(number), listeners)

    return one


def fit_dense(fit: Callable[..., FitResult], number: int) -> FitResult:
    """One training with a slot of its own."""
    with layout.use(Layout(is_dense=True)):
        return fit(number)


def curves(fitted: FitResult) -> np.ndarray:
    """What does not depend on the clock, epochs × curves."""
    names = [name for name in fitted.curves[0] if not name.endswith("_s")]
    assert {"train/loss", "train/l2", "valid/loss", "valid/kl", "valid/ndcg@45"} <= set(names)
    return np.array([[epoch[name] for name in names] for epoch in fitted.curves])


@pytest.mark.extended
@pytest.mark.usefixtures("three_slots")
def test_a_curve_is_that_of_the_same_training_alone(fit: Callable[..., FitResult]) -> None:
    alone = [fit(number) for number in range(len(TRIALS))]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(fit, range(len(TRIALS))))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(curves(one), curves(other))
        assert one.best_epoch == other.best_epoch
        assert one.valid.means == other.valid.means


@pytest.mark.extended
def test_a_curve_does_not_depend_on_the_widest_trial(fit: Callable[..., FitResult]) -> None:
    with layout.use(Layout(3, WIDEST)):
        wide = curves(fit(1))
    with layout.use(Layout(3)):
        np.testing.assert_allclose(curves(fit(1)), wide, rtol=2e-6)


@pytest.mark.extended
@pytest.mark.usefixtures("three_slots")
@pytest.mark.parametrize("name", ["multivae", "shallow_ae full"])
def test_rankings_inside_the_program_are_those_of_the_scores(
    name: str, split: Split, evaluator: Evaluator
) -> None:
    model = build(small_spec(name, n_epochs=3), "model")
    fitted = fit_best_epoch(model, split.train, split.valid, evaluator, Seeds(1))
    counts = training_popularity(split.train)
    again = evaluator.evaluate(model.score, split.valid, counts)
    assert again.means == fitted.valid.means
    assert model.ranking().items.max() < split.train.shape[1], "columns that fill up are no items"
    best = fitted.curves[fitted.best_epoch]
    assert {f"valid/{name}": value for name, value in again.means.items()}.items() <= best.items()
    assert set(fitted.curves[0]) >= {"valid/ndcg@5", "valid/ndcg@10", "valid/ndcg@45"}
    rows = split.valid.history + split.valid.target
    assert best["valid/loss"] == pytest.approx(model.loss(rows)["loss"], rel=1e-5)


@pytest.mark.extended
@pytest.mark.usefixtures("three_slots")
def test_the_validation_loss_is_taken_with_the_inputs_of_the_epochs_last_step(split: Split) -> None:
    model = build(small_spec("multivae", n_epochs=3, beta_warmup_steps=30), "model")
    rows = split.valid.history + split.valid.target
    assert model.watch(split.valid.history, split.valid.target, 5)

    def compare(_epoch: int, _losses: object) -> bool:
        for part, value in model.loss(rows).items():
            assert model.ranking().losses[part] == pytest.approx(value, rel=1e-5)
        return True

    model.fit(split.train, compare, Seeds(1))


@pytest.mark.extended
@pytest.mark.usefixtures("three_slots")
def test_a_training_inside_another_of_the_same_thread_does_not_wait_for_it(split: Split) -> None:
    spec = small_spec("multivae", n_epochs=2)
    inner = build(spec, "model")

    def fit_inside(epoch: int, _losses: object) -> bool:
        if epoch == 0:
            inner.fit(split.train, lambda _epoch, _losses: True, Seeds(1))
        return True

    outer = build(spec, "model")
    outer.fit(split.train, fit_inside, Seeds(1))
    for path, weights in outer.state().items():
        np.testing.assert_array_equal(weights, inner.state()[path])


@pytest.mark.extended
def test_slots_of_another_layout_are_not_taken(split: Split) -> None:
    models = [build(small_spec("multivae", n_epochs=2), "model") for _ in range(5)]

    def fit(model: Any) -> None:
        model.fit(split.train, lambda _epoch, _losses: True, Seeds(1))

    with layout.use(Layout(3)):
        fit(models[0])
    with layout.use(Layout(4)), ThreadPoolExecutor(4) as pool:
        list(pool.map(fit, models[1:]))
        assert [bank.n_slots for bank in slots._banks] == [4]
    slots.free()
    assert not slots._banks


class Reversed(MultiVAE):
    """Recommends the worst first, and remembers how often it was asked for its state."""

    def score(self, history: Any) -> Any:
        return -np.asarray(super().score(history))

    def state(self) -> Any:
        return {**super().state(), "extra": np.ones(1)}

    def restore(self, state: Any) -> None:
        self.extra = state["extra"]
        super().restore({name: array for name, array in state.items() if name != "extra"})


@pytest.mark.extended
@pytest.mark.usefixtures("three_slots")
def test_a_class_that_changes_scores_or_state_is_not_passed_over(
    split: Split, evaluator: Evaluator
) -> None:
    small = {"hidden_dims": [32], "latent_dim": 16, "batch_size": 20, "n_epochs": 2}
    model = Reversed(**small)
    fitted = fit_best_epoch(model, split.train, split.valid, evaluator, Seeds(1))
    counts = training_popularity(split.train)
    again = evaluator.evaluate(model.score, split.valid, counts)
    assert again.means == fitted.valid.means
    assert fitted.valid.means["ndcg@5"] < 0.1, "the worst come first"
    assert model.extra.tolist() == [1]


@pytest.mark.extended
@pytest.mark.usefixtures("three_slots")
def test_a_training_that_fails_leaves_its_neighbours_alone(fit: Callable[..., FitResult]) -> None:
    expected = curves(fit(1))

    def fail(epoch: int, _metrics: object) -> bool:
        if epoch == 1:
            raise ZeroDivisionError("on purpose")
        return True

    with ThreadPoolExecutor(3) as pool:
        whole, failing = pool.submit(fit, 1), pool.submit(fit, 0, fail)
        following = pool.submit(fit, 3)
        np.testing.assert_array_equal(curves(whole.result(60)), expected)
        with pytest.raises(ZeroDivisionError):
            failing.result(60)
        assert len(following.result(60).curves) == 6
    assert all(bank.n_members == 0 for bank in slots._banks)


@pytest.mark.extended
@pytest.mark.usefixtures("three_slots")
def test_trainings_that_begin_at_once_share_one_bank(fit: Callable[..., FitResult]) -> None:
    slots._banks.clear()
    began = Barrier(3)

    def together(number: int) -> FitResult:
        began.wait(60)
        return fit(number)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(together, range(3)))
    assert len(slots._banks) == 1


@pytest.mark.extended
def test_a_broken_program_fails_all_its_trainings_and_the_next_one_has_another(
    fit: Callable[..., FitResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one without memory: who comes later must not get its freed arrays."""

    def break_down(epoch: int, _metrics: object) -> bool:
        if epoch == 1:
            monkeypatch.setattr(slots, "call_program", out_of_memory)
        return True

    def out_of_memory(*_arguments: object) -> None:
        raise MemoryError("no room")

    with layout.use(Layout(2, WIDEST)):
        with ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(fit, number, break_down) for number in (0, 1)]:
                with pytest.raises(MemoryError):
                    future.result(60)
        monkeypatch.undo()
        broken = set(slots._banks)
        assert len(fit(2).curves) == 3
        assert not broken & set(slots._banks)


@pytest.mark.extended
def test_an_interrupt_of_a_program_is_raised_and_the_next_training_begins(
    fit: Callable[..., FitResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, run = curves(fit_dense(fit, 2)), slots.Bank._run

    def interrupted(bank: slots.Bank, asked: dict[int, slots.Request]) -> Any:
        run(bank, asked)
        bank._trainings = None  # as if they had been donated to a program that did not end
        raise KeyboardInterrupt

    monkeypatch.setattr(slots.Bank, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit_dense(fit, 2)
    monkeypatch.undo()
    np.testing.assert_array_equal(curves(fit_dense(fit, 2)), expected)


def test_after_a_training_outside_of_sweeps_its_bank_is_freed(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "is_dense", lambda: True)
    slots.free()
    model = build(small_spec("multivae", n_epochs=1), "model")
    model.fit(split.train, lambda _epoch, _losses: bool(slots._banks), Seeds(1))
    assert not slots._banks
    assert np.isfinite(np.asarray(model.score(split.valid.history))).all()


@pytest.mark.extended
def test_a_training_that_waits_for_a_program_that_fails_gets_another_bank(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, fails, run = Event(), Event(), slots.Bank._run
    waits, place = Event(), slots.Bank.place

    def out_of_memory(bank: slots.Bank, asked: dict[int, slots.Request]) -> Any:
        if runs.is_set():
            return run(bank, asked)
        runs.set()
        assert fails.wait(60)
        raise MemoryError("no room")

    def placed(bank: slots.Bank, slot: int, values: Any) -> bool:
        if runs.is_set():
            waits.set()
        return place(bank, slot, values)

    monkeypatch.setattr(slots.Bank, "_run", out_of_memory)
    monkeypatch.setattr(slots.Bank, "place", placed)
    spec = small_spec("multivae", n_epochs=3)

    def train() -> Any:
        model = build(spec, "model")
        model.fit(split.train, lambda _epoch, _losses: True, Seeds(1))
        return model.state()

    slots.free()
    with layout.use(Layout(2)), ThreadPoolExecutor(2) as pool:
        first = pool.submit(train)
        assert runs.wait(60)
        second = pool.submit(train)
        assert waits.wait(60)
        fails.set()
        with pytest.raises(MemoryError):
            first.result(60)
        state = second.result(60)
        for path, weights in train().items():
            np.testing.assert_array_equal(weights, state[path])


@pytest.mark.extended
@pytest.mark.usefixtures("three_slots")
def test_interactions_of_value_0_are_seen_and_found_in_the_program(
    split: Split, evaluator: Evaluator
) -> None:
    def halved(rows: Any) -> Any:
        rows = rows.copy()
        rows.data[::2] = 0
        return rows

    valid = replace(
        split.valid, history=halved(split.valid.history), target=halved(split.valid.target)
    )
    model = build(small_spec("multivae", n_epochs=2), "model")
    fitted = fit_best_epoch(model, split.train, valid, evaluator, Seeds(1))
    again = evaluator.evaluate(model.score, valid, training_popularity(split.train))
    assert again.means == fitted.valid.means
    assert model.ranking() is not None


@pytest.mark.extended
def test_slots_beyond_eight_are_two_banks_that_take_turns(fit: Callable[..., FitResult]) -> None:
    slots._banks.clear()
    with layout.use(Layout(8, WIDEST)):
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(fit, range(4)))
        assert [bank.n_slots for bank in slots._banks] == [4, 4]
        np.testing.assert_array_equal(curves(together[2]), curves(fit(2)))
