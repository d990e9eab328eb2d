"""The parts of docker-compose.yml without Docker, on loopback: `make cluster-demo`.

    python benchmarks/cluster_demo.py [--trials N] [--workers N]

Starts a private PostgreSQL server and an MLflow server that keeps the files of runs, runs a sweep
with 4 workers on them, kills one of the workers, lets the database crash and restart, counts what
there is in the end and shuts down.
Needs PostgreSQL's programs, as Debian's package `postgresql` brings them, and the extra `postgres`.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]
STUDY = "demo"


def sweep(n_trials: int, n_workers: int, uri: str) -> list[str]:
    """The command line of the sweep."""
    return [
        sys.executable, "-m", "recsweep", "-m", "model=multivae", "data=synthetic",
        "model.n_epochs=20", f"study={STUDY}", f"sweep.n_trials={n_trials}",
        f"sweep.n_workers={n_workers}", "threads=1", "sweep.final_seeds=2", "pruner=none",
        "sweep.storage=${oc.env:STUDIES}", f"tracking.uri={uri}",
    ]  # fmt: skip


def opened(url: str, folder: Path) -> Any:
    """The study; None before it is there."""
    import optuna

    from recsweep.sweeps.storage.backends import open_storage

    try:
        return optuna.load_study(study_name=STUDY, storage=open_storage(url, folder))
    except KeyError:
        return None


def wait_for_trials(
    url: str, folder: Path, n_trials: int, process: subprocess.Popen[bytes]
) -> None:
    """Wait until some trials are complete."""
    while process.poll() is None:
        study = opened(url, folder)
        if study and sum(trial.state.name == "COMPLETE" for trial in study.trials) >= n_trials:
            return
        time.sleep(1)
    sys.exit("error: the sweep ended too early; see above")


def counts(url: str, folder: Path, uri: str) -> list[str]:
    """What the study and the tracking server hold in the end."""
    import mlflow

    trials = opened(url, folder).trials
    states = Counter(trial.state.name.lower() for trial in trials)
    is_exact = [trial.number for trial in trials] == list(range(len(trials)))
    n_deaths = sum(trial.user_attrs.get("n_deaths", 0) for trial in trials)
    workers = Counter(trial.user_attrs["worker"] for trial in trials)
    client = mlflow.MlflowClient(uri)
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = client.search_runs(experiments, "tags.recsweep.kind != ''", max_results=1000)
    kinds = Counter(f"{run.data.tags['recsweep.kind']} {run.info.status}" for run in runs)
    return [
        f"trials    {len(trials)}: {_listed(states)}; each number once: {is_exact}",
        f"deaths    {n_deaths}, of trials that were run again",
        f"workers   {len(workers)} have finished trials",
        f"runs      {_listed(kinds)}",
    ]


def _listed(counted: Counter[str]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(counted.items()))


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--workers", type=int, default=4)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are stopped

    from faults.processes import MARK, workers
    from mlflow_server import Server
    from postgres_server import binaries, mortal_postgres

    if binaries() is None:
        sys.exit("error: PostgreSQL's initdb and pg_ctl must be here; apt-get install postgresql")
    with tempfile.TemporaryDirectory() as name, mortal_postgres() as database:
        folder, url = Path(name), database.url
        print("started   PostgreSQL", flush=True)
        with Server(folder) as server:
            print(f"started   MLflow at {server.uri}", flush=True)
            place = folder / "sweeps" / STUDY
            process = subprocess.Popen(
                sweep(given.trials, given.workers, server.uri), cwd=folder,
                env={**os.environ, "STUDIES": url, MARK: name, "PYTHONPATH": str(HERE.parent)},
            )  # fmt: skip
            try:
                wait_for_trials(url, place, given.trials // 4, process)
                victim = workers(name)[-1]
                os.kill(victim, signal.SIGKILL)
                print(f"killed    a worker, process {victim}", flush=True)
                wait_for_trials(url, place, given.trials // 2, process)
                database.restart()
                print("restarted PostgreSQL, which ended all sessions", flush=True)
                code = process.wait()
            finally:
                process.kill()
                process.wait()
            print("\n".join([f"exit code {code}", *counts(url, place, server.uri)]))
    print("stopped   both servers")
    sys.exit(code)


if __name__ == "__main__":
    main()
