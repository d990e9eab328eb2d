"""Leases that end with a session of PostgreSQL; what holds for every kind is in test_locks.py."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from postgres_server import end_sessions

from recsweep.sweeps.storage.backends import make_locks
from recsweep.sweeps.storage.errors import StorageError

pytestmark = pytest.mark.postgres


def test_a_lease_of_a_lost_session_is_taken_again(postgres_url: str, tmp_path: Path) -> None:
    locks, others = (make_locks(postgres_url, tmp_path, "study") for _ in range(2))
    lease = locks.lease(1)
    assert lease is not None
    assert lease.n_gaps == 0
    end_sessions(postgres_url)
    assert lease.is_held()
    assert lease.n_gaps == 1
    assert others.is_leased(1)
    assert others.lease(1) is None
    lease.release()
    assert not others.is_leased(1)


def test_a_lease_that_another_process_has_taken_meanwhile_is_lost(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsweep.sweeps.storage.shared_connection.BEAT_S", 3600.0)
    locks, others = (make_locks(postgres_url, tmp_path, "study") for _ in range(2))
    lease = locks.lease(1)
    assert lease is not None
    others.is_leased(1)
    end_sessions(postgres_url)
    other = others.lease(1)
    assert other is not None
    assert not lease.is_held()
    assert other.is_held()
    assert other.n_gaps == 0
    other.release()
    assert lease.is_held()
    assert lease.n_gaps == 1


def test_a_process_that_was_stopped_in_the_mutex_does_not_stop_the_others(
    postgres_url: str, tmp_path: Path
) -> None:
    hold = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from recsweep.sweeps.storage import shared_connection as shared\n"
        "from recsweep.sweeps.storage.backends import make_locks\n"
        "assert \"'60s'\" in shared.SETTINGS\n"
        "shared.SETTINGS = shared.SETTINGS.replace('60s', '2s')\n"
        "with make_locks(sys.argv[1], Path('.'), 'study').mutex():\n"
        "    print('in', flush=True); time.sleep(600)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, postgres_url], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "in\n"
        holder.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        with make_locks(postgres_url, tmp_path, "study").mutex():
            assert time.monotonic() - began < 30
    finally:
        holder.kill()
        holder.communicate()


def test_a_server_that_is_not_there_is_one_line_without_password(tmp_path: Path) -> None:
    locks = make_locks("postgresql+psycopg://me:secret@127.0.0.1:1/studies", tmp_path, "study")
    with pytest.raises(StorageError, match=r"^sweep\.storage must be .*127\.0\.0\.1.*") as caught:
        locks.lease(1)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
