"""Times EASE's fit against `numpy.linalg.inv` and the machine's matrix product, in one run.

    python benchmarks/ease.py --data FILE [--rounds N]

FILE holds `user item count` lines, as Kakao's Jukebox exercise gives them; X = 1 + log(1 + count).
Each fit, Gram matrix included, runs in its own process; rounds take turns, so that a noisy machine
is noisy for all. Figures are the fastest round. The floor of n³ multiplications and additions is
what a Cholesky factor and the inverse from it take.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import sparse

ROOT = Path(__file__).resolve().parent.parent
L2 = 30.0


def sgemm_flop_per_s(n: int = 4000) -> float:
    """What this machine reaches on a large float32 matrix product: best of five."""
    a = np.random.default_rng(0).random((n, n), np.float32)
    times = []
    for _ in range(6):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return 2.0 * n**3 / min(times[1:])


def listens(file: Path) -> sparse.csr_matrix:
    """X, users × items, float32."""
    import pandas as pd

    names = ["user", "item", "count"]
    table = pd.read_csv(file, sep=" ", names=names, dtype={"user": str, "item": str})
    cells = (pd.factorize(table["user"])[0], pd.factorize(table["item"])[0])
    return sparse.csr_matrix(((1 + np.log1p(table["count"])).astype(np.float32), cells))


def fit_recsweep(x: sparse.csr_matrix) -> np.ndarray:
    """This project's model, without a kept Gram matrix."""
    from recsweep.models.ease import EASE
    from recsweep.seeds import Seeds

    model = EASE(l2=L2, dropout_rate=0.0)
    model.fit(x, lambda _epoch, _losses: True, Seeds(0))
    return model.state()["weights"]


def fit_inverse(x: sparse.csr_matrix) -> np.ndarray:
    """The paper's listing, in float32."""
    gram = (x.T @ x).toarray()
    gram[np.diag_indices(len(gram))] += np.float32(L2)
    inverse = np.linalg.inv(gram)
    weights = inverse / -np.diag(inverse)
    weights[np.diag_indices(len(weights))] = 0
    return weights


WORKERS: dict[str, Callable[[sparse.csr_matrix], np.ndarray]] = {
    "numpy.linalg.inv": fit_inverse,
    "recsweep": fit_recsweep,
}


def work(name: str, file: Path) -> None:
    """What a worker process does: fit once and print one line of JSON."""
    x = listens(file)
    WORKERS[name](x[:2000, :500])  # imports and threads
    start = time.perf_counter()
    weights = WORKERS[name](x)
    fit_s = time.perf_counter() - start
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    checks = weights[:3, :1000].astype(float).round(7).tolist()
    print(json.dumps({"fit_s": fit_s, "peak_mib": peak_mib, "n": len(weights), "checks": checks}))


def measure(name: str, file: Path) -> dict[str, object]:
    """The JSON line that a worker prints."""
    done = subprocess.run(
        [sys.executable, __file__, "--worker", name, "--data", str(file)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Take turns, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="`user item count` lines")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each competitor")
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(options.worker, options.data)

    rates, results = [], {name: [] for name in WORKERS}
    for _ in range(options.rounds):
        for name, found in results.items():
            rates.append(sgemm_flop_per_s())
            found.append(measure(name, options.data))
            fit_s, rate = found[-1]["fit_s"], rates[-1] / 1e9
            print(f"{name}: {fit_s:.2f} s; SGEMM {rate:.0f} GFLOP/s", file=sys.stderr)
    ours, theirs = (results[name][0]["checks"] for name in ("recsweep", "numpy.linalg.inv"))
    n, peak_rate = results["recsweep"][0]["n"], max(rates)
    slowest = min(result["fit_s"] for result in results["numpy.linalg.inv"])
    print(f"{n:,} items; SGEMM {peak_rate / 1e9:.0f} GFLOP/s; largest difference of the weights "
          f"{np.abs(np.array(ours) - np.array(theirs)).max():.1e}")  # fmt: skip
    print("| | s/fit | of numpy.linalg.inv | of SGEMM's rate | peak, MiB | beyond 4·n² bytes |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, found in results.items():
        fit_s = min(result["fit_s"] for result in found)
        peak = max(result["peak_mib"] for result in found)
        rate, beyond = n**3 / fit_s / peak_rate, peak - 4 * n**2 / 2**20
        print(f"| {name} | {fit_s:.2f} | {fit_s / slowest:.2f} | {rate:.0%} | {peak:.0f} "
              f"| {beyond:.0f} |")  # fmt: skip
    return None


if __name__ == "__main__":
    main()
