"""The notebooks run from top to bottom, and what is kept of them is fit to be read."""

import ast
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_FUNCTION_LINES, MAX_BYTES = 40, 300_000
TIMEOUT_S = 600

every_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda file: file.stem)


def code_cells(notebook: Path) -> list[dict[str, Any]]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def syntax(notebook: Path) -> Iterator[ast.AST]:
    """Every node of every cell."""
    for cell in code_cells(notebook):
        yield from ast.walk(ast.parse("".join(cell["source"])))


def test_there_are_notebooks_to_check() -> None:
    assert NOTEBOOKS


@every_notebook
def test_a_notebook_uses_the_package(notebook: Path) -> None:
    modules = [node.module or "" for node in syntax(notebook) if isinstance(node, ast.ImportFrom)]
    assert any(module.split(".")[0] == "recsweep" for module in modules)


@every_notebook
def test_no_function_in_a_notebook_is_longer_than_a_screen(notebook: Path) -> None:
    for node in syntax(notebook):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION_LINES, node.name


@every_notebook
def test_what_is_kept_of_a_notebook_comes_from_one_run_and_names_no_machine(notebook: Path) -> None:
    cells, text = code_cells(notebook), notebook.read_text(encoding="utf-8")
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert notebook.stat().st_size < MAX_BYTES
    for folder in (Path.home(), ROOT.parent, Path("/tmp")):  # noqa: S108 - must not occur
        assert f"{folder}/" not in text


def executed(notebook: Path, parameters: list[str], folder: Path, **environment: str) -> Any:
    """Run a notebook in a fresh kernel that keeps caches in `folder` and finds no network.

    Args:
        notebook: Has one cell with the tag `parameters`.
        parameters: Assignments that follow that cell.
        folder: An empty one.
        environment: Variables that the kernel sees.
    """
    nbclient = pytest.importorskip("nbclient", reason="needs pip install 'recsweep[notebooks]'")
    pytest.importorskip("ipykernel", reason="needs pip install 'recsweep[notebooks]'")
    import nbformat

    book = nbformat.read(notebook, as_version=4)
    (place,) = (
        i for i, cell in enumerate(book.cells) if "parameters" in cell.metadata.get("tags", [])
    )
    book.cells.insert(place + 1, nbformat.v4.new_code_cell("\n".join(parameters)))
    offline = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1"}
    cache = {"XDG_CACHE_HOME": str(folder), "PYTHONPATH": str(ROOT)}
    kernel = nbclient.NotebookClient(
        book,
        timeout=TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    return kernel.execute(env={**os.environ, **offline, **cache, **environment})


def assert_nothing_was_complained_about(book: Any) -> None:
    """Warnings of a kernel, and whatever else it writes to stderr, are seen by the reader."""
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []


@pytest.mark.extended
def test_the_notebook_on_multivae_runs_without_network(ml_100k: Path, tmp_path: Path) -> None:
    downloads = tmp_path / "recsweep" / "downloads" / "ml-100k"
    downloads.mkdir(parents=True)
    shutil.copy(ml_100k, downloads)
    book = executed(ROOT / "notebooks" / "1-multivae.ipynb", ["N_EPOCHS = 2"], tmp_path)
    assert_nothing_was_complained_about(book)


@pytest.mark.extended
def test_the_notebook_on_shallow_autoencoders_runs_on_made_up_counts(tmp_path: Path) -> None:
    parameters = ["LISTENS = None", "N_EPOCHS = 2", "N_MADE_UP_USERS = 2000"]
    book = executed(ROOT / "notebooks" / "2-shallow-autoencoder.ipynb", parameters, tmp_path)
    assert_nothing_was_complained_about(book)


@pytest.mark.slow
@pytest.mark.realdata
def test_the_notebook_on_shallow_autoencoders_runs_on_jukebox(
    shared_data: Path, tmp_path: Path
) -> None:
    listens = str(shared_data / "jukebox" / "listen_count.txt")
    notebook = ROOT / "notebooks" / "2-shallow-autoencoder.ipynb"
    book = executed(notebook, [], tmp_path, RECSWEEP_JUKEBOX=listens)
    assert_nothing_was_complained_about(book)


@pytest.mark.slow
def test_the_notebook_on_reading_a_sweep_makes_a_small_one(tmp_path: Path) -> None:
    parameters = ["SWEEP, DATA, N_TRIALS, N_SEEDS, PATIENCE = None, 'synthetic', 3, 2, 2"]
    notebook = ROOT / "notebooks" / "3-reading-a-sweep.ipynb"
    assert_nothing_was_complained_about(executed(notebook, parameters, tmp_path))
