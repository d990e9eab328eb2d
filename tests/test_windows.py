"""Windows' own calls on Windows; elsewhere, that no module needs what Windows has not."""

import ast
import os
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "recsweep"
POSIX_ONLY = {"fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"}
ONLY_THERE = pytest.mark.skipif(sys.platform != "win32", reason="this is not Windows")


def imported_whatever_the_system(module: Path) -> set[str]:
    """Modules that an import of this one always loads."""
    statements = ast.parse(module.read_text(encoding="utf-8")).body
    return {
        name.name.partition(".")[0]
        for statement in statements
        if isinstance(statement, ast.Import)
        for name in statement.names
    } | {str(each.module) for each in statements if isinstance(each, ast.ImportFrom)}


def test_no_module_of_the_package_always_imports_what_only_posix_has() -> None:
    found = {
        f"{module.relative_to(PACKAGE)}: {name}"
        for module in PACKAGE.rglob("*.py")
        for name in imported_whatever_the_system(module) & POSIX_ONLY
    }
    assert found == set()


def test_one_module_alone_knows_how_the_system_locks_files() -> None:
    texts = {file: file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py")}
    (found,) = [file for file, text in texts.items() if "import fcntl" in text]
    assert found == PACKAGE / "sweeps" / "storage" / "file_locks.py"


def test_types_are_checked_for_all_three_systems() -> None:
    makefile = PACKAGE.parent / "Makefile"
    if not makefile.exists():
        pytest.skip("this is no checkout")
    (line,) = [line for line in makefile.read_text().splitlines() if line.startswith("types:")]
    assert all(f" types-{name} " in line for name in ("linux", "darwin", "win32"))


@ONLY_THERE
def test_this_machine_has_memory_left_and_this_process_uses_some() -> None:
    from recsweep import windows

    assert 1 << 20 < windows.available_bytes() < 1 << 50
    assert 1 << 20 < windows.peak_bytes() < 1 << 40


@ONLY_THERE
def test_this_process_runs_and_an_absent_one_does_not() -> None:
    from recsweep import windows

    assert windows.is_alive(os.getpid())
    assert not windows.is_alive(0x7FFFFFFC)
