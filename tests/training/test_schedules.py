"""Learning rates and warm-ups, against arithmetic on the page."""

import numpy as np
import pytest

from recsweep.training.schedules import learning_rates, linear_warmup


def test_without_a_schedule_the_rate_stays() -> None:
    rates = learning_rates("none", 0.1, 1.0, np.array([0.0, 5.0, 9.5]), 10)
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.1], rtol=1e-7)


def test_exponential_decay_multiplies_once_per_epoch() -> None:
    rates = learning_rates("exponential", 0.05, 0.99, np.array([0.0, 1.0, 2.0, 2.5]), 100)
    expected = [0.05, 0.05 * 0.99, 0.05 * 0.99**2, 0.05 * 0.99**2.5]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)  # float32


def test_cosine_decay_ends_at_its_share() -> None:
    rates = learning_rates("cosine", 1.0, 0.2, np.array([0.0, 5.0, 10.0]), 10)
    np.testing.assert_allclose(rates, [1.0, 0.2 + 0.8 / 2, 0.2], rtol=1e-6)


def test_rates_are_the_float32_that_the_compiled_epoch_takes() -> None:
    assert learning_rates("cosine", 1.0, 0.0, np.array([0.0]), 10).dtype == np.float32
    assert linear_warmup(0.2, 10, np.array([0.0])).dtype == np.float32


def test_warm_up_rises_linearly_and_stays() -> None:
    beta = linear_warmup(0.2, 4, np.array([0.0, 1.0, 2.0, 4.0, 400.0]))
    np.testing.assert_allclose(beta, [0.0, 0.05, 0.1, 0.2, 0.2], rtol=1e-6)


@pytest.mark.parametrize("step", [0.0, 7.0])
def test_no_warm_up_means_the_cap_from_the_first_step_on(step: float) -> None:
    np.testing.assert_allclose(linear_warmup(0.1, 0, np.array([step])), [0.1], rtol=1e-6)
