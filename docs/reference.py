"""Pages written from the code: every setting, every message, and the changelog."""

import ast
import re
from collections.abc import Sequence
from pathlib import Path

from sphinx.application import Sphinx

from recsweep.command_help import GROUPS, Setting, files_of, read_choice, top_settings

DOCS = Path(__file__).parent
ROOT = DOCS.parent
CONF = ROOT / "conf"

MADE = "<!-- written by docs/reference.py when the site is built -->\n\n"


def setup(_app: Sphinx) -> dict[str, bool]:
    """Write the pages before Sphinx looks for them."""
    for name, text in (
        ("configuration", configuration_page()),
        ("errors", errors_page()),
        ("changelog", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")),
    ):
        write(DOCS / f"{name}.md", MADE + text)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write(file: Path, text: str) -> None:
    """Replace a file if its text changed, so that an unchanged page is not built again."""
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")


# --- settings -------------------------------------------------------------------------------------


def configuration_page() -> str:
    """Every key of every YAML file in `conf/`, with its default and its comment."""
    parts = [
        "# Configuration",
        "Every setting, with its default. `python -m recsweep --cfg job` prints those of a "
        "command; a setting is changed by `key=value` and a group by `group=choice`.",
        "## Top level",
        table(top_settings()),
    ]
    for group, meaning in GROUPS.items():
        parts += [f"## `{group}`", f"{meaning[0].upper()}{meaning[1:]}."]
        for name, file in files_of(group, [CONF]).items():
            choice = read_choice(file, group)
            parts += [f"### `{group}={name}`", f"{choice.description.removesuffix('.')}."]
            parts += [table(choice.settings), choice.notes]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(settings: Sequence[Setting]) -> str:
    """A row per setting: its whole name, its default, its comment."""
    if not settings:
        return ""
    rows = [
        f"| `{each.key}` | `{cell(each.default)}` | {cell(each.meaning)} |" for each in settings
    ]
    return "\n".join(["| setting | default | |", "| --- | --- | --- |", *rows])


def cell(text: str) -> str:
    """Text whose bars do not end a cell."""
    return text.replace("|", r"\|")


# --- messages -------------------------------------------------------------------------------------


def errors_page() -> str:
    """The messages that stand in the code, by the part that they come from."""
    parts = [
        "# Messages",
        "Most messages that a command can end with: what is wrong, what was found, and after the "
        "semicolon what to do. `…` stands for a name, a number or a file. Others are made of "
        "several parts, or quote what another library says. `debug=true` shows where a message "
        "comes from.",
    ]
    for title, found in sorted(messages_by_part().items()):
        parts.append(f"## {title}")
        parts += [f"- {text}" for text in sorted(found, key=str.lower)]
    return "\n\n".join(parts) + "\n"


def messages_by_part() -> dict[str, set[str]]:
    """The part's name -> its messages as templates."""
    found: dict[str, set[str]] = {}
    for file in sorted((ROOT / "recsweep").rglob("*.py")):
        part = file.relative_to(ROOT / "recsweep").parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and is_error(node.func):
                text = template(node.args[0])
                if text.strip("… "):
                    found.setdefault(part.replace("_", " "), set()).add(as_markdown(text))
    return found


def is_error(function: ast.expr) -> bool:
    """Whether an expression names an error that is shown to users."""
    name = function.id if isinstance(function, ast.Name) else ""
    return name in {"InputError", "StorageError", "TrainingDivergedError"}


def template(node: ast.expr) -> str:
    """The text of an f-string with `…` for what is inserted."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(template(value) for value in values)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return template(left) + template(right)
        case _:
            return "…"


def as_markdown(text: str) -> str:
    """A message whose characters mean themselves."""
    return re.sub(r"([\\`*_<>\[\]{}|~#])", r"\\\1", re.sub("…+", "…", " ".join(text.split())))
