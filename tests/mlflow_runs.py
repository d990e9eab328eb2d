"""Runs in real MLflow stores, as MLflow gives them back, and processes that make them."""

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from recsweep.tracking import MLflowTracker

ROOT = Path(__file__).resolve().parent.parent


def tracker(uri: str | None, **changes: Any) -> MLflowTracker:
    """A tracker that is not open yet."""
    settings = {"experiment": "tests", "run_name": "a run", **changes}
    return MLflowTracker(uri=uri, **settings)


def run_of(one: MLflowTracker, run_id: str | None = None) -> Any:
    """Its run, or another one of its store."""
    import mlflow

    assert one.run_id is not None or run_id is not None
    return mlflow.MlflowClient(one.store.uri).get_run(run_id or one.run_id)


def history(one: MLflowTracker, name: str) -> list[tuple[int, float]]:
    """Steps and values of a metric."""
    import mlflow

    found = mlflow.MlflowClient(one.store.uri).get_metric_history(one.run_id, name)
    return [(entry.step, entry.value) for entry in found]


def with_model(uri: str, folder: Path, **changes: Any) -> str:
    """Id of a finished run whose model says its id."""
    with tracker(uri, **changes) as one:
        (folder / "model").mkdir(parents=True, exist_ok=True)
        (folder / "model" / "model.yaml").write_text(str(one.run_id), encoding="utf-8")
        one.log_artifacts(folder)
    return str(one.run_id)


def start(folder: Path, code: str, *arguments: str) -> subprocess.Popen[str]:
    """Python in a process of its own, in `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=folder, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def fetched(url: str) -> bytes:
    """A page of a server that may still be starting."""
    for _ in range(1200):
        try:
            with urllib.request.urlopen(url, timeout=5) as page:
                return bytes(page.read())
        except OSError:
            time.sleep(0.25)
    raise AssertionError(f"{url} does not answer")
