"""Layers, noise and loss parts against arithmetic on the page."""

import numpy as np
import pytest
import scipy.sparse as sp

from recsweep.seeds import Seeds
from recsweep.training.batches import Batch, DenseBatch, in_order
from recsweep.training.layers import (
    Noise,
    dense,
    first_columns,
    first_layer,
    l2_penalty,
    mean_per_user,
    multinomial_loss,
    tanh_layers,
    unit_rows,
)


@pytest.fixture
def batch() -> Batch:
    """[[3, 0, 4], [0, 2, 0]] in a batch of three rows."""
    matrix = sp.csr_matrix(np.float32([[3, 0, 4], [0, 2, 0]]))
    return Batch(*(part[0] for part in in_order(sp.csr_matrix(matrix), 3)))


def test_rows_are_scaled_to_length_one(batch: Batch) -> None:
    np.testing.assert_allclose(np.asarray(unit_rows(batch))[:4], [0.6, 0.8, 1, 0], rtol=1e-6)


@pytest.mark.parametrize("scale", [1e15, 1e-6, 1e-14])
def test_rows_of_large_and_of_small_values_are_scaled_to_length_one(scale: float) -> None:
    matrix = sp.csr_matrix(np.float32([[3, 0, 4], [0, 2, 0]]) * np.float32(scale))
    batch = Batch(*(part[0] for part in in_order(matrix, 3)))
    np.testing.assert_allclose(np.asarray(unit_rows(batch))[:4], [0.6, 0.8, 1, 0], rtol=1e-6)


def test_the_multinomial_loss_counts_each_click(batch: Batch) -> None:
    logits = np.log(np.float32([[1, 1, 2], [1, 6, 1], [5, 5, 5]]))
    expected = [-3 * np.log(1 / 4) - 4 * np.log(2 / 4), -2 * np.log(6 / 8), 0]
    losses = np.asarray(multinomial_loss(batch, logits))
    np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-6)


def test_rows_that_fill_up_a_batch_do_not_count_in_the_mean(batch: Batch) -> None:
    assert float(mean_per_user(batch, np.float32([1, 2, 90]))) == pytest.approx(1.5)


def test_the_penalty_leaves_biases_alone() -> None:
    layer = dense(2, 2, "penalised", Seeds(0))
    layer.kernel.assign(np.float32([[1, 2], [3, 4]]))
    layer.bias.assign(np.float32([100, 100]))
    assert float(l2_penalty({"l2": 0.5}, layer.trainable_variables)) == pytest.approx(0.5 * 30)
    assert float(l2_penalty({}, layer.trainable_variables)) == 0


def test_dropout_keeps_the_mean_and_drops_its_share() -> None:
    dropped = np.asarray(Noise(3).dropout(np.ones(100_000, np.float32), 0.3))
    # standard deviations: of the share sqrt(.3·.7/1e5) = .0014; of the mean sqrt(.3/.7/1e5) = .0021
    assert (dropped == 0).mean() == pytest.approx(0.3, abs=0.006)
    assert dropped.mean() == pytest.approx(1.0, abs=0.009)


def test_a_rate_of_0_drops_nothing_whatever_is_drawn() -> None:
    noise = Noise(3)
    noise.uniform_like = np.zeros_like  # the least draw, one of 2²³ that are as likely
    assert np.asarray(noise.dropout(np.ones(4, np.float32), 0.0)).tolist() == [1, 1, 1, 1]


def test_noise_differs_from_step_to_step_and_from_seed_to_seed() -> None:
    draws = []
    for seed in (1, 1, 2):
        noise = Noise(seed)
        draws += [np.asarray(noise.normal_like(np.zeros(4, np.float32))) for _ in range(2)]
    np.testing.assert_array_equal(draws[0], draws[2])
    assert not np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[4])


def test_more_columns_leave_the_first_ones_noise_as_it_is() -> None:
    batch = DenseBatch(np.zeros((3, 7), np.float32), np.ones(3, np.float32))
    narrow, wide = (
        np.asarray(Noise(1).normal_like(np.zeros((3, width), np.float32), batch))
        for width in (2, 6)
    )
    np.testing.assert_array_equal(wide[:, :2], narrow)
    assert len(np.unique(wide)) == wide.size


def test_only_the_first_columns_stay() -> None:
    x = np.ones((2, 4), np.float32)
    assert np.asarray(first_columns(x, np.float32(3))).tolist() == 2 * [[1, 1, 1, 0]]
    assert first_columns(x, None) is x


def test_layers_are_numbered_and_lie_between_neighbouring_widths() -> None:
    layers = tanh_layers((7, 5, 3), "encoder", Seeds(0), start=1)
    assert [layer.name for layer in layers] == ["encoder_1", "encoder_2"]
    assert [tuple(layer.kernel.shape) for layer in layers] == [(7, 5), (5, 3)]
    x = np.full((1, 7), 50, np.float32)
    assert np.abs(np.asarray(layers[0](x))).max() <= 1


def test_initial_weights_are_glorot_and_biases_nearly_zero() -> None:
    layer = first_layer(900, 600, Seeds(0))
    kernel, bias = np.asarray(layer.kernel.value), np.asarray(layer.bias.value)
    bound = np.sqrt(6 / (900 + 600))
    assert np.abs(kernel).max() <= bound
    assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.01)  # uniform on ±bound
    assert 0 < np.abs(bias).max() <= 0.002 + 1e-6  # truncated at two standard deviations
