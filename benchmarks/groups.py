"""Times an evaluation with accuracy by group against the same without, turn by turn.

    python benchmarks/groups.py [--users N ...] [--items N ...] [--rounds N]

Made data: histories of 10 to 200 items and 15 targets per user, drawn by a popularity that falls as
1/rank. The default sizes are the test users and items of MovieLens 1M and 20M under
`experiment=liang2018`, with 2,000 of the 10,000 users. Scores come from a product of rank 32, less
than most models need, and metrics and cut-offs are those of `conf/config.yaml`. Each round times
both, the order drawn by a coin; the share is the median over rounds of the pairs' differences,
divided by the median without groups.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def made_fold(n_users: int, n_items: int, random: np.random.Generator) -> tuple[Any, Any]:
    """Histories and targets, and the training counts that they are drawn by."""
    from recsweep.data.split import Fold
    from recsweep.metrics.ranked_lists import TrainingCounts

    chance = 1 / np.arange(1, n_items + 1)
    rows = []
    for length in random.integers(10, 200, n_users):
        drawn = random.choice(n_items, length + 15, False, chance / chance.sum())
        rows.append((drawn[:-15], drawn[-15:]))
    history, target = (
        sparse.csr_matrix(
            (
                np.ones(sum(map(len, part)), np.float32),
                np.concatenate([np.sort(items) for items in part]),
                np.cumsum([0, *map(len, part)]),
            ),
            (n_users, n_items),
        )
        for part in zip(*rows, strict=True)
    )
    counts = TrainingCounts(n_users, (n_users * chance / chance[0]).astype(np.int64) + 1)
    return Fold(history, target, np.arange(n_users)), counts


def shares(n_users: int, n_items: int, n_rounds: int) -> tuple[float, float]:
    """Seconds without groups, and what groups add."""
    import recsweep
    from recsweep.api import _settings
    from recsweep.app import make_evaluator

    evaluator = make_evaluator(_settings(recsweep.load_config("model=popularity")))
    random = np.random.default_rng(0)
    fold, counts = made_fold(n_users, n_items, random)
    factors = random.normal(size=(n_items, 32)).astype(np.float32)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(n_rounds + 1):  # the first compiles
        first = bool(random.integers(2))
        for by_group in (first, not first):
            began = time.perf_counter()
            evaluator.evaluate(
                lambda rows: (rows @ factors) @ factors.T, fold, counts, by_group=by_group
            )
            if turn:
                seconds[by_group].append(time.perf_counter() - began)
    without = statistics.median(seconds[False])
    added = statistics.median(np.subtract(seconds[True], seconds[False]).tolist())
    return without, added


def main() -> None:
    """Print a row per size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, nargs="+", default=[600, 2000])
    parser.add_argument("--items", type=int, nargs="+", default=[3416, 20108])
    parser.add_argument("--rounds", type=int, default=31)
    asked = parser.parse_args()
    print("| users | items | without groups, s | groups add, ms | share |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for n_users, n_items in zip(asked.users, asked.items, strict=True):
        without, added = shares(n_users, n_items, asked.rounds)
        print(
            f"| {n_users:,} | {n_items:,} | {without:.2f} | {1000 * added:.0f} | "
            f"{added / without:.1%} |"
        )


if __name__ == "__main__":
    main()
