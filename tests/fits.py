"""What a fit and an evaluation leave, with values that are on the page."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from metric_names import OF_CATALOG, PER_USER, definitions

from recsweep.evaluation import Evaluation
from recsweep.fitting import FitResult

CUTOFFS = (10, 20, 50, 100)
CURVES: list[Mapping[str, float]] = [
    {
        "train/loss": 430.98, "train/kl": 0.5, "valid/loss": 418.7, "valid/ndcg@100": value,
        "epoch_s": 1.25, "evaluate_s": 0.5,
    }
    for value in (0.25, 0.5, 0.4)
]  # fmt: skip


def evaluation(n_users: int = 3, n_without_target: int = 0) -> Evaluation:
    """Every metric at every cut-off."""
    names = [f"{metric}@{k}" for metric in PER_USER for k in CUTOFFS]
    values = np.linspace(0, 1, n_users * len(names)).reshape(n_users, len(names))
    index = pd.Index([f"user {u}" for u in range(n_users)], name="user")
    of_catalog = {f"{metric}@{k}": 0.125 for metric in OF_CATALOG for k in CUTOFFS}
    table = pd.DataFrame(values, index, names)
    return Evaluation(table, of_catalog, n_without_target, definitions())


def fit_result() -> FitResult:
    return FitResult(best_epoch=1, valid=evaluation(), curves=CURVES, train_s=3.5)
