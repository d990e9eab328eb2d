"""How an epoch's time and memory grow with users, items and clicks, and the inverse's with items.

    python benchmarks/growth.py [--rounds N] [--plot FILE] [--model multivae ease ...]

Around 4,000 users × 8,000 items × 200,000 clicks one number at a time takes three sizes, each
twice the one before. Clicks are drawn with log-normal histories and power-law items, see gpu.py.
Each fit has a process of its own; sizes take turns, so that a noisy machine is noisy for all. Time
is the median epoch after the first two (EASE: its fit), memory what the process's peak is above the
peak before the fit. The exponent e is that of the power law through the three medians:
time ~ size^e, so that 1 is linear. Fixed costs make exponents smaller, caches that are full make
them larger.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from gpu import drawn
from tables import Tables, at_least

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
BASE = {"users": 4_000, "items": 8_000, "clicks": 200_000}
FACTORS = (1, 2, 4)
N_EPOCHS = 4
ITEMS_ONLY = {"ease": "items"}
"""Models whose epoch depends on one number only."""


def peak_mb() -> float:
    """The largest resident size so far, in MiB."""
    from recsweep.memory import peak_bytes

    return peak_bytes() / 2**20


def measure(model_name: str, shape: dict[str, int]) -> dict[str, float]:
    """What a process of its own does: fit, and give seconds and MiB."""
    from recsweep import environment

    environment.choose_backend("jax", None)
    from recsweep.models.ease import EASE
    from recsweep.models.multivae import MultiVAE
    from recsweep.seeds import Seeds

    clicks = drawn(shape["users"], shape["items"], shape["clicks"])
    warm_up = drawn(200, 100, 2_000)
    models: dict[str, Any] = {
        "ease": lambda: EASE(l2=300.0), "multivae": lambda: MultiVAE(n_epochs=N_EPOCHS),
    }  # fmt: skip
    models[model_name]().fit(warm_up, lambda *_: True, Seeds(0))
    before, stamps = peak_mb(), [time.perf_counter()]

    def stamp(*_: object) -> bool:
        stamps.append(time.perf_counter())
        return True

    models[model_name]().fit(clicks, stamp, Seeds(1))
    epochs = [after - before for before, after in pairwise(stamps)]
    return {
        "s": statistics.median(epochs[2:] or epochs),
        "mb": peak_mb() - before,
        "clicks": float(clicks.nnz),
    }


def in_a_process(model_name: str, shape: dict[str, int]) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--worker", json.dumps([model_name, shape])]
    done = subprocess.run(command, env={**os.environ, "JAX_PLATFORMS": "cpu"},
                          capture_output=True, text=True, check=False)  # fmt: skip
    if done.returncode:
        sys.exit(f"{model_name} {shape} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def exponent(sizes: list[float], values: list[float]) -> float:
    """The slope of a line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def series(model_name: str, what: str, n_rounds: int) -> dict[str, list[float]]:
    """Sizes of one number, and the medians of seconds and MiB."""
    shapes = [{**BASE, what: factor * BASE[what]} for factor in FACTORS]
    found: list[list[dict[str, float]]] = [[] for _ in shapes]
    for _ in range(n_rounds):
        for shape, results in zip(shapes, found, strict=True):
            results.append(in_a_process(model_name, shape))
    sizes = [float(shape[what]) for shape in shapes]
    if what == "clicks":  # fewer than asked for, since some are drawn twice
        sizes = [results[0]["clicks"] for results in found]
    medians = {
        name: [statistics.median(each[name] for each in results) for results in found]
        for name in ("s", "mb")
    }
    return {"size": sizes, **medians}


def draw(found: dict[str, dict[str, list[float]]], file: Path) -> None:
    """Seconds and MiB by size, both logarithmic, beside linear growth, with exponents."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, len(found), figsize=(3 * len(found), 6), squeeze=False)
    units = {"s": "seconds", "mb": "MiB"}
    for column, (name, lines) in enumerate(found.items()):
        for row, (key, unit) in enumerate(units.items()):
            axis, sizes, values = axes[row, column], lines["size"], lines[key]
            axis.loglog(sizes, values, "o-", base=2)
            linear = values[0] * np.array(sizes) / sizes[0]
            axis.loglog(sizes, linear, ":", color="gray", base=2, label="linear")
            axis.set_title(f"{name}: exponent {exponent(sizes, values):.2f}", size=9)
            axis.set_xticks(sizes, [f"{size:,.0f}" for size in sizes], size=7)
            middle = (values[0] * values[-1]) ** 0.5
            room = max(values[-1], linear[-1]) / middle * 1.3  # upwards and downwards
            axis.set_ylim(middle / room, middle * room)
            axis.set_yticks(values[::2], [short(value) for value in values[::2]], size=7)
            axis.minorticks_off()
            axis.set_xlabel(name.rpartition(" ")[2])
            axis.set_ylabel(unit)
    axes[0, 0].legend()
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def short(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    """Take turns, print the table, draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=at_least(1), default=3, help="processes of each size")
    parser.add_argument("--plot", type=Path, help="an image to write")
    parser.add_argument("--model", nargs="+", choices=["multivae", "ease"],
                        default=["multivae", "ease"])  # fmt: skip
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    Tables.add_option(parser)
    options = parser.parse_args()
    if options.worker:
        return print(json.dumps(measure(*json.loads(options.worker))))
    found = {}
    with Tables(options.json) as tables:
        tables.begin("model", "of", "sizes", "s", ("exponent", ".2f"), "MiB", ("exponent", ".2f"))
        for model_name in options.model:
            for what in BASE:
                if ITEMS_ONLY.get(model_name, what) != what:
                    continue
                lines = series(model_name, what, options.rounds)
                found[f"{model_name}, {what}"] = lines
                sizes = ", ".join(f"{size:,.0f}" for size in lines["size"])
                cells: list[str | float] = []
                for key in ("s", "mb"):
                    cells.append(", ".join(short(value) for value in lines[key]))
                    cells.append(exponent(lines["size"], lines[key]))
                tables.add(model_name, what, sizes, *cells)
    if options.plot:
        draw(found, options.plot)
    return None


if __name__ == "__main__":
    main()
