"""Times recsweep on one GPU: epochs, trials in slots, a whole sweep, EASE and ranking.

    python benchmarks/gpu.py [--data FOLDER] [--parts NAME ...] [--slots N] [--workers N]
        [--timeout S]

FOLDER holds a split in the five CSV files of Liang et al. 2018; without it, clicks are drawn in the
shape of MovieLens 1M. Each part runs in a process of its own, and `epoch` in two, whose weights
must be the same bits. The whole is meant for less than 5 minutes of an H100; the table comes last.
Without a GPU the same work runs on the CPU; only small parts such as `rank` are worth the wait.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
N_EPOCHS = 40
SWEEP = ("model.n_epochs=60", "patience=20", "sweep.n_trials=64", "sweep.final_seeds=5")
TARGETS = {
    "epoch": ("Multi-VAE epoch, ML-1M, with validation", "ms", 20.0),
    "large": ("epoch at MovieLens-20M's shape", "ms", 300.0),
    "rate": ("trial-epochs/s with validation and all logging", "1/s", 220.0),
    "sweep": ("whole command: 64 trials of up to 60 epochs, 5 seeds", "s", 60.0),
    "ease": ("EASE, 8,115 items", "s", 0.15),
    "rank": ("top-100 of 10,000 × 20,108", "s", 0.03),
    "bits": ("the same command twice: equal weights", "", True),
}


def drawn(n_users: int, n_items: int, n_clicks: int, seed: int = 0) -> sp.csr_matrix:
    """Clicks with log-normal histories and power-law items."""
    random = np.random.default_rng(seed)
    lengths = np.clip(random.lognormal(np.log(n_clicks / n_users) - 0.6, 1.1, n_users), 5, 3000)
    lengths = (lengths * n_clicks / lengths.sum()).astype(np.int64) + 5
    weights = np.cumsum((np.arange(n_items) + 20.0) ** -0.9)
    users = np.repeat(np.arange(n_users), lengths)
    items = np.searchsorted(weights / weights[-1], random.random(len(users)))
    cells = (users, np.minimum(items, n_items - 1))
    matrix = sp.csr_matrix((np.ones(len(users), np.float32), cells), (n_users, n_items))
    matrix.data[:] = 1
    return matrix


def write_split(
    folder: Path,
    n_users: int = 4834,
    n_items: int = 3497,
    n_clicks: int = 575_000,
    n_held_out: int = 600,
) -> Path:
    """A drawn split in Liang's files, as large as MovieLens 1M's unless told otherwise.

    Args:
        folder: Gets the files.
        n_users: Users of the training part.
        n_items: Items.
        n_clicks: Clicks of all parts.
        n_held_out: Users of the validation part, and as many of the test part.
    """
    clicks = drawn(n_users + 2 * n_held_out, n_items, n_clicks).tocoo()
    hidden = np.random.default_rng(1).random(clicks.nnz) < 0.2
    is_train, is_test = clicks.row < n_users, clicks.row >= n_users + n_held_out
    parts = {
        "train": is_train,
        "validation_tr": ~is_train & ~is_test & ~hidden,
        "validation_te": ~is_train & ~is_test & hidden,
        "test_tr": is_test & ~hidden,
        "test_te": is_test & hidden,
    }
    for name, chosen in parts.items():
        pairs = {"uid": clicks.row[chosen], "sid": clicks.col[chosen]}
        pd.DataFrame(pairs).to_csv(folder / f"{name}.csv", index=False)
    names = "\n".join(map(str, range(n_items)))
    (folder / "unique_sid.txt").write_text(names, encoding="utf-8")
    return folder


def multivae(**changes: Any) -> Any:
    """Multi-VAE 600-200-600 as in `conf/model/multivae.yaml`."""
    from recsweep.models.multivae import MultiVAE

    return MultiVAE(**changes)


def time_epoch(folder: Path) -> dict[str, Any]:
    """The median epoch of a fit with validation, and a hash of the weights."""
    from recsweep.data.sources.liang import Liang
    from recsweep.defaults import build_choice
    from recsweep.evaluation import Evaluator
    from recsweep.fitting import fit_best_epoch
    from recsweep.seeds import Seeds

    source = Liang(name="bench", path=folder)
    split = source.load(source.files(folder))
    names = ("ndcg", "recall", "recall_all", "precision", "map", "mrr", "hit_rate", "coverage")
    metrics = {name: build_choice("metrics", name) for name in names}
    evaluator = Evaluator(k=[10, 20, 50, 100], metrics=metrics, batch_size=500, objective=None)
    model, stamps = multivae(n_epochs=N_EPOCHS), [time.perf_counter()]

    def stamp(_epoch: int, _metrics: object) -> bool:
        stamps.append(time.perf_counter())
        return True

    fitted = fit_best_epoch(model, split.train, split.valid, evaluator, Seeds(42), [stamp])
    epochs = [after - before for before, after in pairwise(stamps)]
    weights = b"".join(array.tobytes() for array in model.state().values())
    return {
        "first_s": epochs[0], "ms": 1e3 * statistics.median(epochs[3:]),
        "device_ms": 1e3 * statistics.median(c["epoch_s"] for c in fitted.curves[3:]),
        "ndcg@100": fitted.valid.means["ndcg@100"],
        "hash": hashlib.sha256(weights).hexdigest()[:16],
    }  # fmt: skip


def time_large(_folder: Path) -> dict[str, Any]:
    """The median epoch of 116,677 users × 20,108 items in batches of 500."""
    from recsweep.seeds import Seeds

    clicks, stamps = drawn(116_677, 20_108, 8_500_000), [time.perf_counter()]

    def stamp(_epoch: int, _losses: object) -> bool:
        stamps.append(time.perf_counter())
        return True

    multivae(batch_size=500, n_epochs=6).fit(clicks, stamp, Seeds(1))
    epochs = [after - before for before, after in pairwise(stamps)]
    return {"first_s": epochs[0], "ms": 1e3 * statistics.median(epochs[2:])}


def time_ease(_folder: Path) -> dict[str, Any]:
    """Fits after the first one, of 20,000 users, with counts and with their logarithms."""
    from recsweep.models.ease import EASE
    from recsweep.seeds import Seeds

    clicks = drawn(20_000, 8_115, 340_000)
    logs = clicks.copy()
    logs.data[:] = 1 + np.log1p(np.random.default_rng(2).poisson(2, clicks.nnz))
    return {
        "first_s": _best(lambda: EASE(l2=300.0).fit(clicks, _go_on, Seeds(0)), 1),
        "s": _best(lambda: EASE(l2=300.0).fit(clicks, _go_on, Seeds(0)), 4),
        "logarithms_s": _best(lambda: EASE(l2=300.0).fit(logs, _go_on, Seeds(0)), 4),
    }


def time_rank(_folder: Path) -> dict[str, Any]:
    """The top 100 of scores that are on the device."""
    from keras import ops

    from recsweep.evaluation import top_k

    seen = drawn(10_000, 20_108, 700_000)
    scores = ops.convert_to_tensor(np.random.default_rng(0).random(seen.shape, np.float32))
    top_k(scores, seen, 100)
    return {"s": _best(lambda: top_k(scores, seen, 100), 5)}


def _go_on(_epoch: int, _losses: object) -> bool:
    return True


def _best(work: Callable[[], object], n_times: int) -> float:
    times = []
    for _ in range(n_times):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "epoch": time_epoch, "again": time_epoch, "large": time_large, "ease": time_ease,
    "rank": time_rank,
}  # fmt: skip


def run_part(name: str, folder: Path) -> dict[str, Any]:
    """A part in this process."""
    from recsweep import environment

    environment.choose_backend("jax", None)
    environment.use_cache(None)
    environment.load_backend()
    return {"device": environment.device(), **PARTS[name](folder)}


def time_sweep(folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """A whole command with its own cache and store, and what its study says of the trials."""
    place = Path(tempfile.mkdtemp())
    began = time.perf_counter()
    paths = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
    try:
        done = subprocess.run(
            [
                sys.executable, "-m", "recsweep", "-m", "model=multivae", "data=liang",
                f"data.path={folder}", *SWEEP, f"sweep.slots={chosen.slots}",
                f"sweep.n_workers={chosen.workers}", f"cache_dir={place}/cache", "study=gpu",
            ],
            cwd=place, env={**os.environ, "PYTHONPATH": paths},
            capture_output=True, text=True, check=False, timeout=chosen.timeout,
        )  # fmt: skip
        error = {"error": done.stderr[-1500:]} if done.returncode else {}
        lines = done.stdout.splitlines()
    except subprocess.TimeoutExpired as late:
        error, lines = {"error": f"{late}"[-300:]}, []
    took = time.perf_counter() - began
    shown = {"table": [line for line in lines if line.startswith(("test ndcg", "ndcg"))]}
    return {**error, "s": took, **_trials(place / "sweeps" / "gpu"), **shown}


def _trials(folder: Path) -> dict[str, Any]:
    """Trial-epochs and their rate, from the first trial's begin to the last one's end."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    if not (folder / "journal.log").exists():
        return {}
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    study = optuna.load_study(study_name="gpu", storage=storage)
    begins = sorted(trial.user_attrs["began"] for trial in study.trials)
    ends = sorted(t.datetime_complete.timestamp() for t in study.trials if t.datetime_complete)
    n_epochs = sum(len(trial.intermediate_values) for trial in study.trials)
    if not ends:
        return {"n_begun": len(begins), "trial_epochs": n_epochs}
    seconds = ends[-1] - begins[0]
    return {
        "slots": study.user_attrs["slots"], "n_ended": len(ends), "trial_epochs": n_epochs,
        "trials_s": seconds, "rate": n_epochs / seconds, "first_end_s": ends[0] - begins[0],
        "steady": _steady_rate(study.trials),
    }  # fmt: skip


