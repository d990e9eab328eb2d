"""`task=dashboard`: its server, while the study grows."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from mlflow_runs import ROOT, fetched
from ports import free_port
from studies import COMPLETE, add, make_study

STUDY = "/api/studies/0"


pytestmark = pytest.mark.filterwarnings(
    "ignore::optuna.exceptions.ExperimentalWarning"  # of names of metrics
)


@pytest.fixture
def dashboard(tmp_path: Path) -> Any:
    """The address that the command printed, of the study `vae`."""
    study = make_study(tmp_path / "sweeps" / "vae")
    study.set_metric_names(["ndcg@100"])
    add(study, COMPLETE, [0.4], beta=0.25, dropout_rate=0.2)
    add(study, COMPLETE, [0.5], beta=0.5, dropout_rate=0.3)
    port = free_port()
    command = [sys.executable, "-m", "recsweep", "task=dashboard", "study=vae", f"task.port={port}"]
    process = subprocess.Popen(
        [*command, "task.browser=false"], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    yield process.stdout.readline().strip(), study
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    process.stdout.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sweeps"], "it leaves no folder"


@pytest.mark.browser
def test_it_draws_history_and_importance_by_the_objectives_name(
    dashboard: Any, browser: Any, tmp_path: Path
) -> None:
    address, study = dashboard
    for value, beta in ((0.3, 0.1), (0.45, 0.6), (0.55, 0.9)):
        add(study, COMPLETE, [value], beta=beta, dropout_rate=beta)
    page = browser.new_page()
    page.goto(address)
    page.locator(".scatterlayer .point").first.wait_for(timeout=60_000)
    page.get_by_text("Hyperparameter Importance").first.wait_for(timeout=60_000)
    shown = page.locator("body").inner_text()
    assert "ndcg@100" in shown
    assert "Objective 0" not in shown
    pictures = Path(os.environ.get("RECSWEEP_SCREENSHOTS") or tmp_path.parent)
    page.screenshot(path=pictures / "dashboard.png")
    page.close()


def test_a_study_is_shown_as_it_grows_and_never_changed(dashboard: Any) -> None:
    page, study = dashboard
    address, _, path = page.partition("/dashboard")
    assert path == "/studies/0"
    assert b"<html" in fetched(page).lower()

    def got(url: str) -> Any:
        return json.loads(fetched(f"{address}{url}"))

    shown = got(f"{STUDY}?after=0")
    assert (shown["name"], shown["objective_names"]) == ("vae", ["ndcg@100"])
    assert [trial["values"] for trial in shown["trials"]] == [[0.4], [0.5]]

    add(study, COMPLETE, [0.6], beta=0.6, dropout_rate=0.4)
    limit = time.monotonic() + 60
    while len(got(f"{STUDY}?after=0")["trials"]) < 3:  # it looks every 2 s
        assert time.monotonic() < limit
        time.sleep(0.2)
    request = urllib.request.Request(f"{address}{STUDY}", method="DELETE")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request)
    assert [trial.value for trial in study.trials] == [0.4, 0.5, 0.6]
