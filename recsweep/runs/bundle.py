"""A bundle: one ZIP file with what a stranger needs to train compared runs again and check them.

bundle.yaml               the format, the rows with their runs, size and SHA-256 of each file
constraints.txt           versions of the packages that the first run used, for `pip install -c`
runs/NN/config.yaml …     files of a run, see `recsweep.run_files`: NN counts all runs
runs/NN/model/…           its model, if asked for

No file names a folder of the machine that wrote it. Nothing in a bundle is trusted when it is read:
names, sizes and checksums are verified before anything else, no stored code is executed, and its
configurations are data, see `recsweep.trust`.
"""

import hashlib
import shutil
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO, NamedTuple

import yaml

from recsweep.app import FILES, OF_NOW, Config
from recsweep.documents import MAX_BYTES, parse_yaml
from recsweep.errors import InputError
from recsweep.files import refuse_links
from recsweep.messages import one_line, shorten
from recsweep.run_files import (
    CONFIG,
    CURVES,
    DEFINITIONS,
    ENVIRONMENT,
    FOLDS,
    GROUPS,
    GROUPS_PER_USER,
    METRICS,
    MODEL,
    OVERRIDES,
    SPLIT,
    per_user_file,
    read_config,
    read_overrides,
    read_yaml,
    yaml_text,
)
from recsweep.runs.past_run import without_files
from recsweep.stored_files import ZIP_DAMAGE
from recsweep.trust import path_below
from recsweep.unpack_limits import UnpackedSize

FORMAT = 1
MANIFEST, CONSTRAINTS, RUNS = "bundle.yaml", "constraints.txt", "runs"
COPIED = (
    SPLIT, METRICS, DEFINITIONS, CURVES, *(per_user_file(Path(), fold).name for fold in FOLDS),
)  # fmt: skip
"""Files of a run that are bundled as they are."""
WRITTEN = (CONFIG, OVERRIDES, ENVIRONMENT)
"""Files of a run that are bundled without what belongs to its machine."""
COPIED_IF_THERE = (GROUPS, GROUPS_PER_USER)
"""Likewise, of runs with metrics by group."""
LEFT_OUT = [name for name in OF_NOW if name != "task"]
"""Parts of a configuration that a repeat takes from its own command line."""
NO_MANIFEST = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError)
"""What reading a manifest of another structure raises."""
CHUNK_BYTES = 1 << 20
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time stamp of every file, so that the same runs give the same bytes."""


class _File(NamedTuple):
    """A file as the manifest describes it."""

    size: int
    sha256: str


# --- writing --------------------------------------------------------------------------------------


def write_bundle(rows: Mapping[str, Sequence[Path]], out: BinaryIO, *, with_models: bool) -> None:
    """Write a bundle.

    Args:
        rows: Name of a row -> the results folders of its runs.
        out: An empty file.
        with_models: Whether each run's model is in it.

    Raises:
        InputError: A file is missing, or a configuration names a file of this machine.
    """
    folders: dict[str, list[str]] = {}
    files: dict[str, dict[str, Any]] = {}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in _contents(rows, folders, with_models):
            files[name] = _add(archive, name, content)._asdict()
        manifest = {"format": FORMAT, "rows": folders, "files": files}
        _add(archive, MANIFEST, yaml_text(manifest).encode())


def _contents(
    rows: Mapping[str, Sequence[Path]], folders: dict[str, list[str]], with_models: bool
) -> Iterator[tuple[str, Path | bytes]]:
    """Each file's name and content; fills `folders`: row -> folders of its runs."""
    n_runs = 0
    for row, results in rows.items():
        folders[row] = []
        for folder in results:
            place = f"{RUNS}/{n_runs:02d}"
            folders[row].append(place)
            if not n_runs:
                yield CONSTRAINTS, _constraints(read_yaml(folder / ENVIRONMENT)).encode()
            for name, content in _of_run(folder, with_models):
                yield f"{place}/{name}", content
            n_runs += 1


def _of_run(folder: Path, with_models: bool) -> Iterator[tuple[str, Path | bytes]]:
    refuse_links(folder)
    yield CONFIG, yaml_text(portable_config(read_config(folder), str(folder))).encode()
    yield OVERRIDES, yaml_text(_portable_overrides(read_overrides(folder))).encode()
    environment = {k: v for k, v in read_yaml(folder / ENVIRONMENT).items() if k != "run_id"}
    yield ENVIRONMENT, yaml_text(environment).encode()
    names = [*COPIED, *(name for name in COPIED_IF_THERE if (folder / name).is_file())]
    if with_models:
        if not (folder / MODEL).is_dir():
            raise InputError(
                f"task.models=true needs the model of every run, but {folder} has no folder "
                f"{MODEL}; copy the run's whole folder again, or leave task.models out"
            )
        names += [f"{MODEL}/{file.name}" for file in sorted((folder / MODEL).iterdir())]
    for name in names:
        if not (folder / name).is_file():
            raise InputError(
                f"a run must have its file {name} to be bundled, but {folder} has none; copy the "
                "run's whole folder again, or train it again"
            )
        yield name, folder / name


