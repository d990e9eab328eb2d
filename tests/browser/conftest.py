"""The browser of these tests, and where its pictures are kept."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TIMEOUT_MS = 60_000


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """A headless Chromium; another one is named by RECSWEEP_CHROMIUM."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="the extra browser is not installed"
    )
    chromium = os.environ.get("RECSWEEP_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no program chromium")
    sync_api.expect.set_options(timeout=TIMEOUT_MS)
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The folder of the screenshots; RECSWEEP_SCREENSHOTS=FOLDER keeps them."""
    folder = Path(os.environ.get("RECSWEEP_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
