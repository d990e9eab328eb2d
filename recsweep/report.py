"""What a person sees of a run: progress, the table of metrics, plots and files."""

import csv
import json
import logging
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TextIO

import numpy as np
import pandas as pd
import yaml

from recsweep.evaluation import Evaluation, definitions, objective_of
from recsweep.experiment import Trial


class Progress:
    """A bar over epochs on a terminal, one line per epoch elsewhere.

    Args:
        n_epochs: How many there are at most.
        objective: The metric to show, such as `ndcg@100`.
        stream: Where to write.
    """

    def __init__(self, n_epochs: int, objective: str, stream: TextIO | None = None) -> None:
        self.n_epochs = n_epochs
        self.objective = objective
        self.stream = stream or sys.stderr
        self.best, self.best_epoch = -math.inf, 0
        self._bar: Any = None

    def __enter__(self) -> Self:
        if self.stream.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}:
            self._bar = _bar(self.stream)
            self._task = self._bar.add_task("compiling", total=self.n_epochs)
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Show one epoch."""
        value = metrics[f"valid/{self.objective}"]
        is_best = value > self.best
        if is_best:
            self.best, self.best_epoch = value, epoch + 1
        if self._bar is not None:
            text = f"{self.objective} {value:.4f}  best {self.best:.4f} (epoch {self.best_epoch})"
            self._bar.update(self._task, completed=epoch + 1, description=text)
            return True
        losses = [
            f"{part} loss {metrics[name]:.2f}"
            for part in ("train", "valid")
            if (name := f"{part}/loss") in metrics
        ]
        text = "  ".join([*losses, f"valid {self.objective} {value:.4f} (best {self.best:.4f})"])
        seconds = metrics["time/epoch_s"] + metrics["time/evaluate_s"]
        mark = " *" if is_best else ""
        line = f"epoch {epoch + 1:>3}/{self.n_epochs}  {text}  {seconds:.1f} s{mark}"
        print(line, file=self.stream, flush=True)
        return True


def _bar(stream: TextIO) -> Any:
    """Fits into 80 columns."""
    from rich import progress  # only a terminal needs it
    from rich.console import Console

    return progress.Progress(
        progress.TextColumn("epoch"),
        progress.MofNCompleteColumn(),
        progress.BarColumn(bar_width=10),
        progress.TimeRemainingColumn(),
        progress.TextColumn("left "),
        progress.TextColumn("{task.description}"),
        console=Console(file=stream),
    )


def metric_table(valid: Evaluation, test: Evaluation) -> str:
    """Mean ± standard error over users: two lines a metric, a column a cut-off."""
    lines = [
        table_of_folds({"validation": valid, "test": test}),
        f"mean ± standard error over {len(valid.per_user):,} validation and "
        f"{len(test.per_user):,} test users",
    ]
    left_out = valid.n_without_target + test.n_without_target
    if left_out:
        lines.append(f"{left_out:,} held-out users have nothing to be recommended and are left out")
    return "\n".join(lines)


def table_of_folds(folds: Mapping[str, Evaluation]) -> str:
    """A line per metric and fold, a column per cut-off.

    Args:
        folds: Evaluations with the same metrics, by what the table calls them.
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


def write_results(
    folder: Path,
    config: Mapping[str, Any],
    overrides: Sequence[str],
    trial: Trial,
    test: Evaluation,
) -> None:
    """Write a run's files: configuration, curves, metrics and what they mean.

    Args:
        folder: An existing one.
        config: Resolved.
        overrides: What was given on the command line.
        trial: The fit.
        test: Metrics on test.
    """
    write_yaml(folder / "config.yaml", dict(config))
    write_yaml(folder / "overrides.yaml", list(overrides))
    write_yaml(folder / "metric_definitions.yaml", definitions())
    summary = {
        "best_epoch": trial.best_epoch + 1,
        "train_s": trial.train_s,
        "refit_s": trial.refit_s,
        "valid": _summary(trial.valid),
        "test": _summary(test),
    }
    text = json.dumps(summary, indent=2, allow_nan=False)
    (folder / "metrics.json").write_text(text, encoding="utf-8")
    test.per_user.to_parquet(folder / "test_metrics_per_user.parquet")
    trial.valid.per_user.to_parquet(folder / "valid_metrics_per_user.parquet")
    curves = write_curves(folder, trial)
    if len(curves) > 1:
        objective = objective_of(config) or "ndcg"
        plot_curves(curves, trial.best_epoch + 1, objective, folder / "curves.png")


def write_curves(folder: Path, trial: Trial) -> pd.DataFrame:
    """Write `curves.csv`, a row per epoch (from 1) and a column per curve, and give it back."""
    curves = pd.DataFrame([dict(epoch) for epoch in trial.curves])
    curves.index = pd.RangeIndex(1, len(curves) + 1, name="epoch")
    curves.to_csv(folder / "curves.csv")
    return curves


def read_curves(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """What `write_curves` wrote: epoch (from 1) and values by name."""
    with (folder / "curves.csv").open(encoding="utf-8", newline="") as file:
        return [
            (int(row.pop("epoch")), {name: float(text or "nan") for name, text in row.items()})
            for row in csv.DictReader(file)
        ]


def final_metrics(results: Path) -> tuple[dict[str, float], int]:
    """What a run logs at its end, and the epoch that it belongs to.

    Args:
        results: The folder that `write_results` wrote.
    """
    told = json.loads((results / "metrics.json").read_text(encoding="utf-8"))
    valid, test = told["valid"], told["test"]
    metrics = {
        **{f"valid_best/{name}": value for name, value in valid["mean"].items()},
        **{f"test/{name}": value for name, value in test["mean"].items()},
        **{f"test_se/{name}": value for name, value in test["standard_error"].items()},
        "best_epoch": told["best_epoch"],
        "time/train_s": told["train_s"],
        **({"time/refit_s": told["refit_s"]} if told["refit_s"] is not None else {}),
    }
    numbers = {name: math.nan if value is None else value for name, value in metrics.items()}
    return numbers, told["best_epoch"]


def _summary(evaluation: Evaluation) -> dict[str, Any]:
    """For JSON, which has no NaN: the standard error of a single user is null."""
    errors = evaluation.standard_errors.items()
    return {
        "mean": evaluation.means,
        "standard_error": {name: e if math.isfinite(e) else None for name, e in errors},
        "n_users": len(evaluation.per_user),
        "n_without_target": evaluation.n_without_target,
    }


def write_yaml(file: Path, content: Any) -> None:
    """Write mappings and lists, in their order."""
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    file.write_text(text, encoding="utf-8")


def plot_curves(curves: pd.DataFrame, best_epoch: int, objective: str, file: Path) -> None:
    """Loss parts and the objective's metric on validation by epoch.

    Args:
        curves: A column per curve, such as `train/loss`; index: epoch, from 1.
        best_epoch: Marked by a line.
        objective: What chose it, such as `ndcg@100`; its metric is shown at every cut-off.
        file: PNG to write.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it remarks on its font cache
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
