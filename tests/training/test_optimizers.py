"""Gradient methods: their settings, and their steps against hand arithmetic."""

import keras
import numpy as np
import pytest

from recsweep.errors import InputError
from recsweep.training.optimizers import SGD, Adam, AdamW, Optimizer

CONSTANT = {"schedule": "none", "learning_rate_decay": 1.0}


def after_one_step(optimizer: Optimizer, weight: float, gradient: float) -> float:
    variable = keras.Variable([weight])
    method = optimizer.build()
    method.build([variable])
    method.apply([keras.ops.convert_to_tensor([gradient])], [variable])
    return float(np.asarray(variable.value)[0])


def test_sgd_goes_against_the_gradient() -> None:
    sgd = SGD(learning_rate=0.1, momentum=0.0, **CONSTANT)
    assert after_one_step(sgd, 1.0, 2.0) == pytest.approx(1.0 - 0.1 * 2.0, rel=1e-6)


def test_adams_first_step_is_its_rate() -> None:
    adam = Adam(learning_rate=0.01, **CONSTANT)
    # bias-corrected, m / (sqrt(v) + ε) = g / (|g| + ε) = 1
    assert after_one_step(adam, 1.0, 3.0) == pytest.approx(1.0 - 0.01, rel=1e-5)


def test_adamw_also_shrinks_the_weight() -> None:
    adamw = AdamW(learning_rate=0.01, weight_decay=0.5, **CONSTANT)
    assert after_one_step(adamw, 1.0, 3.0) == pytest.approx(1.0 - 0.01 * 0.5 - 0.01, rel=1e-4)


@pytest.mark.parametrize("decay", [None, 0.5])
def test_later_steps_of_adam_follow_the_paper(decay: float | None) -> None:
    settings = {"learning_rate": 0.01, **CONSTANT}
    kind = Adam(**settings) if decay is None else AdamW(weight_decay=decay, **settings)
    weights = np.array([[1.0, -2.0, 0.5], [3.0, 0.0, -1.0]])
    mean, square, expected = np.zeros((2, 3)), np.zeros((2, 3)), weights
    variable, method = keras.Variable(weights), kind.build()
    method.build([variable])
    random = np.random.default_rng(0)
    for t in range(1, 6):  # Kingma & Ba 2015, at the end of section 2; ε beside their √v
        gradient = random.normal(size=(2, 3))
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        rate = 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        expected = expected * (1 - 0.01 * (decay or 0)) - rate * mean / (np.sqrt(square) + 1e-7)
        method.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
    np.testing.assert_allclose(np.asarray(variable.value), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "decay", "reason"),
    [
        ("none", 0.9, "unused"),
        ("exponential", 0.0, "above 0"),
        ("cosine", 1.0, "below 1"),
        ("exponential", 1.5, "at most 1, but is 1.5"),
        ("linear", 0.5, "'none', 'exponential' or 'cosine'"),
    ],
)
def test_a_decay_that_makes_no_sense_is_refused(schedule: str, decay: float, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Adam(learning_rate=0.01, schedule=schedule, learning_rate_decay=decay)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [0, -1, 11, "abc", float("nan"), float("inf")])
def test_a_rate_out_of_range_is_refused(rate: object) -> None:
    with pytest.raises(InputError):
        Adam(learning_rate=rate, **CONSTANT)  # type: ignore[arg-type]


def test_only_the_rate_may_differ_within_one_compiled_program() -> None:
    slow = SGD(learning_rate=0.1, momentum=0.5, **CONSTANT)
    fast = SGD(learning_rate=0.9, momentum=0.5, schedule="cosine", learning_rate_decay=0.0)
    heavy = SGD(learning_rate=0.1, momentum=0.9, **CONSTANT)
    assert slow.constants() == fast.constants()
    assert slow.constants() != heavy.constants()
    assert slow.constants() != Adam(learning_rate=0.1, **CONSTANT).constants()
    decays = [AdamW(learning_rate=0.1, weight_decay=w, **CONSTANT).constants() for w in (0.0, 0.1)]
    assert decays[0] != decays[1]


def test_two_classes_of_one_name_are_two_methods() -> None:
    class Mine(SGD):
        pass

    Mine.__name__ = "SGD"  # as in a module of the user's own
    settings = {"learning_rate": 0.1, "momentum": 0.5, **CONSTANT}
    assert Mine(**settings).constants() != SGD(**settings).constants()


def test_an_optimizer_keeps_as_many_numbers_per_weight_as_it_says() -> None:
    for optimizer in (
        SGD(learning_rate=0.1, momentum=0.0, **CONSTANT),
        SGD(learning_rate=0.1, momentum=0.5, **CONSTANT),
        Adam(learning_rate=0.1, **CONSTANT),
        AdamW(learning_rate=0.1, weight_decay=0.1, **CONSTANT),
    ):
        built, weight = optimizer.build(), keras.Variable(np.ones((3, 5)))
        built.build([weight])
        kept = [each for each in built.variables if each.shape == weight.shape]
        assert len(kept) == optimizer.n_moments
