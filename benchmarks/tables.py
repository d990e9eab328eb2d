"""The tables of a benchmark: Markdown as rows come and, with --json FILE, figures as JSON."""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve")
"""Instruction sets that decide how fast products of matrices are."""


def machine() -> dict[str, Any]:
    """Processor, instruction sets, cores and load now, and the commit that is measured."""
    file = Path("/proc/cpuinfo")
    text = file.read_text("utf-8") if file.exists() else ""
    name = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*: (.*)$", text, re.MULTILINE)
    known = flags[1].split() if flags else []
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"],  # noqa: S607 - on the path
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return {
        "cpu": name[1] if name else platform.processor() or platform.machine(),
        "instructions": [each for each in INSTRUCTIONS if each in known],
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d"),
    }


def shown(value: Any, form: str) -> str:
    """A cell: a list is its median and range, a pair a value ± its error, None unknown."""
    if value is None:
        return "–"
    if isinstance(value, list):
        middle, *ends = (format(f(value), form) for f in (statistics.median, min, max))
        return f"{middle} ({' to '.join(ends)})"
    if isinstance(value, tuple):
        return " ± ".join(format(each, form) for each in value)
    return value if isinstance(value, str) else format(value, form)


def at_least(least: int) -> Callable[[str], int]:
    """The type of an option: an integer that is not below `least`."""

    def integer(text: str) -> int:
        if not re.fullmatch(r"-?\d+", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be an integer of at least {least}, not {text}")
        return int(text)

    return integer


def existing(inside: str = "") -> Callable[[str], Path]:
    """The type of an option: a file or folder that exists, with the file `inside` it."""

    def path(text: str) -> Path:
        if not Path(text, inside).exists():
            raise argparse.ArgumentTypeError(f"there is no {Path(text, inside)}")
        return Path(text)

    return path


def _to_write(text: str) -> Path:
    if not Path(text).parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {Path(text).parent}")
    return Path(text)


class Tables:
    """Prints tables and, at the end, what was measured where.

    Args:
        file: Gets everything as JSON at the end; None = it is only printed.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file, self.tables, self.machine = file, list[dict[str, Any]](), machine()
        self._forms: list[str] = []

    @staticmethod
    def add_option(parser: argparse.ArgumentParser) -> None:
        """--json FILE."""
        parser.add_argument("--json", type=_to_write, metavar="FILE",
                            help="write figures and machine to it, too")  # fmt: skip

    def begin(self, *columns: tuple[str, str] | str, title: str = "") -> None:
        """A new table.

        Args:
            columns: Heads with the format of their numbers; a head alone is a column of text.
            title: A line above the table.
        """
        pairs = [(each, "") if isinstance(each, str) else each for each in columns]
        self._forms = [form for _, form in pairs]
        heads = [head for head, _ in pairs]
        self.tables.append({"title": title, "columns": heads, "rows": []})
        if title or len(self.tables) > 1:
            print(f"{title}\n" if title else "")
        rule = ["---:" if form else "---" for form in self._forms]
        print(f"| {' | '.join(heads)} |\n| {' | '.join(rule)} |", flush=True)

    def add(self, *values: float | str | Sequence[float] | None) -> None:
        """A row of the table that was begun last; see `shown`."""
        cells = [shown(*each) for each in zip(values, self._forms, strict=True)]
        print(f"| {' | '.join(cells)} |", flush=True)
        self.tables[-1]["rows"].append(values)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        here = self.machine
        sets = ", ".join(here["instructions"]) or "unknown instruction sets"
        print(f"\n{here['cores']} cores of {here['cpu']} ({sets}), load {here['load']} before, "
              f"commit {here['commit']}")  # fmt: skip
        if self.file:
            whole = {"machine": here, "tables": self.tables}
            self.file.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", "utf-8")
