"""Plots of a sweep as PNG: Optuna draws with pyplot, whose state is restored."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import ConciseDateFormatter
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from optuna.study import StudyDirection
from optuna.visualization import matplotlib as optuna_draws

from recsweep.sweeps.reporting.importance import Known
from recsweep.sweeps.reporting.plot_data import COLORS, LegibleStudy, label, worker

DPI = 110
INCHES = (8.0, 4.8)
OVERVIEW_INCHES = (5.8, 2.1)  # some 640 pixels, the width of a note
MAX_NUMBERED = 60
"""Maximum number of bars labelled with their trial number."""


@contextmanager
def off_screen() -> Iterator[None]:
    """Draw without a window; pyplot's style and figures are restored after the block."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # no messages about its font cache
    backend, figures = plt.get_backend(), set(plt.get_fignums())
    plt.switch_backend("agg")
    try:
        with plt.style.context("default"):
            yield
    finally:
        for number in set(plt.get_fignums()) - figures:
            plt.close(number)
        plt.switch_backend(backend)


def png(axes: Any) -> bytes:
    """The PNG of the figure with these axes."""
    stream = BytesIO()
    np.ravel(axes)[0].figure.savefig(stream, format="png", dpi=DPI, bbox_inches="tight")
    return stream.getvalue()


def overview(shown: LegibleStudy) -> Axes:
    """History and importance side by side, small enough for the page of a run in MLflow."""
    plt.style.use("ggplot")  # as Optuna does
    shares = shown.importances
    _, panels = plt.subplots(
        1, 1 + bool(shares), figsize=OVERVIEW_INCHES, layout="constrained", squeeze=False
    )
    left, *right = panels[0]
    numbers = [row.number for row in shown.status.rows if row.state == "complete"]
    is_loss = shown.study.direction == StudyDirection.MINIMIZE
    best = (np.minimum if is_loss else np.maximum).accumulate(shown.values)
    left.scatter(numbers, shown.values, s=14, color=COLORS["complete"])
    left.step(numbers, best, where="post", color=COLORS["best"])
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set(xlabel="trial", ylabel=shown.label)
    for axes in right:
        axes.barh(list(shares)[::-1], list(shares.values())[::-1], color=COLORS["complete"])
        axes.set(xlabel="importance (share of the variance)")
    for axes in panels[0]:
        axes.tick_params(labelsize="small")
        axes.xaxis.label.set_size("small")
        axes.yaxis.label.set_size("small")
    return left


def history(shown: LegibleStudy) -> Axes:
    """The objective by trial, and the best so far."""
    axes = optuna_draws.plot_optimization_history(shown.study, target_name=shown.label)
    for line in axes.get_lines():
        line.set(drawstyle="steps-post", alpha=1.0)
    axes.legend(axes.get_legend_handles_labels()[0], ("complete trial", "best so far"))
    return _finished(axes, xlabel="trial")


def importance(shown: LegibleStudy) -> Axes:
    """A bar per hyperparameter."""
    axes: Any = optuna_draws.plot_param_importances(
        shown.study, Known(shown.importances), target_name=shown.label
    )
    axes.get_legend().remove()
    axes.set_title("", loc="left")
    return _finished(axes, xlabel="share of the explained variance", ylabel="")


def slices(shown: LegibleStudy) -> Axes | np.ndarray:
    """The objective by each hyperparameter."""
    panels: Any = optuna_draws.plot_slice(shown.study, target_name=shown.label)
    for axes in np.ravel(panels):
        axes.tick_params(labelsize="small")
        axes.set_title("")
    axes.figure.suptitle("")
    return panels


def parallel(shown: LegibleStudy) -> Axes:
    """A line per complete trial, through all hyperparameters."""
    axes: Any = optuna_draws.plot_parallel_coordinate(shown.study, target_name=shown.label)
    axes.figure.set_size_inches(2.0 * (len(shown.params) + 2), INCHES[1])
    return _finished(axes)


def curves(shown: LegibleStudy) -> Axes:
    """Validation by epoch for every trial; a pruned one ends with a cross."""
    axes, drawn = optuna_draws.plot_intermediate_values(shown.study), set()
    for line in axes.get_lines():
        kind = shown.kind(int(str(line.get_label()).removeprefix("Trial")))
        drawn.add(kind)
        is_best = kind == "best"
        line.set(color=COLORS[kind], alpha=1.0 if is_best else 0.6, zorder=3 if is_best else 2,
                 linewidth=2.2 if is_best else 1.0, marker="x" if kind == "pruned" else "",
                 markevery=[-1])  # fmt: skip
    legend = [Patch(color=COLORS[kind], label=kind) for kind in COLORS if kind in drawn]
    return _finished(axes, xlabel="epoch", ylabel=shown.label, legend=legend)


def workers(shown: LegibleStudy) -> Axes:
    """A bar from the start to the end of each trial, in the row of its worker."""
    axes: Any = optuna_draws.plot_timeline(shown.study)
    places, rows = shown.workers, shown.status.rows
    for bar, row in zip(axes.patches, rows, strict=True):
        bar.set(y=places[worker(row)] - bar.get_height() / 2, edgecolor="white")
    if len(rows) <= MAX_NUMBERED:
        axes.bar_label(axes.containers[0], [str(row.number) for row in rows],
                       label_type="center", fontsize=8, color="white")  # fmt: skip
    axes.set_yticks(list(places.values()), list(places))
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
    axes.tick_params(axis="x", rotation=0)
    axes.figure.set_size_inches(INCHES[0], max(2.0, 1.2 + 0.5 * len(places)))
    states = {shown.state(row.number) for row in rows}
    legend = [Patch(color=COLORS[state], label=state) for state in COLORS if state in states]
    return _finished(axes, xlabel="time", ylabel="", legend=legend)


def speed(shown: LegibleStudy) -> Axes:
    """Training time against the objective; pruned trials are hollow."""
    plt.style.use("ggplot")  # as Optuna does
    _, axes = plt.subplots()
    for kind, color in COLORS.items():
        if points := shown.speeds(kind):
            seconds, values, _ = zip(*points, strict=True)
            axes.scatter(seconds, values, edgecolors=color, label=kind,
                         facecolors="none" if kind == "pruned" else color)  # fmt: skip
    axes.legend()
    return _finished(axes, xlabel=label("train_s"), ylabel=shown.label)


def pareto(shown: LegibleStudy) -> Axes:
    """The Pareto front and the other trials."""
    names = [label(name) for name in shown.objectives]
    return _finished(optuna_draws.plot_pareto_front(shown.study, target_names=names))


def _finished(axes: Axes, legend: list[Patch] | None = None, **names: str) -> Axes:
    axes.set(title="", **names)
    if legend:
        axes.legend(handles=legend, bbox_to_anchor=(1.01, 1.0), loc="upper left")
    return axes
