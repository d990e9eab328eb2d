"""What the fault tests share: counts over all of them, and a cache."""

from collections import Counter
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def totals() -> Counter[str]:
    """What was done to all sweeps, and what it cost them."""
    return Counter()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data and compiled programs, for all sweeps."""
    return tmp_path_factory.mktemp("cache")
