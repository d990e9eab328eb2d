"""A bundle: packed without this machine's names; refused once a byte, a name or a class differs."""

import random
import shutil
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from contracts import composed
from small_runs import SMALL_DATA

from recsweep.app import run
from recsweep.errors import InputError
from recsweep.run_files import read_config, write_yaml
from recsweep.runs.bundle import unpack_bundle, write_bundle
from recsweep.unpack_limits import Limits, choose_limits

Rewritten = Callable[..., Path]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Results folders of two rows: popularity with one run, item_knn with two seeds."""
    folder = tmp_path_factory.mktemp("runs")
    rows: dict[str, list[Path]] = {"popularity": [], "item_knn": []}
    for model, seed in (("popularity", 42), ("item_knn", 1), ("item_knn", 2)):
        typed = [f"model={model}", f"seed={seed}", f"cache_dir={folder}/cache", *SMALL_DATA]
        run(dict(composed(*typed)), folder / f"{model}{seed}", typed)
        rows[model].append(folder / f"{model}{seed}" / "results")
    return rows


@pytest.fixture(scope="module")
def bundle(results: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(results, tmp_path_factory.mktemp("bundle") / "bundle.zip")


def packed(rows: Mapping[str, list[Path]], file: Path, *, with_models: bool = False) -> Path:
    with file.open("xb") as out:
        write_bundle(rows, out, with_models=with_models)
    return file


def contents(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def rewritten(bundle: Path, tmp_path: Path) -> Rewritten:
    """Writes the bundle again with other files; None leaves one out."""

    def changed(files: Mapping[str, bytes | None], file: Path = tmp_path / "changed.zip") -> Path:
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in {**contents(bundle), **files}.items():
                if content is not None:
                    archive.writestr(name, content)
        return file

    return changed


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_rows_come_back_file_by_file(
    bundle: Path, results: dict[str, list[Path]], tmp_path: Path
) -> None:
    rows = unpack_bundle(bundle, tmp_path)
    assert list(rows) == ["popularity", "item_knn"]
    assert [len(folders) for folders in rows.values()] == [1, 2]
    for row, folders in rows.items():
        for before, after in zip(results[row], folders, strict=True):
            names = {file.name for file in after.iterdir()}
            assert {"metrics.json", "curves.csv", "test_metrics_per_user.parquet"} < names
            assert {"test_groups.csv", "test_groups_per_user.parquet"} < names
            for name in names - {"config.yaml", "overrides.yaml", "environment.yaml"}:
                assert (after / name).read_bytes() == (before / name).read_bytes()
            assert read_config(after)["seed"] == read_config(before)["seed"]


def test_only_one_row_is_unpacked_if_asked(bundle: Path, tmp_path: Path, refused: Any) -> None:
    rows = unpack_bundle(bundle, empty(tmp_path / "a"), "item_knn")
    assert list(rows) == ["item_knn"]
    assert sorted(path.name for path in (tmp_path / "a" / "runs").iterdir()) == ["01", "02"]
    with refused("task.row must be a row of the bundle, but is knn", "popularity, item_knn"):
        unpack_bundle(bundle, empty(tmp_path / "b"), "knn")


def test_the_same_runs_give_the_same_bytes(
    bundle: Path, results: dict[str, list[Path]], tmp_path: Path
) -> None:
    assert packed(results, tmp_path / "again.zip").read_bytes() == bundle.read_bytes()


def test_nothing_names_this_machine(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    of_machine = (str(tmp_path_factory.getbasetemp()), str(Path.home()), "cache_dir", "run_id")
    for name, content in contents(bundle).items():
        if not name.endswith(".parquet"):
            assert not [text for text in of_machine if text.encode() in content], name


def test_an_address_of_a_file_is_left_out(results: dict[str, list[Path]], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(results["popularity"][0], folder)
    for url, kept in (("file:///home/ann/x.zip", None), ("https://x.org/x.zip",) * 2):
        config = read_config(folder)
        config["data"]["url"] = url
        write_yaml(folder / "config.yaml", config)
        write_yaml(folder / "overrides.yaml", [f"data.url={url}"])
        (tmp_path / "a.zip").unlink(missing_ok=True)
        found = contents(packed({"one": [folder]}, tmp_path / "a.zip"))
        assert yaml.safe_load(found["runs/00/config.yaml"])["data"]["url"] == kept
        assert yaml.safe_load(found["runs/00/overrides.yaml"]) == [f"data.url={kept}"] * bool(kept)


@pytest.mark.parametrize("path", ["/data/x.csv", "~/x.csv", "C:\\data\\x.csv", "\\\\host\\x"])
def test_paths_of_data_are_left_out_and_others_refused(
    path: str, results: dict[str, list[Path]], tmp_path: Path, refused: Any
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(results["popularity"][0], folder)
    config = read_config(folder)
    config["data"]["path"] = path
    write_yaml(folder / "config.yaml", config)
    write_yaml(
        folder / "overrides.yaml", ["model=popularity", f"data.path={path}", f"+a.b='{path}'"]
    )
    file = packed({"one": [folder]}, tmp_path / "a.zip")
    assert yaml.safe_load(contents(file)["runs/00/config.yaml"])["data"]["path"] is None
    assert yaml.safe_load(contents(file)["runs/00/overrides.yaml"]) == ["model=popularity"]
    write_yaml(
        folder / "config.yaml", {**config, "model": {**config["model"], "words": ["a", path]}}
    )
    with refused("must not name files of this machine", "model.words[1]", "relative path"):
        packed({"one": [folder]}, tmp_path / "b.zip")


def test_a_file_that_is_a_link_is_not_packed(
    results: dict[str, list[Path]], tmp_path: Path, refused: Any
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(results["popularity"][0], folder)
    (folder / "curves.csv").unlink()
    (folder / "curves.csv").symlink_to(results["popularity"][0] / "curves.csv")
    with refused("must not contain links, but curves.csv is a link to"):
        packed({"one": [folder]}, tmp_path / "a.zip")


def test_models_are_in_it_only_if_asked_for(
    bundle: Path, results: dict[str, list[Path]], tmp_path: Path, refused: Any
) -> None:
    assert not [name for name in contents(bundle) if "model/" in name]
    row = {"popularity": results["popularity"]}
    names = set(contents(packed(row, tmp_path / "a.zip", with_models=True)))
    assert {f"runs/00/model/{name}" for name in ("model.yaml", "weights.npz", "SHA256SUMS")} < names
    folder = tmp_path / "run"
    shutil.copytree(results["popularity"][0], folder)
    shutil.rmtree(folder / "model")
    with refused("task.models=true", "has no folder model"):
        packed({"one": [folder]}, tmp_path / "b.zip", with_models=True)
    (folder / "curves.csv").unlink()
    with refused("curves.csv", "train it again"):
        packed({"one": [folder]}, tmp_path / "c.zip")


def test_versions_are_constraints_that_pip_reads(bundle: Path) -> None:
    from packaging.requirements import Requirement

    lines = contents(bundle)["constraints.txt"].decode().splitlines()
    names = [Requirement(line).name for line in lines if not line.startswith("#")]
    assert {"numpy", "scipy", "optuna"} < set(names)
    assert not {"python", "recsweep"} & set(names)


@pytest.mark.parametrize(("row", "place"), [("popularity", "runs/00"), ("item_knn", "runs/02")])
def test_one_changed_byte_names_its_row(
    row: str, place: str, bundle: Path, rewritten: Rewritten, tmp_path: Path, refused: Any
) -> None:
    name = f"{place}/metrics.json"
    content = contents(bundle)[name]
    same_size = content.replace(b"1", b"2", 1)
    for changed in (same_size, content + b" ", content[:-1]):
        file = rewritten({name: changed})
        with refused(f"row {row}: {name} must be the file that was bundled"):
            unpack_bundle(file, empty(tmp_path / "out"))
        shutil.rmtree(tmp_path / "out")
    others = {"popularity": "item_knn", "item_knn": "popularity"}
    unpack_bundle(rewritten({name: same_size}), empty(tmp_path / "out"), others[row])


def test_a_byte_changed_in_the_compressed_file_is_refused(
    bundle: Path, tmp_path: Path, refused: Any
) -> None:
    raw = bytearray(bundle.read_bytes())
    with zipfile.ZipFile(bundle) as archive:
        entry = archive.getinfo("runs/01/metrics.json")
    raw[entry.header_offset + 30 + len(entry.filename) + 40] ^= 1
    (tmp_path / "bundle.zip").write_bytes(raw)
    with refused("row item_knn: runs/01/metrics.json"):
        unpack_bundle(tmp_path / "bundle.zip", empty(tmp_path / "out"))


@pytest.mark.parametrize("name", ["runs/02/config.yaml", "runs/02/curves.csv"])
def test_a_file_that_is_missing_names_its_row(
    name: str, bundle: Path, rewritten: Rewritten, tmp_path: Path, refused: Any
) -> None:
    files = yaml.safe_load(contents(bundle)["bundle.yaml"])["files"]
    less = of_manifest(bundle, files={each: files[each] for each in files if each != name})
    with refused(f"row item_knn: {name} must be in the bundle, but is not; fetch it again"):
        unpack_bundle(rewritten({**less, name: None}), empty(tmp_path / "out"))
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    "rows", [{}, {"a": []}, {"a": ["runs/00"], "b": ["runs/00"]}, {"a": ["runs/00", "runs/00"]}]
)
def test_a_bundle_has_rows_each_with_runs_of_its_own(
    rows: dict[str, list[str]], bundle: Path, rewritten: Rewritten, tmp_path: Path, refused: Any
) -> None:
    with refused("task.bundle must be a file that task=bundle wrote"):
        unpack_bundle(rewritten(of_manifest(bundle, rows=rows)), empty(tmp_path / "out"))


def test_any_byte_may_be_damaged_in_one_line(bundle: Path, tmp_path: Path) -> None:
    raw = bundle.read_bytes()
    places = random.Random(1).sample(range(len(raw)), 150)  # noqa: S311
    with zipfile.ZipFile(bundle) as archive:
        manifest = archive.getinfo("bundle.yaml").header_offset
    places += range(manifest + 40, manifest + 400, 9)
    for number, place in enumerate(places):
        damaged = bytearray(raw)
        damaged[place] ^= 1 << number % 8
        (tmp_path / "bundle.zip").write_bytes(damaged)
        with suppress(InputError):  # a time stamp may change nothing
            unpack_bundle(tmp_path / "bundle.zip", empty(tmp_path / "out"))
        shutil.rmtree(tmp_path / "out")


def of_manifest(bundle: Path, **changes: Any) -> dict[str, bytes]:
    manifest = {**yaml.safe_load(contents(bundle)["bundle.yaml"]), **changes}
    return {"bundle.yaml": yaml.safe_dump(manifest).encode()}


@pytest.mark.parametrize(
    "name",
    ["../evil", "/evil", "a/../../evil", "a\\..\\evil", "C:evil", "./evil", "a//evil", ""],
)
def test_no_file_leaves_the_folder(
    name: str, bundle: Path, rewritten: Rewritten, tmp_path: Path, refused: Any
) -> None:
    files = yaml.safe_load(contents(bundle)["bundle.yaml"])["files"]
    evil = {name: {"size": 1, "sha256": "0"}}
    file = rewritten({**of_manifest(bundle, files={**files, **evil}), name or "x": b"1"})
    with refused("task.bundle must be a file that task=bundle wrote"):
        unpack_bundle(file, empty(tmp_path / "out"))
    assert not list((tmp_path / "out").iterdir())


def test_files_besides_those_of_the_manifest_are_refused(
    rewritten: Rewritten, tmp_path: Path, refused: Any
) -> None:
    for files in ({"runs/00/more.txt": b"1"}, {"runs/00/metrics.json": None}):
        with refused("its list of files is not its content"):
            unpack_bundle(rewritten(files), empty(tmp_path / "out"))
        (tmp_path / "out").rmdir()
    file = rewritten({})
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(file, "a") as archive:
        archive.writestr("runs/00/metrics.json", b"{}")
    with refused("a name twice"):
        unpack_bundle(file, empty(tmp_path / "out"))


def test_a_file_larger_than_its_manifest_says_is_not_written(
    rewritten: Rewritten, tmp_path: Path, refused: Any
) -> None:
    file = rewritten({"constraints.txt": b"0" * (1 << 24)})
    with refused("the bundle: constraints.txt"):
        unpack_bundle(file, empty(tmp_path / "out"))
    assert (tmp_path / "out" / "constraints.txt").stat().st_size <= 1 << 20


def test_a_bundle_beyond_the_limits_is_refused(bundle: Path, tmp_path: Path, refused: Any) -> None:
    n_bytes = sum(map(len, contents(bundle).values()))
    choose_limits(Limits(max_unpacked_gib=n_bytes / 2 / 2**30))
    with refused(str(bundle), "must unpack to at most", "set max_unpacked_gib="):
        unpack_bundle(bundle, empty(tmp_path / "out"))
    assert not list((tmp_path / "out").iterdir())
    choose_limits(Limits(max_unpacked_gib=n_bytes / 2**30))
    assert unpack_bundle(bundle, tmp_path / "out")


def test_a_bundle_beyond_the_disk_is_refused(
    bundle: Path, rewritten: Rewritten, tmp_path: Path, refused: Any
) -> None:
    files = yaml.safe_load(contents(bundle)["bundle.yaml"])["files"]
    files["constraints.txt"]["size"] = 1 << 60
    with refused("1,073,741,824.0 GiB", "TMPDIR"):
        unpack_bundle(rewritten(of_manifest(bundle, files=files)), empty(tmp_path / "out"))


@pytest.mark.parametrize("size", [-(1 << 40), -1, True, 1.0, "1", None])
def test_a_size_is_a_whole_number_from_0_so_that_none_offsets_another(
    size: object, bundle: Path, rewritten: Rewritten, tmp_path: Path, refused: Any
) -> None:
    files = yaml.safe_load(contents(bundle)["bundle.yaml"])["files"]
    files["runs/00/more"] = {"size": size, "sha256": "0"}
    file = rewritten({**of_manifest(bundle, files=files), "runs/00/more": b""})
    with refused(
        "task.bundle must be a file", f"a size must be a whole number from 0, but is {size!r}"
    ):
        unpack_bundle(file, empty(tmp_path / "out"))


@pytest.mark.parametrize("name", ["runs/03/a", "runs/a", "more", "runs/0/a/b"])
def test_a_file_belongs_to_a_row(
    name: str, bundle: Path, rewritten: Rewritten, tmp_path: Path, refused: Any
) -> None:
    files = yaml.safe_load(contents(bundle)["bundle.yaml"])["files"]
    files[name] = {"size": 0, "sha256": "0"}
    with refused(
        "task.bundle must be a file that task=bundle wrote", f"'{name}' belongs to no row"
    ):
        unpack_bundle(
            rewritten({**of_manifest(bundle, files=files), name: b""}), empty(tmp_path / "out")
        )


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_file_packed_so_that_a_read_is_unbounded_is_refused(
    method: int, bundle: Path, tmp_path: Path, refused: Any
) -> None:
    with zipfile.ZipFile(tmp_path / "bundle.zip", "w") as archive:
        for name, content in contents(bundle).items():
            archive.writestr(name, content, method if name == "bundle.yaml" else None)
    with refused("task.bundle must be a file", "'bundle.yaml' is neither stored nor deflated"):
        unpack_bundle(tmp_path / "bundle.zip", empty(tmp_path / "out"))


@pytest.mark.parametrize(
    "manifest",
    [b"", b"a: [", b"[]", b"format: 1", b"format: 1\nfiles: {a: {size: .inf, sha256: 1}}\nrows: {}",
     b"format: 1\nfiles: {}\nrows: {a: [runs/00]}"],
)  # fmt: skip
def test_what_is_no_manifest_is_one_line(
    manifest: bytes, rewritten: Rewritten, tmp_path: Path, refused: Any
) -> None:
    with refused("task.bundle must be a file that task=bundle wrote", "fetch it again"):
        unpack_bundle(rewritten({"bundle.yaml": manifest}), empty(tmp_path / "out"))


def test_what_is_no_archive_is_one_line(
    bundle: Path, rewritten: Rewritten, tmp_path: Path, refused: Any
) -> None:
    (tmp_path / "text.zip").write_text("no archive")
    (tmp_path / "half.zip").write_bytes(bundle.read_bytes()[:20_000])
    for name in ("text.zip", "half.zip", "absent.zip", "."):
        with refused("task.bundle must be a file that task=bundle wrote"):
            unpack_bundle(tmp_path / name, empty(tmp_path / "out"))
        (tmp_path / "out").rmdir()
    with refused("a bundle must have format 1, but", "has 2"):
        unpack_bundle(rewritten(of_manifest(bundle, format=2)), empty(tmp_path / "out"))
