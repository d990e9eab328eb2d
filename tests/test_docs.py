"""README and docs: every block that is shown runs as pasted, in bash and zsh, and promises no more.

Bash runs everything. To zsh it is enough that each command gets the same words: `make test-all`
runs everything there, too.

A page's blocks run from top to bottom in one empty folder. A `text` block directly below is what is
printed, where `…` stands for anything. `<!-- not run: REASON -->` above a block exempts it.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WRITTEN_BY_THE_BUILD = {"changelog.md", "configuration.md", "errors.md"}
HAS_A_TEST_OF_ITS_OWN = {"extending.md"}
PAGES = [
    ROOT / "README.md",
    *sorted(
        file
        for file in (ROOT / "docs").glob("*.md")
        if file.name not in WRITTEN_BY_THE_BUILD | HAS_A_TEST_OF_ITS_OWN
    ),
]
SHELLS = {"bash": ["bash", "--norc", "-e", "-c"], "zsh": ["zsh", "-f", "-e", "-c"]}
LIMIT_S = 900
N_EXEMPT = 20
"""Blocks that need a download, a server that stays up, a GPU, a cluster or an installation."""

BLOCK = re.compile(
    r"(?:^<!-- (?P<note>not run: .+?|excerpt) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Args:
        page: The page's file.
        line: Number of its first line in the page.
        language: `bash`, `console` or `python`.
        text: What is pasted.
        exempt: Why it is not run; empty = it is.
        promise: What it prints, by the page; empty = nothing is said.
    """

    page: Path
    line: int
    language: str
    text: str
    exempt: str
    promise: str

    def __str__(self) -> str:
        return f"{self.page.name}, line {self.line}:\n{self.text}"


def blocks(page: Path) -> Iterator[Block]:
    """The blocks that somebody could paste."""
    text = page.read_text(encoding="utf-8")
    found = list(BLOCK.finditer(text))
    for at, block in enumerate(found):
        if block["language"] not in {"bash", "console", "python"}:
            continue
        pasted, promise = block["text"], ""
        below = found[at + 1] if at + 1 < len(found) else None
        if block["language"] == "console":
            lines = pasted.splitlines(keepends=True)
            pasted = "".join(line.removeprefix("$ ") for line in lines if line.startswith("$ "))
            promise = "".join(line for line in lines if not line.startswith("$ "))
        elif below and below["language"] == "text" and not below["note"]:
            promise = below["text"] if text[block.end() : below.start()].isspace() else ""
        line = text.count("\n", 0, block.start("text")) + 1
        exempt = (block["note"] or "").removeprefix("not run: ")
        yield Block(page, line, block["language"], pasted, exempt, promise)


ALL = [block for page in PAGES for block in blocks(page)]


def keeps(promise: str, printed: str) -> bool:
    """Whether the promised lines are among what was printed, in their order."""
    lines = [
        r"(?:.*\n)*?" if line.strip() == "…" else ".*?".join(map(re.escape, line.split("…"))) + "\n"
        for line in promise.splitlines()
    ]
    plain = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
    return re.search("^" + "".join(lines), plain, re.MULTILINE) is not None


def test_a_promise_is_kept_only_by_its_own_lines() -> None:
    assert keeps("one\n…\nfour\n", "zero\none\ntwo\nthree\nfour\n")
    assert keeps("one … three\n", "one 2 three\n")
    assert not keeps("one\ntwo\n", "one\nand\ntwo\n")
    assert not keeps("one\n", "someone else\n")


def test_blocks_that_are_not_run_say_why_and_are_counted() -> None:
    exempt = [f"{block.page.name}: {block.exempt}" for block in ALL if block.exempt]
    assert len(exempt) <= N_EXEMPT, exempt
    assert len(ALL) - len(exempt) > 3 * len(exempt), "most blocks run"


def test_names_to_be_filled_in_stand_only_in_blocks_that_are_not_run() -> None:
    for block in ALL:
        placeholders = re.findall(r"\b(?:FOLDER|FILE|STUDY|RUN|NAME|KEY|VALUE)\b", block.text)
        assert block.exempt or not placeholders, str(block)