def _steady_rate(trials: list[Any]) -> float | None:
    """Trial-epochs per second once the program is compiled: of trials that began after one ended.

    Between the first trial's end and the last one's begin, all slots are busy.
    """
    first_end = min(t.datetime_complete.timestamp() for t in trials if t.datetime_complete)
    last_begin = max(trial.user_attrs["began"] for trial in trials)
    if last_begin <= first_end:
        return None
    done = 0.0
    for trial in trials:
        if trial.datetime_complete is None:
            continue
        began, ended = trial.user_attrs["began"], trial.datetime_complete.timestamp()
        share = min(ended, last_begin) - max(began, first_end)
        if share > 0:  # its epochs, as if evenly spread
            done += len(trial.intermediate_values) * share / (ended - began)
    return done / (last_begin - first_end)


def main() -> None:
    """Run the parts and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--parts", nargs="+", default=[*PARTS, "sweep"])
    parser.add_argument("--slots", default="auto")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=150, help="seconds for the sweep")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    folder = (chosen.data or write_split(Path(tempfile.mkdtemp()))).absolute()
    if chosen.part:
        print(json.dumps(run_part(chosen.part, folder)))
        return
    found: dict[str, Any] = {}
    for name in chosen.parts:
        if name == "sweep":
            found[name] = time_sweep(folder, chosen)
        else:
            found[name] = _in_own_process(name, folder)
        print(name, json.dumps(found[name]), flush=True)
    print_table(found)


def _in_own_process(name: str, folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--part", name, "--data", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        return {"error": done.stderr[-1500:]}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def print_table(found: dict[str, Any]) -> None:
    """One row per target that was measured."""
    if "epoch" in found and "again" in found:
        found["bits"] = {"": found["epoch"].get("hash") == found["again"].get("hash")}
    if "rate" in found.get("sweep", {}):
        found["rate"] = {"1/s": found["sweep"]["rate"]}
    for name, (what, unit, target) in TARGETS.items():
        if name in found:
            value = found[name].get(unit, "failed")
            shown = f"{value:.3g}" if isinstance(value, float) else value
            print(f"{what:<55} {shown!s:>8} {unit:<4} (target {target})")


if __name__ == "__main__":
    main()
