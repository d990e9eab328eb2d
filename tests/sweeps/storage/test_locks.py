import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from recsweep.sweeps.storage.backends import make_locks
from recsweep.sweeps.storage.errors import StorageError
from recsweep.sweeps.storage.locks import Locks, hold_lock

Start = Callable[..., subprocess.Popen[str]]
POSTGRES = pytest.param("postgres", marks=pytest.mark.postgres)
PREAMBLE = """
import os, sys, time
from pathlib import Path
from recsweep.sweeps.storage.backends import make_locks
url, folder, argument = sys.argv[1:]
locks = make_locks(url or None, Path(folder), "study")
def say(text): os.write(1, f"{text}\\n".encode())
"""
HOLD_LEASE = "lease = locks.lease(int(argument)); say('held'); time.sleep(600)"
HOLD_MUTEX = """
with locks.mutex():
    say('held'); time.sleep(600)
"""
WAIT_FOR_MUTEX = """
say('waiting')
with locks.mutex():
    say('in')
"""
HOLD_WITH_CHILDREN = """
import subprocess
lease = locks.lease(int(argument))
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
child = os.fork()
if child == 0:
    mine = lease.is_held()
    lease.release()
    say(f"{mine} {locks.is_leased(int(argument))}")
    time.sleep(600)
os.wait()
"""
FORGET_CHILDREN = """
lease = locks.lease(int(argument))
for _ in range(3):
    if os.fork() == 0:
        sys.exit()
    os.wait()
say(lease.is_held()); time.sleep(600)
"""
COUNT = """
for _ in range(int(argument)):
    with locks.mutex():
        count = int(Path(folder, "count").read_text())
        Path(folder, "count").write_text("")
        Path(folder, "count").write_text(str(count + 1))
"""


@pytest.fixture(params=["files", POSTGRES])
def url(request: pytest.FixtureRequest) -> str | None:
    return str(request.getfixturevalue("postgres_url")) if request.param == "postgres" else None


@pytest.fixture
def locks(url: str | None, tmp_path: Path) -> Locks:
    return make_locks(url, tmp_path, "study")


