"""A sweep's outcome: the table of its best trials and the files that hold all of it."""

import json
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from recsweep.sweeps.study.status import (
    FINISHED,
    STATES,
    Standing,
    TrialRow,
    shown_duration,
    shown_value,
)


def best_table(standing: Standing, n: int = 10) -> str:
    """The best trials and the default configuration's, best first; below it how many there are.

    Pruned trials stand where their best epoch puts them, but only complete ones have a rank.

    With several objectives: the Pareto front.

    Args:
        standing: What the study has reached.
        n: Rows at most, not counting the winner's and the default configuration's.
    """
    head, rows = best_rows(standing, n)
    if not rows:
        return counts_line(standing)
    lines = aligned(head, rows)
    if len(standing.objectives) > 1:
        front = f"{len(standing.front)} of {standing.count('complete')} complete trials"
        lines[:0] = [
            f"Pareto front of {' and '.join(standing.objectives)}: {front}",
            "several objectives have no single winner, so test is not scored",
        ]
    return "\n".join(filter(None, [*lines, remark_on_pruned(standing), counts_line(standing)]))


def best_rows(standing: Standing, n: int = 10) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of `best_table`; a column may be without any entry.

    Args:
        standing: What the study has reached.
        n: Rows at most, not counting the winner's and the default configuration's.
    """
    is_single = len(standing.objectives) == 1
    rows = list((standing.placed if is_single else standing.front)[:n])
    default = standing.default
    for row in (standing.best, default if default and default.state in FINISHED else None):
        if row and row not in rows:
            rows.append(row)
    keys = list(dict.fromkeys(key for row in rows for key in row.settings))
    head = ["rank", "trial", "", *standing.objectives, "epoch", "time", *short_names(keys)]
    ranks = {row.number: str(n) for n, row in enumerate(standing.ranked, 1) if is_single}
    return head, [[ranks.get(row.number, ""), *_cells(standing, row, keys)] for row in rows]


def remark_on_pruned(standing: Standing) -> str:
    """A sentence where the first row of the table is not the winner; empty where it is."""
    if standing.best is None or standing.placed[0] == standing.best:
        return ""
    return (
        f"the winner is trial {standing.best.number}: pruned trials were stopped early and have "
        "no rank"
    )


def counts_line(standing: Standing) -> str:
    """Such as `30 of 30 trials done: 18 complete, 11 pruned, 1 failed`."""
    counts = {state: standing.count(state) for state in STATES}
    shown = [f"{n} {state}" for state, n in counts.items() if n or state in FINISHED]
    return f"{standing.n_finished} of {standing.n_trials} trials done: {', '.join(shown)}"


def _cells(standing: Standing, row: TrialRow, keys: Sequence[str]) -> list[str]:
    is_outside = len(standing.objectives) > 1 and row not in standing.front
    marks = [
        "default" if row.is_default else "",
        row.state if row.state != "complete" else "not on the front" if is_outside else "",
    ]
    pairs = zip_longest(standing.objectives, row.values)
    return [
        str(row.number),
        ", ".join(filter(None, marks)),
        *("" if value is None else shown_value(name, value) for name, value in pairs),
        "" if row.best_epoch is None else str(row.best_epoch),
        "" if row.wall_s is None else shown_duration(row.wall_s),
        *(_cell(row.settings[key]) if key in row.settings else "" for key in keys),
    ]


def _cell(value: Any) -> str:
    """A setting, four digits of a number."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def short_names(keys: Sequence[str]) -> list[str]:
    """`beta` for `model.beta`, unless two keys would share a name."""
    short = [key.rpartition(".")[2] for key in keys]
    return [last if short.count(last) == 1 else key for key, last in zip(keys, short, strict=True)]


def aligned(head: list[str], body: list[list[str]]) -> list[str]:
    """Lines of a table whose columns are as wide as needed, flush right.

    Args:
        head: A title per column.
        body: A list of cells per line, at least one; a column without any entry is left out.
    """
    columns = [c for c in zip(head, *body, strict=True) if any(c[1:])]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in zip(*columns, strict=True)
    ]
    return [lines[0], "─" * max(map(len, lines)), *lines[1:]]
