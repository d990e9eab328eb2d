"""Holds a file of recommendations against the truth: no model, no backend, no catalogue."""

import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic.dataclasses import dataclass

from recsweep.app import Job
from recsweep.build import validated
from recsweep.errors import InputError
from recsweep.interfaces import STRICT, HomePath

# The rest is imported where it is used: --help must not wait for pandas.

Lists = Mapping[str, list[str]]


@dataclass(kw_only=True, config=STRICT)
class Evaluate:
    """Measure recommendations, whoever made them.

    Args:
        recommendations: See `recsweep.recommendations.files` for the formats.
        truth: `user item [value]` lines; items with value 0 are not wanted.
        output: JSON file to write; None = only print.
        overwrite: Whether it may already be there.
    """

    recommendations: HomePath | None
    truth: HomePath | None
    output: HomePath | None
    overwrite: bool

    def run(self, job: Job) -> None:
        """Print the table of metrics and who could not be counted."""
        from recsweep.persistence import refuse_file
        from recsweep.recommendations.files import read_recommendations
        from recsweep.report import table_of_folds

        evaluator, left_out = _evaluator(job)
        setting = "task.output"
        output = self.output and refuse_file(self.output, setting, self.overwrite)
        file = _given(self.recommendations, "recommendations")
        lists, truth = read_recommendations(file), _wanted(_given(self.truth, "truth"))
        notes = _notes(lists, truth, (str(file), str(self.truth)))
        evaluation = evaluated(lists, truth, evaluator)
        notes += [
            *(f"{name} is left out: it needs the catalogue" for name in left_out),
        ]
        print("\n".join([table_of_folds({"": evaluation}), *notes]))  # noqa: T201
        if output:
            _write(output, evaluation, len(truth.keys() - lists.keys()))


def evaluated(lists: Lists, truth: Mapping[str, set[str]], evaluator: Any) -> Any:
    """The metrics of every user of the truth; who has no list misses everything.

    Args:
        lists: Each user's items, best first, each once; cut at the largest k.
        truth: The items that each user wanted, at least one.
        evaluator: An `Evaluator`: its metrics, without the catalogue's, and cut-offs.

    Returns:
        An `Evaluation`.
    """
    import pandas as pd

    from recsweep.evaluation import PER_USER, Evaluation

    hits = np.zeros((len(truth), evaluator.k[-1]), bool)
    for row, (user, wanted) in enumerate(truth.items()):
        top = lists.get(user, [])[: hits.shape[1]]
        hits[row, : len(top)] = [item in wanted for item in top]
    n_relevant = np.array([len(wanted) for wanted in truth.values()])
    per_user = {
        f"{metric}@{k}": PER_USER[metric](hits, n_relevant, k)
        for metric in evaluator.metrics
        for k in evaluator.k
    }
    frame = pd.DataFrame(per_user, index=pd.Index(list(truth), name="user"))
    return Evaluation(frame, {}, 0)


def _evaluator(job: Job) -> tuple[Any, list[str]]:
    """What to measure, and what cannot be measured without the catalogue."""
    from recsweep.evaluation import OF_CATALOG, Evaluator

    values = {name: getattr(job.settings, name) for name in ("k", "metrics")}
    batch_size = job.settings.evaluation_batch_size
    evaluator = validated(Evaluator, {**values, "objective": None, "batch_size": batch_size}, "")
    left_out = [name for name in evaluator.metrics if name in OF_CATALOG]
    evaluator.metrics = [name for name in evaluator.metrics if name not in OF_CATALOG]
    is_asked_for = any(text.startswith("metrics=") for text in job.overrides)
    if left_out and (is_asked_for or not evaluator.metrics):
        raise InputError(
            f"task=evaluate must do without the catalogue, but metrics has {left_out[0]}, which is "
            "a share of it; leave it out"
        )
    return evaluator, left_out


def _given(path: Path | None, name: str) -> Path:
    if path is None:
        raise InputError(f"task.{name} must name the file of {name}; give task.{name}=FILE")
    return path


def _wanted(path: Path) -> dict[str, set[str]]:
    from recsweep.data.plain_text import read_pairs

    table = read_pairs(path)
    if "value" in table:
        table = table[table["value"] > 0]
    if table.empty:
        raise InputError(
            f"{path} must hold an item with a value above 0, but every value is 0; fix it"
        )
    wanted: dict[str, set[str]] = {}
    for user, item in zip(table["user"].astype(str), table["item"].astype(str), strict=True):
        wanted.setdefault(user, set()).add(item)
    return wanted


def _notes(lists: Lists, truth: Mapping[str, set[str]], files: tuple[str, str]) -> list[str]:
    """What the means are about: whom and what one of the two files has alone.

    Raises:
        InputError: They have no user or no item in common, so that every metric would be 0.
    """
    from recsweep.data.user_histories import examples

    recommended: set[str] = set().union(*lists.values())
    wanted: set[str] = set().union(*truth.values())
    for kind, some, others in (
        ("users", lists.keys(), truth.keys()),
        ("items", recommended, wanted),
    ):
        if not some & others:
            found = _only_in(others, some, f"{kind} of {files[1]}", files[0])
            raise InputError(
                f"{files[0]} and {files[1]} must have {kind} in common, but {found}, which "
                f"has {examples(sorted(some)) or 'none'}; check that both have the original ids"
            )
    notes = (
        (_only_in(truth, lists, f"users of {files[1]}", files[0]), "counted as 0"),
        (_only_in(lists, truth, f"users of {files[0]}", files[1]), "ignored"),
        (_only_in(wanted, recommended, f"items of {files[1]}", files[0]), "missed by everybody"),
    )
    return [
        f"mean ± standard error over {len(truth):,} users of the truth",
        *(f"{found}: {become}" for found, become in notes if found),
    ]


def _only_in(some: Collection[str], others: Collection[str], source: str, place: str) -> str:
    import pandas as pd

    from recsweep.data.user_histories import unknown_ids

    ids = pd.Series(sorted(some), dtype=object)
    return unknown_ids(ids, np.where(ids.isin(list(others)), 0, -1), source, place)


def _write(output: Path, evaluation: Any, n_without_list: int) -> None:
    from recsweep.data.disk import disk_errors_in_one_line, whole_file
    from recsweep.evaluation import definitions

    metrics = {name.partition("@")[0] for name in evaluation.means}
    errors = evaluation.standard_errors.items()
    content = {
        "mean": evaluation.means,
        "standard_error": {name: e if math.isfinite(e) else None for name, e in errors},
        "n_users": len(evaluation.per_user),
        "n_without_recommendations": n_without_list,
        "definitions": {name: text for name, text in definitions().items() if name in metrics},
    }
    with disk_errors_in_one_line(output, "task.output"), whole_file(output) as file:
        file.write(json.dumps(content, indent=2, allow_nan=False).encode())
