"""Downloads from a real server on this machine, which breaks in the ways real ones do."""

import hashlib
import multiprocessing
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recsweep.data.download import N_ATTEMPTS, download, downloads
from recsweep.errors import InputError
from recsweep.files import file_sha256

Refused = Callable[..., AbstractContextManager[None]]

CONTENT = b"".join(hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(8_000))
SHA256 = hashlib.sha256(CONTENT).hexdigest()
N_BYTES = len(CONTENT)  # 256 000
CUT = 100_000
RESUMED = f"bytes={CUT}-"


class Server(ThreadingHTTPServer):
    """Serves `content` with the faults that a test asks for, and records what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.headers: dict[str, str] = {"ETag": '"first"'}
        self.status = 200  # anything else is answered without a body
        self.honours_range = True
        self.range_shift = 0  # a resumed answer begins so many bytes too late
        self.states_length = True
        self.n_missing = 0  # bytes that are stated and never sent
        self.cuts: list[int] = []  # the next answers break off after so many bytes
        self.goes_on = threading.Event()  # an answer that breaks off waits for this first
        self.goes_on.set()
        self.delay_s = 0.0
        self.requests: list[Message] = []
        self.n_sent: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/ratings.zip"

    @property
    def ranges(self) -> list[str | None]:
        return [request["Range"] for request in self.requests]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        site = self.server
        site.requests.append(self.headers)
        start = self._start()
        if site.status != 200 or start >= max(len(site.content), 1):
            self.send_error(site.status if site.status != 200 else 416)
            return
        self._send_headers(start)
        body = site.content[start:]
        body = body[: site.cuts.pop(0)] if site.cuts else body
        time.sleep(site.delay_s)
        site.n_sent.append(self.wfile.write(body))
        site.goes_on.wait(timeout=300)

    def _start(self) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        is_same = self.headers.get("If-Range") in (None, *self.server.headers.values())
        if match is None or not is_same or not self.server.honours_range:
            return 0
        return int(match[1]) + self.server.range_shift

    def _send_headers(self, start: int) -> None:
        site = self.server
        self.send_response(206 if start else 200)
        for name, value in site.headers.items():
            self.send_header(name, value)
        n_bytes = len(site.content)
        if site.states_length:
            self.send_header("Content-Length", str(n_bytes - start + site.n_missing))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{n_bytes - 1}/{n_bytes}")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the output of the tests clean."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("recsweep.data.download.BACK_OFF_S", 0.01)
    with Server() as site:
        thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        site.goes_on.set()
        site.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "ratings.zip"


@pytest.fixture
def part(target: Path) -> Path:
    return target.with_name("ratings.zip.part")


def names_beside(target: Path) -> set[str]:
    """What a download left in its folder, except for the lock, which stays for the next one."""
    return {path.name for path in target.parent.glob("*")} - {f"{target.name}.lock"}


def give_up(server: Server, target: Path, *, sha256: str | None = SHA256) -> None:
    """Let every attempt break, the first one after `CUT` bytes and the others at once."""
    server.cuts = [CUT] + [0] * (N_ATTEMPTS - 1)
    with pytest.raises(InputError):
        download(server.url, target, sha256=sha256)
    server.requests.clear()
    server.n_sent.clear()


# --- downloads that work ------------------------------------------------------------------------


@pytest.mark.parametrize("sha256", [SHA256, SHA256.upper(), None])
def test_a_file_arrives_whole(server: Server, target: Path, sha256: str | None) -> None:
    assert download(server.url, target, sha256=sha256) == target
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None]
    assert names_beside(target) == {"ratings.zip"}


def test_a_file_whose_length_is_not_stated_arrives_whole(server: Server, target: Path) -> None:
    server.states_length = False
    assert download(server.url, target, sha256=SHA256).read_bytes() == CONTENT


def test_a_file_is_on_the_disk_before_it_takes_its_name(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[int, bool]] = []

    def watched(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_size, target.exists()))
        os.fsync(descriptor)

    monkeypatch.setattr("recsweep.data.download.fsync", watched)
    download(server.url, target, sha256=SHA256)
    assert synced == [(N_BYTES, False)], "all bytes, and no name yet"


def test_an_empty_file_is_a_file(server: Server, target: Path) -> None:
    server.content = b""
    assert download(server.url, target, sha256=None).read_bytes() == b""


def test_no_progress_bar_is_drawn_where_nobody_watches(
    server: Server, target: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    download(server.url, target, sha256=SHA256)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_an_existing_good_file_makes_no_request(
    server: Server, target: Path, sha256: str | None
) -> None:
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    assert download(server.url, target, sha256=sha256) == target
    assert server.requests == []
    assert names_beside(target) == {"ratings.zip"}


# --- connections that break ---------------------------------------------------------------------


def test_a_broken_connection_is_resumed_within_one_call(server: Server, target: Path) -> None:
    server.cuts = [CUT]
    assert download(server.url, target, sha256=SHA256).read_bytes() == CONTENT
    assert server.ranges == [None, RESUMED]
    assert server.n_sent == [CUT, N_BYTES - CUT]


def test_a_later_call_transfers_only_the_rest(server: Server, target: Path) -> None:
    give_up(server, target)
    assert download(server.url, target, sha256=SHA256).read_bytes() == CONTENT
    assert server.n_sent == [N_BYTES - CUT]
    assert names_beside(target) == {"ratings.zip"}


def test_an_interrupted_download_leaves_no_target_and_says_that_it_resumes(
    refused: Refused, server: Server, target: Path, part: Path
) -> None:
    server.cuts = [CUT] + [0] * 100
    with refused(server.url, f"{CUT} of {N_BYTES}", "the download resumes", "data.path"):
        download(server.url, target, sha256=SHA256)
    assert len(server.requests) == N_ATTEMPTS
    assert not target.exists()
    assert part.read_bytes() == CONTENT[:CUT]


def test_a_killed_process_leaves_a_part_that_the_next_one_resumes(
    server: Server, target: Path, part: Path
) -> None:
    server.cuts = [CUT]
    server.goes_on.clear()
    process = multiprocessing.get_context("spawn").Process(
        target=download, args=(server.url, target), kwargs={"sha256": SHA256}
    )
    process.start()
    deadline = time.monotonic() + 120  # a new process imports pandas first
    while not (part.exists() and part.stat().st_size):
        assert time.monotonic() < deadline, "nothing arrived"
        time.sleep(0.01)
    process.kill()
    process.join()
    assert not target.exists()
    n_arrived = part.stat().st_size
    server.goes_on.set()
    assert download(server.url, target, sha256=SHA256).read_bytes() == CONTENT
    assert server.n_sent[-1] == N_BYTES - n_arrived < N_BYTES


def test_a_server_without_ranges_sends_everything_again(server: Server, target: Path) -> None:
    server.honours_range = False
    server.cuts = [CUT]
    assert download(server.url, target, sha256=SHA256).read_bytes() == CONTENT
    assert server.n_sent == [CUT, N_BYTES]


def test_a_server_that_resumes_at_another_byte_is_asked_for_everything(
    server: Server, target: Path
) -> None:
    server.cuts = [CUT]
    server.range_shift = 1
    assert download(server.url, target, sha256=SHA256).read_bytes() == CONTENT
    assert server.ranges == [None, RESUMED, None]


@pytest.mark.parametrize("suffix", ["", ".version"])
@pytest.mark.parametrize("plant", ["link", "second name", "pipe"])
def test_a_part_that_is_no_file_of_its_own_is_removed_and_what_it_names_stays(
    server: Server, target: Path, part: Path, tmp_path: Path, plant: str, suffix: str
) -> None:
    victim, planted = tmp_path / "victim", part.with_name(f"{part.name}{suffix}")
    victim.write_bytes(b"mine")
    part.parent.mkdir()
    part.write_bytes(CONTENT[:CUT])
    planted.unlink(missing_ok=True)
    {"link": planted.symlink_to, "second name": planted.hardlink_to,
     "pipe": lambda _: os.mkfifo(planted)}[plant](victim)  # fmt: skip
    assert download(server.url, target, sha256=SHA256).read_bytes() == CONTENT
    assert victim.read_bytes() == b"mine"
    assert names_beside(target) == {target.name}


def test_a_part_longer_than_the_file_is_dropped(server: Server, target: Path, part: Path) -> None:
    part.parent.mkdir()
    part.write_bytes(CONTENT + b"more")
    assert download(server.url, target, sha256=SHA256).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={N_BYTES + 4}-", None]


@pytest.mark.parametrize("header", ["ETag", "Last-Modified"])
def test_a_file_that_changed_meanwhile_is_not_glued_to_its_old_half(
    server: Server, target: Path, header: str
) -> None:
    server.headers = {header: "first"}
    give_up(server, target, sha256=None)
    server.headers = {header: "second"}
    server.content = CONTENT[::-1]
    assert download(server.url, target, sha256=None).read_bytes() == CONTENT[::-1]
    assert server.requests[0]["If-Range"] == "first"


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"weak"'}])
@pytest.mark.parametrize("sha256", [SHA256, None])
def test_without_a_version_only_a_checksum_allows_resuming(
    server: Server, target: Path, headers: dict[str, str], sha256: str | None
) -> None:
    server.headers = headers
    give_up(server, target, sha256=sha256)
    server.cuts = [CUT]  # without a checksum the earlier attempts have started again from zero
    assert download(server.url, target, sha256=sha256).read_bytes() == CONTENT
    assert (RESUMED in server.ranges) == (sha256 is not None)


def test_a_server_that_states_too_many_bytes_is_given_up_on(
    refused: Refused, server: Server, target: Path, part: Path
) -> None:
    server.n_missing = 7
    server.honours_range = False
    with refused(f"{N_BYTES} of {N_BYTES + 7}"):
        download(server.url, target, sha256=SHA256)
    assert len(server.requests) == N_ATTEMPTS
    assert not target.exists()
    assert part.exists()


# --- what the user must act on ------------------------------------------------------------------


def test_a_wrong_checksum_leaves_nothing(refused: Refused, server: Server, target: Path) -> None:
    with refused(server.url, "0" * 64, SHA256):
        download(server.url, target, sha256="0" * 64)
    assert names_beside(target) == set()


def test_an_existing_file_with_another_checksum_is_kept_and_named(
    refused: Refused, server: Server, target: Path
) -> None:
    target.parent.mkdir()
    target.write_bytes(b"mine")
    with refused(str(target), SHA256, file_sha256(target), "delete the file"):
        download(server.url, target, sha256=SHA256)
    assert target.read_bytes() == b"mine"
    assert server.requests == []


@pytest.mark.parametrize("status", [404, 503])
def test_an_answer_without_a_file_is_one_line(
    refused: Refused, server: Server, target: Path, status: int
) -> None:
    server.status = status
    with refused(server.url, f"HTTP {status}", "check the address", "data.path"):
        download(server.url, target, sha256=SHA256)
    assert len(server.requests) == 1
    assert names_beside(target) == set()


def test_an_unreachable_server_is_one_line_and_not_waited_for(
    refused: Refused, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
    url = "http://127.0.0.1:1/ratings.zip"  # where nobody listens
    with refused(url, "refused", "check the network and run again", "data.path"):
        download(url, target, sha256=SHA256)
    assert not target.parent.exists(), "no empty folder, no lock"


def test_a_server_that_falls_silent_is_given_up_on(
    refused: Refused, server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsweep.data.download.TIMEOUT_S", 0.5)
    monkeypatch.setattr("recsweep.data.download.N_ATTEMPTS", 2)
    server.cuts = [CUT] + [0] * 100
    server.goes_on.clear()
    with refused(server.url, "timed out", "the download resumes"):
        download(server.url, target, sha256=SHA256)


@pytest.mark.parametrize(
    "url",
    [
        "ratings.zip",
        "file:///etc/hostname",
        "http://[",
        "http://127.0.0.1:port/",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/a\nb",
        "http://127.0.0.1/ä",
    ],
)
def test_what_is_no_web_address_is_one_line(refused: Refused, target: Path, url: str) -> None:
    with refused("must be reachable", "check the address", "data.path"):
        download(url, target, sha256=SHA256)


def test_a_folder_that_cannot_be_made_is_one_line(
    refused: Refused, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for target in [tmp_path / "file" / "ratings.zip", tmp_path / "file" / "deep" / "ratings.zip"]:
        with refused(str(tmp_path / "file"), "permissions", "cache_dir"):
            download(server.url, target, sha256=SHA256)
    assert server.requests == []


def test_a_disk_that_takes_no_more_is_one_line(
    refused: Refused, server: Server, target: Path, part: Path
) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (CUT, before[1]))
    try:
        with refused(str(target), "free space"):
            download(server.url, target, sha256=SHA256)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not target.exists()
    assert part.read_bytes() == CONTENT[:CUT]


def test_two_processes_download_once(server: Server, target: Path) -> None:
    server.delay_s = 0.5  # time enough for both to be under way
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        runs = [pool.submit(download, server.url, target, sha256=SHA256) for _ in range(2)]
        assert [run.result() for run in runs] == [target, target]
    assert len(server.requests) == 1
    assert target.read_bytes() == CONTENT
    assert names_beside(target) == {"ratings.zip"}


@pytest.mark.parametrize("place", ["ratings.zip?token=***", "***/ratings.zip"])
def test_an_address_without_its_secrets_is_not_asked(
    server: Server, target: Path, refused: Refused, place: str
) -> None:
    url = server.url.replace("ratings.zip", place)
    with refused("data.url must be the whole address to download ratings.zip", url, "data.url="):
        download(url, target, sha256=None)
    assert server.requests == []
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(CONTENT)
    assert download(url, target, sha256=SHA256) == target, "it is there"


def test_nothing_is_asked_of_a_server_where_downloads_are_refused(
    server: Server, refused: Refused, tmp_path: Path
) -> None:
    target = tmp_path / "ratings.zip"
    secret = server.url.replace("//", "//user:sesame-17@")
    with (
        refused("ratings.zip must be downloaded from http://***@127.0.0.1", "add fetch=true"),
        downloads(are_allowed=False),
    ):
        download(secret, target, sha256=None)
    assert server.requests == []
    with downloads(are_allowed=True):
        download(server.url, target, sha256=SHA256)
    with downloads(are_allowed=False):
        assert download(server.url, target, sha256=SHA256) == target, "it is there"
