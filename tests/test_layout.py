"""The house style that a machine can hold: names, sizes and where tests are."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "recsweep"
FILES = sorted(PACKAGE.rglob("*.py"))
VAGUE = {"utils", "helpers", "common", "core", "misc", "base"}
LIBRARIES = {
    "hydra", "optuna", "mlflow", "keras", "jax", "tensorflow", "numpy", "scipy", "pandas", "rich",
    "tqdm", "pydantic", "csv", "json", "random",
}  # fmt: skip
MAX_FUNCTION_LINES, MAX_FILE_LINES, MAX_ARGUMENTS = 50, 400, 6

Function = ast.FunctionDef | ast.AsyncFunctionDef


def label(file: Path) -> str:
    return str(file.relative_to(ROOT))


def docstring_lines(node: ast.AST) -> int:
    body = getattr(node, "body", [])
    first = body[0] if body else None
    is_docstring = (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )
    return (first.end_lineno or 0) - first.lineno + 1 if is_docstring and first else 0


def choices(package: Path) -> set[str]:
    """Models and metrics: a file for each in the package and in `conf`."""
    if package.name not in {"models", "metrics"}:
        return set()
    group = {"models": "model", "metrics": "metrics"}[package.name]
    return {file.stem for file in (ROOT / "conf" / group).glob("*.yaml")}


def functions(file: Path) -> list[Function]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


@pytest.mark.parametrize("file", FILES, ids=label)
def test_a_file_has_a_telling_name(file: Path) -> None:
    assert file.stem not in VAGUE | LIBRARIES


@pytest.mark.parametrize("file", FILES, ids=label)
def test_a_module_opens_with_what_it_owns(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not text.strip() or ast.get_docstring(ast.parse(text)), "a first sentence is missing"


OPEN = {"models", "sources", "splits", "tasks"}
"""Packages that another file may join without a change of their docstring."""


@pytest.mark.parametrize(
    "package", [f.parent for f in FILES if f.stem == "__init__" and f.parent.name not in OPEN],
    ids=label,
)  # fmt: skip
def test_a_packages_docstring_is_the_map_of_its_modules(package: Path) -> None:
    text = (package / "__init__.py").read_text(encoding="utf-8")
    modules = {f.stem for f in package.glob("*.py")} - {"__init__", "__main__"}
    modules -= choices(package)
    packages = {f.parent.name for f in package.glob("*/__init__.py")}
    shown = re.findall(r"^ {4}(\w+) {2,}\S", text, re.MULTILINE)
    assert sorted(shown) == sorted(modules | packages)


@pytest.mark.parametrize("file", FILES, ids=label)
def test_files_and_functions_stay_readable(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    documented = (
        n for n in ast.walk(ast.parse(text)) if isinstance(n, Function | ast.ClassDef | ast.Module)
    )
    assert len(text.splitlines()) - sum(map(docstring_lines, documented)) <= MAX_FILE_LINES
    for function in functions(file):
        length = (function.end_lineno or 0) - function.body[0].lineno + 1
        assert length - docstring_lines(function) <= MAX_FUNCTION_LINES, function.name


@pytest.mark.parametrize("file", FILES, ids=label)
def test_functions_take_few_arguments(file: Path) -> None:
    for function in functions(file):
        named = [a.arg for a in function.args.posonlyargs + function.args.args if a.arg != "self"]
        n_required = len(named) - len(function.args.defaults)
        n_keyword = sum(default is None for default in function.args.kw_defaults)
        assert n_required + n_keyword <= MAX_ARGUMENTS, function.name


@pytest.mark.parametrize(
    "file", [f for f in FILES if f.stem not in {"__init__", "__main__"}], ids=label
)
def test_every_module_has_its_test_file(file: Path) -> None:
    place = file.relative_to(PACKAGE)
    if file.stem in {*choices(file.parent), "interfaces"} or not functions(file):
        return  # held with all of their kind; promises and constants have nothing to run
    assert (ROOT / "tests" / place.parent / f"test_{place.name}").exists()


def test_no_test_file_is_left_without_its_module() -> None:
    about_all = {
        "test_cluster.py", "test_completion.py", "test_contracts.py", "test_conf.py",
        "test_degenerate_data.py", "test_docs.py", "test_extending.py", "test_faults.py",
        "test_fuzz_data.py", "test_fuzz_runs.py", "test_fuzz_settings.py",
        "test_hostile_runs.py", "test_layout.py", "test_manifests.py", "test_mlflow_ui.py",
        "test_new_model.py", "test_notebooks.py", "test_optuna_contracts.py", "test_orphans.py",
        "test_pages.py",
        "test_release.py", "test_reproducibility.py", "test_restarts.py", "test_search_corners.py",
        "test_secrets_of_commands.py", "test_security.py", "test_usual_mistakes.py",
    }  # fmt: skip
    for file in (ROOT / "tests").rglob("test_*.py"):
        place = file.relative_to(ROOT / "tests")
        module = PACKAGE / place.parent / file.name.removeprefix("test_")
        assert file.name in about_all or module.exists(), file


def test_a_models_file_is_what_the_user_types() -> None:
    modules = {f.stem for f in (PACKAGE / "models").glob("*.py")} - {"__init__"}
    assert modules == {f.stem for f in (ROOT / "conf" / "model").glob("*.yaml")}


def test_no_file_of_the_project_is_one_that_git_ignores() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    command = ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout == b""


def test_nothing_in_the_project_names_a_path_of_one_machine() -> None:
    for file in [*FILES, *(ROOT / "conf").rglob("*.yaml"), ROOT / "README.md"]:
        text = file.read_text(encoding="utf-8")
        assert f"{Path.home()}/" not in text, file
        assert f"{ROOT}/" not in text, file


def test_one_module_prints() -> None:
    """It escapes control characters; `__main__` prints a fixed text before it is imported."""
    calls = {
        label(file)
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    }
    ours = {name for name in calls if name.startswith("recsweep/")}
    assert ours == {"recsweep/messages.py", "recsweep/__main__.py"}


def test_the_top_level_holds_the_project_and_what_its_tools_need() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    tracked = subprocess.check_output(["git", "-C", str(ROOT), "ls-files"], text=True)
    folders = {
        ".ci", ".github", "benchmarks", "conf", "docs", "hydra_plugins", "notebooks", "recsweep",
        "tests",
    }  # fmt: skip
    files = {
        ".gitattributes", ".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md", "CITATION.cff",
        "CONTRIBUTING.md", "Dockerfile", "LICENSE", "Makefile", "README.md",
        "SECURITY.md", "constraints.txt", "docker-compose.yml", "pyproject.toml",
    }  # fmt: skip
    assert {line.partition("/")[0] for line in tracked.splitlines()} == folders | files
