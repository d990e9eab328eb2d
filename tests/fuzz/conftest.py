"""Prints how many cases the fuzz tests had, and what came of them."""

from typing import Any

import pytest
from fuzz.cases import COUNTS


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands its counts over."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["fuzz"] = dict(COUNTS)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """The session collects them."""
    COUNTS.update(getattr(node, "workeroutput", {}).get("fuzz", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line at the end."""
    if COUNTS:
        parts = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(COUNTS.items()))
        terminalreporter.write_line(f"fuzz: {COUNTS.total():,} cases: {parts}")
