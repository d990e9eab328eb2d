"""What the tests of sweeps share: databases on PostgreSQL, and sweeps without plots."""

import itertools
import signal
from collections.abc import Iterator

import pytest

from recsweep.sweeps.execution.interrupt import SIGNALS

_counter = itertools.count()


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


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps draw no plots, which takes longer than all else; others see to it that they do."""
    monkeypatch.setattr("recsweep.sweeps.reporting.plots.write_plots", lambda *_: [])
    monkeypatch.setattr("recsweep.report.plot_curves", lambda *_: None)


@pytest.fixture
def handlers_of_python() -> Iterator[None]:
    """Signals raise KeyboardInterrupt in this test, whatever ran before."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
