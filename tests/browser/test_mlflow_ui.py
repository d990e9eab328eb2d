"""A sweep in MLflow's own UI, in a real Chromium: each page as a person gets to it.

The sweep is run by the command line, the UI is started by the command that the sweep prints, and
its pages are opened by the links below that. RECSWEEP_SCREENSHOTS=FOLDER keeps pictures of them.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from mlflow_runs import ROOT, fetched
from ports import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's, of SQLAlchemy
]

N_TRIALS, N_EPOCHS, N_SEEDS = 4, 3, 2
CUTOFFS = (5, 10)
SWEEP = (
    "-m", "model=multivae", "data=synthetic", "data.n_users=600", "data.n_items=100", "k=[5,10]",
    f"model.n_epochs={N_EPOCHS}", "model.hidden_dims=[32]", "model.latent_dim=8,16",
    "model.beta_warmup_steps=0", f"sweep.n_trials={N_TRIALS}", f"sweep.final_seeds={N_SEEDS}",
    "hydra/launcher=basic",
)  # fmt: skip
SEARCHED = (
    "model.beta", "model.dropout_rate", "model.latent_dim", "model.l2",
    "optimizer.learning_rate_decay",
)  # fmt: skip
OBJECTIVE = "valid_best_ndcg_at_10"
METRICS = (OBJECTIVE, "valid_best_recall_at_10", "best_epoch")
NAME = "attributes.`Run Name`"
CURVES = ("valid/ndcg_at_10", "valid/loss", "train/loss")
IN_ORDER = """
(rows, column) => rows
  .sort((one, other) => one.getAttribute("row-index") - other.getAttribute("row-index"))
  .map(row => [...row.children].find(cell => cell.getAttribute("col-id") === column))
  .filter(cell => cell)
  .map(cell => (cell.querySelector("a") ?? cell).innerText)
"""

IS_ABOVE = """
([line, fold]) => line.getBoundingClientRect().bottom < fold.getBoundingClientRect().top
"""


class Swept(NamedTuple):
    """A finished sweep.

    Args:
        folder: Where its command was typed.
        printed: What it said in the end.
    """

    folder: Path
    printed: str

    @property
    def links(self) -> list[str]:
        """Of the UI, on its own page and of that: its trials, their curves, its plots, the page."""
        run = self.runs[0]
        own = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
        views = re.findall(r"\]\((#/\S+)\)", run.data.tags["mlflow.note.content"])
        return [*views, f"{own}?workflowType=machine_learning"]

    @property
    def runs(self) -> list[Any]:
        """All its runs, its own first, then the best on validation first."""
        import mlflow

        client = mlflow.MlflowClient(f"sqlite:///{self.folder}/mlflow.db")
        (experiment,) = client.search_experiments(filter_string="name = 'recsweep'")
        found = client.search_runs(
            [experiment.experiment_id], order_by=[f"metrics.`{OBJECTIVE}` DESC"]
        )
        return sorted(found, key=lambda run: run.data.tags["recsweep.kind"] != "sweep")

    @property
    def n_complete(self) -> int:
        """Trials that were not pruned."""
        return sum(run.data.tags["recsweep.state"] == "complete" for run in self.trials)

    @property
    def trials(self) -> list[Any]:
        """The best first."""
        return [run for run in self.runs if run.data.tags["recsweep.kind"] == "trial"]


@pytest.fixture(scope="module")
def swept(browser: "Browser", tmp_path_factory: pytest.TempPathFactory) -> Swept:  # noqa: ARG001
    """A real sweep of five hyperparameters, where there is a browser to look at it."""
    folder = tmp_path_factory.mktemp("swept")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    ended = subprocess.run(
        [sys.executable, "-m", "recsweep", *SWEEP, f"cache_dir={folder}/cache"], cwd=folder,
        env=environment, text=True, capture_output=True, timeout=600, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return Swept(folder, ended.stdout)


@pytest.fixture(scope="module")
def ui(swept: Swept) -> Iterator[str]:
    """The address of a UI that was started by the command which the sweep printed."""
    (command,) = re.findall(r"open UI +(.+)", swept.printed)
    address = f"http://127.0.0.1:{(port := free_port())}"
    with (swept.folder / "ui.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *shlex.split(command)[1:], f"task.port={port}", "task.browser=false"],
            cwd=swept.folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
            stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == f"{address}/{swept.links[0]}\n"
        assert fetched(f"{address}/health") == b"OK"
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 0
        process.stdout.close()


@pytest.fixture
def page(browser: "Browser", request: pytest.FixtureRequest, pictures: Path) -> "Iterator[Page]":
    """Of somebody who has closed the assistant, which opens itself once; kept as a picture."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(60_000)
    seen = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
    context.add_init_script(seen)
    opened = context.new_page()
    yield opened
    opened.screenshot(path=pictures / f"{request.node.originalname.removeprefix('test_')}.png")
    context.close()


