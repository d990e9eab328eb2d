"""Parts of Markdown: tables, lists, and text as it is."""

from collections.abc import Iterable, Sequence


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
    r"""The text with Markdown's special characters escaped by \."""
    return "".join(f"\\{letter}" if letter in r"\`*|<[" else letter for letter in text)
