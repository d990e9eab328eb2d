"""Holds models to published figures, and keeps the tables of docs/reference.md.

    python benchmarks/reference.py --data FOLDER [--rows NAME …]

FOLDER has the folders `yelp2018`, `jukebox` and `ml-1m-pro_sg`. Each row is a process that trains
once and scores test once, so no figure is tuned on test; with `refit=true` it trains on all but
test. The row's line in the page is replaced, all other lines stay as they are. Differences are in
per cent of the published figure; ± is half of the 95 % interval of the mean over test users.
"""

import argparse
import json
import os
import platform
import re
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference.md"
HALF_INTERVAL = 1.96
HEAD = (
    "| settings | published | source | ours | difference | training, s | test, s | peak, MiB |"
    " machine |\n| --- | --- | --- | --- | --- | ---: | ---: | ---: | --- |"
)
HEADING = "## "
"""What a heading above a table begins with."""


class Row(NamedTuple):
    """A model on a data set: its settings as published, and what was published for each metric."""

    name: str
    settings: str
    published: str
    source: str
    note: str = ""
    """Why it misses its figure, or why it is not measured."""
    is_measured: bool = True


class Data(NamedTuple):
    """A data set: its folder, the settings of all of its rows, and the metrics shown."""

    title: str
    folder: str
    settings: str
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]


NO_GPU = "Not measured yet: it takes hours without a GPU."
TABLES = (
    Data("Yelp2018", "yelp2018", "data=yelp2018 refit=true k=20 metrics=[recall_all,ndcg]",
        ("recall_all@20", "ndcg@20"), (
        Row("ease", "model=ease model.l2=300", ".065707 / .055216", "BARS"),
        Row("gf_cf", "model=gf_cf", ".0697 / .0571", "Shen et al. 2021"),
        Row("turbo_cf", "model=turbo_cf model.alpha=0.6 model.filter_order=2", ".0693 / .0574",
            "Park et al. 2024"),
        Row("slim", "model=slim model.n_neighbors=200 model.l1=0.0317 model.l2=316.6",
            ".0646 / .0541", "BARS",
            "The penalties are n·alpha·l1_ratio and n·alpha·(1 − l1_ratio) of BARS's elastic net, "
            "which has all items as candidates; ours are the 200 nearest."),
        Row("item_knn", "model=item_knn model.n_neighbors=150 model.shrinkage=0", ".0639 / .0531",
            "BARS, ItemCF",
            "BARS's ItemCF is another score: Pearson correlations, the weights of a target "
            "normalised to sum 1, and item means."),
        Row("multivae", "model=multivae", ".0584 / .0450", "BARS", NO_GPU, is_measured=False),
        Row("lightgcn", "model=lightgcn", ".0653 / .0532", "BARS", NO_GPU, is_measured=False),
        Row("bpr", "model=bpr", ".0576 / .0468", "BARS, MF-BPR",
            "Not measured: its l2 and learning rate were not searched on these data.",
            is_measured=False),
    )),
    Data("Jukebox", "jukebox", "data=jukebox split=weak split.per=all split.valid_fraction=0.01"
        " split.unknown_items=count k=100 metrics=ndcg_full_ideal objective=null",
        ("ndcg_full_ideal@100",), (
        Row("jukebox_ease", "model=ease model.l2=30", ".2560", "the exercise's notebook",
            "Its random split is not published. Five draws gave .2593 to .2626, so that the draw "
            "alone does not explain the difference."),
        Row("jukebox_shallow_ae", "experiment=notebook_jukebox", ".2522",
            "the exercise's notebook",
            "Its random split is not published. Five draws gave .2525 to .2570."),
    )),
    Data("MovieLens 1M in the split of Liang et al. 2018", "ml-1m-pro_sg",
        "data=liang k=[20,50,100] metrics=[ndcg,recall]", ("ndcg@100", "recall@20", "recall@50"), (
        Row("ml_1m_ease", "model=ease model.l2=500", "–", "–",
            "Nothing is published for this split of MovieLens 1M: the paper has MovieLens 20M."),
        Row("ml_1m_popularity", "model=popularity", "–", "–"),
    )),
)  # fmt: skip


# --- one row --------------------------------------------------------------------------------------


