"""Progress of a fit: a bar over epochs on a terminal, a line per epoch elsewhere."""

import math
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self, TextIO

from recsweep.messages import print_to

if TYPE_CHECKING:
    from rich import progress


class Progress:
    """A bar over epochs on a terminal, one line per epoch elsewhere.

    Args:
        n_epochs: Maximum number of epochs.
        objective: The metric to show, such as `ndcg@100`.
        stream: The output stream.
    """

    def __init__(self, n_epochs: int, objective: str, stream: TextIO | None = None) -> None:
        self.n_epochs = n_epochs
        self.objective = objective
        self.stream = stream or sys.stderr
        self.best, self.best_epoch = -math.inf, 0
        self._bar: progress.Progress | None = None

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
        seconds = metrics["epoch_s"] + metrics["evaluate_s"]
        mark = " *" if is_best else ""
        line = f"epoch {epoch + 1:>3}/{self.n_epochs}  {text}  {seconds:.1f} s{mark}"
        print_to(self.stream, line)
        return True


def _bar(stream: TextIO) -> "progress.Progress":
    """A progress bar that fits into 80 columns."""
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
