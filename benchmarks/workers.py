"""Counts the trials per second of 16 workers of one sweep on PostgreSQL, whose trials only sleep.

    python benchmarks/workers.py [--workers N] [--trials N] [--rounds N] [--against FOLDER]

A trial sleeps for 0.5 to 2 s, as the seed says, and then counts popularity. The sweep is a command
line like any other, on a PostgreSQL server of its own. The rate is that of the time in which all
workers are at work: from the moment in which the last worker began its first trial to the moment in
which the last trial began, the trials that ended, per second. Neither the start of the processes
counts nor the end, when workers find nothing more to do. FOLDER is another checkout of recsweep,
whose sweeps take turns with this one's.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from tables import Tables, at_least

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]
SHORTEST_S, LONGEST_S = 0.5, 2.0


def sweep(checkout: Path, url: str, n_trials: int, n_workers: int) -> list:
    """The trials of a whole command in a checkout of recsweep."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "recsweep", "--config-dir", str(HERE / "uneven_conf"), "-m",
            "model=uneven", f"model.seconds=interval({SHORTEST_S},{LONGEST_S})", "data=synthetic",
            "data.n_users=120", "data.n_items=50", "k=[10]", "metrics=[ndcg]", "threads=1",
            "sampler=random", "pruner=none", "tracking=off", "study=workers",
            f"sweep.n_trials={n_trials}", f"sweep.n_workers={n_workers}", "sweep.final_seeds=0",
            "sweep.try_defaults=false", "sweep.storage=${oc.env:STUDIES}", "cache_dir=cache",
        ]  # fmt: skip
        paths = os.pathsep.join([str(checkout), str(HERE)])
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "PYTHONPATH": paths, "STUDIES": url},
            check=False, capture_output=True, text=True,
        )  # fmt: skip
    if done.returncode:
        sys.exit(f"{done.stderr}error: the sweep of {checkout} must succeed; see above")
    import optuna

    return optuna.load_study(study_name="workers", storage=url).get_trials()


def rate(trials: list, n_workers: int) -> float:
    """Trials per second while all workers were at work."""
    first: dict[str, object] = {}
    for trial in sorted(trials, key=lambda trial: trial.datetime_start):
        first.setdefault(trial.user_attrs["worker"], trial.datetime_start)
    began = max(first.values())
    ended = max(trial.datetime_start for trial in trials)
    n_within = sum(began < trial.datetime_complete <= ended for trial in trials)
    if len(first) < n_workers or n_within < len(trials) / 4:
        sys.exit(f"error: {n_workers} workers must run a quarter of the trials together, but "
                 f"{len(first)} ran {n_within} of {len(trials)}; raise --trials")  # fmt: skip
    return n_within / ((ended - began) / timedelta(seconds=1))


def main() -> None:
    """Take turns, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=at_least(1), default=16)
    parser.add_argument("--trials", type=at_least(1), default=600, help="of a sweep")
    parser.add_argument("--rounds", type=at_least(1), default=2, help="sweeps of each checkout")
    parser.add_argument("--against", type=Path, help="another checkout of recsweep")
    Tables.add_option(parser)
    given = parser.parse_args()
    tables = Tables(given.json)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server is stopped
    from postgres_server import postgres_server

    checkouts = [HERE.parent, *([given.against.resolve()] if given.against else [])]
    rates: dict[Path, list[float]] = {checkout: [] for checkout in checkouts}
    for _ in range(given.rounds):
        for checkout in checkouts:
            with postgres_server() as url:
                found = rate(sweep(checkout, url, given.trials, given.workers), given.workers)
            rates[checkout].append(found)
            print(f"{checkout.name}: {found:.2f} trials/s", file=sys.stderr, flush=True)
    mean_s = (SHORTEST_S + LONGEST_S) / 2
    title = (
        f"{given.workers} workers, {given.trials} trials of {SHORTEST_S} to {LONGEST_S} s: "
        f"{given.workers / mean_s:.1f} trials/s if they did nothing else"
    )
    medians = {checkout: statistics.median(found) for checkout, found in rates.items()}
    with tables:
        tables.begin("checkout", ("trials/s", ".2f"), ("this one's of it", ".1f"), title=title)
        for checkout, median in medians.items():
            tables.add(checkout.name, median, medians[HERE.parent] / median)


if __name__ == "__main__":
    main()
