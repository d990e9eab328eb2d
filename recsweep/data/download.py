"""Downloads a file into a cache folder, whole or not at all.

A download is written to `<name>.part`, can be resumed after a broken connection or by a later
call, and is renamed when complete. `<name>.lock` lets one process work while the others wait.
"""

import http
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http.client import HTTPException, HTTPResponse, InvalidURL
from os import fsync
from pathlib import Path
from typing import cast
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tqdm import tqdm

from recsweep.credentials import HIDDEN, hide_credentials
from recsweep.errors import InputError
from recsweep.files import (
    CHUNK_BYTES,
    disk_errors_in_one_line,
    file_sha256,
    is_own_file,
    open_itself,
    sole_writer,
)
from recsweep.messages import one_line

TIMEOUT_S = 30.0
N_ATTEMPTS = 5
BACK_OFF_S = 0.5
CHECK_NETWORK = (
    "check the network and run again: the download resumes, or point data.path to a local copy"
)
CHECK_ADDRESS = "check the address and run again later, or point data.path to a local copy"

_is_refused: ContextVar[bool] = ContextVar("refused", default=False)


@contextmanager
def downloads(*, are_allowed: bool) -> Iterator[None]:
    """Allow or refuse every download of this thread within the block.

    Args:
        are_allowed: Whether the user allows them for the stored configuration that asks.
    """
    token = _is_refused.set(not are_allowed)
    try:
        yield
    finally:
        _is_refused.reset(token)


def refuse_unasked(source: str, name: str) -> None:
    """Raise InputError if downloads are refused.

    Args:
        source: The address, without credentials, or the package to download.
        name: The name of the file.
    """
    if _is_refused.get():
        raise InputError(
            f"{name} must be downloaded from {source}, which the stored configuration of a run "
            "requests; if you trust it, add fetch=true, or point data.path to a local copy"
        )


def download(url: str, target: Path, *, sha256: str | None) -> Path:
    """Download a file once, resuming an incomplete download.

    Bytes of two connections are joined only if they can be verified to belong together, by the
    version that the server states or by the checksum.

    Args:
        url: Address of the file, http or https.
        target: Path of the file; missing folders are created.
        sha256: Expected checksum in hexadecimal digits. None: the length that the server states
            is the only check, and an existing file is used as is.

    Returns:
        `target`, complete and with the expected checksum.

    Raises:
        InputError: The server cannot be reached, the file is not the expected one, or it cannot
            be written.
    """
    with disk_errors_in_one_line(target, "cache_dir"):
        if not _is_there(target, sha256):
            with sole_writer(target):
                if not _is_there(target, sha256):  # another process may have been faster
                    _refuse_hidden(url, target)
                    refuse_unasked(hide_credentials(url), target.name)
                    _fetch(url, target, sha256)
    return target


# --- one file, once -----------------------------------------------------------------------------


def _refuse_hidden(url: str, target: Path) -> None:
    """Raise InputError for the address of a saved configuration that was saved without its secrets.

    Args:
        url: The address.
        target: Path of the file.
    """
    if url == HIDDEN:
        raise InputError(
            "data.url must be given, since recsweep has no address for this data set and ignores "
            "that of a stored configuration; give data.url='\"ADDRESS\"' and fetch=true, or "
            "point data.path to a local copy"
        )
    if HIDDEN in url:
        raise InputError(
            f"data.url must be the whole address to download {target.name}, but {url} lacks what "
            f"{HIDDEN} stands for: values that may be secrets are never saved; give the address "
            "again with data.url='\"ADDRESS\"'"
        )


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
        for path in (self.path, self._version_path):
            if not is_own_file(path):
                path.unlink()

    def n_bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self) -> str | None:
        return self._version_path.read_text("latin-1") if self._version_path.exists() else None

    def restart(self, version: str | None) -> None:
        """Discard all bytes; the following ones belong to `version`."""
        self.delete()
        self.path.open("xb").close()  # a new file, never what a link names
        if version:
            with self._version_path.open("x", encoding="latin-1") as file:
                file.write(version)

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)  # first, so that old bytes never carry a new version
        self._version_path.unlink(missing_ok=True)

    def become(self, target: Path) -> None:
        self.path.replace(target)
        self._version_path.unlink(missing_ok=True)


# --- one transfer -------------------------------------------------------------------------------


class _TransferBrokenError(Exception):
    """The connection broke before the end of the file; another attempt can resume there."""


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
    """Download the rest of `part` over one connection."""
    with _open(url, part, _range_headers(part, has_checksum=has_checksum)) as response:
        n_total = _prepare(part, response)
        _append(part, response, n_total)
    if n_total is not None and part.n_bytes() != n_total:
        raise _TransferBrokenError(f"the last one at byte {part.n_bytes()} of {n_total}")


def _range_headers(part: _Part, *, has_checksum: bool) -> dict[str, str]:
    """Request only the missing bytes if old and new ones are sure to fit, else all bytes."""
    version = part.version()
    if part.n_bytes() == 0 or not (version or has_checksum):
        return {}
    wanted = {"Range": f"bytes={part.n_bytes()}-"}
    return wanted | {"If-Range": version} if version else wanted


def _open(url: str, part: _Part, headers: dict[str, str]) -> HTTPResponse:
    """Send the request; tell temporary failures from those to report to the user."""
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
    except (ValueError, InvalidURL) as error:  # spaces, a non-numeric port, non-ASCII letters
        raise _network_error(url, error, CHECK_ADDRESS) from error
    except (OSError, HTTPException) as error:  # connected, but no valid response
        raise _TransferBrokenError(str(error)) from error


def _network_error(url: str, reason: object, advice: str = CHECK_NETWORK) -> InputError:
    return InputError(one_line(f"{url} must be reachable, found: {reason}; {advice}"))


def _prepare(part: _Part, response: HTTPResponse) -> int | None:
    """Make `part` end where the response begins; return the whole file's length if known."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        return _total_if_it_fits(part, response)
    part.restart(_version(response))
    return response.length


def _version(response: HTTPResponse) -> str | None:
    """An identifier of these exact bytes; a weak tag (`W/`) may also match others."""
    tag = response.headers["ETag"]
    return tag if tag and not tag.startswith("W/") else response.headers["Last-Modified"]


def _total_if_it_fits(part: _Part, response: HTTPResponse) -> int:
    """Length of the whole file, if the response continues exactly where `part` ends."""
    stated = response.headers["Content-Range"] or ""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", stated)
    if match is None or int(match[1]) != part.n_bytes():
        part.delete()
        raise _TransferBrokenError(f"the server resumed at {stated!r}")
    return int(match[2])


def _append(part: _Part, response: HTTPResponse, n_total: int | None) -> None:
    with (
        open(part.path, "ab", opener=open_itself) as file,
        tqdm(
            desc=part.path.stem,
            total=n_total,
            initial=part.n_bytes(),
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            disable=None,  # only on a terminal
        ) as bar,
    ):
        for chunk in _chunks(response):
            file.write(chunk)
            bar.update(len(chunk))
        file.flush()
        fsync(file.fileno())


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    """The body as it arrives; only network errors become `_TransferBrokenError`."""
    while True:
        try:
            chunk = response.read1(CHUNK_BYTES)
        except (OSError, HTTPException) as error:
            raise _TransferBrokenError(f"the last one with: {error}") from error
        if not chunk:
            return
        yield chunk
