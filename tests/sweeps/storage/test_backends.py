"""Studies in a journal, in SQLite and in PostgreSQL."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.testing.pytest_storages import StorageTestCase

from recsweep.sweeps.storage.backends import open_storage

TOGETHER = """
import os, sys
from pathlib import Path
import optuna
from recsweep.sweeps.storage.backends import make_locks
from recsweep.sweeps.storage.backends import open_storage

optuna.logging.set_verbosity(optuna.logging.ERROR)
url, folder, n_trials = sys.argv[1] or None, Path(sys.argv[2]), int(sys.argv[3])

def work():
    study = optuna.create_study(
        storage=open_storage(url, folder), study_name="study", load_if_exists=True
    )
    locks = make_locks(url, folder, "study")
    for i in range(n_trials):
        with locks.mutex():
            trial = study.ask()
        for step in range(3):
            trial.report(trial.suggest_float("x", 0, 1), step)
        study.tell(trial, 1.0)

children = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    children.append(child)
print(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


def run(code: str, *arguments: object) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.strip()


@pytest.fixture(params=["journal", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    addresses: dict[str, Callable[[], str | None]] = {
        "journal": lambda: None,
        "sqlite": lambda: f"sqlite:///{tmp_path}/studies.db",
        "postgres": lambda: request.getfixturevalue("postgres_url"),
    }
    return addresses[request.param]()


def test_a_study_is_found_again(url: str | None, tmp_path: Path) -> None:
    study = optuna.create_study(storage=open_storage(url, tmp_path), study_name="study")
    study.set_user_attr("identity", {"data": "ml-20m"})
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    study.tell(trial, 0.25)
    again = optuna.load_study(storage=open_storage(url, tmp_path), study_name="study")
    assert again.user_attrs == {"identity": {"data": "ml-20m"}}
    assert [(t.number, t.value, t.params) for t in again.trials] == [(0, 0.25, trial.params)]


@pytest.mark.extended
def test_eight_processes_that_begin_at_once_hinder_nobody(url: str | None, tmp_path: Path) -> None:
    assert run(TOGETHER, url or "", tmp_path, 1) == "0"
    trials = optuna.load_study(storage=open_storage(url, tmp_path), study_name="study").trials
    assert [trial.number for trial in trials] == list(range(8))
    assert {(trial.state.name, len(trial.intermediate_values)) for trial in trials} == {
        ("COMPLETE", 3)
    }


# --- Optuna's own tests of a storage ----------------------------------------------------------


@pytest.mark.extended
class TestOptunasTestsOfAJournal(StorageTestCase):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> BaseStorage:
        return open_storage(None, tmp_path)


@pytest.mark.extended
class TestOptunasTestsOfSQLite(StorageTestCase):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[BaseStorage]:
        opened = open_storage(f"sqlite:///{tmp_path}/studies.db", tmp_path)
        yield opened
        opened.remove_session()


@pytest.mark.postgres
class TestOptunasTestsOfPostgreSQL(StorageTestCase):
    @pytest.fixture
    def storage(self, postgres_url: str, tmp_path: Path) -> Iterator[BaseStorage]:
        opened = open_storage(postgres_url, tmp_path)
        yield opened
        opened.remove_session()