@pytest.fixture
def environment(tmp_path: Path, ml_100k: Path) -> dict[str, str]:
    """That of a user whose MovieLens 100K is in the cache, with this Python first on the path."""
    downloads = tmp_path / "cache" / "recsweep" / "downloads" / "ml-100k"
    downloads.mkdir(parents=True)
    shutil.copy(ml_100k, downloads)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "XDG_CACHE_HOME": str(tmp_path / "cache")}


@pytest.mark.docs
@pytest.mark.parametrize("shell", ["bash", pytest.param("zsh", marks=pytest.mark.slow)])
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_a_page_runs_as_pasted(
    page: Path, shell: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    assert shutil.which(shell), f"{shell} must be installed: every block is for both shells"
    here = tmp_path / "here"
    here.mkdir()
    for block in blocks(page):
        if block.exempt:
            continue
        start = [sys.executable, "-c"] if block.language == "python" else SHELLS[shell]
        ended = subprocess.run(
            [*start, block.text], cwd=here, env=environment, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=LIMIT_S, check=False,
        )  # fmt: skip
        printed = ended.stdout + ended.stderr
        if block.language != "console":  # which may show a mistake
            assert ended.returncode == 0, f"{block}\n{printed[-3000:]}"
        assert keeps(block.promise, printed), f"{block}\npromises\n{block.promise}\nnot\n{printed}"


RECORDER = r"""#!/bin/sh
for word in "$@"; do printf '%s\0' "$word" >> "$WORDS"; done
printf '\n\0' >> "$WORDS"
"""


def words(block: Block, shell: str, folder: Path) -> list[str]:
    """What each `python` of a block is called with by a shell; `$(…)` inserts nothing.

    Args:
        block: A block of a shell.
        shell: `bash` or `zsh`.
        folder: An empty folder.
    """
    recorder, written = folder / "bin" / "python", folder / "words"
    recorder.parent.mkdir(parents=True)
    recorder.write_text(RECORDER, "utf-8")
    recorder.chmod(0o755)
    path = os.pathsep.join([str(recorder.parent), os.environ["PATH"]])
    start = [option for option in SHELLS[shell] if option != "-e"]
    subprocess.run(
        [*start, block.text], cwd=folder, env={**os.environ, "PATH": path, "WORDS": str(written)},
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    return written.read_text("utf-8").split("\0") if written.exists() else []


def test_a_shell_that_reads_a_block_otherwise_is_noticed(tmp_path: Path) -> None:
    block = Block(ROOT / "README.md", 1, "bash", "python -m recsweep k=[5,10] 'a=(b)'\n", "", "")
    assert words(block, "bash", tmp_path) == ["-m", "recsweep", "k=[5,10]", "a=(b)", "\n", ""]
    if shutil.which("zsh"):
        assert words(block, "zsh", tmp_path / "zsh") == []  # no file has a name like k=[5,10]


def test_fish_can_read_every_block_of_the_readme(tmp_path: Path) -> None:
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    script = tmp_path / "block.fish"
    for block in blocks(ROOT / "README.md"):
        script.write_text(block.text, "utf-8")
        fish = ["fish", "--no-execute", str(script)]
        if block.language != "python":
            read = subprocess.run(fish, capture_output=True, text=True, timeout=60, check=False)
            assert not read.stderr, f"{block}\n{read.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_zsh_gives_each_command_the_words_that_bash_gives_it(page: Path, tmp_path: Path) -> None:
    if not shutil.which("zsh"):
        pytest.skip("zsh is not installed")
    shown = [block for block in blocks(page) if block.language != "python" and not block.exempt]
    for n, block in enumerate(shown):
        found = [words(block, shell, tmp_path / shell / str(n)) for shell in SHELLS]
        assert found[0] == found[1], str(block)
        assert found[0] or "python" not in block.text, str(block)
