"""Runs in one file, checked by somebody else: another folder, another cache, another process."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_runs import SMALL_DATA

from recsweep.app import run
from recsweep.errors import InputError
from recsweep.run_files import STUDIES, write_yaml

Checked = Callable[..., tuple[str, str, dict[str, str]]]


@pytest.fixture
def runs(config: Any, tmp_path: Path) -> dict[str, Path]:
    """Results folders of two trainings."""
    found = {}
    for model in ("popularity", "item_knn"):
        typed = [f"model={model}", "threads=1", *SMALL_DATA]
        run(config(*typed), tmp_path / "runs" / model, typed)
        found[model] = tmp_path / "runs" / model / "results"
    return found


@pytest.fixture
def bundle(config: Any, runs: dict[str, Path], tmp_path: Path) -> Path:
    file = tmp_path / "bundle.zip"
    names = ",".join(f"'{folder}'" for folder in runs.values())
    run(config("task=bundle", f"task.of=[{names}]", f"task.output={file}"), tmp_path / "b", [])
    return file


@pytest.fixture
def check(config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Checked:
    """Repeats a bundle's runs: what it printed, the error, and what it wrote."""

    def checked(bundle: Path, *overrides: str) -> tuple[str, str, dict[str, str]]:
        typed = [f"task.bundle={bundle}", f"cache_dir={tmp_path}/other cache", *overrides]
        folder, error = tmp_path / f"check {len(list(tmp_path.iterdir()))}", ""
        capsys.readouterr()
        try:
            run(config("task=reproduce", *typed), folder, typed)
        except InputError as stop:
            error = str(stop)
        file = folder / "results" / "reproduction.yaml"
        said = yaml.safe_load(file.read_text("utf-8")) if file.exists() else {}
        return capsys.readouterr().out, error, said

    return checked


@pytest.mark.extended
def test_every_row_is_repeated_and_identical(bundle: Path, check: Checked) -> None:
    out, error, said = check(bundle)
    assert not error
    assert list(said) == ["popularity, seed 42", "item_knn, seed 42"]
    assert all(each.startswith("identical: ") for each in said.values())
    assert out.splitlines()[-2:] == [f"{name}: {verdict}" for name, verdict in said.items()]
    assert "every weight" not in out


@pytest.mark.extended
def test_weights_are_compared_where_they_are_bundled(
    config: Any, runs: dict[str, Path], check: Checked, tmp_path: Path
) -> None:
    typed = [f"task.of='{runs['item_knn']}'", f"task.output={tmp_path}/a.zip", "task.models=true"]
    run(config("task=bundle", *typed), tmp_path / "b", typed)
    out, error, said = check(tmp_path / "a.zip")
    assert (list(said), error) == (["item_knn, seed 42"], "")
    assert "every weight" in out


def changed(bundle: Path, file: Path, name: str, content: bytes) -> Path:
    """The bundle with another file, and a manifest that says so."""
    import hashlib

    with zipfile.ZipFile(bundle) as before, zipfile.ZipFile(file, "w") as after:
        manifest = yaml.safe_load(before.read("bundle.yaml"))
        digest = hashlib.sha256(content).hexdigest()
        manifest["files"][name] = {"size": len(content), "sha256": digest}
        for each in manifest["files"]:
            after.writestr(each, content if each == name else before.read(each))
        after.writestr("bundle.yaml", yaml.safe_dump(manifest))
    return file


def with_config(bundle: Path, file: Path, run: str, group: str, **settings: Any) -> Path:
    """The bundle with other settings in a group of one of its runs."""
    name = f"{run}/config.yaml"
    with zipfile.ZipFile(bundle) as archive:
        config = yaml.safe_load(archive.read(name))
    config[group] |= settings
    return changed(bundle, file, name, yaml.safe_dump(config).encode())


@pytest.mark.extended
def test_a_row_that_claims_another_result_is_named(
    bundle: Path, check: Checked, tmp_path: Path
) -> None:
    file = with_config(bundle, tmp_path / "forged.zip", "runs/01", "model", n_neighbors=1)
    _, error, said = check(file)
    assert said["popularity, seed 42"].startswith("identical")
    assert said["item_knn, seed 42"].startswith("not reproduced")
    assert error.startswith("1 of 2 runs of the bundle were not reproduced, first "
                            "item_knn, seed 42")  # fmt: skip
    _, error, said = check(file, "task.row=popularity")
    assert (list(said), error) == (["popularity, seed 42"], "")


