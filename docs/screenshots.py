"""Makes the pictures of the docs: python docs/screenshots.py --data FILE (of MovieLens 100K).

It runs a sweep of two models in a temporary folder and opens its pages in Chromium: MLflow's UI,
the sweep's page, the comparison and the dashboard. It needs the extras browser and dashboard.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

DOCS = Path(__file__).resolve().parent
SWEEP = (
    "-m", "model=ease,multivae", "data=ml-100k", "sweep.n_trials=24", "sweep.n_workers=2",
    "sweep.final_seeds=3",
)  # fmt: skip
SIZE = {"width": 1400, "height": 900}
NO_ASSISTANT = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
PATIENCE_MS, SETTLE_MS = 60_000, 3_000


def recsweep(*arguments: str) -> list[str]:
    """A command line."""
    return [sys.executable, "-m", "recsweep", *arguments]


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[str]:
    """The page that a command prints while it serves it."""
    command = recsweep(*arguments, "task.browser=false", "task.port=null")
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        yield "" if process.stdout is None else process.stdout.readline().strip()
        process.terminate()


def main() -> None:
    """Run the sweep, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="u.data; else it is downloaded")
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    options = parser.parse_args()
    place = [f"data.path={options.data.resolve()}"] if options.data else []
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary)
        subprocess.run(recsweep(*SWEEP, *place), cwd=folder, check=True)
        browser = playwright.chromium.launch(
            executable_path=options.chromium, args=["--no-sandbox"]
        )
        context = browser.new_context(viewport=SIZE)
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(NO_ASSISTANT)
        take_mlflow(context.new_page(), folder)
        take_pages(context.new_page(), folder)
        take_dashboard(context.new_page(), folder)
        browser.close()


def study_of(folder: Path, model: str) -> str:
    """Name of the study of a model."""
    (found,) = (folder / "sweeps").glob(f"{model}-*")
    return found.name


def take(page: Any, address: str, shown: str, name: str) -> None:
    """A picture of a page once a part of it is shown and has stopped moving."""
    page.goto(address)
    page.locator(shown).first.wait_for()
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=DOCS / f"{name}.png")


def take_mlflow(page: Any, folder: Path) -> None:
    """Trials, their charts, the sweep's page, and the curves of the best trial."""
    with served(folder, "task=ui", f"task.run={study_of(folder, 'multivae')}") as trials:
        take(page, trials, ".ag-row", "mlflow-trials")
        best = page.locator(".ag-row[row-index='0'] a").first.get_attribute("href")
        take(page, f"{trials}&compareRunsMode=CHART", ".scatterlayer .point", "mlflow-sweep")
        address = trials.partition("#")[0]
        curves = f"{address}{best}/model-metrics?workflowType=machine_learning"
        take(page, curves, ".scatterlayer path", "mlflow-curves")
        page.goto(parent_page(folder, address))
        page.get_by_text("Show more").click()
        page.wait_for_timeout(SETTLE_MS)
        page.screenshot(path=DOCS / "mlflow-page.png")


def parent_page(folder: Path, address: str) -> str:
    """Address of the sweep's own page."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'recsweep'")
    (run,) = client.search_runs(
        [experiment.experiment_id],
        f"tags.recsweep.kind = 'sweep' AND tags.recsweep.study = '{study_of(folder, 'multivae')}'",
    )
    where = f"#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}"
    return f"{address}{where}?workflowType=machine_learning"


def take_pages(page: Any, folder: Path) -> None:
    """The sweep's page and the comparison."""
    results = folder / "sweeps" / study_of(folder, "multivae") / "results"
    (comparison,) = (folder / "sweeps").glob("comparison-*/comparison.html")
    take(page, (results / "plots" / "sweep.html").as_uri(), "svg.main-svg", "sweep-page")
    take(page, comparison.as_uri(), "svg.main-svg", "comparison-page")


def take_dashboard(page: Any, folder: Path) -> None:
    """Optuna's dashboard of the study."""
    with served(folder, "task=dashboard", f"study={study_of(folder, 'multivae')}") as address:
        take(page, address, ".plotly .scatterlayer .point", "dashboard")


if __name__ == "__main__":
    main()
