"""Where the pictures of the browser are kept."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The folder of the screenshots; RECSWEEP_SCREENSHOTS=FOLDER keeps them."""
    folder = Path(os.environ.get("RECSWEEP_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
