"""Holds models to published figures: one row per model and data set, as a Markdown table.

    python benchmarks/reference.py --yelp2018 FOLDER [--rows NAME …]

FOLDER has LightGCN's `train.txt` and `test.txt`. Each row is a process of `yelp2018.py`, which
trains on all training data and scores test once, so no figure is tuned on test. Differences are in
per cent of the published figure; ± is the standard error of the mean over test users.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

WORKER = Path(__file__).with_name("yelp2018.py")
METRICS = ("recall_all@20", "ndcg@20")


class Row(NamedTuple):
    """A model, its settings as published, and what was published."""

    name: str
    settings: str
    published: tuple[float, float]
    source: str


ROWS = (
    Row("ease", "model=ease model.l2=300", (0.065707, 0.055216), "BARS"),
    Row("gf_cf", "model=gf_cf", (0.0697, 0.0571), "Shen et al. 2021"),
    Row("turbo_cf", "model=turbo_cf model.alpha=0.6 model.filter_order=2", (0.0693, 0.0574),
        "Park et al. 2024"),
    # n · alpha · l1_ratio and n · alpha · (1 − l1_ratio) of BARS's elastic net; neighbours are ours
    Row("slim", "model=slim model.n_neighbors=200 model.l1=0.0317 model.l2=316.6",
        (0.0646, 0.0541), "BARS"),
    # BARS's ItemCF is another score: Pearson, weights of a target normalised, item means added
    Row("item_knn", "model=item_knn model.n_neighbors=150 model.shrinkage=0", (0.0639, 0.0531),
        "BARS, ItemCF"),
)  # fmt: skip


def measure(row: Row, folder: Path) -> dict[str, float]:
    """The figures of a row, its seconds of training and of scoring, and its peak memory."""
    done = subprocess.run(
        [sys.executable, str(WORKER), str(folder), *row.settings.split()],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{row.name} failed:\n{done.stderr[-2000:]}")
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    steps = {line["step"]: line for line in lines}
    test = steps["test"]
    return {
        **{name: test[name] for name in METRICS},
        **{f"error of {name}": test["standard_errors"][name] for name in METRICS},
        "fit_s": steps["fit"]["s"], "test_s": test["s"], "peak_mib": test["peak_mib"],
    }  # fmt: skip


def cell(found: dict[str, float], name: str, published: float) -> str:
    """Published figure, ours with its standard error, and the difference."""
    value, error = found[name], found[f"error of {name}"]
    return f"{published:g} | {value:.6f} ± {error:.4f} | {100 * (value / published - 1):+.2f} %"


def main() -> None:
    """Print the table row by row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--yelp2018", type=Path, required=True, help="LightGCN's folder")
    names = [row.name for row in ROWS]
    parser.add_argument("--rows", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    head = "model | source | recall_all@20 | ours | difference | ndcg@20 | ours | difference"
    print(f"| {head} | training, s | test, s | peak, MiB |")
    print("| --- | --- |" + " ---: |" * 9)
    for row in ROWS:
        if row.name in options.rows:
            found = measure(row, options.yelp2018)
            cells = [cell(found, *pair) for pair in zip(METRICS, row.published, strict=True)]
            cost = f"{found['fit_s']:.1f} | {found['test_s']:.1f} | {found['peak_mib']:,.0f}"
            print(f"| `{row.settings}` | {row.source} | {' | '.join(cells)} | {cost} |", flush=True)


if __name__ == "__main__":
    main()
