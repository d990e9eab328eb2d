"""A comparison as text: printed, Markdown, LaTeX and CSV."""

import csv
import io
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsweep.comparison.contenders import (
    Contender,
    environments,
    objectives,
    settings_of_model,
)
from recsweep.comparison.groups import group_records, group_rows, tables_of_groups
from recsweep.comparison.markdown import bullets, code, escape, markdown_table
from recsweep.comparison.page import Section, figure_of_pairs, figure_of_scores, html, subject
from recsweep.comparison.statistics import Comparison, Score, Statistics, compare
from recsweep.messages import one_line
from recsweep.run_files import COMPARISON, COMPARISON_PAGE, GROUPS_COMPARED, PAIRS

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMNS, CELL_COLUMNS = 100, 19
SIGNS = {"best": "*", "tied": "†", "": ""}
SEVERAL = "‡"
TESTS = {
    "t": "paired t-test",
    "wilcoxon": "Wilcoxon signed-rank test",
    "permutation": "paired permutation test",
}


def write_comparison(
    contenders: Sequence[Contender],
    folder: Path,
    statistics: Statistics,
    extra_sections: "Mapping[str, tuple[str, Figure | None]] | None" = None,
) -> str:
    """Compare, and write `comparison.{md,tex,csv,html}`, `pairs.csv` and `groups.csv`.

    Args:
        contenders: At least two, on the same splits and users.
        folder: An existing folder.
        statistics: How they are compared.
        extra_sections: Further sections of the page: title -> Markdown and Plotly figure or None.

    Returns:
        The table and its notes, for a terminal.

    Raises:
        InputError: They cannot be compared.
    """
    found = compare(contenders, statistics)
    by_group = group_rows(found)
    sections = [
        Section(
            "Comparison",
            "\n".join([_subject(found), "", _main_table(found), "", *_noted(found)]),
        ),
        Section("Intervals and replicates", _table_of_scores(found), figure_of_scores(found)),
        Section("Differences", _table_of_pairs(found), figure_of_pairs(found)),
        *(
            [Section("Groups of items and users", tables_of_groups(found, by_group))]
            * bool(by_group)
        ),
        *(Section(title, *content) for title, content in (extra_sections or {}).items()),
        Section(
            "Definitions",
            "\n".join(bullets(f"{code(n)}: {escape(str(d))}" for n, d in _definitions(found))),
        ),
        Section("Where the numbers come from", _origins(found)),
    ]
    texts = {
        f"{COMPARISON}.md": markdown(sections),
        f"{COMPARISON}.tex": latex(found),
        f"{COMPARISON}.csv": _csv(score_records(found)),
        PAIRS: _csv(pair_records(found)),
        COMPARISON_PAGE: html(sections),
        **({GROUPS_COMPARED: _csv(group_records(by_group))} if by_group else {}),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    where = f"by popularity of items and length of histories: {COMPARISON_PAGE}, {GROUPS_COMPARED}"
    return "\n".join([comparison_text(found), *([where] * bool(by_group))])


# --- notes, in every format ----------------------------------------------------------------------


def notes(found: Comparison, best: str = SIGNS["best"]) -> list[str]:
    """Notes below the table.

    Args:
        found: The comparison in the table.
        best: The mark of the best.
    """
    how = found.statistics
    n_pairs = math.comb(len(found.contenders), 2)
    lines = [
        f"mean ± half of its {how.confidence:.0%} bootstrap interval over {_units(found)}",
        f"{best} best; {SIGNS['tied']} not significantly worse than the best "
        f"(adjusted p > {how.alpha:g})",
        f"{TESTS[how.test]}, two-sided, p adjusted by Holm over the "
        f"{n_pairs} pair{'s' * (n_pairs > 1)} of models in each metric",
        *_notes_on_objectives(found),
    ]
    lines += [
        f"{SEVERAL} {each.name}: its study scored test for {each.n_configurations} configurations, "
        "so the test is no longer unseen"
        for each in found.contenders
        if each.n_configurations > 1
    ]
    splits = found.contenders[0].splits
    if len(splits) > 1 and how.unit == "users":
        lines.append("a user counts once per split; those who are in several are not independent")
    return [
        *lines,
        f"seeds: {_seeds(found.contenders)}",
        f"split: {', '.join(split[:12] for split in splits)}",
    ]


def _notes_on_objectives(found: Comparison) -> Iterator[str]:
    """Notes if models were tuned for different metrics, or for one that is not in the table."""
    tuned = objectives(found.contenders)
    if len(tuned) > 1:
        listed = "; ".join(f"{name} ({', '.join(of)})" for name, of in tuned.items())
        yield (
            f"objectives on validation differ: {listed}; a model may score lower in a metric that "
            "it was not tuned for"
        )
    for name in tuned:
        if name not in found.metrics:
            why = "not every run has it for each user"
            yield (
                f"{name}, an objective on validation, is not in the table: "
                f"{'task.metrics leaves it out' if found.statistics.metrics else why}"
            )


def _units(found: Comparison) -> str:
    n_splits = len(found.contenders[0].splits)
    if found.statistics.unit == "replicates":
        return f"{found.n_units} replicates"
    of_splits = f" of {n_splits} splits" if n_splits > 1 else ""
    return f"{found.n_units:,} test users{of_splits}"


def _seeds(contenders: Sequence[Contender]) -> str:
    """Seeds by contender, such as `ease, multivae 42–46; popularity 42`."""
    names: dict[str, list[str]] = {}
    for each in contenders:
        seeds = [run.seed for run in each.replicates]
        first, last = min(seeds), max(seeds)
        is_range = sorted(seeds) == list(range(first, last + 1)) and len(seeds) > 2
        shown = f"{first}–{last}" if is_range else ", ".join(map(str, seeds))
        names.setdefault(shown, []).append(each.name)
    return "; ".join(f"{', '.join(of)} {shown}" for shown, of in names.items())


def _definitions(found: Comparison) -> Iterable[tuple[str, str]]:
    return found.definitions.items()


def _shown_name(contender: Contender) -> str:
    return contender.name + (f" {SEVERAL}" if contender.n_configurations > 1 else "")


def _p(p: float) -> str:
    return "< .0001" if p < 1e-4 else f"{p:.4f}".lstrip("0") if p < 1 else "1"


# --- for a terminal ------------------------------------------------------------------------------


def comparison_text(found: Comparison) -> str:
    """Tables up to 100 characters wide with as many metrics as fit, then marks and notes."""
    labelled: list[tuple[str, list[str]]] = []
    for each in found.contenders:
        scores = [found.scores[metric][each.name] for metric in found.metrics]
        cells = [f"{_cell(score)} {SIGNS[score.mark]}" for score in scores]
        labelled.append((_shown_name(each), cells))
        if (n := len(each.replicates)) > 1:
            labelled.append((f"  sd of {n} seeds", [f"{score.deviation:.4f}" for score in scores]))
    width = max(len(label) for label, _ in labelled)
    n_beside = max((COLUMNS - width) // CELL_COLUMNS, 1)
    lines: list[str] = []
    for start in range(0, len(found.metrics), n_beside):
        shown = slice(start, start + n_beside)
        head, *body = (
            label.ljust(width) + "".join(f"  {cell:<{CELL_COLUMNS - 2}}" for cell in cells[shown])
            for label, cells in [("", [*map(one_line, found.metrics)]), *labelled]
        )
        lines += [""] * (start > 0)
        lines += [head.rstrip(), "─" * len(head), *map(str.rstrip, body)]
    texts = [*notes(found), *(f"{name}: {text}" for name, text in _definitions(found))]
    for text in texts:
        lines += textwrap.wrap(one_line(text), COLUMNS, subsequent_indent="  ")
    return "\n".join(lines)


def _cell(score: Score) -> str:
    return f"{score.mean:.4f} ± {score.half_width:.4f}"


# --- Markdown ------------------------------------------------------------------------------------


def markdown(sections: Sequence[Section]) -> str:
    """The whole page without its figures."""
    parts = [
        f"{'##' if number else '#'} {section.title}\n\n{section.markdown.strip()}\n"
        for number, section in enumerate(sections)
    ]
    return "\n".join(parts)


def _subject(found: Comparison) -> str:
    runs = [run for each in found.contenders for run in each.replicates]
    data = (str(run.config.get("data", {}).get("name", "data")) for run in runs)
    return subject(map(escape, data), (run.split for run in runs), date.today())


def _noted(found: Comparison) -> list[str]:
    return bullets(map(escape, notes(found, "bold:")))


def _main_table(found: Comparison) -> str:
    rows = []
    for each in found.contenders:
        scores = [found.scores[metric][each.name] for metric in found.metrics]
        rows.append([escape(_shown_name(each)), *map(_marked, scores)])
    return markdown_table(["model", *found.metrics], rows)


def _marked(score: Score) -> str:
    cell = _cell(score)
    return {"best": f"**{cell}**", "tied": f"{cell} †"}.get(score.mark, cell)


def _table_of_scores(found: Comparison) -> str:
    rows = [
        [
            escape(metric),
            escape(_shown_name(each)),
            f"{score.mean:.4f}",
            f"[{score.interval.low:.4f}, {score.interval.high:.4f}]",
            f"{score.deviation:.4f}" if len(score.by_replicate) > 1 else "",
            ", ".join(f"{value:.4f}" for value in score.by_replicate),
        ]
        for metric, scores in found.scores.items()
        for each in found.contenders
        for score in [scores[each.name]]
    ]
    confidence = f"{found.statistics.confidence:.0%} interval"
    return markdown_table(
        ["metric", "model", "mean", confidence, "sd over seeds", "each seed"], rows
    )


def _table_of_pairs(found: Comparison) -> str:
    rows = [
        [
            escape(pair.metric),
            f"{escape(pair.a)} − {escape(pair.b)}",
            f"{pair.difference.mean:+.4f}",
            f"[{pair.difference.low:+.4f}, {pair.difference.high:+.4f}]",
            _p(pair.difference.p),
            _p(pair.adjusted_p),
        ]
        for pair in found.pairs
    ]
    confidence = f"{found.statistics.confidence:.0%} interval"
    return markdown_table(["metric", "pair", "difference", confidence, "p", "p (Holm)"], rows)


def _origins(found: Comparison) -> str:
    """Settings and locations, then the recorded environments: per contender if they differ."""
    same, rows = [], []
    for field, values in environments(found.contenders):
        if len(set(filter(None, values))) == 1:
            same.append(f"{field} {next(filter(None, values))}")
        else:
            rows.append([escape(field), *(escape(value or "not noted") for value in values)])
    parts = ["\n".join(bullets(map(_origin, found.contenders)))]
    if rows:
        parts.append(markdown_table(["", *(each.name for each in found.contenders)], rows))
    if same:
        parts.append(f"The same for all that noted it: {escape('; '.join(same))}.")
    return "\n\n".join(parts)


def _origin(contender: Contender) -> str:
    """A contender's settings and the locations of its runs."""
    first, *others = contender.replicates
    parts = [
        escape(settings_of_model(first)),
        f"study {escape(first.study)}" if first.study else "",
        code(first.place) + (f" and {len(others)} more" if others else ""),
        "" if first.environment else "commit and versions not noted",
    ]
    return f"**{escape(contender.name)}**: {'; '.join(filter(None, parts))}"


# --- LaTeX ---------------------------------------------------------------------------------------

_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "β": r"$\beta$", "†": r"$^{\dagger}$", "‡": r"$^{\ddagger}$", "±": r"$\pm$", "*": r"$^{*}$",
    "[": "{[}", "]": "{]}",  # else arguments of the rule or the line before
    "<": "$<$", ">": "$>$", "|": "$|$", "…": r"\ldots{}", "–": "--",
    **{letter: rf"\{letter}" for letter in "_%&#${}"},
}  # fmt: skip
_TO_LATEX = str.maketrans(_LATEX)


def latex(found: Comparison) -> str:
    r"""A `table` environment with booktabs rules; needs only `\usepackage{booktabs}`."""
    rows = []
    for each in found.contenders:
        scores = [found.scores[metric][each.name] for metric in found.metrics]
        cells = [_to_latex(_shown_name(each)), *map(_latex_cell, scores)]
        rows.append(f"    {' & '.join(cells)} \\\\")
    caption = ". ".join(note[0].upper() + note[1:] for note in notes(found, "bold:"))
    head = " & ".join(["Model", *map(_to_latex, found.metrics)])
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_to_latex(caption)}.}}",
        r"  \label{tab:comparison}",
        rf"  \begin{{tabular}}{{l{'r' * len(found.metrics)}}}",
        r"    \toprule",
        rf"    {head} \\",
        r"    \midrule",
        *rows,
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _to_latex(text: str) -> str:
    """The text on one line, which is no command of LaTeX."""
    return one_line(text).translate(_TO_LATEX)


