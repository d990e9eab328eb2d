"""Two hosts that share a study, under fire: processes die, hosts vanish, links and servers fail."""

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from faults.processes import parent_of, send, workers
from hosts import PATIENCE_S, Host
from mlflow_server import Server as Tracker
from network import Network
from postgres_server import Server as Database

KILLS = ("worker", "parent", "host", "vanish", "winner")
"""Strikes that kill; a host that vanishes is also cut off, so that nobody hears that it died."""
NAMES = ["one", "two"]
SERVERS = ("database", "tracker")
"""Strikes at what all hosts use; a command that begins while one of them is away is refused."""
TAKEN_OVER_S = 120.0
"""Within which the trials of a host that vanished must have begun again."""


@dataclass
class Storm:
    """The same command on two hosts, typed again when it was killed, until it exits with 0.

    Args:
        folder: For the hosts' folders.
        network: With the hosts; the calling thread is at its hub.
        database: At the hub.
        tracker: At the hub.
        arguments: Of the command.
        chance: Chooses victims.
        epoch_s: How long each of a trial's ten epochs takes.
    """

    folder: Path
    network: Network
    database: Database
    tracker: Tracker
    arguments: Sequence[str]
    chance: random.Random
    epoch_s: float = 0.5
    done: Counter[str] = field(default_factory=Counter)
    taken_over_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.url = self.database.url
        shared = [f"sweep.storage={self.url}", f"tracking.uri={self.tracker.uri}"]
        self.hosts = {name: Host(self.folder / name, shared, self.epoch_s) for name in NAMES}
        self.commands: dict[str, subprocess.Popen[bytes]] = {}
        self._killed: set[int] = set()
        self._busy: dict[str, tuple[float, Callable[[], Any]]] = {}  # cut off or with a stopped one
        self._strikes: dict[str, Callable[[str], bool]] = {
            "worker": self._kill_worker, "parent": self._kill_parent, "host": self._kill_host,
            "vanish": self._vanish, "database": self._restart_database,
            "tracker": self._restart_tracker,
        }  # fmt: skip

    # --- driving ---------------------------------------------------------------------------------

    def run(self, strikes: Sequence[str], n_trials: int) -> None:
        """Strike at equal distances of finished trials and once when the winner is trained again.

        In the end both commands exit with 0.

        Args:
            strikes: `worker`, `parent`, `host`, `vanish`, `database`, `tracker`, `cut SECONDS` or
                `stop SECONDS`.
            n_trials: Of the study.
        """
        try:
            for name in NAMES:
                self._type(name)
            for place, strike in enumerate(strikes):
                n_done = int(0.9 * n_trials * place / len(strikes))
                self._until(lambda n=n_done: self.n_done() >= n, f"{n_done} trials")
                self._until(lambda strike=strike: self._strike(strike), strike)
            self._until(self._kill_at_the_winner, "training of the winner")
            self._until(self._is_over, "the end")
        finally:
            for host in self.hosts.values():
                host.kill()
            for command in self.commands.values():
                command.wait()

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < end, f"no {what}: {self.said()}"
            self._tend()
            time.sleep(0.1)

    def _tend(self) -> None:
        """Undo what is due, and type commands again that were killed."""
        for name, (when, undo) in list(self._busy.items()):
            if time.monotonic() > when:
                undo()
                del self._busy[name]
        for name, command in self.commands.items():
            code = command.poll()
            if code not in (None, 0):
                assert command.pid in self._killed, f"exit {code} of {name}: {self.said()}"
                assert code == -signal.SIGKILL
                self._type(name)

    def _type(self, name: str) -> None:
        with self.network.inside(name):
            self.commands[name] = self.hosts[name].start(*self.arguments)
        self.done["commands"] += 1

    def _is_over(self) -> bool:
        return not self._busy and all(each.poll() == 0 for each in self.commands.values())

    def said(self) -> str:
        """The ends of what was printed."""
        return "\n".join(f"--- {name}\n{host.said()[-4000:]}" for name, host in self.hosts.items())

    # --- strikes ---------------------------------------------------------------------------------

    def _strike(self, strike: str) -> bool:
        """Whether it hit; those that hit nobody do not count."""
        what, _, seconds = strike.partition(" ")
        free = [name for name in NAMES if name not in self._busy and self._workers(name)]
        is_starting = any(
            each.poll() is None and not self._workers(name) for name, each in self.commands.items()
        )
        if not free or (is_starting and what in SERVERS):
            return False
        name = self.chance.choice(free)
        self._note(f"{strike} at {name}, {self.n_done()} trials done")
        is_hit = self._hold(what, name, float(seconds)) if seconds else self._strikes[what](name)
        self.done[strike] += is_hit
        return is_hit

    def _note(self, what: str) -> None:
        with (self.folder / "strikes.txt").open("a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%X')} {what}\n")

    def _workers(self, name: str) -> list[int]:
        """Those of the command, not those that a killed one has left."""
        parent = self.commands[name].pid
        return [pid for pid in workers(str(self.hosts[name].folder)) if parent_of(pid) == parent]

    def _kill_worker(self, name: str) -> bool:
        return send(signal.SIGKILL, self._workers(name)[-1:]) > 0

    def _kill_parent(self, name: str) -> bool:
        self._killed.add(self.commands[name].pid)
        return send(signal.SIGKILL, [self.commands[name].pid]) > 0

    def _kill_host(self, name: str) -> bool:
        self._killed.add(self.commands[name].pid)
        self.hosts[name].kill()
        return True

    def _kill_at_the_winner(self) -> bool:
        """Kill a host that trains the winner again."""
        for name, command in self.commands.items():
            if "retraining the winner" in self.hosts[name].said() and command.poll() is None:
                self.done["winner"] += self._kill_host(name)
                return True
        return self._is_over()

    def _vanish(self, name: str) -> bool:
        """Cut a host off and let it die; it comes back when its trials were begun elsewhere."""
        lost = {number for number, pid in self._running() if pid == self.commands[name].pid}
        if not lost:
            return False
        self.network.cut(name)
        began = time.monotonic()
        self._kill_host(name)
        while self._still_running(lost, self.commands[name].pid):
            assert time.monotonic() < began + TAKEN_OVER_S, f"{lost} are lost: {self.said()}"
            time.sleep(0.5)
        self.taken_over_s.append(time.monotonic() - began)
        self.network.mend(name)
        return True

    def _still_running(self, numbers: set[int], pid: int) -> set[int]:
        return {number for number, owner in self._running() if owner == pid} & numbers

    def _restart_database(self, name: str) -> bool:  # noqa: ARG002
        self.database.restart()
        return True

    def _restart_tracker(self, name: str) -> bool:  # noqa: ARG002
        self.tracker.kill()
        self.tracker.start()
        return True

    def _hold(self, what: str, name: str, seconds: float) -> bool:
        """Cut a host off, or stop one of its workers, for some seconds."""
        if what == "cut":
            self.network.cut(name)
            undo: Callable[[], Any] = lambda: self.network.mend(name)  # noqa: E731
        else:
            victim = self._workers(name)[-1:]
            if not send(signal.SIGSTOP, victim):
                return False
            undo = lambda: send(signal.SIGCONT, victim)  # noqa: E731
        self._busy[name] = (time.monotonic() + seconds, undo)
        return True

    # --- what there is ---------------------------------------------------------------------------

    def n_done(self) -> int:
        """Trials that are finished; 0 while there are no tables."""
        import psycopg

        with suppress(psycopg.errors.UndefinedTable):
            return int(self._ask("SELECT count(*) FROM trials WHERE state <> 'RUNNING'")[0][0])
        return 0

    def _running(self) -> list[tuple[int, int]]:
        """Numbers of the trials that are running, and process ids of their parents."""
        found = self._ask(
            "SELECT number, value_json::json ->> 'pid' FROM trials JOIN trial_user_attributes "
            "USING (trial_id) WHERE state = 'RUNNING' AND key = 'parent'"
        )
        return [(number, int(pid)) for number, pid in found]

    def _ask(self, question: str) -> list[Any]:
        import psycopg

        address = self.url.replace("+psycopg", "")
        with psycopg.connect(address, connect_timeout=5) as reader:
            return reader.execute(question).fetchall()

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """All of the study, as Optuna's own storage reads them."""
        storage = optuna.storages.RDBStorage(self.url)
        try:
            return optuna.load_study(study_name="hosts", storage=storage).get_trials()
        finally:
            storage.engine.dispose()

    @property
    def n_kills(self) -> int:
        """Strikes that were SIGKILLs."""
        return sum(self.done[kill] for kill in KILLS)
