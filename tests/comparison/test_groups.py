"""Models side by side on groups of items and users."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scored_runs import scored_run

from recsweep.comparison.contenders import group_runs
from recsweep.comparison.groups import GroupScore, _group_cell, group_ranges, group_rows
from recsweep.comparison.rendering import write_comparison
from recsweep.comparison.significance import Interval, bootstrap_interval
from recsweep.comparison.statistics import Statistics, compare
from recsweep.metrics.groups import DEFINITIONS, GROUPS, Groups
from recsweep.runs.scored_run import ScoredRun

NAN = float("nan")
STATISTICS = Statistics(
    metrics=None, unit="users", test="t", confidence=0.95, n_resamples=200, seed=0
)
TABLE = pd.DataFrame(
    {
        "least": [9, 5, 1, 2, NAN, 8],
        "most": [1200, 7, 4, 2, NAN, 30],
        "n_items": [3, 4, 1100, NAN, NAN, NAN],
    },
    pd.Index(GROUPS, name="group"),
)
HEAD = [NAN, 0.5, 0.25, 0.75]
"""The first of four users wants nothing from the head; only the last has a long history."""


def run_with_groups(
    folder: Path, model: str, of_users: Sequence[float], head: Sequence[float], **settings: Any
) -> ScoredRun:
    """Four users; groups other than head are made of `of_users`: 3 short, 0 medium, 1 long."""
    run = scored_run(folder, model, of_users, **settings)
    of_group: Mapping[str, Sequence[float]] = {
        "head": head,
        "mid": of_users,
        "tail": [NAN] * 4,
        "short": [*of_users[:3], NAN],
        "medium": [NAN] * 4,
        "long": [NAN] * 3 + [of_users[3]],
    }
    frame = pd.DataFrame({f"ndcg@10 {g}": of_group[g] for g in GROUPS}, run.per_user.index)
    definitions = {**run.definitions, **DEFINITIONS}
    return replace(run, groups=Groups(TABLE, frame), definitions=definitions)


def three_runs(folder: Path) -> list[ScoredRun]:
    """EASE with two seeds, and a worse model."""
    return [
        run_with_groups(folder, "ease", [0.75, 0.5, 0.5, 1.0], HEAD, seed=1),
        run_with_groups(folder, "ease", [0.25, 0.5, 1.0, 1.0], [NAN, 0.0, 0.75, 1.0], seed=2),
        run_with_groups(folder, "ials", [0.25, 0.25, 0.25, 0.5], [NAN, 0.125, 0.0, 0.5]),
    ]


def test_means_and_paired_differences_are_over_the_users_of_the_group(tmp_path: Path) -> None:
    found = compare(group_runs(three_runs(tmp_path)), STATISTICS)
    rows = {row.group: row for row in group_rows(found)}
    assert [rows[group].n_users for group in GROUPS] == [3, 4, 0, 3, 0, 1]
    head = rows["head"].scores
    # by user: ease (.25, .5, .875), ials (.125, 0, .5)
    assert head["ease"].mean == pytest.approx(1.625 / 3)
    assert (head["ease"].difference, head["ease"].interval) == (0, None)
    assert head["ials"].mean == pytest.approx(0.625 / 3)
    assert head["ials"].difference == pytest.approx(1 / 3)
    differences = np.array([0.125, 0.5, 0.375])
    assert head["ials"].interval == bootstrap_interval(differences, 0, 0.95, 200)
    # by user: ease (.5, .5, .75), ials .25 each
    assert rows["short"].scores["ials"].difference == pytest.approx(1 / 3)


def test_groups_with_one_user_or_none_have_no_interval(tmp_path: Path) -> None:
    found = compare(group_runs(three_runs(tmp_path)), STATISTICS)
    rows = {row.group: row for row in group_rows(found)}
    assert rows["long"].scores["ials"] == (0.5, 0.5, None)
    assert np.isnan(rows["tail"].scores["ials"][:2]).all()
    assert rows["medium"].scores["ease"].interval is None


def test_groups_need_every_run_to_have_them_by_the_same_definition(tmp_path: Path) -> None:
    *some, last = three_runs(tmp_path)
    for other in (
        replace(last, groups=None),
        replace(last, definitions={**last.definitions, "head, mid, tail": "of items"}),
    ):
        assert group_rows(compare(group_runs([*some, other]), STATISTICS)) == []


def test_ranges_are_said_in_numbers_unless_there_are_several_splits(tmp_path: Path) -> None:
    runs = three_runs(tmp_path)
    assert list(group_ranges(compare(group_runs(runs), STATISTICS)).values()) == [
        "3 items of 9 to 1,200 interactions", "4 items of 5 to 7 interactions",
        "1,100 items of 1 to 4 interactions", "history of 2 items", "no users",
        "history of 8 to 30 items",
    ]  # fmt: skip
    again = [replace(run, split="6" * 64) for run in runs]
    found = compare(group_runs([*runs, *again]), STATISTICS)
    assert group_ranges(found) == {}
    assert group_rows(found)[0].n_users == 6, "users count once per split"


def test_the_page_and_a_file_have_the_groups_and_the_text_says_where(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    text = write_comparison(group_runs(three_runs(tmp_path / "runs")), out, STATISTICS)
    assert text.splitlines()[-1] == (
        "by popularity of items and length of histories: comparison.html, groups.csv"
    )
    page = (out / "comparison.md").read_text("utf-8")
    assert "| ndcg@10 | range | users | ease | ials |" in page
    assert "| long | history of 8 to 30 items | 1 | 1.0000 | 0.5000 |" in page
    assert "| medium | no users | 0 |  |  |" in page
    assert "| head | 3 items of 9 to 1,200 interactions | 3 | 0.5417 | 0.2083, -0.3333 ± 0." in page
    assert "nothing is tested" in page
    for name, definition in DEFINITIONS.items():
        assert f"- {name}: {definition}" in page
    with (out / "groups.csv").open(encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    assert len(records) == 6 * 2
    assert records[1]["model"] == "ials"
    assert float(records[1]["difference"]) == pytest.approx(1 / 3)
    assert float(records[1]["low"]) < 1 / 3 < float(records[1]["high"])
    assert records[0]["low"] == records[5]["mean"] == ""


def test_a_comparison_without_groups_is_as_before(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    runs = [replace(run, groups=None) for run in three_runs(tmp_path / "runs")]
    text = write_comparison(group_runs(runs), out, STATISTICS)
    assert "groups.csv" not in text
    assert "Groups" not in (out / "comparison.md").read_text("utf-8")
    assert not (out / "groups.csv").exists()


@pytest.mark.parametrize("difference", [0.0, 0.00001])
def test_a_difference_that_rounds_to_zero_has_no_minus(difference: float) -> None:
    cell = _group_cell(GroupScore(1.0, difference, Interval(-0.25, 0.25)))
    assert cell == "1.0000, +0.0000 ± 0.2500"
