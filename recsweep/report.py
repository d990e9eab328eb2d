"""Display of a finished run: the table of metrics and the plot of its curves."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from recsweep.evaluation import Evaluation


def metric_table(valid: Evaluation, test: Evaluation) -> str:
    """Mean ± standard error over users: two lines per metric, a column per cut-off."""
    lines = [
        table_of_folds({"validation": valid, "test": test}),
        f"mean ± standard error over {len(valid.per_user):,} validation and "
        f"{len(test.per_user):,} test users",
    ]
    left_out = valid.n_without_target + test.n_without_target
    if left_out:
        users = "user without a target is" if left_out == 1 else "users without targets are"
        lines.append(f"{left_out:,} held-out {users} left out")
    return "\n".join(lines)


def table_of_folds(folds: Mapping[str, Evaluation]) -> str:
    """A line per metric and fold, a column per cut-off.

    Args:
        folds: Evaluations with the same metrics, by their names in the table.
    """
    names = [name.split("@") for name in next(iter(folds.values())).means]
    cutoffs = sorted({k for _, k in names}, key=int)
    lines = [f"{'':<16} {'':<10}" + "".join(f"{'@' + k:^17}" for k in cutoffs)]
    lines.append("─" * len(lines[0]))
    for metric in dict.fromkeys(metric for metric, _ in names):
        for place, (part, evaluation) in enumerate(folds.items()):
            label = "" if place else metric
            cells = "".join(f"{_cell(evaluation, f'{metric}@{k}'):<17}" for k in cutoffs)
            lines.append(f"{label:<16} {part:<10} {cells}".rstrip())
    return "\n".join(lines)


def _cell(evaluation: Evaluation, name: str) -> str:
    error = evaluation.standard_errors.get(name, np.nan)
    return f"{evaluation.means[name]:.4f}" + (f" ± {error:.4f}" if np.isfinite(error) else "")


def plot_curves(curves: pd.DataFrame, best_epoch: int, objective: str, file: Path) -> None:
    """Loss parts and the objective's metric on validation by epoch.

    Args:
        curves: A column per curve, such as `train/loss`; index: epoch, from 1.
        best_epoch: The epoch to mark with a line.
        objective: The objective, such as `ndcg@100`; its metric is shown at every cut-off.
        file: PNG to write.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns about its font cache
    from matplotlib.figure import Figure  # slow to import, and only a finished run needs it

    parts = ("loss", "reconstruction", "kl")
    panels = {
        part: [c for c in (f"train/{part}", f"valid/{part}") if c in curves] for part in parts
    }
    names = [str(column) for column in curves]
    metric = objective.partition("@")[0]
    ranking = [c for c in names if c.startswith(f"valid/{metric}@")] or [
        c for c in names if c.startswith("valid/") and "@" in c
    ]
    panels = {name: columns for name, columns in [*panels.items(), ("ranking", ranking)] if columns}
    figure = Figure(figsize=(4.2 * len(panels), 3.4), layout="constrained")
    for axes, (name, columns) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for column in columns:
            axes.plot(curves.index, curves[column], label=column)
        axes.axvline(best_epoch, color="0.6", linestyle=":", label=f"best epoch ({best_epoch})")
        axes.set(title=name, xlabel="epoch")
        axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=120)
