"""Leases that end with a session of PostgreSQL; what holds for every kind is in test_locks.py."""

from pathlib import Path

import pytest

from recsweep.sweeps.storage.backends import make_locks
from recsweep.sweeps.storage.errors import StorageError

pytestmark = pytest.mark.postgres


def test_a_lost_session_is_a_lost_lease(postgres_url: str, tmp_path: Path) -> None:
    import sqlalchemy

    locks = make_locks(postgres_url, tmp_path, "study")
    lease = locks.lease(1)
    assert lease is not None
    server = sqlalchemy.create_engine(postgres_url)
    with server.connect() as connection:
        connection.execute(
            sqlalchemy.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
        )
    server.dispose()
    assert not lease.is_held()
    assert not lease.is_held()
    other = locks.lease(1)
    assert other is not None
    lease.release()
    assert other.is_held()
    other.release()


def test_a_server_that_is_not_there_is_one_line_without_password(tmp_path: Path) -> None:
    locks = make_locks("postgresql+psycopg://me:secret@127.0.0.1:1/studies", tmp_path, "study")
    with pytest.raises(StorageError, match=r"^sweep\.storage must be .*127\.0\.0\.1.*") as caught:
        locks.lease(1)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
