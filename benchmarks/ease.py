"""Times EASE's fit against `numpy.linalg.inv` and the machine's matrix product, in one run.

    python benchmarks/ease.py --data FILE [--rounds N]
    python benchmarks/ease.py --items 8115 38048 [--rounds N]

FILE holds `user item count` lines, as Kakao's Jukebox exercise gives them; X = 1 + log(1 + count).
Rounds take turns, so that a noisy machine is noisy for all. Each has its own process, which fits
twice, Gram matrix included, and then multiplies matrices of the same size: a virtual machine may
have to fetch memory from its host at the first touch, which took between .04 and 1.4 s here. The
share of SGEMM's rate is taken within a process; the floor of n³ multiplications and additions is
what a Cholesky factor and the inverse from it take. Figures are medians over the rounds.

With `--items` only the inverse is timed, of a matrix with that many rows and without a Gram matrix,
between products of at most 4,096 rows, three before it and three after it. Their mean is SGEMM's
rate: the best of them would compare a lucky moment with the average of a longer one. 38,048 rows,
those of Yelp2018, take 6 GB of memory.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from epoch import sgemm_flop_per_s
from scipy import sparse
from tables import Tables, at_least, existing

ROOT = Path(__file__).resolve().parent.parent
L2 = 30.0
MAX_PRODUCT = 4096


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
    found: dict[str, object] = {}
    for fit_s in ("first_s", "second_s"):
        start = time.perf_counter()
        weights = WORKERS[name](x)
        found[fit_s] = time.perf_counter() - start
        found |= {"n": len(weights), "checks": weights[:3, :1000].astype(float).round(7).tolist()}
        del weights
    found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found["sgemm"] = sgemm_flop_per_s(x.shape[1], n_products=2)
    print(json.dumps(found))


def invert(n_items: int) -> None:
    """What a process of `--items` does: one inverse between two products, one line of JSON."""
    from recsweep.models.ease import solve_in_place

    n_product = min(n_items, MAX_PRODUCT)
    solve_in_place(np.eye(600, dtype=np.float32))  # imports and threads
    sgemm_flop_per_s(n_product, n_products=1)
    rates = [sgemm_flop_per_s(n_product, n_products=1) for _ in range(3)]
    matrix = np.random.default_rng(0).random((n_items, n_items), np.float32)
    matrix[np.diag_indices(n_items)] += n_items  # positive definite: no eigenvalue is below n/2
    start = time.perf_counter()
    solve_in_place(matrix)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rates += [sgemm_flop_per_s(n_product, n_products=1) for _ in range(3)]
    print(json.dumps({"s": seconds, "sgemm": statistics.fmean(rates), "peak_mib": peak}))


def print_inverses(sizes: list[int], n_rounds: int, tables: Tables) -> None:
    """A row for each number of items."""
    tables.begin(
        ("items", ",d"), ("inverse, s", ".1f"), ("SGEMM, GFLOP/s", ".0f"),
        ("of SGEMM's rate", ".0%"), ("peak, MiB", ",.0f"), ("beyond 4·n² bytes, MiB", ".0f"),
    )  # fmt: skip
    for n in sizes:
        found = [measure("--worker", "inverse", "--items", str(n)) for _ in range(n_rounds)]
        seconds, sgemm = (statistics.median(f[key] for f in found) for key in ("s", "sgemm"))
        share = statistics.median(n**3 / f["s"] / f["sgemm"] for f in found)
        peak = max(f["peak_mib"] for f in found)
        tables.add(n, seconds, sgemm / 1e9, share, peak, peak - 4 * n**2 / 2**20)


def measure(*arguments: str) -> dict[str, Any]:
    """The JSON line that a worker prints."""
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Take turns, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--data", type=existing(), help="`user item count` lines")
    wanted.add_argument("--items", type=at_least(1), nargs="+", help="rows of matrices to invert")
    parser.add_argument("--rounds", type=at_least(1), default=3, help="processes of each")
    parser.add_argument("--worker", choices=[*WORKERS, "inverse"], help=argparse.SUPPRESS)
    Tables.add_option(parser)
    options = parser.parse_args()
    if options.worker == "inverse":
        return invert(*options.items)
    if options.worker:
        return work(options.worker, options.data)
    with Tables(options.json) as tables:
        if options.items:
            print_inverses(options.items, options.rounds, tables)
        else:
            print_fits(options.data, options.rounds, tables)
    return None


def print_fits(data: Path, n_rounds: int, tables: Tables) -> None:
    """A row for each competitor."""
    results = {name: [] for name in WORKERS}
    for _ in range(n_rounds):
        for name, found in results.items():
            found.append(measure("--worker", name, "--data", str(data)))
            print(f"{name}: {found[-1]['first_s']:.2f} and {found[-1]['second_s']:.2f} s; SGEMM "
                  f"{found[-1]['sgemm'] / 1e9:.0f} GFLOP/s", file=sys.stderr)  # fmt: skip
    ours, theirs = (results[name][0]["checks"] for name in ("recsweep", "numpy.linalg.inv"))
    n = results["recsweep"][0]["n"]
    difference = np.abs(np.array(ours) - np.array(theirs)).max()
    tables.begin(
        "", ("first fit, s", ".2f"), ("of SGEMM's rate", ".0%"), ("second fit, s", ".2f"),
        ("of SGEMM's rate", ".0%"), ("peak, MiB", ",.0f"), ("beyond 4·n² bytes, MiB", ".0f"),
        title=f"{n:,} items; largest difference of the weights {difference:.1e}",
    )  # fmt: skip
    for name, found in results.items():
        cells: list[float] = []
        for fit_s in ("first_s", "second_s"):
            shares = [n**3 / result[fit_s] / result["sgemm"] for result in found]
            seconds = statistics.median(result[fit_s] for result in found)
            cells += [seconds, statistics.median(shares)]
        peak = max(result["peak_mib"] for result in found)
        tables.add(name, *cells, peak, peak - 4 * n**2 / 2**20)


if __name__ == "__main__":
    main()
