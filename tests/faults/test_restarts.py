"""Databases and trackers that go away and come back during a sweep: it waits and loses nothing."""

import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from postgres_server import Server, mortal_postgres
from small_runs import SMALL_DATA

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 400.0
SHORT = (
    "-m", *SMALL_DATA, "model=item_knn", "model.n_neighbors=int(interval(5,40))", "tracking=off",
    "sweep.max_failures=0", "sweep.final_seeds=1", "study=out",
)  # fmt: skip
"""A sweep whose trials take a fraction of a second, so that most of it is claims and tells."""


@pytest.fixture
def database() -> Iterator[Server]:
    """A server of the test's own."""
    pytest.importorskip("psycopg")
    with mortal_postgres("fsync=off") as server:
        yield server


class Sweep:
    """One command in a process of its own.

    Args:
        folder: Where it is typed.
        url: Storage.
        arguments: Beside `SHORT`.
    """

    def __init__(self, folder: Path, url: str, *arguments: str) -> None:
        self.url, self.log = url, folder / "log.txt"
        command = [
            sys.executable, "-m", "recsweep", *SHORT, f"sweep.storage={url}",
            f"cache_dir={folder}/cache", *arguments,
        ]  # fmt: skip
        settings = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=settings, stdout=log, stderr=log, start_new_session=True
            )

    def trials(self) -> list[FrozenTrial]:
        storage = optuna.storages.RDBStorage(self.url)
        try:
            return optuna.load_study(study_name="out", storage=storage).get_trials()
        finally:
            storage.engine.dispose()

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds, or the command has ended."""
        end = time.monotonic() + LIMIT_S
        while self.process.poll() is None and not holds():
            assert time.monotonic() < end, self.said()
            time.sleep(0.2)

    def n_done(self) -> int:
        """Trials that are finished; -1 while there are no tables."""
        import psycopg

        with suppress(psycopg.Error), psycopg.connect(self.url.replace("+psycopg", "")) as reader:
            found = reader.execute("SELECT count(*) FROM trials WHERE state <> 'RUNNING'")
            return int(found.fetchone()[0])
        return -1

    def code(self) -> int:
        return self.process.wait(LIMIT_S)

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def sweep_of(folder: Path, url: str, *arguments: str) -> Iterator[Sweep]:
    sweep = Sweep(folder, url, *arguments)
    try:
        yield sweep
    finally:
        if sweep.process.poll() is None:
            os.killpg(sweep.process.pid, 9)
            sweep.process.wait()


def assert_whole(sweep: Sweep, n_trials: int) -> None:
    """Each number once, none failed, none restarted, and an exit code of 0."""
    assert sweep.code() == 0, sweep.said()
    trials = sweep.trials()
    assert [trial.number for trial in trials] == list(range(n_trials))
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert not [trial for trial in trials if trial.user_attrs.get("n_deaths")], "nothing has died"
    assert "Traceback" not in sweep.said()


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("n_trials", "n_restarts"), [(30, 3), pytest.param(200, 20, marks=pytest.mark.slow)]
)
def test_a_database_that_restarts_costs_no_trial(
    tmp_path: Path, database: Server, n_trials: int, n_restarts: int
) -> None:
    chance = random.Random(n_restarts)  # noqa: S311 - no secret
    arguments = (f"sweep.n_trials={n_trials}", "sweep.n_workers=2")
    n_done = 0
    with sweep_of(tmp_path, database.url, *arguments) as sweep:
        sweep.until(lambda: sweep.n_done() >= 0)
        for place in range(n_restarts):
            sweep.until(lambda place=place: sweep.n_done() >= place * n_trials // n_restarts)
            time.sleep(chance.uniform(0, 0.5))
            n_done += sweep.process.poll() is None
            database.restart()
        assert_whole(sweep, n_trials)
    assert n_done == n_restarts, "every restart was during the sweep"


@pytest.mark.postgres
def test_workers_that_cannot_connect_are_named_once_and_the_others_work(tmp_path: Path) -> None:
    few = ("fsync=off", "max_connections=3", "superuser_reserved_connections=0")
    arguments = ("sweep.n_trials=30", "sweep.n_workers=4")
    with mortal_postgres(*few) as server, sweep_of(tmp_path, server.url, *arguments) as sweep:
        sweep.code()
        assert_whole(sweep, 30)
        said = sweep.said()
    assert said.count("sorry, too many clients already") == 1, said
    assert "warning: a worker ended, the others continue: sweep.storage must be " in said
    assert re.search(r"workers   [123] of 4 worked", said), said
    assert not list((tmp_path / "sweeps" / "out").glob(".failures*"))


@pytest.mark.postgres
def test_a_database_that_stays_away_ends_the_sweep_in_one_line_and_it_resumes(
    tmp_path: Path, database: Server
) -> None:
    arguments = ("sweep.n_trials=40", "sweep.n_workers=2", "sweep.outage_timeout_s=3")
    with sweep_of(tmp_path, database.url, *arguments) as sweep:
        sweep.until(lambda: sweep.n_done() >= 1)
        database.control("stop", "-m", "immediate")
        assert sweep.code() == 1, sweep.said()
        said = sweep.said()
    database.control("start")
    assert "Traceback" not in said
    assert said.count("does not respond") == 1, said
    assert "sweep.storage did not respond: " in said.splitlines()[-1]
    with sweep_of(tmp_path, database.url, *arguments) as sweep:
        assert sweep.code() == 0, sweep.said()
        assert [trial.number for trial in sweep.trials()] == list(range(40))
        assert {trial.state for trial in sweep.trials()} == {TrialState.COMPLETE}