def portable_config(config: Config, run: str) -> Config:
    """A run's configuration without what belongs to its machine; paths of data become null.

    Raises:
        InputError: Another setting is an absolute path.
    """
    kept = without_files({name: value for name, value in config.items() if name not in LEFT_OUT})
    if _is_absolute(str((kept.get("data") or {}).get("url"))):
        kept["data"] = {**kept["data"], "url": None}
    for key, value in _leaves(kept, ""):
        if isinstance(value, str) and _is_absolute(value):
            raise InputError(
                f"a bundle must not name files of this machine, but {key} of {run} is "
                f"{shorten(value, 80)}; train that run with a relative path"
            )
    return kept


def _portable_overrides(overrides: Sequence[str]) -> list[str]:
    """What was typed, without paths and without settings of the machine."""
    kept = []
    for text in overrides:
        key, _, value = text.lstrip("+~").partition("=")
        is_of_machine = key.partition("@")[0].partition(".")[0] in OF_NOW or key in FILES
        if not is_of_machine and not _is_absolute(value):
            kept.append(text)
    return kept


def _constraints(environment: Mapping[str, Any]) -> str:
    """Versions as pip reads them; Python's own, recsweep's and absent packages are comments."""
    lines = []
    for name, version in environment.items():
        package = name.removeprefix("version.")
        if package == name:
            continue
        is_package = package not in ("python", "recsweep") and " " not in str(version)
        lines.append(f"{package}=={version}" if is_package else f"# {package} {version}")
    return "\n".join(lines) + "\n"


def _leaves(node: Any, at: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, f"{at}.{key}".strip("."))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _leaves(value, f"{at}[{index}]")
    else:
        yield at, node


def _is_absolute(text: str) -> bool:
    text = text.strip("'\"")
    is_of_machine = text.startswith("~") or text.lower().startswith("file:")
    return is_of_machine or PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()


def _add(archive: zipfile.ZipFile, name: str, content: Path | bytes) -> _File:
    """Add a file; returns its size and checksum."""
    size, digest = 0, hashlib.sha256()
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    with archive.open(entry, "w", force_zip64=True) as target:
        for chunk in _chunks(content):
            size += len(chunk)
            digest.update(chunk)
            target.write(chunk)
    return _File(size, digest.hexdigest())


def _chunks(content: Path | bytes) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            yield chunk


# --- reading --------------------------------------------------------------------------------------


def unpack_bundle(file: Path, folder: Path, row: str | None = None) -> dict[str, list[Path]]:
    """Verify a bundle and unpack it.

    Args:
        file: The bundle.
        folder: An existing, empty folder.
        row: The only row to unpack; None = all.

    Returns:
        Name of a row -> the folders of its runs.

    Raises:
        InputError: It is no bundle, it was changed, or it has no such row.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            rows, files = _manifest(archive, file)
            if row is not None and row not in rows:
                raise InputError(
                    f"task.row must be a row of the bundle, but is {row}; {file.name} has "
                    f"{', '.join(rows)}"
                )
            wanted = {row: rows[row]} if row is not None else rows
            _refuse_other_names(archive, files, file, rows)
            _refuse_missing(files, rows)
            _refuse_beyond_disk(files, folder)
            UnpackedSize(file).add(sum(each.size for each in files.values()))
            for name, described in files.items():
                owner = _owner(name, rows)
                if owner is None or owner in wanted:
                    _extract(archive, name, described, folder, f"row {owner}" if owner else "")
    except ZIP_DAMAGE as error:
        raise _no_bundle(file, error) from error
    return {name: [folder / place for place in places] for name, places in wanted.items()}


def _manifest(
    archive: zipfile.ZipFile, file: Path
) -> tuple[dict[str, list[str]], dict[str, _File]]:
    """Rows and files, as the manifest has them."""
    try:
        _refuse_other_compression(archive)
        with archive.open(MANIFEST) as stream:
            found = parse_yaml(stream.read(MAX_BYTES + 1))
        number = found["format"]
        files = {
            path_below(name): _File(_size(each["size"]), str(each["sha256"]))
            for name, each in found["files"].items()
        }
        places = {_place(name) for name in files if name.count("/") > 1}
        rows = {str(row): [_known(at, places) for at in of] for row, of in found["rows"].items()}
        _refuse_empty(rows)
        _refuse_strays(files, rows)
    except (*NO_MANIFEST, yaml.YAMLError) as error:
        raise _no_bundle(file, error) from error
    if number != FORMAT:
        raise InputError(
            f"a bundle must have format {FORMAT}, but {file} has {number!r:.20}; use the version "
            "of recsweep that wrote it"
        )
    return rows, files


def _no_bundle(file: Path, reason: object) -> InputError:
    return InputError(
        f"task.bundle must be a file that task=bundle wrote, but {file} is not "
        f"({shorten(one_line(reason), 120)}); fetch it again"
    )


def _refuse_other_compression(archive: zipfile.ZipFile) -> None:
    """Raise ValueError unless what a read returns is bounded: by bz2 and LZMA it is not."""
    for entry in archive.infolist():
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{entry.filename!r:.60} is neither stored nor deflated")


def _size(stated: object) -> int:
    """A file's size; a negative one would offset others in their sum."""
    if type(stated) is not int or stated < 0:  # True is an int, too
        raise ValueError(f"a size must be a whole number from 0, but is {stated!r:.40}")
    return stated


