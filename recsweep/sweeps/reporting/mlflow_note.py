"""The note on a sweep's page in MLflow: search space, results and how to reproduce them."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from recsweep import shell
from recsweep.files import disk_errors_in_one_line, whole_file
from recsweep.messages import shorten
from recsweep.run_files import NOTE, OVERVIEW, PLOTS, SWEEP_PAGE, is_run, read_run_id
from recsweep.sweeps.reporting.edges import remarks_on_edges
from recsweep.sweeps.reporting.result import StudyOutcome, importance_shares
from recsweep.sweeps.reporting.tables import (
    best_rows,
    counts_line,
    remark_on_pruned,
    remark_on_spread,
)
from recsweep.sweeps.space.space import Space
from recsweep.sweeps.study.final_scores import FinalScores, Looks
from recsweep.sweeps.study.shared_study import SharedStudy
from recsweep.sweeps.study.status import StudyStatus, format_value
from recsweep.tracking.run_note import artifact_link, markdown_commands, markdown_table

NOTE_CHARACTERS = 4300  # leaves room for links and pictures on the page
PLACES = ("sweep.folder", "sweep.storage", "tracking.uri", "tracking.experiment", "cache_dir")
"""Settings that later commands must repeat if the sweep had them."""

MATTERS = "Matters"
"""First word of the paragraph about importance."""

Table = tuple[Sequence[str], Sequence[Sequence[str]]]


@dataclass(frozen=True)
class NoteContent:
    """The content of a note besides the outcome.

    Args:
        best: Headers and rows of the table of the best trials; the default configuration is last.
        searched: Dotted key or group -> its sweep in Hydra's grammar.
        commands: Purpose -> command line.
        made_with: Package such as `jax` -> its version.
        shares: Each hyperparameter's share of the variance, as text; may be empty.
        edges: See `remarks_on_edges`.
    """

    best: Table
    searched: Mapping[str, str]
    commands: Mapping[str, str]
    made_with: Mapping[str, str]
    shares: str
    edges: Sequence[str]

    @classmethod
    def of(
        cls, study: SharedStudy, outcome: StudyOutcome, command: str, tags: Mapping[str, str]
    ) -> Self:
        """Read it from a study.

        Args:
            study: The study.
            outcome: Its outcome.
            command: The sweep's command.
            tags: Tags of the sweep's run.
        """
        name = outcome.status.study
        places = [word for word in shlex.split(command) if word.partition("=")[0] in PLACES]
        commands = {
            "resume, or print the result again": command,
            "print the overrides that train the winner as a single run": shell.command(
                "task=best", shell.setting("study", name), *places
            ),
        }
        for run_id in _run_ids(outcome, Path(study.plan.folder))[:1]:
            again = "retrain the winner and compare its metrics with those of the run"
            commands[again] = shell.command(
                "task=reproduce", shell.setting("task.run", run_id), *places
            )
        made_with = {key.removeprefix("version."): value[:16] for key, value in tags.items()}
        best, searched = best_rows(outcome.status), study.space.describe()
        shares = importance_shares(study.study, outcome.status)
        edges = remarks_on_edges(study.space, outcome.status)
        return cls(best, searched, commands, made_with, shares, edges)


def view_columns(
    space: Space, status: StudyStatus
) -> tuple[dict[str, list[Any]], list[str], set[str]]:
    """The columns of a table of the study's trials, besides their names.

    Args:
        space: What is searched.
        status: The study's status.

    Returns:
        Searched key -> the values tried; the tracker's names of metrics, the first objective first;
        the keys that are searched on a logarithmic scale.
    """
    dimensions = [item for b in space.branches for item in b.dimensions.items()]
    keys = dict.fromkeys(key for key, _ in dimensions)
    tried = {key: [r.settings[key] for r in status.rows if key in r.settings] for key in keys}
    metric, _, k = status.objectives[0].partition("@")
    known = next((row.metrics for row in status.rows if row.metrics), {})
    others = [name for name in known if name.endswith(f"@{k}") and name != f"{metric}@{k}"]
    named = [
        name if name.endswith("_s") else f"valid_best_{name}"
        for name in dict.fromkeys([*status.objectives, *others[:1]])
    ]
    return tried, [*named, "best_epoch"], {key for key, each in dimensions if each.is_log}


def summary_note(outcome: StudyOutcome, told: NoteContent) -> str:
    """Markdown of at most `NOTE_CHARACTERS`; if necessary the table of trials is shortened.

    Args:
        outcome: The study's outcome.
        told: The rest of the content.
    """
    head, rows = told.best
    text = ""
    for n_kept in range(max(len(rows) - 1, 0), -1, -1):
        text = "\n\n".join(
            filter(None, _parts(outcome, told, (head, [*rows[:n_kept], *rows[-1:]])))
        )
        if len(text) <= NOTE_CHARACTERS:
            break
    return shorten(text, NOTE_CHARACTERS)


def write_note(results: Path, note: str) -> None:
    """Write a sweep's note beside its results.

    Raises:
        InputError: It cannot be written.
    """
    file = results / NOTE
    with disk_errors_in_one_line(file, "sweep.folder"), whole_file(file) as stream:
        stream.write(note.encode())


def page_note(results: Path, links: Mapping[str, str], run_id: str | None) -> str:
    """The note with links and a picture near its top, for the page of the sweep's run.

    MLflow 3.17 shows the first 100 pixels of it, whatever they are, and the rest on a click: the
    result, the links and what matters have to be lines at the top.

    Args:
        results: Folder of the sweep's results, with its note and its plots.
        links: Title -> link of the UI.
        run_id: Id of the sweep's run, which has the results as artifacts.
    """
    headline, *rest = (results / NOTE).read_text(encoding="utf-8").split("\n\n")
    n_above = int(bool(rest) and rest[0].startswith(MATTERS))
    picture, page = f"{PLOTS}/{OVERVIEW}", f"{PLOTS}/{SWEEP_PAGE}"
    has_picture, has_page = (results / picture).exists(), (results / page).exists()
    kept = {what: where for what, where in links.items() if has_page or page not in where}
    parts = [
        headline,
        " · ".join(f"[{what}]({where})" for what, where in kept.items()),
        *rest[:n_above],
        f"![history and importance]({artifact_link(run_id, picture)})" if has_picture else "",
        *rest[n_above:],
    ]
    return "\n\n".join(filter(None, parts))


def _parts(outcome: StudyOutcome, told: NoteContent, best: Table) -> list[str]:
    status = outcome.status
    own = status.default.settings if status.default else {}
    searched = [
        [f"`{key}`", f"`{sweep}`", f"{own.get(key, '')}"] for key, sweep in told.searched.items()
    ]
    return [
        _headline(outcome),
        f"{MATTERS}: {told.shares} (share of the variance)." if told.shares else "",
        f"### Best trials\n\n{markdown_table(*best)}" if best[1] else "",
        remark_on_spread(status),
        remark_on_pruned(status),
        counts_line(status),
        *(f"At an edge of the search: {remark}." for remark in told.edges),
        _capitalized(outcome.looks) if outcome.looks.n_times else "",
        _scores(status.objectives[0], outcome.test) if outcome.test else "",
        f"### Commands\n\n{markdown_commands(told.commands)}",
        f"### Searched\n\n{markdown_table(['setting', 'sweep', 'default'], searched)}"
        if searched
        else "",
        f"### Made with\n\n{', '.join(f'{k} {v}' for k, v in told.made_with.items())}",
    ]


def _headline(outcome: StudyOutcome) -> str:
    """The winner on validation and on test."""
    status, name = outcome.status, outcome.status.objectives[0]
    if len(status.objectives) > 1:
        objectives = " and ".join(status.objectives)
        return f"**{len(status.front)} trials are on the Pareto front of {objectives}.**"
    if status.best is None:
        return f"**No trial is complete** ({status.n_finished} of {status.n_trials} done)."
    best = f"Trial {status.best.number}: validation {status.format_row(status.best)}"
    sentences = [f"**{best}** (default: {_default(status)})."]
    if outcome.test:
        error = outcome.test.test.standard_errors.get(name)
        shown = f"{outcome.test.test.means[name]:.4f}" + (f" ± {error:.4f}" if error else "")
        sentences.append(f"**Test {shown}**.")
    return " ".join(sentences)


def _capitalized(looks: Looks) -> str:
    text = str(looks)
    return f"{text[0].upper()}{text[1:]}."


def _default(status: StudyStatus) -> str:
    default = status.default
    if default is None or default.state != "complete":
        return default.state if default else "not tried"
    return format_value(status.objectives[0], default.values[0])


def _scores(name: str, test: FinalScores) -> str:
    """A row per training of the winner."""
    rows = [
        [
            str(each["seed"]),
            *(f"{each[fold][name]:.4f}" for fold in ("valid", "test")),
        ]
        for each in test.replicates
    ]
    head = ["seed", f"validation {name}", f"test {name}"]
    deviation, n_users = test.deviations.get(name), len(test.test.per_user)
    spread = f"; standard deviation over seeds {deviation:.4f}" if deviation is not None else ""
    over = f" ± standard error over {n_users:,} users" if n_users else ""
    return f"### The winner, retrained\n\n{markdown_table(head, rows)}\n\nTest: mean{over}{spread}"


def _run_ids(outcome: StudyOutcome, folder: Path) -> list[str]:
    """Run ids of the winner's tracked trainings, as far as their files are on this host."""
    replicates = outcome.test.replicates if outcome.test else []
    results = (folder / each["results"] for each in replicates)
    found = (read_run_id(each) for each in results if is_run(each))
    return [run_id for run_id in found if run_id]
