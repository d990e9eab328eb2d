"""What every test shares."""

import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from compiled_programs import keep_compiled_programs
from contracts import composed
from postgres_server import binaries, postgres_server

from recsweep import credentials
from recsweep.errors import InputError
from recsweep.tracking import write_buffer
from recsweep.tracking.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"
LONGEST = {
    name: place
    for place, name in enumerate(
        ["test_cluster", "test_faults", "test_docs", "test_slurm_jobs", "test_ray_jobs",
         "test_restarts", "test_orphans", "test_lightgcn"]
    )
}  # fmt: skip
"""Files that take minutes, by when `make gate` and `make test-all` begin them."""

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
keep_compiled_programs()
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in `make test &`
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on real data are skipped where there is none; the longest files begin first."""
    last = len(LONGEST)
    items.sort(key=lambda item: LONGEST.get(item.path.stem, last))
    skip = pytest.mark.skip(reason="../shared/data is not there")
    for item in items:
        if item.get_closest_marker("realdata") and not SHARED_DATA.is_dir():
            item.add_marker(skip)


def pytest_collection_finish() -> None:
    """Thousands of tests and modules are not looked through for garbage again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real data sets."""
    return SHARED_DATA


@pytest.fixture(scope="session")
def ml_100k(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`u.data` of MovieLens 100K: the shared one or, elsewhere, a download."""
    name = Path("ml-100k", "u.data")
    if (SHARED_DATA / name).exists():
        return SHARED_DATA / name
    cache = tmp_path_factory.mktemp("cache")
    download = ["task=download", "data=ml-100k", f"cache_dir={cache}"]
    subprocess.run([sys.executable, "-m", "recsweep", *download], cwd=cache, check=True)
    return cache / "downloads" / name


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A private server; the address of its database `postgres`, password included."""
    if binaries() is None:
        pytest.skip("PostgreSQL's initdb and pg_ctl are not here")
    pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    with postgres_server("fsync=off") as url:
        yield url


@pytest.fixture(autouse=True)
def _environment_put_back() -> Iterator[None]:
    """What a run notes in the environment, for its children, is not for the next test's."""
    before = dict(os.environ)
    yield
    if os.environ != before:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(autouse=True)
def _secrets_put_back() -> Iterator[None]:
    """What one test hides, such as the word `user`, is no secret in the next test's errors."""
    addresses, words = dict(credentials._shown), set(credentials._secret_words)
    yield
    for kept, before in ((credentials._shown, addresses), (credentials._secret_words, words)):
        kept.clear()
        kept.update(before)


@pytest.fixture(autouse=True)
def _writers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that tests share has a new writer in each: an earlier one may pause for an hour."""
    monkeypatch.setattr(write_buffer, "_writers", {})
    monkeypatch.setattr(Store, "is_hurried", False)


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Composes a configuration whose cache is the test's own."""
    return lambda *overrides: dict(composed(f"cache_dir={tmp_path}/cache", *overrides))


@contextmanager
def _refused(*parts: str) -> Iterator[None]:
    with pytest.raises(InputError) as error:
        yield
    line = str(error.value)
    assert "\n" not in line
    assert len(line) < 1000
    for part in parts:
        assert part in line, line


@pytest.fixture
def refused() -> Callable[..., AbstractContextManager[None]]:
    """`with refused("this", "that"):` holds the block to one line of error that says so."""
    return _refused


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """A headless Chromium; another one is named by RECSWEEP_CHROMIUM."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="the extra browser is not installed"
    )
    chromium = os.environ.get("RECSWEEP_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no program chromium")
    sync_api.expect.set_options(timeout=60_000)
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()
