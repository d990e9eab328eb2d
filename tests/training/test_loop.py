"""The epoch loop: what is told to whom, and when it stops."""

from collections.abc import Mapping

import contracts
import numpy as np
import pytest

from recsweep.build import build
from recsweep.errors import TrainingDivergedError
from recsweep.seeds import Seeds


def epochs_of(optimizer: dict[str, object], **changes: object) -> list[Mapping[str, float]]:
    spec = contracts.small_spec("multivae", n_epochs=3, **changes)
    spec["optimizer"] = {**spec["optimizer"], **optimizer}
    told: list[Mapping[str, float]] = []
    model = build(spec, "model")
    model.fit(
        contracts.planted_split().train,
        lambda _epoch, losses: told.append(losses) or True,  # type: ignore[func-returns-value]
        Seeds(1),
    )
    return told


def test_an_epoch_reports_losses_beta_and_rate() -> None:
    told = epochs_of({"learning_rate": 0.01, "learning_rate_decay": 0.5}, beta_warmup_steps=22)
    assert set(told[0]) == {"loss", "reconstruction", "kl", "l2", "beta", "learning_rate"}
    # 220 users in batches of 20 are 11 steps: the last step of epoch 1 is step 10, of 2 step 21
    assert [e["beta"] for e in told] == pytest.approx([0.2 * 10 / 22, 0.2 * 21 / 22, 0.2], rel=1e-6)
    rates = [0.01 * 0.5 ** (epoch + 10 / 11) for epoch in range(3)]
    assert [e["learning_rate"] for e in told] == pytest.approx(rates, rel=1e-6)


def test_the_loss_is_the_sum_of_its_parts() -> None:
    for epoch in epochs_of({}, l2=0.001, beta_warmup_steps=0):
        parts = epoch["reconstruction"] + 0.2 * epoch["kl"] + epoch["l2"]
        assert epoch["loss"] == pytest.approx(parts, rel=1e-5)  # float32


def test_a_loss_that_is_no_number_stops_the_training_in_one_line() -> None:
    with pytest.raises(TrainingDivergedError, match="learning_rate") as error:
        epochs_of({"_target_": "recsweep.training.optimizers.SGD", "momentum": 0.0,
                   "learning_rate": 10.0}, l2=10.0)  # fmt: skip
    assert "\n" not in str(error.value)


def test_the_loss_falls() -> None:
    losses = [epoch["loss"] for epoch in epochs_of({"learning_rate": 0.01})]
    assert np.all(np.diff(losses) < 0)