def _known(place: object, places: Collection[str]) -> str:
    if place not in places:
        raise ValueError(f"{place!r:.60} has no files")
    return str(place)


def _refuse_empty(rows: Mapping[str, Sequence[str]]) -> None:
    """Raise ValueError unless there are rows, and each has runs of its own."""
    places = [place for of_row in rows.values() for place in of_row]
    if not places or not all(rows.values()):
        raise ValueError("every row must have runs")
    if len(set(places)) < len(places):
        raise ValueError("two rows have the same run")


def _refuse_strays(files: Collection[str], rows: Mapping[str, Sequence[str]]) -> None:
    """Raise ValueError if a file is neither of a row nor the constraints, which are of all rows."""
    places = {place for of_row in rows.values() for place in of_row}
    for name in files:
        if name != CONSTRAINTS and _place(name) not in places:
            raise ValueError(f"{name!r:.60} belongs to no row")


def _place(name: str) -> str:
    """The folder of a run that a file is in."""
    return "/".join(name.split("/")[:2])


def _refuse_missing(files: Collection[str], rows: Mapping[str, Sequence[str]]) -> None:
    for row, places in rows.items():
        needed = [f"{place}/{name}" for place in places for name in (*WRITTEN, *COPIED)]
        if missing := [name for name in needed if name not in files]:
            raise InputError(
                f"row {row}: {missing[0]} must be in the bundle, but is not; fetch it again"
            )


def _owner(name: str, rows: Mapping[str, Sequence[str]]) -> str | None:
    """The row of a file; None = of all rows."""
    return next((row for row, places in rows.items() if _place(name) in places), None)


def _refuse_other_names(
    archive: zipfile.ZipFile, files: Collection[str], file: Path, rows: Mapping[str, Sequence[str]]
) -> None:
    """Raise an error unless the archive has exactly the files of its manifest, each once."""
    names = archive.namelist()
    if len(set(names)) < len(names) or set(names) != {MANIFEST, *files}:
        other = (sorted(set(names) ^ {MANIFEST, *files}) or ["a name twice"])[0]
        whose = f"row {owner}: " if (owner := _owner(other, rows)) else ""
        raise _no_bundle(file, f"{whose}its list of files is not its content: {other!r:.60}")


def _refuse_beyond_disk(files: Mapping[str, _File], folder: Path) -> None:
    needed, free = sum(each.size for each in files.values()), shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"unpacking the bundle takes {needed / 2**30:,.1f} GiB, but the folder for temporary "
            f"files has {free / 2**30:,.1f}; set TMPDIR to a folder with more"
        )


def _extract(
    archive: zipfile.ZipFile, name: str, described: _File, folder: Path, whose: str
) -> None:
    """Write a file of the bundle, never more than its size in the manifest."""
    target, size, digest = folder / name, 0, hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as out:
        for chunk in _readable(archive, name):
            size += len(chunk)
            if size > described.size:
                break
            digest.update(chunk)
            out.write(chunk)
    if (size, digest.hexdigest()) != described:
        raise InputError(
            f"{whose or 'the bundle'}: {name} must be the file that was bundled, but its checksum "
            "differs; fetch the bundle again"
        )


def _readable(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    """A file's content in pieces, up to where it is damaged."""
    with suppress(*ZIP_DAMAGE), archive.open(name) as source:
        while chunk := source.read(CHUNK_BYTES):
            yield chunk