def expect(found: Any) -> Any:
    """Playwright's, which waits for what is said of a part of a page."""
    from playwright import sync_api

    return sync_api.expect(found)


def cells(page: "Page", column: str, n: int) -> list[str]:
    """What a column of the table of runs shows once it has `n` rows, from the top."""
    expect(page.locator(f".ag-row [col-id='{column}']")).to_have_count(n)
    shown: list[str] = page.eval_on_selector_all(".ag-row", IN_ORDER, column)
    return shown


def charts(page: "Page", title: str) -> Any:
    """The charts with this title."""
    cards = page.get_by_test_id("experiment-view-compare-runs-card")
    return cards.filter(has=page.get_by_text(title, exact=True))


def test_the_printed_link_opens_the_trials_best_first(swept: Swept, ui: str, page: "Page") -> None:
    page.goto(f"{ui}/{swept.links[0]}")
    shown = [f"tags.`recsweep.{tag}`" for tag in ("trial", "state")]
    shown += [*(f"metrics.`{m}`" for m in METRICS), *(f"params.`{key}`" for key in SEARCHED)]
    for column in (NAME, *shown):
        header = page.locator(f".ag-header-cell[col-id='{column}']")
        expect(header).to_be_in_viewport(ratio=0.99)
    assert cells(page, NAME, N_TRIALS) == [run.info.run_name for run in swept.trials]
    numbers = cells(page, "tags.`recsweep.trial`", N_TRIALS)
    assert sorted(numbers) == [str(number) for number in range(N_TRIALS)]
    assert set(cells(page, "tags.`recsweep.state`", N_TRIALS)) <= {"complete", "pruned"}
    for number, name in zip(numbers, cells(page, NAME, N_TRIALS), strict=True):
        assert name.startswith(f"#{number} β=")
    for metric in METRICS:
        shown = [float(text) for text in cells(page, f"metrics.`{metric}`", N_TRIALS)]
        assert shown == [run.data.metrics[metric] for run in swept.trials]
    objective = [float(text) for text in cells(page, f"metrics.`{OBJECTIVE}`", N_TRIALS)]
    assert objective == sorted(set(objective), reverse=True)
    for key in SEARCHED:
        shown = cells(page, f"params.`{key}`", N_TRIALS)
        assert shown == [run.data.params[key] for run in swept.trials]


def test_the_link_to_curves_draws_those_of_all_trials_by_epoch(
    swept: Swept, ui: str, page: "Page"
) -> None:
    page.goto(f"{ui}/{swept.links[1]}")
    for metric in CURVES:
        drawn = charts(page, metric).locator(".scatterlayer .point")
        expect(drawn).to_have_count(N_TRIALS * N_EPOCHS)
        for run in swept.trials:
            expect(charts(page, metric)).to_contain_text(run.info.run_name)
    coordinates = charts(page, "Parallel Coordinates")
    coordinates.scroll_into_view_if_needed()
    expect(coordinates.locator("canvas").first).to_be_visible()
    for key in SEARCHED:
        expect(coordinates).to_contain_text(key[-8:])


def test_a_sweep_is_one_row_whose_trials_and_trainings_open_below_it(
    swept: Swept, ui: str, page: "Page"
) -> None:
    parent, *children = swept.runs
    page.goto(f"{ui}/#/experiments/{parent.info.experiment_id}?workflowType=machine_learning")
    assert cells(page, NAME, 1) == [parent.info.run_name]
    page.locator(f".ag-row [col-id='{NAME}'] button").click()
    below = cells(page, NAME, 1 + N_TRIALS + N_SEEDS)[1:]
    assert sorted(below) == sorted(run.info.run_name for run in children)
    assert sum(name.startswith("best: multivae β=") for name in below) == N_SEEDS