def _latex_cell(score: Score) -> str:
    cell = f"${score.mean:.4f} \\pm {score.half_width:.4f}$"
    bold = rf"$\mathbf{{{score.mean:.4f} \pm {score.half_width:.4f}}}$"
    return {"best": bold, "tied": rf"{cell}$^{{\dagger}}$"}.get(score.mark, cell)


# --- CSV -----------------------------------------------------------------------------------------


def score_records(found: Comparison) -> list[dict[str, Any]]:
    """A row per metric, contender and replicate."""
    return [
        {
            "metric": metric,
            "model": each.name,
            "objective": each.objective or "",
            "mean": score.mean,
            "low": score.interval.low,
            "high": score.interval.high,
            "sd_over_seeds": score.deviation,
            "n_seeds": len(score.by_replicate),
            "mark": score.mark,
            "test_configurations": each.n_configurations,
            "seed": run.seed,
            "split": run.split,
            "value": value,
            "run": run.place,
        }
        for metric, scores in found.scores.items()
        for each in found.contenders
        for score in [scores[each.name]]
        for run, value in zip(each.replicates, score.by_replicate, strict=True)
    ]


def pair_records(found: Comparison) -> list[dict[str, Any]]:
    """A row per metric and pair of contenders."""
    return [
        {"metric": pair.metric, "a": pair.a, "b": pair.b, "difference": pair.difference.mean,
         "low": pair.difference.low, "high": pair.difference.high, "p": pair.difference.p,
         "p_holm": pair.adjusted_p}
        for pair in found.pairs
    ]  # fmt: skip


def _csv(records: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: "" if value != value else value for name, value in record.items()}  # noqa: PLR0124
        for record in records
    )
    return text.getvalue()
