"""Times an epoch of Multi-VAE on drawn clicks of MovieLens 20M's shape, against the dense peers.

    python benchmarks/movielens_20m.py [--users N] [--epochs N] [--rounds N]

116,677 users of the training part and 20,000 held-out ones choose among 20,108 items in 10 million
clicks, 8.5 of them for training, in batches of 500. recsweep trains on all of these users
and scores some 10,000 for validation: one command, from the files to the saved model. Its epochs
after the first count, each with its validation.

The competitors of epoch.py, recsweep among them, take turns on the first N users of the training
part, since the notebook needs a dense matrix. An epoch's time is in proportion to its steps, so
the last column is what all users would take; it leaves out that the dense matrix of all users does
not fit into memory, and the peers' validation.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import pandas as pd
from epoch import commands, flop_per_epoch, measure, sgemm_flop_per_s
from gpu import write_split
from large_catalogue import measure_command
from tables import Tables, at_least

N_USERS, N_ITEMS, N_CLICKS, N_HELD_OUT = 116_677, 20_108, 9_960_000, 10_000
BATCH = 500


def write_share(whole: Path, share: Path, n_users: int) -> Path:
    """The clicks of the first users of the training part; an item keeps its number."""
    share.mkdir()
    for file in whole.iterdir():
        (share / file.name).symlink_to(file)
    clicks = pd.read_csv(whole / "train.csv")
    (share / "train.csv").unlink()
    clicks[clicks["uid"] < n_users].to_csv(share / "train.csv", index=False)
    return share


def main() -> None:
    """Time the command, then the competitors in turns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=at_least(1), default=4000, help="that the peers train on")
    parser.add_argument(
        "--epochs", type=at_least(2), default=4, help="of each process; the first does not count"
    )
    parser.add_argument("--rounds", type=at_least(1), default=2, help="processes of each")
    Tables.add_option(parser)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, Tables(given.json) as tables:
        whole = Path(place, "whole")
        whole.mkdir()
        write_split(whole, N_USERS, N_ITEMS, N_CLICKS, N_HELD_OUT)
        found = measure_command(
            "model=multivae", "data=liang", f"data.path='{whole}'", f"model.batch_size={BATCH}",
            f"model.n_epochs={given.epochs}", "k=[20,50,100]",
        )  # fmt: skip
        rate = sgemm_flop_per_s()
        tables.begin(
            "all users", ("epoch, s", ".1f"), ("validation, s", ".1f"), ("of SGEMM's rate", ".0%"),
            ("the command, s", ".0f"), ("peak, MiB", ",.0f"),
            title=f"SGEMM's rate is {rate / 1e9:.0f} GFLOP/s",
        )  # fmt: skip
        curves = found["curves"].iloc[1:]
        epoch_s, valid_s = (float(curves[each].median()) for each in ("epoch_s", "evaluate_s"))
        share_of_rate = flop_per_epoch(N_USERS, N_ITEMS) / epoch_s / rate
        tables.add("recsweep jax", epoch_s, valid_s, share_of_rate, found["s"], found["peak_mib"])
        compare(write_share(whole, Path(place, "share"), given.users), given, tables)


def compare(share: Path, given: argparse.Namespace, tables: Tables) -> None:
    """A row for each competitor."""
    found = commands(share, given.epochs, BATCH)
    seconds: dict[str, list[float]] = {name: [] for name in found}
    peaks: dict[str, list[float]] = {name: [] for name in found}
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(given.rounds):
            for name, (command, environment) in found.items():
                result = measure(command, {"CACHE": cache, **environment})
                seconds[name] += result["epoch_s"][1:]  # type: ignore[index]
                peaks[name].append(result["peak_rss_mib"])  # type: ignore[arg-type]
                print(f"{name}: {result['epoch_s']}", file=sys.stderr)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    tables.begin(
        f"{given.users:,} users", ("epoch, s", ".2f"), ("of the notebook's", ".2f"),
        ("peak, MiB", ",.0f"), ("all users, s", ".0f"),
    )  # fmt: skip
    for name, median in sorted(medians.items(), key=lambda entry: entry[1]):
        ratio = median / medians["notebook model.fit"]
        tables.add(name, median, ratio, max(peaks[name]), median * N_USERS / given.users)


if __name__ == "__main__":
    main()
