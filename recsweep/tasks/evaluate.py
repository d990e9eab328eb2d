"""Evaluates a file of recommendations against the truth: no model, backend or catalogue."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic.dataclasses import dataclass

from recsweep.app import Job, Settings
from recsweep.build import validate
from recsweep.errors import InputError, error_context
from recsweep.interfaces import STRICT, HomePath
from recsweep.messages import print_to_stdout

if TYPE_CHECKING:
    import pandas as pd

    from recsweep.evaluation import Evaluation, Evaluator

# The rest is imported where it is used: --help must not wait for pandas.

N_BYTES = 32
"""Of a rank, with its discounted gain and what is computed on the way."""

Lists = Mapping[str, list[str]]


@dataclass(kw_only=True, config=STRICT)
class Evaluate:
    """Evaluate recommendations from any source.

    Args:
        recommendations: See `recsweep.recommendations.files` for the formats.
        truth: `user item [value]` lines; items with value 0 are not relevant.
        output: JSON file to write; None = print only.
        overwrite: Whether `output` may already exist.
    """

    recommendations: HomePath | None
    truth: HomePath | None
    output: HomePath | None
    overwrite: bool

    def run(self, job: Job) -> None:
        """Print the table of metrics and notes on unmatched users and items."""
        from recsweep.files import refuse_file
        from recsweep.report import table_of_folds

        is_asked_for = any(text.startswith("metrics=") for text in job.overrides)
        _evaluator(job.settings, is_asked_for)
        files = (_given(self.recommendations, "recommendations"), _given(self.truth, "truth"))
        output = self.output and refuse_file(self.output, "task.output", self.overwrite, files)
        found = measure_file(job.settings, *files, is_asked_for=is_asked_for)
        if output:
            _write(output, found)
        print_to_stdout(*table_of_folds({"": found.evaluation}).split("\n"), *found.notes)


class Measured(NamedTuple):
    """The metrics of a file of recommendations.

    Args:
        evaluation: The metrics of all users of the truth.
        notes: Users and items in only one of the two files, and omitted metrics.
        n_without_list: Users of the truth without recommendations.
    """

    evaluation: "Evaluation"
    notes: list[str]
    n_without_list: int


def measure_file(
    settings: Settings, recommendations: Path, truth: Path, *, is_asked_for: bool = False
) -> Measured:
    """Read both files and compute the metrics.

    Args:
        settings: `k` and `metrics`.
        recommendations: See `recsweep.recommendations.files` for the formats.
        truth: `user item [value]` lines.
        is_asked_for: Whether these metrics were asked for explicitly.

    Raises:
        InputError: A file cannot be read, or the two have nothing in common.
    """
    from recsweep.data.plain_text import read_pairs
    from recsweep.recommendations.files import read_recommendations

    evaluator, left_out = _evaluator(settings, is_asked_for)
    with error_context("task.recommendations"):
        lists = read_recommendations(recommendations)
    with error_context("task.truth"):
        table = read_pairs(truth)
        wanted = _wanted(table, truth)
    notes = [
        *_notes(lists, wanted, (str(recommendations), str(truth))),
        *(f"{name} is left out: it needs the catalogue" for name in left_out),
    ]
    _refuse_header(lists, table, truth)
    longest = max(map(len, lists.values()))
    if longest < evaluator.k[-1]:
        notes.append(
            f"the longest list has {longest:,} items: at a larger k, places without an item count "
            "as misses"
        )
    n_without_list = len(wanted.keys() - lists.keys())
    return Measured(evaluate_lists(lists, wanted, evaluator), notes, n_without_list)


def evaluate_lists(
    lists: Lists, truth: Mapping[str, set[str]], evaluator: "Evaluator"
) -> "Evaluation":
    """The metrics of every user of the truth; a user without a list scores 0.

    Args:
        lists: Each user's distinct items, best first; cut at the largest k.
        truth: Each user's relevant items, at least one.
        evaluator: Metrics, without those of the catalogue, and cut-offs.

    Returns:
        An `Evaluation`.

    Raises:
        InputError: The largest cut-off needs more memory than there is.
    """
    import pandas as pd

    from recsweep.memory import refuse_beyond_memory
    from recsweep.metrics.ranked_lists import RankedLists

    longest = evaluator.k[-1]
    refuse_beyond_memory(
        N_BYTES * len(truth) * longest,
        f"the ranks of {len(truth):,} users up to k={longest}",
        "lower k",
    )
    hits = np.zeros((len(truth), longest), bool)
    for row, (user, wanted) in enumerate(truth.items()):
        top = lists.get(user, [])[: hits.shape[1]]
        hits[row, : len(top)] = [item in wanted for item in top]
    n_relevant = np.array([len(wanted) for wanted in truth.values()])
    return evaluator.measure(RankedLists(hits, n_relevant), pd.Index(list(truth), name="user"))


def _evaluator(settings: Settings, is_asked_for: bool) -> "tuple[Evaluator, list[str]]":
    """The evaluator, and the metrics that cannot be computed without the catalogue."""
    from recsweep.evaluation import Evaluator

    values = {name: getattr(settings, name) for name in ("k", "metrics")}
    batch_size = settings.evaluation_batch_size
    evaluator = validate(Evaluator, {**values, "objective": None, "batch_size": batch_size}, "")
    left_out = [name for name, metric in evaluator.metrics.items() if metric.needs_catalog]
    kept = {name: each for name, each in evaluator.metrics.items() if name not in left_out}
    evaluator.metrics = kept
    if left_out and (is_asked_for or not evaluator.metrics):
        raise InputError(
            f"task=evaluate cannot compute {left_out[0]}, which needs the catalogue; remove it "
            "from metrics"
        )
    return evaluator, left_out


def _given(path: Path | None, name: str) -> Path:
    if path is None:
        raise InputError(f"task.{name} must name the file of {name}; give task.{name}=FILE")
    return path


def _wanted(table: "pd.DataFrame", path: Path) -> dict[str, set[str]]:
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


def _refuse_header(lists: Lists, truth: "pd.DataFrame", path: Path) -> None:
    """Refuse a truth whose first line, read as a pair, is most likely a header."""
    from recsweep.data.plain_text import refuse_unknown_names

    user, item = map(str, truth.iloc[0][["user", "item"]])
    if user not in lists and not any(item in each for each in lists.values()):
        refuse_unknown_names(path, truth)


def _notes(lists: Lists, truth: Mapping[str, set[str]], files: tuple[str, str]) -> list[str]:
    """Notes on users and items that are in only one of the two files.

    Raises:
        InputError: They have no user or no item in common, so every metric would be 0.
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


def _write(output: Path, found: Measured) -> None:
    from recsweep.files import disk_errors_in_one_line, whole_file

    content = {
        **found.evaluation.summary(),
        "n_without_recommendations": found.n_without_list,
        "definitions": dict(found.evaluation.definitions),
    }
    with disk_errors_in_one_line(output, "task.output"), whole_file(output) as file:
        file.write(json.dumps(content, indent=2, allow_nan=False).encode())
