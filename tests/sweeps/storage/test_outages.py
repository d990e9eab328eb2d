"""Databases that go away: calls wait, and say in one line when they no longer do."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from postgres_server import Server, mortal_postgres
from sqlalchemy.exc import OperationalError

from recsweep.sweeps.storage.database import parse_address, redact_address
from recsweep.sweeps.storage.errors import StorageError, StorageLostError
from recsweep.sweeps.storage.outages import Outages, is_outage


@pytest.fixture(scope="module")
def mortal() -> Iterator[Server]:
    """A server with few connections."""
    pytest.importorskip("psycopg")
    settings = ("fsync=off", "max_connections=6", "superuser_reserved_connections=0")
    with mortal_postgres(*settings) as server:
        yield server


def ask(engine: sqlalchemy.Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(sqlalchemy.text("SELECT 7")).scalar_one())


@pytest.mark.postgres
def test_a_call_waits_until_the_server_is_there_again(
    mortal: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = sqlalchemy.create_engine(mortal.url)
    outages = Outages(redact_address(mortal.url), 60.0, is_announced=True)
    assert outages.wait(lambda: ask(engine)) == 7
    mortal.control("stop", "-m", "immediate")
    again = threading.Timer(2.0, mortal.control, ["start"])
    again.start()
    began = time.monotonic()
    assert outages.wait(lambda: ask(engine)) == 7
    again.join()
    assert time.monotonic() - began > 1.5
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("warning: postgresql+psycopg://sweeper:***@127.0.0.1:")
    assert first.endswith("waiting up to 60 s, see sweep.outage_timeout_s")
    assert last.startswith("the database responds again after ")
    engine.dispose()


@pytest.mark.postgres
def test_an_outage_that_lasts_too_long_is_one_line_and_is_waited_for_once(mortal: Server) -> None:
    engine = sqlalchemy.create_engine(mortal.url)
    outages = Outages(redact_address(mortal.url), 1.5)
    mortal.control("stop", "-m", "immediate")
    try:
        with pytest.raises(StorageLostError, match=r"^sweep.storage did not respond: .* 2 s \("):
            outages.wait(lambda: ask(engine))
        began = time.monotonic()
        with pytest.raises(StorageLostError):
            outages.wait(lambda: ask(engine))
        assert time.monotonic() - began < 1
    finally:
        mortal.control("start")
    assert outages.wait(lambda: ask(engine)) == 7
    engine.dispose()


def test_a_server_that_says_nothing_is_away() -> None:
    pytest.importorskip("psycopg")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # as behind a link that is cut
        port = silent.getsockname()[1]
        engine = sqlalchemy.create_engine(
            f"postgresql+psycopg://ann@127.0.0.1:{port}/studies",
            connect_args={"connect_timeout": "2"},
        )
        with pytest.raises(OperationalError, match="timeout expired") as caught:
            ask(engine)
    assert is_outage(caught.value)


@pytest.mark.postgres
def test_a_server_without_a_free_connection_is_not_waited_for_at_first(mortal: Server) -> None:
    pool = {"pool_size": 1, "max_overflow": 0}
    engines = [sqlalchemy.create_engine(mortal.url, **pool) for _ in range(6)]
    held = [engine.connect() for engine in engines]
    one = sqlalchemy.create_engine(mortal.url)
    began = time.monotonic()
    with pytest.raises(OperationalError, match="too many clients"):
        Outages("", 60.0).wait(lambda: ask(one))
    assert time.monotonic() - began < 5
    later = Outages("", 60.0)
    later.wait(lambda: None)

    def free() -> None:
        held[0].close()
        engines[0].dispose()  # before the close it would keep the connection

    threading.Timer(1.0, free).start()
    time.sleep(0.1)
    assert later.wait(lambda: ask(one)) == 7
    for connection, engine in zip(held, engines, strict=True):
        connection.close()
        engine.dispose()
    one.dispose()


def test_other_errors_are_not_repeated(tmp_path: Path) -> None:
    calls = []

    def break_() -> None:
        calls.append(1)
        raise StorageError("no space left")

    with pytest.raises(StorageError, match="no space left"):
        Outages("", 60.0).wait(break_)
    assert len(calls) == 1
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/absent/s.db")
    with pytest.raises(OperationalError) as caught:
        ask(engine)
    assert not is_outage(caught.value), "a file is no server"


@pytest.mark.postgres
def test_a_wrong_password_is_no_outage(postgres: str) -> None:
    address = parse_address(postgres.replace("sesame-17", "another"))
    with pytest.raises(OperationalError) as caught:
        ask(sqlalchemy.create_engine(address))
    assert not is_outage(caught.value)
    assert not is_outage(None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ConnectionFailure", True), ("AdminShutdown", True), ("CannotConnectNow", True),
        ("SerializationFailure", True), ("UndefinedTable", False), ("InvalidPassword", False),
        ("UniqueViolation", False),
    ],
)  # fmt: skip
def test_only_what_may_pass_is_an_outage(name: str, expected: bool) -> None:
    error = getattr(pytest.importorskip("psycopg").errors, name)()
    assert is_outage(sqlalchemy.exc.DBAPIError("SELECT 7", {}, error)) is expected
