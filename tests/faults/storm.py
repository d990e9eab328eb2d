"""A sweep on the command line that is struck: killed, stopped and interrupted at chosen moments."""

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from faults.processes import MARK, processes, send, wait_until_gone, workers
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from small_runs import SMALL_DATA

from recsweep.sweeps.storage.backends import make_locks
from recsweep.sweeps.storage.locks import FileLease
from recsweep.sweeps.storage.postgres_locks import PostgresLocks

ROOT = Path(__file__).resolve().parents[2]
N_SEEDS = 2
SMALL_SWEEP = (
    "-m", *SMALL_DATA, "model=multivae", "model.hidden_dims=[16]", "model.latent_dim=8",
    "model.beta_warmup_steps=0", "sweep.max_retries=100", "sweep.max_failures=0",
    f"sweep.final_seeds={N_SEEDS}",
)  # fmt: skip
PATIENCE_S = 300.0
"""How long a moment is waited for; the end of all trials is one, too."""
POLL_S = 0.002


class Strike(NamedTuple):
    """What is done, and when.

    Args:
        moment: One of `Sweep.moments`.
        what: One of `Sweep.strikes`.
    """

    moment: str
    what: str


@dataclass
class Sweep:
    """One command, typed again until it exits with 0.

    Args:
        folder: Where it is typed.
        study: Its name.
        n_trials: That are to be finished.
        arguments: That it has beside `SMALL_SWEEP`.
        url: Storage; None = the journal.
        cache: Folder for prepared data and compiled programs.
        chance: Chooses delays and victims.
    """

    folder: Path
    study: str
    n_trials: int
    arguments: Sequence[str]
    url: str | None
    cache: Path
    chance: random.Random
    done: Counter[Strike] = field(default_factory=Counter)
    n_starts: int = 0

    def __post_init__(self) -> None:
        self.mark = uuid.uuid4().hex
        self.place = self.folder / "sweeps" / self.study
        self.log = self.folder / "log.txt"
        self.folder.mkdir(parents=True)
        self._known: set[int] = set()
        self._locks = make_locks(self.url, self.place, self.study)
        self._storage_mark = self._make_storage_mark()
        self.moments: dict[str, Callable[[], bool]] = {
            "import": self._import_moment,
            "claim": self._claim_moment,
            "write": lambda: self._changes(self._storage_mark, self.chance.randint(1, 12)),
            "tracking": lambda: self._changes(self._tracking_mark, self.chance.randint(1, 8)),
            "training": self._training_moment,
            "winner": self._winner_moment,
            "scored": lambda: self._until(lambda: any(self._scores())),
        }
        self.strikes: dict[str, Callable[[], int]] = {
            "kill a worker": lambda: self._kill(self._one_worker()),
            "kill all workers": lambda: self._kill(self._workers()),
            "kill the parent": lambda: self._kill([self.process.pid]),
            "kill all": lambda: self._kill([self.process.pid, *self._workers()]),
            "pause a worker": lambda: self._pause(self._one_worker()),
            "pause the parent": lambda: self._pause([self.process.pid]),
            "Ctrl-C": partial(self._interrupt, 1),
            "Ctrl-C twice": partial(self._interrupt, 2),
        }

    # --- driving ---------------------------------------------------------------------------------

    def run(self, strikes: Sequence[Strike] = ()) -> None:
        """Type the command, strike, and type it again until it is done."""
        try:
            self._start()
            for number, strike in enumerate(strikes):
                part = (number + self.chance.random()) / len(strikes)
                n_begun = int(part * (self.n_trials - 1))
                while not (self._comes(strike.moment, n_begun) and self._strike(strike)):
                    if self.process.poll() is None:
                        continue  # nobody was there to be struck
                    if self._is_done():
                        return
                    self._start()
            while not self._until(lambda: False) and not self._is_done():
                self._start()
        finally:
            send(signal.SIGKILL, processes(self.mark))
            if isinstance(self._locks, PostgresLocks):
                self._locks.engine.dispose()

    def _comes(self, moment: str, n_begun: int) -> bool:
        """Wait for a moment after so many trials were begun; a start is waited for at once."""
        if moment != "import" and not self._until(lambda: self._n_begun() >= n_begun):
            return False
        return self.moments[moment]()

    def _strike(self, strike: Strike) -> bool:
        """Whether it hit somebody; only those count."""
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"\n*** {strike.what} at {strike.moment}, {time.time():.3f}\n")
        before = set(self._workers())
        is_hit = self.strikes[strike.what]() > 0
        self.done[strike] += is_hit
        self._known = before | set(self._workers())
        return is_hit

    def _start(self) -> None:
        assert self.n_starts < 30, self._said()
        self.n_starts += 1
        self._allowed = {0}
        self._orphans = set(processes(self.mark))
        environment = {**os.environ, MARK: self.mark, "PYTHONPATH": str(ROOT)}
        environment.pop("MLFLOW_TRACKING_URI", None)
        storage = [] if self.url is None else [f"sweep.storage={self.url}"]
        command = [
            sys.executable, "-m", "recsweep", *SMALL_SWEEP, f"study={self.study}",
            f"sweep.n_trials={self.n_trials}",
            f"cache_dir={self.cache}", *storage, *self.arguments,
        ]  # fmt: skip
        with self.log.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def _is_done(self) -> bool:
        """Whether it exited with 0; what ended otherwise must have been killed or interrupted."""
        code = self.process.returncode
        assert code in self._allowed, self._said()
        if code == 130:
            left = wait_until_gone(self.mark, 10)
            assert left.keys() <= self._orphans, f"{left}: {self._said()}"
        return code == 0

    def _said(self) -> str:
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return f"exit {self.process.returncode} of {self.study} in {self.folder}:\n{text[-6000:]}"

    # --- moments ---------------------------------------------------------------------------------

    def _until(self, holds: Callable[[], bool]) -> bool:
        """Wait until something holds; False when the command ended before."""
        end = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it takes too long: {self._said()}"
            if holds():
                return True
            time.sleep(POLL_S)
        return False

    def _changes(self, mark: Callable[[], Any], n: int) -> bool:
        """Wait until something was written n times while there is a worker."""
        if not self._until(self._workers_are_there):
            return False
        for _ in range(n):
            before = mark()
            if not self._until(lambda before=before: mark() != before):
                return False
        return True

    def _workers_are_there(self) -> bool:
        return bool(self._workers())

    def _import_moment(self) -> bool:
        is_there = self._until(lambda: bool(set(self._workers()) - self._known))
        return is_there and self._later(3.0)

    def _claim_moment(self) -> bool:
        return self._until(self._workers_are_there) and self._until(self._is_mutex_held)

    def _training_moment(self) -> bool:
        return self._changes(self._storage_mark, 3) and self._later(2.0)

    def _winner_moment(self) -> bool:
        is_there = self._until(lambda: "retraining the winner" in self._since_last_start())
        return is_there and self._later(1.5)

    def _later(self, seconds: float) -> bool:
        end = time.monotonic() + self.chance.uniform(0, seconds)
        return self._until(lambda: time.monotonic() > end)

    def _since_last_start(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace").rpartition("study     ")[2]

    def _scores(self) -> list[Path]:
        return list(self.place.glob("winner/*/*/results/metrics.json"))

    def _n_begun(self) -> int:
        return len(list((self.place / "trials").glob("*")))

    def _is_mutex_held(self) -> bool:
        if isinstance(self._locks, PostgresLocks):
            return self._locks.is_leased("mutex")
        file = self._locks._folder / "mutex"
        if not file.exists():
            return False
        with FileLease(file) as probe:
            return probe.is_taken()

    def _make_storage_mark(self) -> Callable[[], Any]:
        """What changes with every write to the storage."""
        if self.url is None:
            return lambda: _size(self.place / "journal.log")
        if isinstance(self._locks, PostgresLocks):
            return self._position
        files = [Path(f"{self.url.removeprefix('sqlite:///')}{end}") for end in ("", "-wal")]
        return lambda: [_changed(file) for file in files]

    def _position(self) -> Any:
        import sqlalchemy

        with self._locks.engine.connect() as connection:
            return connection.execute(sqlalchemy.text("SELECT pg_current_wal_lsn()")).scalar()

    def _tracking_mark(self) -> Any:
        return [_changed(self.folder / f"mlflow.db{end}") for end in ("", "-journal")]

    # --- strikes ---------------------------------------------------------------------------------

    def _workers(self) -> list[int]:
        return workers(self.mark)

    def _one_worker(self) -> list[int]:
        there = self._workers()
        return [self.chance.choice(there)] if there else []

    def _kill(self, pids: list[int]) -> int:
        n_killed = send(signal.SIGKILL, pids)
        if self.process.pid in pids:
            self._ends({-signal.SIGKILL, 0})
            return n_killed if self.process.returncode else 0
        self._wait_for_the_pool(pids)
        return n_killed

    def _wait_for_the_pool(self, pids: list[int]) -> None:
        """Joblib kills a dead worker's siblings: they are no victims of the next strike."""
        if not self._orphans & set(pids):
            end, old = time.monotonic() + 5, set(self._workers()) - self._orphans
            while old & set(self._workers()) and time.monotonic() < end:
                time.sleep(POLL_S)

    def _pause(self, pids: list[int]) -> int:
        n_paused = send(signal.SIGSTOP, pids)
        time.sleep(1)
        send(signal.SIGCONT, pids)
        return n_paused

    def _interrupt(self, n_times: int) -> int:
        for _ in range(n_times):
            send(signal.SIGINT, [self.process.pid])
            time.sleep(self.chance.uniform(0.1, 0.6))
        self._ends({130, -signal.SIGINT, 0})  # that signal itself: Python was still starting
        return int(self.process.returncode != 0)

    def _ends(self, codes: set[int]) -> None:
        self._allowed = codes
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end: {self._said()}") from None

    # --- what is left ----------------------------------------------------------------------------

    @property
    def n_kills(self) -> int:
        """Strikes that were SIGKILLs."""
        return sum(n for strike, n in self.done.items() if strike.what.startswith("kill"))

    @contextmanager
    def loaded(self) -> Iterator[optuna.Study]:
        """The study as Optuna's own storages read it."""
        if self.url is None:
            journal = JournalFileBackend(str(self.place / "journal.log"))
            yield optuna.load_study(study_name=self.study, storage=JournalStorage(journal))
            return
        storage = RDBStorage(self.url)
        try:
            yield optuna.load_study(study_name=self.study, storage=storage)
        finally:
            storage.engine.dispose()


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _changed(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size
