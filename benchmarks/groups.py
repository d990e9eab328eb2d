"""Times accuracy by group against the rest of the evaluation that it is part of.

    python benchmarks/groups.py [--users N ...] [--items N ...] [--rounds N]

Made data: histories of 10 to 200 items and 15 targets per user, drawn by a popularity that falls as
1/rank. The default sizes are the test users and items of MovieLens 1M and 20M under
`experiment=liang2018`, with 2,000 of the 10,000 users. Scores come from a product of rank 32, less
than most models need, and metrics and cut-offs are those of `conf/config.yaml`. Both parts are
timed within the same evaluation, so that a noisy machine is noisy for both; medians over rounds.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from tables import Tables, at_least

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


def shares(n_users: int, n_items: int, n_rounds: int) -> tuple[float, float, float]:
    """Medians: seconds of the evaluation without groups, seconds of the groups, their ratio."""
    import recsweep
    from recsweep import evaluation
    from recsweep.api import _settings
    from recsweep.app import make_evaluator

    evaluator = make_evaluator(_settings(recsweep.load_config("model=popularity")))
    random = np.random.default_rng(0)
    fold, counts = made_fold(n_users, n_items, random)
    factors = random.normal(size=(n_items, 32)).astype(np.float32)
    of_groups: list[float] = []
    measure_groups = evaluation.measure_groups

    def timed(*given: Any) -> Any:
        began = time.perf_counter()
        found = measure_groups(*given)
        of_groups.append(time.perf_counter() - began)
        return found

    evaluation.measure_groups = timed
    whole = []
    for _ in range(n_rounds + 1):
        began = time.perf_counter()
        evaluator.evaluate(lambda rows: (rows @ factors) @ factors.T, fold, counts, by_group=True)
        whole.append(time.perf_counter() - began)
    evaluation.measure_groups = measure_groups
    groups = np.array(of_groups[1:])  # the first compiles
    others = np.array(whole[1:]) - groups
    return tuple(float(np.median(each)) for each in (others, groups, groups / others))


def main() -> None:
    """Print a row per size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=at_least(1), nargs="+", default=[600, 2000])
    parser.add_argument("--items", type=at_least(1), nargs="+", default=[3416, 20108])
    parser.add_argument("--rounds", type=at_least(1), default=31)
    Tables.add_option(parser)
    asked = parser.parse_args()
    with Tables(asked.json) as tables:
        tables.begin(
            ("users", ",d"), ("items", ",d"), ("without groups, s", ".2f"), ("groups, ms", ".1f"),
            ("share", ".1%"),
        )  # fmt: skip
        for n_users, n_items in zip(asked.users, asked.items, strict=True):
            others, groups, share = shares(n_users, n_items, asked.rounds)
            tables.add(n_users, n_items, others, 1000 * groups, share)


if __name__ == "__main__":
    main()
