"""A model on a synthetic data set of amazon-book's shape: figures, seconds and peak memory.

    python benchmarks/large_catalogue.py FOLDER [model=NAME SETTING=VALUE …]

Without a model it is `mrf`. The first call writes `train.txt` and `test.txt` to FOLDER, in
LightGCN's format. The command that is measured trains, scores validation and test, and saves the
model.

52,643 users choose among 91,599 items, as in amazon-book's split, in 2.4 million pairs for training
and .6 million for test. Popularity is a power law. Items belong to 3,000 series within 150 genres,
all of different sizes: a user likes three genres and, in each, four series, and draws 60 % of the
items from those series, 25 % from those genres and the rest from anywhere.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

N_USERS, N_ITEMS, N_SERIES, N_GENRES = 52_643, 91_599, 3_000, 150
N_LIKED_GENRES, N_LIKED_SERIES = 3, 4
SHARES = (0.6, 0.25, 0.15)
"""Of items from a liked series, from a liked genre and from anywhere."""
TEST_FRACTION = 0.2


def popularities(random: np.random.Generator) -> np.ndarray:
    """Each item's share: a power law of its rank, in random order."""
    return random.permutation((np.arange(N_ITEMS) + 50.0) ** -0.8)


def draw_within(
    random: np.random.Generator, groups: np.ndarray, group_of: np.ndarray, shares: np.ndarray
) -> np.ndarray:
    """An item of each of these groups, by popularity."""
    order = np.argsort(group_of, kind="stable")
    sums = np.concatenate([[0], np.cumsum(shares[order])])
    starts = np.searchsorted(group_of[order], np.arange(group_of.max() + 2))
    low, high = sums[starts[groups]], sums[starts[groups + 1]]
    at = np.searchsorted(sums, low + random.random(len(groups)) * (high - low), side="right") - 1
    return order[np.clip(at, starts[groups], starts[groups + 1] - 1)]


def draw_pairs(random: np.random.Generator) -> np.ndarray:
    """User × item numbers, sorted and each once."""
    genre_of_series = np.concatenate(
        [np.arange(N_GENRES), random.integers(N_GENRES, size=N_SERIES - N_GENRES)]
    )
    sizes = random.pareto(1.5, N_SERIES) + 0.3
    series = np.concatenate(
        [np.arange(N_SERIES),
         random.choice(N_SERIES, N_ITEMS - N_SERIES, p=sizes / sizes.sum())]
    )  # fmt: skip
    genre, shares = genre_of_series[series], popularities(random)
    of_series = np.bincount(series, shares)
    of_genre = np.bincount(genre_of_series, of_series)
    liked_genres = random.choice(N_GENRES, (N_USERS, N_LIKED_GENRES), p=of_genre / of_genre.sum())
    wanted = np.repeat(liked_genres, N_LIKED_SERIES, axis=1)
    liked_series = draw_within(random, wanted.ravel(), genre_of_series, of_series)
    liked_series = liked_series.reshape(wanted.shape)

    n_drawn = np.maximum(12, random.lognormal(3.80, 0.95, N_USERS)).astype(int)
    users = np.repeat(np.arange(N_USERS), np.minimum(n_drawn, 12_000))
    n = len(users)
    sources = random.choice(3, n, p=SHARES)
    chosen_series = liked_series[users, random.integers(wanted.shape[1], size=n)]
    chosen_genre = liked_genres[users, random.integers(N_LIKED_GENRES, size=n)]
    items = np.choose(sources, [
        draw_within(random, chosen_series, series, shares),
        draw_within(random, chosen_genre, genre, shares),
        draw_within(random, np.zeros(n, int), np.zeros(N_ITEMS, int), shares),
    ])  # fmt: skip
    return np.unique(np.stack([users, items], axis=1), axis=0)


def write_data(folder: Path) -> None:
    """Draw the data and write both files."""
    random = np.random.default_rng(0)
    pairs = draw_pairs(random)
    pairs = pairs[np.lexsort([random.random(len(pairs)), pairs[:, 0]])]
    counts = np.bincount(pairs[:, 0], minlength=N_USERS)
    is_test = np.arange(len(pairs)) - np.repeat(np.cumsum(counts) - counts, counts)
    is_test = is_test < np.repeat(np.maximum(1, (TEST_FRACTION * counts).astype(int)), counts)
    missing = np.setdiff1d(np.arange(N_ITEMS), pairs[~is_test, 1])  # every item is trained on
    folder.mkdir(parents=True, exist_ok=True)
    more = np.stack([random.integers(N_USERS, size=len(missing)), missing], axis=1)
    test = pairs[is_test & ~np.isin(pairs[:, 1], missing)]
    for name, part in (("train", np.concatenate([pairs[~is_test], more])), ("test", test)):
        chosen = part[np.lexsort(part.T[::-1])]
        starts = np.flatnonzero(np.diff(chosen[:, 0], prepend=-1))
        lines = [
            " ".join(map(str, [chosen[start, 0], *line[:, 1]]))
            for start, line in zip(starts, np.split(chosen, starts[1:]), strict=True)
        ]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        counts = np.bincount(chosen[:, 1], minlength=N_ITEMS)
        print(f"{name}: {len(chosen):,} pairs of {len(starts):,} users; an item has a median of "
              f"{np.median(counts):.0f} and at most {counts.max():,}", flush=True)  # fmt: skip


def measure_command(*overrides: str) -> dict[str, Any]:
    """Seconds, peak memory, curves and scores on test of one command with these overrides."""
    with tempfile.TemporaryDirectory() as place:
        command = [
            sys.executable, "-m", "recsweep", "tracking=off", f"cache_dir={place}/cache",
            f"hydra.run.dir={place}/run", *overrides,
        ]  # fmt: skip
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if status:
            sys.exit(f"this command failed: {' '.join(command)}")
        results = Path(place) / "run/results"
        found = json.loads((results / "metrics.json").read_text("utf-8"))
        curves = pd.read_csv(results / "curves.csv")
    peak_mib = used.ru_maxrss // 1024
    return {"s": seconds, "peak_mib": peak_mib, "test": found["test"], "curves": curves}


def main() -> None:
    """Write the data unless it is there, and measure one command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the data are, or are written to")
    parser.add_argument("overrides", nargs="*", default=["model=mrf"], metavar="SETTING=VALUE")
    given = parser.parse_args()
    folder = given.folder.absolute()
    if not (folder / "test.txt").exists():
        write_data(folder)
    data = ("data=lightgcn", f"data.path='{folder}'", "k=20", "metrics=[recall_all,ndcg]")
    found = measure_command(*data, *given.overrides)
    print(json.dumps({name: found[name] for name in ("s", "peak_mib", "test")}))


if __name__ == "__main__":
    main()
