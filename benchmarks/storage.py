"""Counts the trials that 8 processes write per second, storage by storage in one run.

    python benchmarks/storage.py [--trials N] [--rounds N] [--postgres URL] [--folder FOLDER]

A trial is what a sweep writes and nothing else: 4 parameters claimed under the mutex, 10 reports,
one value. Compared are recsweep's journal, the same journal with Optuna's own lock, SQLite and,
with an address or where PostgreSQL's binaries are, PostgreSQL. Rounds take turns, so that a noisy
machine is noisy for all; the table gives medians. FOLDER says which disk is measured.
"""

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tables import Tables, at_least

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]
N_PROCESSES, N_REPORTS = 8, 10
STOCK = "journal, Optuna's lock"
COLUMNS = (
    "storage", ("trials/s", ".0f"), ("of Optuna's journal", ".2f"), ("errors", "d"),
    ("trials lost", "d"),
)  # fmt: skip


def open_one(name: str, url: str | None, folder: Path) -> Any:
    """A storage by its name in the table."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    from recsweep.sweeps.storage.backends import open_storage

    if name == STOCK:
        return JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    return open_storage(url, folder)


def write_trial(study: Any, locks: Any, distributions: dict[str, Any]) -> None:
    """One trial, as a worker writes it."""
    import optuna

    with locks.mutex():
        number = len(study.get_trials(deepcopy=False))
        template = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING,
            params=dict.fromkeys(distributions, number % 97 / 97),
            distributions=distributions,
        )
        study.add_trial(template)
        added = study.get_trials(deepcopy=False)[number]
    trial = optuna.trial.Trial(study, added._trial_id)
    for step in range(N_REPORTS):
        trial.report(step / N_REPORTS, step)
    study.tell(trial, 1.0)


def work(place: tuple[str, str | None, Path, str], n_trials: int, start: Any, errors: Any) -> None:
    """What each process does: wait for all others, then write its trials."""
    import optuna

    from recsweep.sweeps.storage.backends import make_locks

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    name, url, folder, study_name = place
    study = optuna.load_study(storage=open_one(name, url, folder), study_name=study_name)
    locks = make_locks(url, folder, study_name)
    distributions = {key: optuna.distributions.FloatDistribution(0, 1) for key in "abcd"}
    start.wait()
    for _ in range(n_trials):
        try:
            write_trial(study, locks, distributions)
        except Exception as error:  # noqa: BLE001 - counting them is what this is for
            print(f"{name}: {error!r}", file=sys.stderr)
            with errors.get_lock():
                errors.value += 1


def measure(name: str, url: str | None, n_trials: int, where: Path) -> tuple[float, int, int]:
    """Seconds, errors and lost trials of 8 processes that write a study together."""
    import optuna

    context = multiprocessing.get_context("spawn")
    start, errors = context.Barrier(N_PROCESSES + 1), context.Value("i", 0)
    with tempfile.TemporaryDirectory(dir=where) as temporary:
        folder = Path(temporary)
        url = f"sqlite:///{folder}/studies.db" if name == "SQLite" else url
        study = optuna.create_study(storage=open_one(name, url, folder), study_name=folder.name)
        place = (name, url, folder, folder.name)
        per_process = n_trials // N_PROCESSES
        processes = [
            context.Process(target=work, args=(place, per_process, start, errors))
            for _ in range(N_PROCESSES)
        ]
        for process in processes:
            process.start()
        start.wait()
        began = time.perf_counter()
        for process in processes:
            process.join()
        seconds = time.perf_counter() - began
        n_complete = sum(trial.state.name == "COMPLETE" for trial in study.get_trials())
        optuna.delete_study(study_name=study.study_name, storage=study._storage)
        return seconds, errors.value, per_process * N_PROCESSES - n_complete


@contextmanager
def storages(postgres: str | None) -> Iterator[dict[str, str | None]]:
    """Name and URL of every storage that can be measured here."""
    found: dict[str, str | None] = {"journal": None, STOCK: None, "SQLite": None}
    with ExitStack() as stack:
        if postgres is None:
            from postgres_server import binaries, postgres_server

            postgres = stack.enter_context(postgres_server()) if binaries() else None
        yield found | ({"PostgreSQL": postgres} if postgres else {})


def main() -> None:
    """Take turns, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=at_least(1), default=200, help="of all processes together")
    parser.add_argument("--rounds", type=at_least(1), default=3, help="studies in each storage")
    parser.add_argument("--postgres", help="postgresql+psycopg://…; else a server is started")
    parser.add_argument("--folder", type=Path, help="on the disk to measure")
    Tables.add_option(parser)
    given = parser.parse_args()
    tables = Tables(given.json)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    results: dict[str, list[tuple[float, int, int]]] = {}
    with storages(given.postgres) as found:
        for _ in range(given.rounds):
            for name, url in found.items():
                result = measure(name, url, given.trials, given.folder)
                results.setdefault(name, []).append(result)
                print(f"{name}: {result[0]:.1f} s", file=sys.stderr)
    n_written = given.trials // N_PROCESSES * N_PROCESSES
    rates = {
        name: n_written / statistics.median(seconds for seconds, _, _ in rounds)
        for name, rounds in results.items()
    }
    with tables:
        tables.begin(*COLUMNS)
        for name, rounds in results.items():
            n_errors, n_lost = sum(r[1] for r in rounds), sum(r[2] for r in rounds)
            tables.add(name, rates[name], rates[name] / rates[STOCK], n_errors, n_lost)


if __name__ == "__main__":
    main()
