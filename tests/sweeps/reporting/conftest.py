"""A study that tables and files show."""

from pathlib import Path

import optuna
import pytest
from studies import COMPLETE, FAIL, PRUNED, add, make_study


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    """Four trials: the default is second best, one was pruned, one failed."""
    made = make_study(tmp_path / "vae", n_trials=5)
    add(made, COMPLETE, [0.4], is_default=True, best_epoch=12, train_s=30.0, wall_s=34.0,
        metrics={"ndcg@100": 0.4, "recall@20": 0.5})  # fmt: skip
    add(made, PRUNED, [0.3], beta=0.7, best_epoch=3, n_epochs=4, wall_s=10.0, reason="pruned, β",
        reported={1: 0.3125, 2: 0.34, 3: 0.375, 4: 0.3},
        metrics={"ndcg@100": 0.375, "recall@20": 0.25})  # fmt: skip
    add(made, COMPLETE, [0.41234], beta=0.31456789, best_epoch=31, train_s=90.0, wall_s=94.0,
        metrics={"ndcg@100": 0.41234, "recall@20": 0.6})  # fmt: skip
    add(made, FAIL, beta=0.9, reason="the loss is no longer finite", wall_s=2.0)
    return made