def train_and_score(overrides: list[str]) -> None:
    """Print the figures of one experiment on test, its seconds and its peak memory, as JSON."""
    from recsweep import app
    from recsweep.api import load_config
    from recsweep.build import validate
    from recsweep.experiment import Experiment
    from recsweep.seeds import Seeds
    from recsweep.tracking import NullTracker

    settings = validate(app.Settings, load_config(*overrides), "")
    experiment = Experiment.prepare(settings, NullTracker())
    start = time.perf_counter()
    if settings.refit:  # the fit without validation is left out, since nothing is chosen by it
        _, rows = experiment.split.without_test()
        experiment.model.fit(rows, lambda *_: True, Seeds(settings.seed))
    else:
        experiment.fit()
    fitted = time.perf_counter()
    found = experiment.evaluate_on_test()
    done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({
        "means": found.means, "errors": found.standard_errors, "fit_s": fitted - start,
        "test_s": done - fitted, "peak_mib": peak,
    }))  # fmt: skip


def measured_line(row: Row, data: Data, folder: Path) -> str:
    """The row's line of the table."""
    overrides = [*row.settings.split(), *data.settings.split(), f"data.path='{folder}'"]
    done = subprocess.run(
        [sys.executable, __file__, "--measure", *overrides, "tracking=off"],
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{row.name} failed")
    found = json.loads(done.stdout.splitlines()[-1])
    means = [found["means"][name] for name in data.metrics]
    errors = [HALF_INTERVAL * found["errors"][name] for name in data.metrics]
    ours = [
        f"{shown(mean, 6)} ± {shown(error, 4)}" for mean, error in zip(means, errors, strict=True)
    ]
    differences = ["–"]
    if row.published != "–":
        published = [float(each) for each in row.published.split(" / ")]
        differences = [f"{100 * (a / b - 1):+.2f} %" for a, b in zip(means, published, strict=True)]
    costs = [f"{found['fit_s']:.1f}", f"{found['test_s']:.1f}", f"{found['peak_mib']:,}"]
    return line(row, " / ".join(ours), " / ".join(differences), *costs, machine())


def shown(value: float, n_digits: int) -> str:
    """A number below 1 without its leading zero."""
    return f"{value:.{n_digits}f}".lstrip("0")


def machine() -> str:
    """Its processor and number of cores."""
    names = [
        text.partition(":")[2].strip()
        for text in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        if text.startswith("model name")
    ]
    return f"{os.cpu_count()} cores, {names[0] if names else platform.processor()}"


# --- the page -------------------------------------------------------------------------------------


def line(row: Row, *cells: str) -> str:
    """A line of the table; without cells the row is not measured."""
    first = (f"`{row.settings}`", row.published, row.source)
    return f"| {' | '.join((*first, *(cells or ('–',) * 6)))} |"


def section(data: Data, known: list[str], new: dict[str, str]) -> str:
    """The table of one data set; a row that was not measured now keeps its line.

    Args:
        data: One of `TABLES`.
        known: The lines of the page.
        new: Names of rows -> their new lines.
    """
    lines, notes = [HEAD], []
    for row in data.rows:
        begin = line(row).removesuffix(" – |" * 6)
        kept = next((each for each in known if each.startswith(begin)), line(row))
        lines.append(new.get(row.name, kept))
        if row.note:
            notes.append(f"- `{row.settings}`: {row.note}")
    metrics = " / ".join(f"`{name}`" for name in data.metrics)
    common = shlex.join(data.settings.split())
    command = f"Figures are {metrics} of `python -m recsweep SETTINGS {common}`."
    parts = [HEADING + data.title, command, "\n".join(lines), "\n".join(notes)]
    return "\n\n".join(filter(None, parts)) + "\n"


def renewed(page: str, new: dict[str, str]) -> str:
    """The page with new lines in its tables; whatever else it has stays.

    Args:
        page: The page.
        new: Names of rows -> their new lines.
    """
    sections = re.split(f"^(?={HEADING})", page, flags=re.MULTILINE)
    ours = {HEADING + data.title: section(data, page.splitlines(), new) for data in TABLES}
    old = [each.partition("\n")[0] for each in sections]
    if absent := sorted(set(ours) - set(old)):
        sys.exit(f"{PAGE} must have the heading {absent[0]!r}")
    return "\n".join(
        ours.get(title, each).strip("\n") + "\n" for title, each in zip(old, sections, strict=True)
    )


def main() -> None:
    """Measure rows one after the other, and write the page after each."""
    if sys.argv[1:2] == ["--measure"]:
        return train_and_score(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets' folders")
    rows = {row.name: (row, data) for data in TABLES for row in data.rows if row.is_measured}
    parser.add_argument("--rows", nargs="*", choices=rows, default=list(rows))
    options = parser.parse_args()
    new: dict[str, str] = {}
    for name in options.rows or [None]:
        if name is not None:
            row, data = rows[name]
            new[name] = measured_line(row, data, options.data.resolve() / data.folder)
            print(new[name], flush=True)
        PAGE.write_text(renewed(PAGE.read_text("utf-8"), new), encoding="utf-8")
    return None


if __name__ == "__main__":
    main()
