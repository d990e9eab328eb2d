"""Times a sweep of uneven trials on two workers against batches that wait for their slowest trial.

    python benchmarks/sweep.py [--trials N] [--workers N]

The trials sleep for 1 to 16 s, as the sampler says, and then count popularity, so that the speed of
the machine plays little part. The sweep is a command line like any other. The batches run the same
sleeps in the same order, as many at a time as there are workers, as sweepers do that ask for one
batch after the other; they train nothing, load nothing and write nothing. Each is compared with its
own sum divided by the workers.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from tables import Tables, at_least

HERE = Path(__file__).resolve().parent


def sweep(n_trials: int, n_workers: int) -> tuple[float, list]:
    """Seconds of the whole command, and the study's trials."""
    folder = Path(tempfile.mkdtemp())
    command = [
        sys.executable, "-m", "recsweep", "--config-dir", str(HERE / "uneven_conf"), "-m",
        "model=uneven", "data=synthetic", "data.n_users=120", "data.n_items=50", "k=[5,10]",
        "sampler=random", "study=uneven", f"sweep.n_trials={n_trials}",
        f"sweep.n_workers={n_workers}", f"cache_dir={folder / 'cache'}",
    ]  # fmt: skip
    paths = os.pathsep.join([str(HERE.parent), str(HERE)])
    started = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": paths}, check=False,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        sys.exit("the sweep failed")
    wall_s = time.perf_counter() - started
    from recsweep.sweeps.study.catalog import StudyCatalog

    study, _ = StudyCatalog.of({"folder": folder / "sweeps", "storage": None}).load("uneven")
    return wall_s, study.get_trials()


def in_batches(seconds: list[float], n_workers: int) -> float:
    """Seconds that the same sleeps take when each batch waits for its slowest."""
    from joblib import Parallel, delayed

    pool = Parallel(n_jobs=n_workers)
    pool(delayed(time.sleep)(0.01) for _ in range(n_workers))  # processes
    started = time.perf_counter()
    for start in range(0, len(seconds), n_workers):
        pool(delayed(time.sleep)(s) for s in seconds[start : start + n_workers])
    return time.perf_counter() - started


def main() -> None:
    """Run both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=at_least(1), default=24)
    parser.add_argument("--workers", type=at_least(1), default=2)
    Tables.add_option(parser)
    options = parser.parse_args()
    tables = Tables(options.json)
    whole_s, trials = sweep(options.trials, options.workers)
    first = min(trial.datetime_start for trial in trials)
    search_s = (max(trial.datetime_complete for trial in trials) - first) / timedelta(seconds=1)
    sum_s = sum(trial.duration / timedelta(seconds=1) for trial in trials)
    sleeps = [trial.params["model.seconds"] for trial in trials]
    batches_s = in_batches(sleeps, options.workers)
    title = (
        f"{len(trials)} trials of {min(sleeps):.1f} to {max(sleeps):.1f} s, {sum_s:.0f} s in all, "
        f"on {options.workers} workers"
    )
    rows = [("search, first claim to last end", search_s, sum_s), ("whole command", whole_s, sum_s),
            ("batches of the same sleeps", batches_s, sum(sleeps))]  # fmt: skip
    with tables:
        tables.begin("", ("s", ".1f"), ("of the sum / workers", ".2f"), title=title)
        for name, seconds, of_s in rows:
            tables.add(name, seconds, seconds / of_s * options.workers)


if __name__ == "__main__":
    main()
