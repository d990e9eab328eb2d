"""Times the top 100 of 2,000 users × 20,108 items against NumPy and pandas.

    python benchmarks/ranking.py [--users N] [--items N] [--k N] [--rounds N]

Each takes the same scores and the same clicks to leave out and gives lists of equal scores: NumPy
by `np.argpartition` and a sort of the part, pandas by a table with a row per score, sorted by user
and score, of which each user's head is kept. NumPy and recsweep take turns; pandas runs once, as it
takes half a minute.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from tables import Tables, at_least

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
N_CLICKS = 70


def by_numpy(scores: np.ndarray, seen: sp.csr_matrix, k: int) -> np.ndarray:
    """The usual code: mask, partition, sort."""
    scores = scores.copy()
    scores[seen.nonzero()] = -np.inf
    part = np.argpartition(-scores, k, axis=1)[:, :k]
    users = np.arange(len(scores))[:, None]
    found: np.ndarray = part[users, np.argsort(-scores[users, part], axis=1)]
    return found


def by_pandas(scores: np.ndarray, seen: sp.csr_matrix, k: int) -> np.ndarray:
    """A row per user and item, sorted."""
    scores = scores.copy()
    scores[seen.nonzero()] = -np.inf
    n_users, n_items = scores.shape
    table = pd.DataFrame({
        "user": np.repeat(np.arange(n_users), n_items),
        "item": np.tile(np.arange(n_items), n_users), "score": scores.ravel(),
    })  # fmt: skip
    best = table.sort_values(["user", "score"], ascending=[True, False]).groupby("user").head(k)
    return best["item"].to_numpy().reshape(n_users, k)


def by_recsweep(scores: np.ndarray, seen: sp.csr_matrix, k: int) -> np.ndarray:
    """What evaluation calls."""
    from recsweep.evaluation import top_k

    return top_k(scores, seen, k)


def main() -> None:
    """Print a table of medians and ratios."""
    from recsweep import environment

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=at_least(1), default=2_000)
    parser.add_argument("--items", type=at_least(1), default=20_108)
    parser.add_argument("--k", type=at_least(1), default=100)
    parser.add_argument("--rounds", type=at_least(1), default=5)
    Tables.add_option(parser)
    given = parser.parse_args()
    tables = Tables(given.json)
    random = np.random.default_rng(0)
    scores = random.normal(size=(given.users, given.items)).astype(np.float32)
    seen = sp.random(
        given.users, given.items, N_CLICKS / given.items, "csr", np.float32, random_state=1
    )  # fmt: skip
    ways: dict[str, Callable[[np.ndarray, sp.csr_matrix, int], np.ndarray]] = {
        "recsweep": by_recsweep, "np.argpartition": by_numpy, "pandas": by_pandas,
    }  # fmt: skip
    environment.choose_backend("jax", None)
    expected = np.take_along_axis(scores, by_recsweep(scores, seen, given.k), axis=1)  # and compile
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(given.rounds):
        for name, way in ways.items():
            if number and name == "pandas":
                continue
            began = time.perf_counter()
            found = way(scores, seen, given.k)
            seconds[name].append(time.perf_counter() - began)
            if not np.array_equal(np.take_along_axis(scores, found, axis=1), expected):
                sys.exit(f"the lists of {name} differ")
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    with tables:
        tables.begin("top-k by", ("s", ".2f"), ("of recsweep's", ".1f"))
        for name, median in medians.items():
            tables.add(name, median, median / medians["recsweep"])


if __name__ == "__main__":
    main()
