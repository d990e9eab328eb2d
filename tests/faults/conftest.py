"""What the fault tests share: counts over all of them, and a PostgreSQL server."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_server import binaries, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a private server's database."""
    if binaries() is None:
        pytest.skip("PostgreSQL's initdb and pg_ctl are not here")
    pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    with postgres_server("fsync=off") as url:
        yield url


@pytest.fixture(scope="session")
def totals() -> Counter[str]:
    """What was done to all sweeps, and what it cost them."""
    return Counter()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data and compiled programs, for all sweeps."""
    return tmp_path_factory.mktemp("cache")
