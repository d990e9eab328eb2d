"""Counts what 1 to 256 workers lose to a study on PostgreSQL whose trials take a minute.

    python benchmarks/simulated_workers.py [--workers N …] [--trial-seconds S] [--trials N]
                                           [--processes N] [--sampler tpe|random]

A worker is a thread with a connection of its own, as a worker's process has, that calls what a
worker calls: claim a trial, set its run, report ten epochs and ask the pruner after each, tell.
Between the epochs it sleeps. All workers start at the same moment, twice:

- `together`: every trial takes the same time, so that all claim and tell at the same moment again
  and again. Efficiency is the trials' seconds / (workers × time until the last tell).
- `apart`: trials take half to one and a half of the time, as the seed says. Efficiency is the
  trials' seconds / (each worker's time from its first trial to its last tell, summed), so that
  neither the start counts nor the end, when workers wait for the last trial.

Server and workers share this machine. Cores in use by either show what the limit is: Python runs
one thread of a process at a time, so that `--processes` is how many cores the workers can have.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tables import Tables, at_least

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]
N_EPOCHS, OBJECTIVE = 10, "ndcg@10"
VALUE = 0.5
"""Of every epoch of every trial, so that the pruner compares them but prunes none."""
SIZES = [1, 4, 16, 64, 128, 256]
SAMPLING = "recsweep.sweeps.sampling"
SAMPLERS: dict[str, dict[str, Any]] = {
    "random": {"_target_": f"{SAMPLING}.samplers.Random"},
    "tpe": {"_target_": f"{SAMPLING}.samplers.TPE", "n_startup_trials": 10, "n_ei_candidates": 24},
}
PRUNER = {"_target_": f"{SAMPLING}.pruners.Hyperband", "min_epochs": 1, "reduction_factor": 3}
SECONDS_AND_CORES = (
    "first claims/s", "claim, median s", "95%", "tell, median s", "95%", "cores: PostgreSQL",
    "Python",
)  # fmt: skip
COLUMNS = (
    ("workers", "d"), "trials end", ("efficiency", ".1%"),
    *((head, ".3g") for head in SECONDS_AND_CORES),
)  # fmt: skip


class Worked(NamedTuple):
    """One trial of a worker, in seconds of the machine's clock.

    Args:
        worker: Whose.
        asked: When it asked for a trial.
        began: When it had one.
        ended: When it was done with its epochs.
        told: When that was stored.
        useful_s: What it has slept.
    """

    worker: int
    asked: float
    began: float
    ended: float
    told: float
    useful_s: float


def attributes(seconds: float) -> dict[str, Any]:
    """What a trial of a sweep stores at its end."""
    return {
        "best_epoch": N_EPOCHS, "n_epochs": N_EPOCHS, "train_s": seconds, "wall_s": seconds,
        "metrics": {f"{name}@{k}": VALUE for name in ("ndcg", "recall") for k in (10, 20, 50, 100)},
        "cpu_s": seconds, "peak_bytes": 1 << 29, "is_untracked": False,
    }  # fmt: skip


def work(worker: int, runner: Any, length: tuple[float, bool], worked: list[Worked]) -> None:
    """Claim and replay trials until none is left."""
    from optuna.trial import TrialState

    from recsweep.sweeps.execution.trial_runner import Reports
    from recsweep.sweeps.study.claims import next_claim
    from recsweep.sweeps.study.stop_requests import STOP, StopListener

    study, (seconds, is_even) = runner.study, length
    stops = StopListener(study.study, {})
    while True:
        asked = time.monotonic()
        if (claim := next_claim(study)) is None:
            return
        began = time.monotonic()
        useful_s = seconds * (1.0 if is_even else 0.5 + claim.frozen.params["model.quality"])
        study.set_attrs(claim.frozen, {"run_id": None})
        reports = Reports(
            claim, study.plan, OBJECTIVE, lambda: stops.reason(STOP) is not None,
            partial(runner._refuse_gap, claim),
        )  # fmt: skip
        for epoch in range(N_EPOCHS):
            time.sleep(useful_s / N_EPOCHS)
            reports(epoch, {f"valid/{OBJECTIVE}": VALUE})
        ended = time.monotonic()
        runner._finish(claim, TrialState.COMPLETE, [VALUE], attributes(useful_s))
        claim.lease.release()
        worked.append(Worked(worker, asked, began, ended, time.monotonic(), useful_s))


def work_together(
    plan: dict[str, Any], workers: range, length: tuple[float, bool], talk: Any
) -> None:
    """What a process does: open its workers' studies, wait for all others, then work."""
    from recsweep.sweeps.execution.trial_runner import TrialRunner
    from recsweep.sweeps.study.shared_study import Plan, SharedStudy

    worked: list[Worked] = []
    runners = [TrialRunner(SharedStudy(Plan(**plan))) for _ in workers]
    start = threading.Barrier(len(runners) + 1)

    def begin(worker: int, runner: TrialRunner) -> None:
        start.wait()
        work(worker, runner, length, worked)

    threads = [
        threading.Thread(target=begin, args=place, daemon=True)
        for place in zip(workers, runners, strict=True)
    ]
    for thread in threads:
        thread.start()
    talk.send("ready")
    talk.recv()
    cpu_began = time.process_time()
    start.wait()
    for thread in threads:
        thread.join()
    talk.send((worked, time.process_time() - cpu_began))
    talk.recv()  # sessions end once their use of the processor has been read
    for runner in runners:
        runner.study.close()


