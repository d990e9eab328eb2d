"""What the tests of sweeps share: a PostgreSQL server, and databases on it."""

import itertools
from collections.abc import Iterator

import pytest
from postgres_server import binaries, postgres_server

_counter = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A private server; the address of its database `postgres`, password included."""
    if binaries() is None:
        pytest.skip("PostgreSQL's initdb and pg_ctl are not here")
    pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    with postgres_server("fsync=off") as url:
        yield url


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """The address of an empty database of the test's own."""
    import sqlalchemy

    name = f"sweep_{next(_counter)}"
    server = sqlalchemy.create_engine(postgres, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    yield postgres.removesuffix("postgres") + name
    with server.connect() as connection:
        connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()
