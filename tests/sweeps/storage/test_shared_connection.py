"""A process's only connection: what its threads do in one transaction, all or nothing."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from recsweep.sweeps.storage.backends import make_locks, open_storage
from recsweep.sweeps.storage.database_storage import DatabaseStorage

pytestmark = pytest.mark.postgres


@pytest.fixture
def storage(postgres_url: str, tmp_path: Path) -> Iterator[DatabaseStorage]:
    opened = open_storage(postgres_url, tmp_path)
    assert isinstance(opened, DatabaseStorage)
    yield opened
    opened.engine.dispose()


def test_a_process_has_one_connection_for_all_its_threads(
    storage: DatabaseStorage, postgres_url: str, tmp_path: Path
) -> None:
    study = optuna.create_study(storage=storage, study_name="study")
    locks = make_locks(postgres_url, tmp_path, "study", storage)
    leases = [locks.lease(number) for number in range(3)]
    assert None not in leases
    counts: list[int] = []

    def work() -> None:
        with locks.mutex():
            study.set_user_attr("a", 1)
            counts.append(
                storage.connection.scalar(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                )
            )

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [1, 1, 1]
    for lease in leases:
        assert lease is not None
        assert lease.is_held()
        lease.release()


def test_what_fails_inside_a_transaction_leaves_nothing(
    storage: DatabaseStorage, postgres_url: str, tmp_path: Path
) -> None:
    study = optuna.create_study(storage=storage, study_name="study")
    locks = make_locks(postgres_url, tmp_path, "study", storage)
    kept = locks.lease(1)

    def fail() -> None:
        with locks.mutex():
            study.set_user_attr("a", 1)
            assert study.user_attrs == {"a": 1}
            assert locks.lease(2) is not None
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert study.user_attrs == {}
    assert not locks.is_leased(2), "taken in vain"
    assert kept is not None
    assert kept.is_held()
    kept.release()


def test_sessions_end_soon_after_their_host_has_vanished(storage: DatabaseStorage) -> None:
    names = (
        "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count",
        "tcp_user_timeout", "idle_in_transaction_session_timeout",
    )  # fmt: skip
    with storage.connection.statements() as connection:
        found = [connection.execute(sqlalchemy.text(f"SHOW {name}")).scalar() for name in names]
    idle, interval, count, _, stopped = found
    assert int(idle) + int(interval) * int(count) <= 60
    assert stopped == "1min"


def test_a_closed_connection_stays_closed(
    storage: DatabaseStorage, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsweep.sweeps.storage.shared_connection.BEAT_S", 0.2)
    lease = make_locks(postgres_url, tmp_path, "study", storage).lease(1)
    assert lease is not None
    lease.release()
    storage.engine.dispose()
    time.sleep(1.0)
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    watcher = sqlalchemy.create_engine(postgres_url)
    with watcher.connect() as connection:
        assert connection.execute(sqlalchemy.text(count)).scalar() == 1
    watcher.dispose()


def test_a_read_inside_a_session_of_optuna_shares_its_connection(storage: DatabaseStorage) -> None:
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    study.tell(trial, 1.0)
    refusals: list[type[BaseException]] = []

    def finish_again() -> None:
        try:
            storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError as error:
            refusals.append(type(error))

    thread = threading.Thread(target=finish_again, daemon=True)  # it may wait without end
    thread.start()
    thread.join(timeout=30)
    assert refusals == [UpdateFinishedTrialError]
    assert storage.connection.scalar("SELECT 1") == 1  # and gives the connection back