def test_the_page_of_a_sweep_tells_what_it_found_and_how_to_have_it_again(
    swept: Swept, ui: str, page: "Page"
) -> None:
    best = swept.trials[0]
    number, value = best.data.tags["recsweep.trial"], best.data.metrics[OBJECTIVE]
    page.goto(f"{ui}/{swept.links[-1]}")
    headline = page.get_by_text(f"Trial {number}: validation ndcg@10 {value:.4f}")
    expect(headline).to_be_in_viewport()
    fold = page.get_by_text("Show more")
    for line in (headline, page.get_by_text("all plots"), page.get_by_text("Matters: ")):
        handles = [line.element_handle(), fold.element_handle()]
        page.wait_for_function(IS_ABOVE, arg=handles)  # it is shown without a click
    fold.click()
    picture = page.locator("img[src*='overview.png']")
    expect(picture).to_be_in_viewport(ratio=0.99)
    page.wait_for_function("image => image.naturalWidth > 500", arg=picture.element_handle())
    rows = page.locator("table", has_text="rank").get_by_role("row")
    expect(rows).to_have_count(1 + N_TRIALS)
    expect(rows.nth(1)).to_contain_text(f"{value:.4f}")
    expect(rows.last).to_be_in_viewport()
    for command in ("recsweep -m model=multivae", "task=best study=", "task=reproduce task.run="):
        expect(page.locator("code", has_text=command)).to_be_visible()
    expect(page.get_by_text("About this run")).to_be_in_viewport(ratio=0.99)
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="trials, best first").click()
    assert cells(opened.value, NAME, N_TRIALS)[0] == best.info.run_name
    page.goto(f"{ui}/{swept.links[2]}")
    plots = page.frame_locator("iframe")
    expect(plots.locator("svg.main-svg").first).to_be_visible()


def test_the_metrics_of_a_sweep_begin_with_its_best_value_by_trial(
    swept: Swept, ui: str, page: "Page"
) -> None:
    page.goto(f"{ui}/{swept.links[-1]}")
    page.get_by_role("tab", name="Model metrics").click()
    best = charts(page, "ndcg_at_10").first
    expect(best).to_be_in_viewport()
    expect(best.locator(".scatterlayer .point")).to_have_count(swept.n_complete)
    expect(charts(page, "n_complete").locator(".scatterlayer .point").first).to_be_visible()
    expect(page.locator(".barlayer .point")).to_have_count(0)


def test_the_page_of_a_trial_draws_its_curves(
    swept: Swept, ui: str, page: "Page", pictures: Path
) -> None:
    best = swept.trials[0]
    page.goto(f"{ui}/{swept.links[0]}")
    page.get_by_role("link", name=best.info.run_name).click()
    expect(page.get_by_role("heading", name=best.info.run_name)).to_be_visible()
    page.get_by_role("tab", name="Model metrics").click()
    in_view = {"loss": 2 * N_EPOCHS, "best_ndcg_by_k": len(CUTOFFS), "ndcg_at_10": N_EPOCHS}
    for title, n in in_view.items():
        expect(charts(page, title).first).to_be_in_viewport()
        expect(charts(page, title).locator(".scatterlayer .point")).to_have_count(n)
    sections = page.get_by_test_id("experiment-view-compare-runs-section-header")
    shown = [section.split()[0] for section in sections.all_inner_texts()]
    assert shown == ["train", "valid", "Model"], "what has no curve comes last"
    expect(page.locator(".barlayer .point")).to_have_count(0)
    page.screenshot(path=pictures / "the_metrics_of_a_trial_begin_with_its_curves.png")
    page.get_by_placeholder("Search metric charts").fill(f"^({'|'.join(CURVES)})$")
    for title, n in {"ndcg_at_10": 1, "loss": 2}.items():
        expect(charts(page, title)).to_have_count(n)
        drawn = charts(page, title).locator(".scatterlayer .point")
        expect(drawn).to_have_count(n * N_EPOCHS)
    for section in ("train", "valid"):
        expect(page.get_by_role("figure").filter(has_text=section)).to_be_visible()
