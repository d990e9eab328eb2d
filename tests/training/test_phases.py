"""The phases of an epoch: who trains what, with which steps, and what is averaged."""

from typing import Any

import keras
import numpy as np
import pytest

from recsweep.training.phases import EpochPlan, Phase


class Network(keras.Model):
    """Two layers, trained in turns or together."""

    def __init__(self, phases: tuple[Phase, ...] = ()) -> None:
        super().__init__()
        self.a, self.b = (keras.layers.Dense(2, name=name) for name in "ab")
        for layer in (self.a, self.b):
            layer.build((None, 2))
        if phases:
            self.phases = phases


def plan(*phases: Phase) -> EpochPlan:
    return EpochPlan(Network(phases), lambda: keras.optimizers.SGD(momentum=0.5))


IN_TURNS = (Phase(3, trains=("a/",)), Phase(trains=("b/",), without=("noise",)))


def test_a_network_without_phases_trains_everything_in_one_pass() -> None:
    found = plan()
    assert found.n_passes == 1
    ((stage, steps),) = found.cut(np.arange(5))
    assert stage.trained == (0, 1, 2, 3)
    assert stage.state == slice(0, len(found.variables))
    assert steps.tolist() == [0, 1, 2, 3, 4]


def test_each_stage_has_its_weights_its_optimizer_and_its_steps() -> None:
    found = plan(*IN_TURNS)
    assert found.n_passes == 4
    (first, its), (second, others) = found.cut({"step": np.arange(8)})
    assert (its["step"].tolist(), others["step"].tolist()) == ([0, 1, 2, 3, 4, 5], [6, 7])
    assert (first.trained, second.trained) == ((0, 1), (2, 3))
    assert first.optimizer is not second.optimizer
    assert [len(found.variables[stage.state]) for stage in (first, second)] == [4, 4]
    assert first.state.stop == second.state.start


@pytest.mark.parametrize("which", [0, 1])
def test_trained_weights_and_the_others_are_the_weights_again(which: int) -> None:
    stage = plan(*IN_TURNS).stages[which]
    weights = ["a kernel", "a bias", "b kernel", "b bias"]
    assert stage.of(weights) == weights[2 * which : 2 * which + 2]
    assert stage.join(stage.of(weights), stage.rest_of(weights)) == weights
    assert stage.join(["x", "y"], ["1", "2"])[2 * which] == "x"


def test_parts_of_another_number_of_weights_or_stages_are_refused() -> None:
    """Otherwise other weights would take their places, and a mean would leave a stage out."""
    found = plan(*IN_TURNS)
    with pytest.raises(ValueError, match="shorter"):
        found.stages[0].join(["a kernel"], ["b kernel", "b bias", "c bias"])
    with pytest.raises(ValueError, match="longer"):
        found.means([{"loss": np.float32([1, 2, 3])}], np.array([2, 1, 1, 4]))


def test_inputs_are_left_out_and_old_is_what_earlier_weights_make_of_the_batch() -> None:
    network: Any = Network(IN_TURNS)
    network.old = network.b
    first, second = EpochPlan(network, keras.optimizers.SGD).stages
    weights = [np.full(v.shape, i, np.float32) for i, v in enumerate(network.trainable_variables)]
    assert len(first.weights_before(network, weights)) == 4
    batch = np.ones((1, 2), np.float32)
    found = first.inputs(network, weights, batch, {"noise": 1, "rate": 2})
    assert np.asarray(found.pop("old")).tolist() == [[7, 7]]  # 1·2 + 1·2 + 3
    assert found == {"noise": 1, "rate": 2}
    assert second.inputs(network, [], batch, {"noise": 1, "rate": 2}) == {"rate": 2}


def test_earlier_weights_are_kept_only_for_a_loss_that_is_given_old() -> None:
    network: Any = Network((Phase(), Phase(without=("old",))))
    plain = EpochPlan(network, keras.optimizers.SGD)
    assert plain.stages[0].weights_before(network, ["w"]) == []
    network.old = lambda batch: batch
    first, second = plain.stages
    assert first.weights_before(network, ["w"]) == ["w"]
    assert second.weights_before(network, ["w"]) == []


def test_a_part_is_averaged_over_the_users_of_the_steps_that_have_it() -> None:
    parts = [
        {"loss": np.float32([1, 2, 3]), "kl": np.float32([4, 5, 6])},
        {"loss": np.float32([7])},
    ]
    found = plan(*IN_TURNS).means(parts, np.array([2, 1, 1, 4]))
    assert found["loss"] == pytest.approx((2 + 2 + 3 + 28) / 8)
    assert found["kl"] == pytest.approx((8 + 5 + 6) / 4)
