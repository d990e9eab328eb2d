"""A file of interactions, read and checked; a bad one is explained by its first bad row.

Arrow reads the whole file and says little more than that something is wrong. Only then Python
walks through it row by row to name what must be mended.
"""

import csv
import math
import zlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from recsweep.data.formats import Layout, Parquet, TableFile, Text
from recsweep.data.interactions import quoted
from recsweep.errors import InputError

LARGEST = float(np.finfo(np.float32).max)
UNREADABLE = (pa.ArrowException, OSError, EOFError, ValueError, zlib.error, csv.Error)


def read_table(path: Path, layout: Layout) -> pd.DataFrame:
    """Read and check a file.

    Args:
        path: Delimited text, plain or packed by gzip, or parquet when it ends in `.parquet`.
        layout: Its delimiter and columns.

    Returns:
        `user` and `item` (as written in the file, as categories), `value` (float64, at least 0
        and within float32) and, when the layout has one, `timestamp` (float64), in file order.

    Raises:
        InputError: The file is missing, cannot be read, lacks a column, or holds a bad row.
    """
    if not path.is_file():
        raise InputError(f"{path} must be a file with interactions, but there is none")
    file = Parquet(path, layout) if path.suffix == ".parquet" else Text(path, layout)
    try:
        is_empty = path.stat().st_size == 0 or _lacks_rows(file)
        table = pd.DataFrame() if is_empty else _frame(file.read(), layout)
    except UNREADABLE as error:
        raise _explained(file, str(error)) from error
    return table
