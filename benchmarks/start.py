"""Times whole commands whose training is short: what starting, tracking and ending take.

    python benchmarks/start.py [--rounds N] [--trials N]

Commands take turns, so that a noisy machine is noisy for all; figures are medians and, in brackets,
the fastest and the slowest. Each has a folder of its own, but for `again`, whose folder has an
MLflow database. The first round does not count: it leaves its compiled programs in the cache. The
overhead of a sweep is the time from the start of one trial to that of the next in one worker, less
what the model's fit takes.
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tables import Tables, at_least

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ONE_EPOCH = ("model=multivae", "data=synthetic", "model.n_epochs=1")
COMMANDS = {
    "--help": ("--help",),
    "one epoch of Multi-VAE": (*ONE_EPOCH, "tracking=off"),
    "the same with MLflow, a new database": ONE_EPOCH,
    "again": ONE_EPOCH,
}
SWEEP = ("-m", "model=ease", "data=synthetic", "sampler=random", "study=s", "sweep.final_seeds=0")


def run(folder: Path, cache: Path, arguments: Sequence[str]) -> float:
    """Seconds of one command in a folder."""
    command = [sys.executable, "-m", "recsweep", *arguments]
    if "--help" not in arguments:
        command.append(f"cache_dir={cache}")
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, check=False)  # fmt: skip
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return seconds


def trial_seconds(folder: Path, cache: Path, n_trials: int, *more: str) -> tuple[float, float]:
    """Medians of the time from one trial's start to the next, and of a fit."""
    import optuna

    from recsweep.sweeps.storage.backends import open_storage

    run(folder, cache, [*SWEEP, f"sweep.n_trials={n_trials}", *more])
    study = optuna.load_study(study_name="s", storage=open_storage(None, folder / "sweeps" / "s"))
    begun = sorted(trial.datetime_start for trial in study.trials if trial.datetime_start)
    between = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(begun)]
    fits = [trial.user_attrs["train_s"] for trial in study.trials]
    return statistics.median(between), statistics.median(fits)


def main() -> None:
    """Take turns, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=at_least(1), default=5, help="of each command")
    parser.add_argument("--trials", type=at_least(1), default=40, help="of each sweep")
    Tables.add_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Tables(options.json) as tables:
        cache = Path(name) / "cache"
        again = Path(name) / "again"
        again.mkdir()
        took: dict[str, list[float]] = {what: [] for what in COMMANDS}
        for number in range(options.rounds + 1):
            for what, arguments in COMMANDS.items():
                folder = again if what == "again" else Path(tempfile.mkdtemp(dir=name))
                seconds = run(folder, cache, arguments)
                if number:
                    took[what].append(seconds)
        tables.begin("command", ("s", ".2f"))
        for what, seconds in took.items():
            tables.add(what, seconds)
        tables.begin("a trial of EASE", ("from start to start, s", ".3f"), ("of which fit", ".3f"))
        for what, more in (("with MLflow", ()), ("tracking=off", ("tracking=off",))):
            folder = Path(tempfile.mkdtemp(dir=name))
            between, fit = trial_seconds(folder, cache, options.trials, *more)
            tables.add(what, between, fit)


if __name__ == "__main__":
    main()
