"""Parts of Markdown: tables, lists, and text as it is."""

from collections.abc import Iterable, Sequence

from recsweep.messages import one_line


def markdown_table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown.

    Args:
        head: A title per column, in plain text.
        rows: A cell per column, in Markdown.
    """
    lines: list[Iterable[str]] = [map(escape, head), ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def bullets(lines: Iterable[str]) -> list[str]:
    """The lines as a list."""
    return [f"- {line}" for line in lines]


def escape(text: str) -> str:
    r"""The text on one line, with Markdown's special characters escaped by \."""
    return "".join(f"\\{c}" if c in r"\`*|<[&" else c for c in one_line(text))


def code(text: object) -> str:
    """The text on one line, in the type of a program; it cannot end that itself."""
    return "`" + one_line(text).replace("`", "'") + "`"
