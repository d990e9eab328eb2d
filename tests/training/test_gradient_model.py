"""What gradient-trained recommenders share: inputs of the loss, and weights in and out."""

import numpy as np
import pytest
import scipy.sparse as sp
from contracts import small_spec

from recsweep.build import build
from recsweep.seeds import Seeds


def clicks() -> sp.csr_matrix:
    dense = np.random.default_rng(8).random((30, 12)) < 0.4
    return sp.csr_matrix(dense.astype(np.float32))


def fitted(name: str, **changes: object) -> object:
    model = build(small_spec(name, n_epochs=2, **changes), "model")
    model.fit(clicks(), lambda _epoch, _losses: True, Seeds(1))
    return model


@pytest.mark.extended
@pytest.mark.parametrize("name", ["multivae", "multidae", "shallow_ae", "elsa"])
def test_a_model_that_was_never_fitted_takes_over_weights_and_loss(name: str) -> None:
    model = fitted(name)
    restored = build(small_spec(name), "model")
    restored.restore(model.state())  # type: ignore[attr-defined]
    assert restored.loss(clicks()) == model.loss(clicks())  # type: ignore[attr-defined]


def test_the_loss_is_taken_with_the_inputs_of_the_last_step() -> None:
    def kl_weight(warmup_steps: int) -> float:
        parts = fitted("multivae", beta_warmup_steps=warmup_steps, l2=0.0).loss(clicks())  # type: ignore[attr-defined]
        return float((parts["loss"] - parts["reconstruction"]) / parts["kl"])

    assert kl_weight(0) == pytest.approx(0.2, rel=1e-3)
    # 2 epochs of ceil(30 / 20) steps: the last of the 4 steps is step 3
    assert kl_weight(30) == pytest.approx(0.2 * 3 / 30, rel=1e-3)
