"""What the scripts that time a peer share. It runs in their environments: no imports of others."""

import argparse
import json
import resource
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options of every peer."""
    found = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    found.add_argument("--data", type=Path, required=True, help="folder that holds train.csv")
    found.add_argument("--epochs", type=int, default=5)
    found.add_argument("--batch", type=int, default=100, help="users per step")
    return found


def report(library: str, model: str, timed: Mapping[str, object], n_threads: int) -> None:
    """Print the measurement as one line of JSON."""
    found = version(library.lower())
    row = {"name": f"{library} {found} {model}", "version": found, **timed, "threads": n_threads}
    row["peak_rss_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    print(json.dumps(row))
