"""What EASE loses over few neighbours: `mrf` beside `ease` with the same l2, as a Markdown table.

    python benchmarks/mrf.py [--ml-1m FOLDER] [--jukebox FOLDER] [--yelp2018 FOLDER]
                             [--neighbors 50 100 200 500]

Each row is a command that trains and scores test once; on Yelp2018 it trains again, with
validation's interactions. Metrics are means over test users ± standard error.
"""

import argparse
from pathlib import Path

from large_catalogue import measure_command
from tables import Tables, at_least

METRICS = {
    "ml-1m": ("ndcg@100", "recall@20"),
    "jukebox": ("ndcg@100", "recall@20"),
    "yelp2018": ("ndcg@20", "recall_all@20"),
}
L2 = {"ml-1m": 500, "jukebox": 300, "yelp2018": 300}
REFITTED = ("yelp2018",)
Figures = tuple[list[tuple[float, float]], float]


def figures(data: str, folder: Path, model: str) -> Figures:
    """Each metric with its standard error, and peak MiB."""
    found = measure_command(
        *model.split(), f"model.l2={L2[data]}", f"data={data}", f"data.path='{folder}'",
        f"refit={data in REFITTED}", "k=[20,100]", "metrics=[ndcg,recall,recall_all]",
    )  # fmt: skip
    test = found["test"]
    pairs = [(test["mean"][name], test["standard_error"][name]) for name in METRICS[data]]
    return pairs, found["peak_mib"]


def print_table(data: str, folder: Path, n_neighbors: list[int], tables: Tables) -> None:
    """EASE and each number of neighbours."""
    heads = [pair for name in METRICS[data] for pair in ((name, ".4f"), ("of EASE's", ".1%"))]
    tables.begin(f"{data}, l2={L2[data]}", *heads, ("peak, MiB", ",.0f"))
    whole: list[tuple[float, float]] = []
    for model in ("model=ease", *(f"model=mrf model.n_neighbors={n}" for n in n_neighbors)):
        pairs, peak = figures(data, folder, model)
        whole = whole or pairs
        cells = [
            cell
            for pair, (best, _) in zip(pairs, whole, strict=True)
            for cell in (pair, pair[0] / best)
        ]
        tables.add(f"`{model}`", *cells, peak)


def main() -> None:
    """Print a table for each data set that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for data in METRICS:
        parser.add_argument(f"--{data}", type=Path, dest=data, help="its folder")
    parser.add_argument("--neighbors", type=at_least(1), nargs="+", default=[50, 100, 200, 500])
    Tables.add_option(parser)
    options = parser.parse_args()
    with Tables(options.json) as tables:
        for data in METRICS:
            if getattr(options, data):
                print_table(data, getattr(options, data).absolute(), options.neighbors, tables)


if __name__ == "__main__":
    main()
