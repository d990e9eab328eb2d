"""Progress display while workers run: two live lines on a terminal, else a line per trial."""

import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from textwrap import shorten
from typing import TYPE_CHECKING, Self, TextIO

from recsweep.messages import escape_controls, print_to
from recsweep.sweeps.study.status import (
    FINISHED,
    StudyStatus,
    TrialRow,
    format_duration,
    format_value,
)
from recsweep.tracking import trial_name

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

log = logging.getLogger(__name__)
LAST_LOOK_S = 10.0
"""How long the end of a sweep waits for an unresponsive storage."""


class SweepProgress:
    """Polls a study from a background thread and prints what is new.

    A failed poll changes nothing: the storage may be back at the next one.

    Args:
        look: Reads the study's status.
        stream: Where to write; None = stderr.
        every_s: Seconds between two polls.
        is_interrupted: Whether the sweep was asked to stop, which says more at its end.
    """

    def __init__(
        self,
        look: Callable[[], StudyStatus],
        stream: TextIO | None = None,
        every_s: float = 1.0,
        is_interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        self.status: StudyStatus | None = None
        self._look = look
        self._stream = stream or sys.stderr
        self._every_s = every_s
        self._is_interrupted = is_interrupted
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._look_once()  # trials that finished earlier are not news
        if self._stream.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}:
            self._live = _live(self._stream)
            self._live.start()
        elif self.status and self.status.n_finished < self.status.n_trials:
            done = status_parts(self.status)[0]
            self._print(f"{done}; starting workers: the first trial of each imports and compiles")
        self._show(None)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Poll once more and leave the final status as the last line, unless interrupted."""
        self._is_over.set()
        try:
            self._thread.join(LAST_LOOK_S)
        finally:
            if self._live is not None:
                self._live.transient = self._is_interrupted()  # erases both lines
                self._live.stop()  # shows the cursor again
        if self._live is None and self.status is not None and not self._is_interrupted():
            self._print(" · ".join([*status_parts(self.status), best_line(self.status)]))

    def _watch(self) -> None:
        """Poll until the end was signalled, and once more after it."""
        is_last = False
        while not is_last:
            is_last = self._is_over.wait(self._every_s)
            before = self.status
            if self._look_once():
                self._show(before)

    def _look_once(self) -> bool:
        try:
            self.status = self._look()
        except Exception as error:  # noqa: BLE001 - whatever a storage may raise
            log.debug("the study could not be read: %s", error)
            return False
        return True

    def _show(self, before: StudyStatus | None) -> None:
        now = self.status
        if now is None:
            return
        if self._live is not None:
            with suppress(OSError):  # a terminal that was closed
                self._live.update(_two_lines(now), refresh=True)
            return
        known = {row.number for row in (before or now).rows if row.state in FINISHED}
        told = [row for row in now.rows if row.number in known]
        for row in (row for row in now.rows if row.state in FINISHED and row.number not in known):
            told.append(row)
            self._print(trial_line(now, told))

    def _print(self, line: str) -> None:
        with suppress(OSError):  # the stream is no longer read
            print_to(self._stream, line)


def _live(stream: TextIO) -> "Live":
    from rich.console import Console  # only a terminal needs it
    from rich.live import Live

    return Live(console=Console(file=stream), auto_refresh=False)


def _two_lines(status: StudyStatus) -> "Group":
    """`7 of 30 done ━━━━ 2 running · …` over `best ndcg@100 …`, cut to the terminal's width."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    done, *others = status_parts(status)
    bar = ProgressBar(max(status.n_trials, 1), status.n_finished)
    line = Table.grid(padding=(0, 1), expand=True)
    for ratio in (None, 1, None):  # the bar takes what the words leave
        line.add_column(ratio=ratio, no_wrap=True)
    line.add_row(done, bar, " · ".join(others))
    return Group(line, Text(escape_controls(best_line(status)), no_wrap=True, overflow="ellipsis"))


def trial_line(status: StudyStatus, told: Sequence[TrialRow]) -> str:
    """One line about a finished trial.

    Args:
        status: The study's status, which may be ahead of the lines.
        told: The finished trials that have a line, this one last: one of them is the best so far.
    """
    row = told[-1]
    number = f"{row.number:>{len(str(status.n_trials - 1))}}"
    end = {
        "complete": f"complete, best epoch {row.best_epoch}",
        "pruned": f"{_pruned(row)}, best epoch {row.best_epoch or 'unknown'}",
        "failed": f"failed ({shorten(row.reason or 'no reason was noted', 100)})",
    }[row.state]
    is_single = len(status.objectives) == 1
    best = next(iter(replace(status, rows=tuple(told)).ranking), None) if is_single else None
    parts = [
        f"trial {number} {end}",
        status.format_row(row),
        f"(best {format_value(status.objectives[0], best.values[0])}, trial {best.number})"
        if best
        else "",
        "(on the Pareto front)" if not is_single and row in status.front else "",
        "" if row.wall_s is None else format_duration(row.wall_s),
    ]
    count = ", ".join([f"{len(told)} of {status.n_trials} done", *_time_left(status)])
    return f"{'  '.join(part for part in parts if part)}; {count}"


def _pruned(row: TrialRow) -> str:
    """Where a trial was pruned."""
    n = len(row.replicates)
    return f"pruned after {n} replicate{'s' * (n > 1)}" if n else f"pruned at epoch {row.n_epochs}"


def status_parts(status: StudyStatus) -> list[str]:
    """Parts such as `7 of 30 done`, `2 running`, `3 pruned`, `0 failed`, `about 12 min left`."""
    absent = [(status.count(state), state) for state in ("interrupted", "lost")]
    return [
        f"{status.n_finished} of {status.n_trials} done",
        *(f"{status.count(state)} {state}" for state in ("running", "pruned", "failed")),
        *(f"{n} {state}" for n, state in absent if n),
        *_time_left(status),
    ]


def best_line(status: StudyStatus) -> str:
    """`best ndcg@100 0.4123 (trial 5: β=.31 d=.42)`; with several objectives the best of each."""
    if not status.front:
        return "no trial is complete yet"
    row = status.best
    if row:
        name = trial_name(f"trial {row.number}:", row.settings)
        return f"best {status.format_row(row)} ({name.removesuffix(':')})"
    bests = []
    for place, (name, direction) in enumerate(
        zip(status.objectives, status.directions, strict=True)
    ):
        choose = max if direction == "maximize" else min
        best = choose(status.front, key=lambda row: row.values[place])
        bests.append(f"{name} {format_value(name, best.values[place])} (trial {best.number})")
    return f"{len(status.front)} on the Pareto front, best {', '.join(bests)}"


def _time_left(status: StudyStatus) -> list[str]:
    seconds = status.seconds_left
    if seconds is None or status.n_finished >= status.n_trials:
        return []
    return [f"about {format_duration(seconds)} left"]
