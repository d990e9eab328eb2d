"""One epoch of all slots, and what goes in and out of a slot."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recsweep.models.multivae import MultiVAENetwork
from recsweep.seeds import Seeds
from recsweep.training.backend import Values, jax_gradients
from recsweep.training.batches import DenseBatch
from recsweep.training.slot_programs import (
    Trainings,
    _gradients,
    empty_trainings,
    place_of,
    take_of,
)

HYPER = {"beta": 0.3, "l2": 0.05, "dropout_rate": 0.4, "decoder_dropout_rate": 0.2}


def values(scale: float) -> Values:
    return Values(
        [scale * jnp.ones((2, 3))], [jnp.uint32([7, 0])], [jnp.full((), 3.0), jnp.ones(2)]
    )


def test_a_new_training_fills_one_slot_and_leaves_the_others() -> None:
    trainings = empty_trainings(values(1.0), 3)
    trainings = place_of()(trainings, np.int32(1), values(5.0))
    for arrays in (trainings.values.trainable, trainings.kept):
        assert np.asarray(arrays[0]).max(axis=(1, 2)).tolist() == [0, 5, 0]
    assert np.asarray(trainings.values.other[0]).tolist() == [[0, 0], [7, 0], [0, 0]]
    assert np.asarray(trainings.values.optimizer[0]).tolist() == [0, 3, 0]
    assert np.asarray(trainings.values.optimizer[1]).tolist() == [[0, 0], [1, 1], [0, 0]]
    assert isinstance(trainings, Trainings)
    taken = take_of()(trainings.kept, np.int32(1))
    assert np.asarray(taken[0]).tolist() == [[5, 5, 5], [5, 5, 5]]


class Halved(MultiVAENetwork):
    """A network of another kind: its part l2 is not what its loss has of the penalty."""

    adds_l2 = False

    def call(self, batch: Any, hyper: Any, *, training: bool = False) -> dict[str, Any]:
        parts = super().call(batch, {**hyper, "l2": hyper["l2"] / 2}, training=training)
        return {**parts, "l2": parts["l2"] / hyper["l2"]}


@pytest.mark.extended
@pytest.mark.parametrize("kind", [MultiVAENetwork, Halved])
def test_the_penaltys_gradients_apart_are_those_of_the_whole_loss(
    kind: type[MultiVAENetwork],
) -> None:
    network = kind(9, (5,), 2, Seeds(0))
    own = Values(
        [jnp.asarray(v) for v in network.trainable_variables],
        [jnp.asarray(v) for v in network.non_trainable_variables],
        [],
    )
    clicks = np.random.default_rng(0).random((4, 9)) < 0.5
    batch = DenseBatch(jnp.asarray(clicks, jnp.float32), jnp.ones(4))
    parts, other, gradients = jax.jit(lambda v: _gradients(network, v, batch, HYPER))(own)
    whole, other_too, expected = jax_gradients(network, own, batch, HYPER)
    assert parts.keys() == whole.keys()
    for name, value in whole.items():
        assert float(parts[name]) == pytest.approx(float(value), rel=1e-5)
    assert float(parts["l2"]) > 0
    for found, gradient in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(found, gradient, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(other[0], other_too[0])