def server_cpu_s(url: str) -> float:
    """Processor time of all sessions so far."""
    import psycopg

    with psycopg.connect(url.replace("+psycopg", "")) as reader:
        pids = reader.execute("SELECT pid FROM pg_stat_activity").fetchall()
    total = 0.0
    for (pid,) in pids:
        if (stat := Path(f"/proc/{pid}/stat")).exists():
            total += sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13]))
    return total / os.sysconf("SC_CLK_TCK")


def measure(
    n_workers: int, is_even: bool, given: argparse.Namespace, folder: Path
) -> tuple[float, ...]:
    """The figures of one study."""
    from plans import toy_config, toy_plan
    from postgres_server import postgres_server

    from recsweep.sweeps.study.shared_study import SharedStudy

    n_trials, context = n_workers * given.trials, multiprocessing.get_context("spawn")
    with postgres_server(f"max_connections={n_workers + 20}") as url:
        plan = toy_plan(
            folder / f"study-{n_workers}-{is_even}", toy_config(folder, n_epochs=N_EPOCHS),
            storage=url, n_trials=n_trials, sampler=SAMPLERS[given.sampler], pruner=PRUNER,
        )  # fmt: skip
        SharedStudy(plan).close()  # creates it
        n_processes = min(n_workers, given.processes)
        pipes = [context.Pipe() for _ in range(n_processes)]
        length = (given.trial_seconds, is_even)
        processes = [
            context.Process(
                target=work_together,
                args=(plan.plain(), range(place, n_workers, n_processes), length, there),
                daemon=True,
            )
            for place, (_, there) in enumerate(pipes)
        ]  # fmt: skip
        for process in processes:
            process.start()
        talks = [here for here, _ in pipes]
        for talk in talks:
            talk.recv()
        began, server_began = time.monotonic(), server_cpu_s(url)
        for talk in talks:
            talk.send("start")
        results = [talk.recv() for talk in talks]
        wall_s, server_s = time.monotonic() - began, server_cpu_s(url) - server_began
        for talk, process in zip(talks, processes, strict=True):
            talk.send("end")
            process.join()
    worked = [trial for found, _ in results for trial in found]
    if len(worked) != n_trials:
        sys.exit(f"error: {n_trials} trials must be told, but {len(worked)} were; see above")
    cores = (server_s / wall_s, sum(cpu_s for _, cpu_s in results) / wall_s)
    return figures(worked, n_workers, is_even, cores)


def figures(
    worked: list[Worked], n_workers: int, is_even: bool, cores: tuple[float, float]
) -> tuple[float, ...]:
    """A row of the table."""
    first: dict[int, Worked] = {}
    for trial in sorted(worked, key=lambda trial: trial.asked):
        first.setdefault(trial.worker, trial)
    last = {trial.worker: trial for trial in sorted(worked, key=lambda trial: trial.told)}
    start = min(trial.asked for trial in worked)
    if is_even:
        busy_s = n_workers * (max(trial.told for trial in worked) - start)
    else:
        busy_s = sum(last[worker].told - first[worker].began for worker in first)
    all_began_s = max(trial.began for trial in first.values()) - start
    claims = [trial.began - trial.asked for trial in worked]
    tells = [trial.told - trial.ended for trial in worked]
    return (
        sum(trial.useful_s for trial in worked) / busy_s, len(first) / all_began_s,
        statistics.median(claims), percentile_95(claims), statistics.median(tells),
        percentile_95(tells), *cores,
    )  # fmt: skip


def percentile_95(values: list[float]) -> float:
    """The value that 95% do not exceed."""
    return sorted(values)[max(0, -(-len(values) * 95 // 100) - 1)]


def main() -> None:
    """Measure size after size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=at_least(1), nargs="+", default=SIZES)
    parser.add_argument("--trial-seconds", type=float, default=60.0)
    parser.add_argument("--trials", type=at_least(1), default=2, help="per worker")
    parser.add_argument(
        "--processes", type=at_least(1), default=2, help="of which workers are threads"
    )
    parser.add_argument("--sampler", choices=SAMPLERS, default="tpe")
    Tables.add_option(parser)
    given = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "jax")
    with tempfile.TemporaryDirectory() as folder, Tables(given.json) as tables:
        tables.begin(*COLUMNS)
        for n_workers in given.workers:
            for name, is_even in (("together", True), ("apart", False)):
                tables.add(n_workers, name, *measure(n_workers, is_even, given, Path(folder)))


if __name__ == "__main__":
    main()
