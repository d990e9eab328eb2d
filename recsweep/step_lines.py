"""Progress lines of a long computation that has no epochs."""

import time
from collections.abc import Iterator

from recsweep.messages import print_to_stderr

LINE_EVERY_S = 30.0
"""Interval between progress lines; a short computation prints none."""


def report_progress(starts: range, what: str) -> Iterator[int]:
    """The same numbers, with progress lines on stderr; all steps should take equally long.

    Args:
        starts: The first number of each block.
        what: Start of each line.
    """
    began = last = time.monotonic()
    for n_done, start in enumerate(starts):
        now = time.monotonic()
        if n_done and now - last >= LINE_EVERY_S:
            last, left_s = now, (now - began) / n_done * (len(starts) - n_done)
            line = f"{what}: {n_done} of {len(starts)} blocks, {left_s:.0f} s left"
            print_to_stderr(line)
        yield start
