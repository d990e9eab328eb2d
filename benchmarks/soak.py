"""Runs hundreds of trials in one process and looks whether anything grows.

    python benchmarks/soak.py [--trials N] [--minutes N] [--plot FILE]

Three families take turns in rounds of five trials: Multi-VAE with other layers in each trial, BPR
with another number of factors, EASE with another weight. Each is a study of its own with a journal,
and all run in this one process, as a worker runs them. After every trial the process's memory, open
files, threads and temporary files are read, and how long its claim took. The slope of the memory is
that of a straight line through all trials after the tenth. Run it on an idle CPU.
"""

import argparse
import gc
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from tables import Tables, at_least

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]
FAMILIES = {
    "multivae": (
        "model.latent_dim=int(interval(4,64))", "model.hidden_dims=choice([32],[64],[32,48])",
    ),
    "bpr": ("model.latent_dim=int(interval(4,64))",),
    "ease": ("model.l2=tag(log,interval(1.0,1000.0))",),
}  # fmt: skip
ROUND, N_BEFORE, MOST_MB = 5, 10, 1.0


class Reading(NamedTuple):
    """What the process holds after a trial."""

    family: str
    memory_mb: float
    n_files: int
    n_threads: int
    n_temporary: int
    claim_ms: float


def n_entries(folder: str) -> int:
    """Number of entries of a folder of the system."""
    return sum(1 for _ in Path(folder).iterdir())


def reading(family: str, temporary: Path, claim_s: float) -> Reading:
    """Read all of it, after what Python could free is freed; Linux."""
    gc.collect()
    n_pages = int(Path("/proc/self/statm").read_text("utf-8").split()[1])
    return Reading(
        family, n_pages * os.sysconf("SC_PAGE_SIZE") / 1e6, n_entries("/proc/self/fd"),
        n_entries("/proc/self/task"), sum(1 for _ in temporary.rglob("*")), 1000 * claim_s,
    )  # fmt: skip


def plans(folder: Path) -> dict[str, Any]:
    """A plan for each family."""
    from contracts import composed
    from plans import toy_plan, toy_space
    from small_runs import SMALL_DATA

    small = {"n_epochs": 3, "batch_size": 32, "hidden_dims": [32], "beta_warmup_steps": 0}
    found = {}
    for model, search in FAMILIES.items():
        config = dict(composed(f"model={model}", f"cache_dir={folder}/cache", *SMALL_DATA))
        own = {key: value for key, value in small.items() if key in config["model"]}
        config |= {"model": {**config["model"], **own}, "threads": 1}
        space = toy_space(config, *search).plain()
        found[model] = toy_plan(folder / model, config, space=space, n_trials=0)
    return found


def soak(n_trials: int, minutes: float, folder: Path) -> list[Reading]:
    """Run the trials; a reading after each."""
    from recsweep.sweeps.execution import trial_runner
    from recsweep.sweeps.execution.worker import Worker
    from recsweep.sweeps.study import claims

    temporary = folder / "tmp"
    temporary.mkdir()
    tempfile.tempdir = str(temporary)
    found: list[Reading] = []
    family, claim_s = "", 0.0
    claim, run = claims.next_claim, trial_runner.TrialRunner.run

    def timed_claim(*given: Any, **named: Any) -> Any:
        nonlocal claim_s
        began = time.perf_counter()
        try:
            return claim(*given, **named)
        finally:
            claim_s = time.perf_counter() - began

    def read_after(*given: Any, **named: Any) -> Any:
        try:
            return run(*given, **named)
        finally:
            found.append(reading(family, temporary, claim_s))

    claims.next_claim, trial_runner.TrialRunner.run = timed_claim, read_after
    ends = time.monotonic() + 60 * minutes
    by_family, n_each = plans(folder), 0
    while len(found) < n_trials and time.monotonic() < ends:
        n_each += ROUND
        for family in by_family:
            ended = Worker(replace(by_family[family], n_trials=n_each).plain())(None)
            if ended["error"]:
                sys.exit(f"a worker must end well, but said {ended['error']}")
        print(f"{len(found)} trials, {found[-1].memory_mb:.0f} MB", file=sys.stderr, flush=True)
    return found


def slope(values: list[float]) -> float:
    """Growth per trial after the first ones, by least squares."""
    import numpy as np

    kept = values[N_BEFORE:]
    return float(np.polyfit(range(len(kept)), kept, 1)[0])


def draw(found: list[Reading], file: Path) -> None:
    """Memory and claim time by trial."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, sharex=True, figsize=(7, 4.5), layout="constrained")
    for family in FAMILIES:
        at = [n for n, each in enumerate(found) if each.family == family]
        above.plot(at, [found[n].memory_mb for n in at], ".", label=family)
        below.plot(at, [found[n].claim_ms for n in at], ".")
    above.set(ylabel="resident memory, MB", ylim=(0, None))
    below.set(ylabel="claim, ms", xlabel="trial", ylim=(0, None))
    above.legend(frameon=False, ncols=len(FAMILIES))
    figure.savefig(file, dpi=80)


def main() -> None:
    """Run, print the table, draw the plot; fail if the memory grows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=at_least(1), default=300)
    parser.add_argument("--minutes", type=float, default=600, help="begin no round after that")
    parser.add_argument("--plot", type=Path)
    Tables.add_option(parser)
    given = parser.parse_args()
    tables = Tables(given.json)
    with tempfile.TemporaryDirectory() as folder:
        found = soak(given.trials, given.minutes, Path(folder))
    with tables:
        tables.begin(
            "", ("after trial 10", ".1f"), ("at the end", ".1f"), ("growth per trial", ".3f"),
            title=f"{len(found)} trials in one process",
        )  # fmt: skip
        columns = zip(*(each[1:] for each in found), strict=True)
        for name, values in zip(Reading._fields[1:], columns, strict=True):
            tables.add(name, values[N_BEFORE], values[-1], slope(list(values)))
    if given.plot:
        draw(found, given.plot)
    growth = slope([each.memory_mb for each in found])
    if growth >= MOST_MB:
        sys.exit(f"memory must grow by less than {MOST_MB} MB a trial, but grew by {growth:.2f}")


if __name__ == "__main__":
    main()
