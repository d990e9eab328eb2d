"""Times a search of Multi-VAE until it is as good as the best of random trials without pruning.

    python benchmarks/whole_sweep.py --data FOLDER --table TABLE [--trials N] [--epochs N]

FOLDER holds a split in the five CSV files of Liang et al. 2018. TABLE has the curves of trials that
`sampler=random pruner=none` drew from the default search space on those data, see
search_quality.py; the best value of its first N trials is what must be reached.

- notebook: a fresh process for each of these trials, one after the other, with Keras' dense
  `model.fit` and a pandas evaluation after each of its epochs. It trains all epochs of the default
  configuration. Start, epoch and evaluation are timed, the whole is their sum: an extrapolation.
- the notebook, stopping early: the same, if it stopped as early as recsweep does.
- RecBole's tuner, where `make bench-peers` has made its environment: a trial of it reads the files,
  evaluates the validation users after each epoch and test once; all are timed, the whole is their
  sum. It stops as early as recsweep does.
- recsweep: a command line with two workers and defaults otherwise, from its start until a trial
  that reaches the value ends, in full.

The notebook and RecBole reach the value at the end of the trial that has it. Random trials may come
in any order, so before it they have trained half of the others in the mean.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import yaml
from epoch import clicks, commands, measure
from ranking import by_pandas
from search_quality import curves_of
from tables import Tables, at_least, existing

HERE = Path(__file__).resolve().parent
PATIENCE = 20
"""Epochs without improvement after which recsweep stops."""


def notebook_seconds(folder: Path, n_epochs: int) -> tuple[float, float]:
    """Start of a process, and an epoch with its evaluation."""
    began = time.perf_counter()
    found = measure(*commands(folder, n_epochs)["notebook model.fit"])
    whole_s = time.perf_counter() - began
    epochs = [float(each) for each in found["epoch_s"]]  # type: ignore[attr-defined]
    return whole_s - sum(epochs), statistics.median(epochs[1:]) + evaluation_seconds(folder)


def evaluation_seconds(folder: Path) -> float:
    """Ranking of the validation users by pandas."""
    users = pd.read_csv(folder / "validation_tr.csv").iloc[:, 0].nunique()
    n_items = clicks(folder).shape[1]
    scores = np.random.default_rng(0).random((users, n_items), np.float32)
    began = time.perf_counter()
    by_pandas(scores, sp.csr_matrix(scores.shape, dtype=np.float32), 100)
    return time.perf_counter() - began


def tuner_seconds(
    command: list[str], environment: dict[str, str], n_epochs: Sequence[int]
) -> list[float]:
    """What trials with so many epochs take in RecBole's tuner."""
    found: dict[str, Any] = measure([*command, "--tuner"], environment)
    evaluation_s = found["evaluation_s"]
    epoch_s = statistics.median(found["epoch_s"][1:]) + evaluation_s
    print(f"RecBole: {found['begin_s']:.1f} s to begin, {epoch_s:.2f} s an epoch, of which "
          f"{evaluation_s:.2f} s evaluation", file=sys.stderr)  # fmt: skip
    return [found["begin_s"] + n * epoch_s + evaluation_s for n in n_epochs]


def all_epochs() -> int:
    """Epochs of the default configuration."""
    from recsweep.defaults import conf_folder

    text = (conf_folder() / "model" / "multivae.yaml").read_text(encoding="utf-8")
    return int(yaml.safe_load(text)["model"]["n_epochs"])


def stopped(curve: list[float]) -> int:
    """Epochs of a trial that stops after `PATIENCE` epochs without improvement."""
    best = int(np.argmax(curve)) + 1
    return min(len(curve), best + PATIENCE)


def recsweep_seconds(folder: Path, n_trials: int, value: float) -> tuple[float | None, float, int]:
    """Seconds until a trial reached the value (None = none did) and in all; epochs in all."""
    with tempfile.TemporaryDirectory() as here:
        command = [
            sys.executable, "-m", "recsweep", "-m", "model=multivae", "data=liang",
            f"data.path='{folder}'", "k=[20,50,100]", "study=whole", "sweep.n_workers=2",
            f"sweep.n_trials={n_trials}", "sweep.final_seeds=0", f"cache_dir={here}/cache",
        ]  # fmt: skip
        began, start = time.perf_counter(), datetime.now()
        done = subprocess.run(
            command, cwd=here, env={**os.environ, "PYTHONPATH": str(HERE.parent)}, check=False
        )
        whole_s = time.perf_counter() - began
        if done.returncode:
            sys.exit("the sweep failed")
        from recsweep.sweeps.study.catalog import StudyCatalog

        study, _ = StudyCatalog.of({"folder": Path(here) / "sweeps", "storage": None}).load("whole")
        trials = study.get_trials()
    ends = [
        trial.datetime_complete for trial in trials
        if trial.datetime_complete and trial.value is not None and trial.value >= value
    ]  # fmt: skip
    n_epochs = sum(len(trial.intermediate_values) for trial in trials)
    return (min(ends) - start).total_seconds() if ends else None, whole_s, n_epochs


def main() -> None:
    """Time the parts, then print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=existing("train.csv"), required=True, help="folder with the five CSV files"
    )
    parser.add_argument("--table", type=existing(), required=True, help="curves of random trials")
    parser.add_argument("--trials", type=at_least(1), default=40)
    parser.add_argument("--epochs", type=at_least(2), default=4, help="epochs of a timed process")
    Tables.add_option(parser)
    given = parser.parse_args()
    folder = given.data.resolve()
    curves = curves_of(given.table)[: given.trials]
    best = int(np.argmax([max(curve) for curve in curves]))
    value = max(curves[best])
    with Tables(given.json) as tables:
        start_s, epoch_s = notebook_seconds(folder, given.epochs)
        early = [start_s + stopped(curve) * epoch_s for curve in curves]
        rows = {
            "notebook": [start_s + all_epochs() * epoch_s] * len(curves),
            "notebook, stopping early": early,
        }
        if peer := commands(folder, given.epochs).get("recbole"):
            rows["RecBole's tuner"] = tuner_seconds(*peer, [stopped(curve) for curve in curves])
        reached_s, whole_s, n_epochs = recsweep_seconds(folder, given.trials, value)
        tables.begin(
            "search", ("until the value, s", ",.0f"), ("recsweep's of it", ".3f"),
            (f"{len(curves)} trials, s", ",.0f"), ("recsweep's of it", ".3f"),
            title=f"NDCG@100 {value:.4f} on validation, trial {best} of {len(curves)}; recsweep "
            f"trained {n_epochs} epochs",
        )  # fmt: skip
        for name, seconds in rows.items():
            in_all = sum(seconds)
            until = (in_all + seconds[best]) / 2
            share = None if reached_s is None else reached_s / until
            tables.add(f"{name}, extrapolated", until, share, in_all, whole_s / in_all)
        tables.add("recsweep, two workers", reached_s, 1.0, whole_s, 1.0)


if __name__ == "__main__":
    main()
