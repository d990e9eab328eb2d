"""The table of a sweep's best trials."""

import json
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from recsweep.messages import align_columns
from recsweep.run_files import TRIALS_TABLE
from recsweep.sweeps.study.status import (
    FINISHED,
    STATES,
    StudyStatus,
    TrialRow,
    format_duration,
)


def best_table(status: StudyStatus, n: int = 10) -> str:
    """The best trials and the default configuration's, best first, followed by counts.

    Pruned trials are sorted by their best epoch, but only complete ones have a rank.

    With several objectives: the Pareto front.

    Args:
        status: The study's status.
        n: Maximum number of rows, not counting the winner and the default configuration.
    """
    head, rows = best_rows(status, n)
    if not rows:
        return counts_line(status)
    lines = align_columns(head, rows)
    if len(status.objectives) > 1:
        front = f"{len(status.front)} of {status.count('complete')} complete trials"
        lines[:0] = [
            f"Pareto front of {' and '.join(status.objectives)}: {front}",
            "several objectives have no single winner, so test is not scored",
        ]
    n_all = len(status.leaderboard if len(status.objectives) == 1 else status.front)
    cut = f"the best {len(rows)} of {n_all} trials; all are in {TRIALS_TABLE}" * (n_all > len(rows))
    remarks = [cut, remark_on_spread(status), remark_on_pruned(status), counts_line(status)]
    return "\n".join(filter(None, [*lines, *remarks]))


def best_rows(status: StudyStatus, n: int = 10) -> tuple[list[str], list[list[str]]]:
    """Headers and rows of `best_table`; a column may be empty.

    Args:
        status: The study's status.
        n: Maximum number of rows, not counting the winner and the default configuration.
    """
    is_single = len(status.objectives) == 1
    rows = list((status.leaderboard if is_single else status.front)[:n])
    default = status.default
    for row in (status.best, default if default and default.state in FINISHED else None):
        if row and row not in rows:
            rows.append(row)
    keys = list(dict.fromkeys(key for row in rows for key in row.settings))
    head = ["rank", "trial", "", *status.objectives, "epoch", "time", *short_names(keys)]
    ranks = {row.number: str(n) for n, row in enumerate(status.ranking, 1) if is_single}
    return head, [[ranks.get(row.number, ""), *_cells(status, row, keys)] for row in rows]


def remark_on_spread(status: StudyStatus) -> str:
    """What ± is in the table; empty if no trial has several replicates."""
    if all(row.deviation is None for row in status.rows):
        return ""
    return f"{status.objectives[0]} is the mean ± standard deviation over a trial's folds or seeds"


def remark_on_pruned(status: StudyStatus) -> str:
    """A remark if the first row of the table is not the winner; otherwise empty."""
    if status.best is None or status.leaderboard[0] == status.best:
        return ""
    return (
        f"the winner is trial {status.best.number}: pruned trials were stopped early and have "
        "no rank"
    )


def counts_line(status: StudyStatus) -> str:
    """Such as `30 of 30 trials done: 18 complete, 11 pruned, 1 failed`."""
    counts = {state: status.count(state) for state in STATES}
    shown = [f"{n} {state}" for state, n in counts.items() if n or state in FINISHED]
    return f"{status.n_finished} of {status.n_trials} trials done: {', '.join(shown)}"


def _cells(status: StudyStatus, row: TrialRow, keys: Sequence[str]) -> list[str]:
    is_outside = len(status.objectives) > 1 and row not in status.front
    marks = [
        "default" if row.is_default else "",
        _ending(row) if row.state != "complete" else "not on the front" if is_outside else "",
    ]
    shown = row.format_values(status.objectives)
    return [
        str(row.number),
        ", ".join(filter(None, marks)),
        *(value for _, value in zip_longest(status.objectives, shown, fillvalue="")),
        "" if row.best_epoch is None else str(row.best_epoch),
        "" if row.wall_s is None else format_duration(row.wall_s),
        *(_cell(row.settings[key]) if key in row.settings else "" for key in keys),
    ]


def _ending(row: TrialRow) -> str:
    """Such as `failed` or, of trials with several replicates, `pruned after 2`."""
    n_done = len(row.replicates) if row.state == "pruned" else 0
    return f"{row.state} after {n_done}" if n_done else row.state


def _cell(value: Any) -> str:
    """A setting; floats with four significant digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def short_names(keys: Sequence[str]) -> list[str]:
    """`beta` for `model.beta`, unless two keys would share a name."""
    short = [key.rpartition(".")[2] for key in keys]
    return [last if short.count(last) == 1 else key for key, last in zip(keys, short, strict=True)]
