"""The configuration of the toy study whose trials are claimed."""

from pathlib import Path
from typing import Any

import pytest
from plans import toy_config


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """Of a toy model, with a cache of the test's own."""
    return toy_config(tmp_path)