@pytest.mark.extended
def test_a_row_that_cannot_be_repeated_does_not_stop_the_others(
    bundle: Path, check: Checked, tmp_path: Path
) -> None:
    file = with_config(bundle, tmp_path / "newer.zip", "runs/00", "model", unheard_of=1)
    _, error, said = check(file)
    assert said["popularity, seed 42"].startswith("not repeated: ")
    assert "unheard_of" in said["popularity, seed 42"]
    assert said["item_knn, seed 42"].startswith("identical")
    assert "1 of 2 runs of the bundle were not" in error


@pytest.mark.extended
def test_a_file_that_a_bundle_names_is_not_opened(
    bundle: Path, check: Checked, tmp_path: Path
) -> None:
    (tmp_path / "own.csv").write_text("user,item\n" * 2, "utf-8")
    forged = {
        "_target_": "recsweep.data.sources.delimited.Delimited",
        "path": f"{tmp_path}/own.csv",
    }
    file = with_config(bundle, tmp_path / "forged.zip", "runs/00", "data", **forged)
    _, error, said = check(file)
    assert "own.csv" not in said["popularity, seed 42"]
    assert error


@pytest.mark.extended
def test_runs_that_differ_in_their_split_only_are_told_apart(
    config: Any, check: Checked, tmp_path: Path
) -> None:
    for place in (0, 1):
        typed = ["model=popularity", "threads=1", *SMALL_DATA, f"split.seed={place}"]
        run(config(*typed), tmp_path / f"r{place}", typed)
    of = [str(tmp_path / f"r{place}" / "results") for place in (0, 1)]
    names = ",".join(f"'{folder}'" for folder in of)
    run(
        config("task=bundle", f"task.of=[{names}]", f"task.output={tmp_path}/b.zip"),
        tmp_path / "b",
        [],
    )
    file = with_config(tmp_path / "b.zip", tmp_path / "newer.zip", "runs/00", "model", unheard_of=1)
    _, error, said = check(file)
    assert [name for name in said if "not repeated" in said[name]] == ["popularity, seed 42"]
    assert said["popularity, seed 42 (2)"].startswith("identical")
    assert "1 of 2 runs of the bundle were not" in error


def test_code_of_others_is_not_imported(
    bundle: Path, check: Checked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil_module.py").write_text(f"open({str(tmp_path / 'was here')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    for key in ("model", "task"):
        target = {"_target_": "evil_module.Evil"}
        file = with_config(bundle, tmp_path / f"{key}.zip", "runs/00", key, **target)
        _, error, said = check(file)
        assert "row popularity" in error
        assert not said
    assert not (tmp_path / "was here").exists()


def test_a_comparison_of_a_sweep_stands_for_its_studies(
    config: Any, runs: dict[str, Path], tmp_path: Path, refused: Any
) -> None:
    comparison = tmp_path / "sweeps" / "comparison-1"
    comparison.mkdir(parents=True)
    write_yaml(comparison / STUDIES, {"studies": ["one"]})
    study = tmp_path / "sweeps" / "one"
    place = "winner/0003/replicate-0/results"
    shutil.copytree(runs["item_knn"], study / place)
    (study / "results").mkdir()
    summary = {"test": {"replicates": [{"results": place}]}}
    write_yaml(study / "results" / "optimization_results.yaml", summary)
    typed = [f"task.of='{comparison}'", f"task.output={tmp_path}/c.zip"]
    run(config("task=bundle", *typed), tmp_path / "b", typed)
    with zipfile.ZipFile(tmp_path / "c.zip") as archive:
        assert list(yaml.safe_load(archive.read("bundle.yaml"))["rows"]) == ["item_knn"]
    with refused("task.output must be a new file", "task.overwrite=true"):
        run(config("task=bundle", *typed), tmp_path / "d", typed)


def test_what_excludes_each_other_is_refused(config: Any, tmp_path: Path, refused: Any) -> None:
    with refused("task.of must name what is to be bundled"):
        run(config("task=bundle"), tmp_path / "a", [])
    with refused("task.run and task.bundle exclude each other"):
        run(config("task=reproduce", "task.run=latest", "task.bundle=a.zip"), tmp_path / "a", [])
    with refused("task.row is a row of a bundle"):
        run(config("task=reproduce", "task.row=a"), tmp_path / "a", [])
    with refused("task.bundle=FILE"):
        run(config("task=reproduce"), tmp_path / "a", [])
