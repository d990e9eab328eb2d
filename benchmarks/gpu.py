"""Times recsweep on one GPU: epochs, trials in slots, a whole sweep, EASE and ranking.

    python benchmarks/gpu.py [--data FOLDER] [--parts NAME ...]

FOLDER holds a split in the five CSV files of Liang et al. 2018; without it, clicks are drawn in the
shape of MovieLens 1M. Each part is a process of its own. The table is printed last, and everything
is over in under 5 minutes on an H100. On a machine without a GPU it says so, and measures the same
on the CPU.
"""

import argparse
import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def drawn(n_users: int, n_items: int, n_clicks: int, seed: int = 0) -> sp.csr_matrix:
    """Clicks with log-normal histories and power-law items."""
    random = np.random.default_rng(seed)
    lengths = np.clip(random.lognormal(np.log(n_clicks / n_users) - 0.6, 1.1, n_users), 5, 3000)
    lengths = (lengths * n_clicks / lengths.sum()).astype(np.int64) + 5
    weights = np.cumsum((np.arange(n_items) + 20.0) ** -0.9)
    users = np.repeat(np.arange(n_users), lengths)
    items = np.searchsorted(weights / weights[-1], random.random(len(users)))
    cells = (users, np.minimum(items, n_items - 1))
    matrix = sp.csr_matrix((np.ones(len(users), np.float32), cells), (n_users, n_items))
    matrix.data[:] = 1
    return matrix


def split_of(folder: Path | None) -> Any:
    """MovieLens 1M's split, or one of its shape."""
    from recsweep.data.liang import Liang  # noqa: F401


def main() -> None:
    """Run the parts and print the table."""


if __name__ == "__main__":
    main()
