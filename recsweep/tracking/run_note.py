"""Markdown for the page of a run in MLflow, which shows the first lines and expands on a click.

Code blocks wider than the page push its other half away; inline code is wrapped.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

GAP = "&ensp;"
"""Between columns: the page draws tables without lines or padding, left-aligned."""

BREAK = "&#8203;"
"""Allows a word to be wrapped."""


def run_note(metrics: Mapping[str, Any], objective: str, commands: Mapping[str, str]) -> str:
    """The scores of a run, and how to reproduce it.

    Args:
        metrics: The content of its `metrics.json`.
        objective: Metric shown first, such as `ndcg@100`; then the others at the same cut-off.
        commands: Purpose -> command line.
    """
    k = objective.partition("@")[2]
    at_k = [name for name in metrics["test"]["mean"] if name.endswith(f"@{k}")]
    names = list(dict.fromkeys([objective, *at_k]))
    folds = {"validation": metrics["valid"], "test": metrics["test"]}
    rows = [[name, *(_score(fold, name) for fold in folds.values())] for name in names]
    n_users = ", ".join(f"{fold['n_users']} {name} users" for name, fold in folds.items())
    parts = [
        f"**Test {objective} {_score(metrics['test'], objective)}**, validation "
        f"{_score(metrics['valid'], objective)} at the best epoch, {metrics['best_epoch']}.",
        markdown_commands(commands),
        markdown_table([f"at {k}", *folds], rows),
        f"mean ± standard error over users: {n_users}",
    ]
    return "\n\n".join(parts)


def _score(fold: Mapping[str, Any], name: str) -> str:
    error = fold["standard_error"].get(name)
    return f"{fold['mean'][name]:.4f}" + ("" if error is None else f" ± {error:.4f}")


def markdown_commands(commands: Mapping[str, str]) -> str:
    """A list of command lines, each preceded by its purpose."""
    return "\n".join(f"- {why}: {_code(command)}" for why, command in commands.items())


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; empty columns are omitted.

    Headers may be wrapped after underscores and dots, since a table that is too wide would push the
    page's other half away.

    Args:
        head: One header per column.
        rows: Rows with one cell per column.
    """
    columns = [c for c in zip(head, *rows, strict=True) if any(c[1:])]
    if not columns:
        return ""
    lines = [[cell.replace("|", r"\|") for cell in line] for line in zip(*columns, strict=True)]
    lines[0] = [title.replace("_", rf"\_{BREAK}").replace(".", f".{BREAK}") for title in lines[0]]
    lines.insert(1, ["---"] * len(columns))
    return "\n".join(f"| {f'{GAP} | '.join(line)} |" for line in lines).replace(f"---{GAP}", "---")


def artifact_link(run_id: str | None, path: str) -> str:
    """The link to an artifact of a run from any page of the UI."""
    return f"get-artifact?run_uuid={run_id}&path={quote(path)}"


def _code(text: str) -> str:
    """Inline code; a backtick in it needs a longer fence."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"
