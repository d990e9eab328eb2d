"""The same command twice, in two processes: the same weights and metrics, bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from compiled_programs import cache_in

COMMAND = [
    "data=synthetic", "tracking=off", "model.hidden_dims=[32]", "model.latent_dim=8",
    "model.n_epochs=4", "k=[10]", "threads=2",
]  # fmt: skip


def run(folder: Path, backend: str, seed: int) -> Path:
    settings = [f"backend={backend}", f"seed={seed}", f"cache_dir={cache_in(folder.parent)}"]
    done = subprocess.run(
        [sys.executable, "-m", "recsweep", *COMMAND, *settings, f"hydra.run.dir={folder}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=folder.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "results"


def weights(results: Path) -> dict[str, np.ndarray]:
    with np.load(results / "model" / "weights.npz") as file:
        return dict(file)


@pytest.mark.parametrize("backend", ["jax", pytest.param("tensorflow", marks=pytest.mark.extended)])
def test_the_same_command_gives_the_same_bits(backend: str, tmp_path: Path) -> None:
    first, second = (run(tmp_path / name, backend, seed=5) for name in ("first", "second"))
    for name, value in weights(first).items():
        np.testing.assert_array_equal(value, weights(second)[name], err_msg=name)
    metrics = [pd.read_parquet(r / "test_metrics_per_user.parquet") for r in (first, second)]
    pd.testing.assert_frame_equal(*metrics, check_exact=True)


@pytest.mark.extended
def test_another_seed_gives_other_weights_on_the_same_split(tmp_path: Path) -> None:
    first, second = (run(tmp_path / str(seed), "jax", seed) for seed in (5, 6))
    assert not np.array_equal(weights(first)["output/kernel"], weights(second)["output/kernel"])
    users = [pd.read_parquet(r / "test_metrics_per_user.parquet").index for r in (first, second)]
    pd.testing.assert_index_equal(*users)
