"""One backend held to the other from equal weights: each runs in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np


def assert_backends_agree(
    one_step: Callable[..., Mapping[str, np.ndarray]], folder: Path, *arguments: Any
) -> None:
    """Call a test file's function here and under the other backend, and compare every array.

    Args:
        one_step: A function of a test file, found there by its name.
        folder: For the other process's result.
        arguments: Plain values for the function.
    """
    other = "tensorflow" if os.environ["KERAS_BACKEND"] == "jax" else "jax"
    script = (
        "import sys, runpy, numpy as np\n"
        f"step = runpy.run_path(sys.argv[1])['{one_step.__name__}']\n"
        f"np.savez(sys.argv[2], **step(*{arguments!r}))"
    )
    subprocess.run(
        [sys.executable, "-c", script, one_step.__code__.co_filename, str(folder / "other.npz")],
        env={**os.environ, "KERAS_BACKEND": other, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True, capture_output=True,
    )  # fmt: skip
    mine, theirs = one_step(*arguments), np.load(folder / "other.npz")
    assert set(mine) == set(theirs)
    for name, value in mine.items():
        # float32: 6e-8 of the weights (about 1) and of the sums that a gradient adds up (about 10)
        np.testing.assert_allclose(value, theirs[name], rtol=1e-5, atol=3e-6, err_msg=name)
        assert np.abs(value).max() > 1e-4, f"{name} has no gradient: nothing was compared"