@pytest.fixture
def start(url: str | None, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Runs code in a process group of its own and returns when it has said its first line."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, argument: int = 7, says: str | None = "held") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PREAMBLE + code, url or "", str(tmp_path), str(argument)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        started.append(process)
        if says is not None:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == says
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def eventually(is_true: Callable[[], object]) -> bool:
    """Whether it becomes true in the end: a server notices a death a moment later."""
    deadline = time.monotonic() + 60
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(60)


def test_a_lease_is_had_once_and_can_be_given_back(
    locks: Locks, url: str | None, tmp_path: Path
) -> None:
    others = make_locks(url, tmp_path, "study")
    lease = locks.lease(3)
    assert lease is not None
    assert lease.is_held()
    for each in (locks, others):
        assert each.is_leased(3)
        assert each.lease(3) is None
    assert lease.is_held()
    lease.release()
    lease.release()
    assert not lease.is_held()
    for each in (others, locks):
        assert not each.is_leased(3)
        again = each.lease(3)
        assert again is not None
        again.release()


def test_leases_of_other_trials_and_other_studies_are_others(
    locks: Locks, url: str | None, tmp_path: Path
) -> None:
    other = make_locks(url, tmp_path / "other", "other")
    with locks.mutex(), other.mutex():
        one, two, three = locks.lease(1), locks.lease(2), other.lease(1)
    assert one is not None
    assert two is not None
    assert three is not None
    with one, two, three:
        assert not other.is_leased(2)
    assert not locks.is_leased(1)


def test_a_lease_ends_with_its_context_whatever_happens_there(locks: Locks) -> None:
    with pytest.raises(RuntimeError), locks.lease(1) or pytest.fail("it is free"):
        raise RuntimeError
    assert not locks.is_leased(1)
    with pytest.raises(RuntimeError), locks.mutex():
        raise RuntimeError
    with locks.mutex():
        pass


def test_a_lease_is_free_when_its_holder_was_killed(locks: Locks, start: Start) -> None:
    holder = start(HOLD_LEASE)
    assert locks.is_leased(7)
    assert locks.lease(7) is None
    kill(holder)
    assert eventually(lambda: not locks.is_leased(7))
    assert locks.lease(7)


def test_a_stopped_holder_keeps_its_lease(locks: Locks, start: Start) -> None:
    holder = start(HOLD_LEASE)
    holder.send_signal(signal.SIGSTOP)
    assert locks.lease(7) is None
    assert locks.is_leased(7)
    kill(holder)
    assert eventually(lambda: not locks.is_leased(7))


def test_the_mutex_is_free_when_its_holder_was_killed(locks: Locks, start: Start) -> None:
    holder, waiter = start(HOLD_MUTEX), start(WAIT_FOR_MUTEX, says="waiting")
    with pytest.raises(subprocess.TimeoutExpired):
        waiter.wait(0.3)
    kill(holder)
    assert waiter.wait(60) == 0
    assert waiter.stdout.read() == "in\n"
    with locks.mutex():
        pass


def test_a_killed_waiter_takes_no_mutex_with_it(locks: Locks, start: Start) -> None:
    with locks.mutex():
        waiter = start(WAIT_FOR_MUTEX, says="waiting")
        time.sleep(0.3)
        kill(waiter)
    with locks.mutex():
        pass


def test_ctrl_c_ends_the_waiting_for_a_stopped_holder(start: Start) -> None:
    holder, waiter = start(HOLD_MUTEX), start(WAIT_FOR_MUTEX, says="waiting")
    holder.send_signal(signal.SIGSTOP)
    time.sleep(0.3)
    waiter.send_signal(signal.SIGINT)
    _, errors = waiter.communicate(timeout=60)
    assert waiter.returncode == -signal.SIGINT
    assert errors.strip().endswith("KeyboardInterrupt")


HOLD_JOURNAL = """
from recsweep.sweeps.storage.locks import hold_lock
with hold_lock(Path(folder, "journal.log")):
    say('held'); time.sleep(600)
"""


@pytest.mark.parametrize("is_listed", [True, False])
@pytest.mark.parametrize("code", [HOLD_MUTEX, HOLD_JOURNAL])
def test_who_waits_long_for_a_stopped_process_names_it_once(
    code: str,
    is_listed: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("recsweep.sweeps.storage.locks.PATIENCE_S", 0.2)
    if not is_listed:  # on another host
        monkeypatch.setattr("recsweep.sweeps.storage.locks._flock_holder", lambda _: None)
    locks = make_locks(None, tmp_path, "study")
    n_entered = []

    def enter() -> None:
        is_mutex = code == HOLD_MUTEX
        with locks.mutex() if is_mutex else hold_lock(tmp_path / "journal.log"):
            n_entered.append(1)

    command = [sys.executable, "-c", PREAMBLE + code, "", str(tmp_path), "7"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            holder.send_signal(signal.SIGSTOP)
            waiters = [threading.Thread(target=enter) for _ in range(2)]
            for waiter in waiters:
                waiter.start()
            end, said = time.monotonic() + 60, ""
            while "\n" not in said and time.monotonic() < end:
                time.sleep(0.1)
                said += capsys.readouterr().err
            time.sleep(0.5)  # the other waiter says nothing
            said += capsys.readouterr().err
            assert n_entered == []
        finally:
            holder.kill()
    for waiter in waiters:
        waiter.join(60)
    assert n_entered == [1, 1]
    is_known = is_listed or code == HOLD_MUTEX
    pid, host = (holder.pid, socket.gethostname()) if is_known else ("PID", "unknown host")
    assert said.count("\n") == 1
    assert f", which process {pid} on {host} has locked for " in said
    assert said.endswith(f"run kill -CONT {pid} there, or kill -9 {pid}, which frees the lock\n")
    assert capsys.readouterr().err == ""


def test_who_waits_for_a_moment_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    locks = make_locks(None, tmp_path, "study")
    with locks.mutex():
        waiter = threading.Thread(target=lambda: locks.mutex().__enter__())
        waiter.start()
        time.sleep(0.2)
    waiter.join(60)
    assert capsys.readouterr().err == ""


def test_children_of_a_dead_holder_do_not_keep_its_lease(locks: Locks, start: Start) -> None:
    holder = start(HOLD_WITH_CHILDREN, says="False True")
    assert locks.is_leased(7)
    kill(holder)
    assert eventually(lambda: not locks.is_leased(7))
    os.killpg(holder.pid, 0)  # the children are still there


def test_a_child_that_ends_does_not_end_its_parents_lease(locks: Locks, start: Start) -> None:
    start(FORGET_CHILDREN, says="True")
    assert locks.lease(7) is None


def test_the_mutex_lets_in_one_at_a_time(tmp_path: Path, start: Start) -> None:
    (tmp_path / "count").write_text("0")
    processes = [start(COUNT, argument=50, says=None) for _ in range(4)]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    assert (tmp_path / "count").read_text() == "200"


def test_looking_at_a_lease_stops_nobody_from_taking_it(
    locks: Locks, url: str | None, tmp_path: Path
) -> None:
    others, is_over = make_locks(url, tmp_path, "study"), threading.Event()

    def look() -> None:
        while not is_over.is_set():
            others.is_leased(5)

    spies = [threading.Thread(target=look) for _ in range(2)]
    for spy in spies:
        spy.start()
    try:
        for _ in range(100):
            lease = locks.lease(5)
            assert lease is not None
            assert lease.is_held()
            lease.release()
    finally:
        is_over.set()
        for spy in spies:
            spy.join()


def test_somebody_who_only_looks_is_waited_for(tmp_path: Path) -> None:
    locks = make_locks(None, tmp_path, "study")
    (locks.lease(1) or pytest.fail("it is free")).release()
    with (tmp_path / "locks" / "0001").open() as looked_at:
        fcntl.flock(looked_at, fcntl.LOCK_SH)
        end_of_look = threading.Timer(0.2, fcntl.flock, [looked_at, fcntl.LOCK_UN])
        end_of_look.start()
        lease = locks.lease(1)
        end_of_look.join()
    assert lease is not None
    lease.release()


def test_a_lease_whose_file_was_deleted_is_lost(tmp_path: Path) -> None:
    lease = make_locks(None, tmp_path, "study").lease(1)
    assert lease is not None
    (tmp_path / "locks" / "0001").unlink()
    assert not lease.is_held()
    lease.release()


def test_two_folders_share_the_locks_of_one_sqlite_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lease = make_locks(f"sqlite:///{tmp_path}/studies.db", tmp_path / "a", "study").lease(1)
    other = make_locks("sqlite:///studies.db", tmp_path / "b", "study")
    assert lease is not None
    assert other.lease(1) is None
    lease.release()
    assert not other.is_leased(1)


def test_a_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = r"^cannot create or lock \S+mutex \(Not a directory\); set sweep"
    with pytest.raises(StorageError, match=refused):
        make_locks(None, tmp_path / "file", "study").mutex().__enter__()


@pytest.mark.parametrize("url", [POSTGRES], indirect=True)
def test_limits_of_a_database_do_not_end_the_waiting(
    url: str,
    tmp_path: Path,
    start: Start,
) -> None:
    import sqlalchemy

    server = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    name = url.rpartition("/")[2]
    with server.connect() as connection:
        for limit in ("statement_timeout", "lock_timeout", "idle_session_timeout"):
            connection.execute(sqlalchemy.text(f"ALTER DATABASE {name} SET {limit} = '300ms'"))
    server.dispose()
    with make_locks(url, tmp_path, "study").mutex():
        waiter = start(WAIT_FOR_MUTEX, says="waiting")
        time.sleep(1.5)
        assert waiter.poll() is None
    assert waiter.wait(60) == 0


NO_LOCKS = "int flock(int file, int operation) { return 0; }"


@pytest.mark.parametrize("url", ["", "sqlite:///{}/s.db"], ids=["journal", "sqlite"])
@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not here")
def test_a_file_system_whose_flock_does_nothing_is_refused(url: str, tmp_path: Path) -> None:
    (tmp_path / "none.c").write_text(NO_LOCKS)
    library = tmp_path / "none.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, tmp_path / "none.c"], check=True)
    start = "from recsweep.sweeps.storage.backends import open_storage\n"
    line = f"{start}open_storage(url or None, Path(folder))"
    command = [sys.executable, "-c", f"{PREAMBLE}{line}", url.format(tmp_path), str(tmp_path), ""]
    subprocess.run(command, check=True)  # with locks
    (tmp_path / "s.db").unlink(missing_ok=True)
    without = {**os.environ, "LD_PRELOAD": str(library)}
    ended = subprocess.run(command, env=without, check=False, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "must be on a file system with locks, but its flock does nothing" in ended.stderr
    assert "sweep.storage=postgresql+psycopg://" in ended.stderr


def test_the_probe_takes_no_time_and_sees_working_locks(tmp_path: Path) -> None:
    took: list[float] = []
    for number in range(20):
        began = time.perf_counter()
        with make_locks(None, tmp_path, f"study {number}").mutex():
            took.append(time.perf_counter() - began)
    assert min(took) < 0.05, "nothing sleeps"


def test_a_lock_is_no_link(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("content")
    (tmp_path / "locks").mkdir()
    for name in ("mutex", "0000"):
        (tmp_path / "locks" / name).symlink_to(mine)
    locks = make_locks(None, tmp_path, "study")
    with pytest.raises(StorageError, match="it is a link"), locks.mutex():
        pass
    with pytest.raises(StorageError, match="it is a link"):
        locks.lease(0)
    assert mine.read_text() == "content"
