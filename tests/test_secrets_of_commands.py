"""Real commands with credentials: what they print, write, track and show to `ps`."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from commands import run_command
from compiled_programs import cache_in
from mlflow_server import Server
from small_runs import SMALL_DATA

PARTS = ("Zq7x", "S3cr")
DATA = " ".join(SMALL_DATA)
LINE = f"model=ease {DATA} metrics=[ndcg,recall]"
FAILING = (
    "http://ann:Zq7xS3cr@127.0.0.1:1", "http://Zq7xS3cr@127.0.0.1:1",
    "http://127.0.0.1:1/?token=Zq7xS3cr", "http://ann:Zq7x/S3cr@127.0.0.1:1",
    "http://ann:Zq7x@S3cr@127.0.0.1:1", "http:/ann:Zq7xS3cr@127.0.0.1:1",
    "http://ann:Zq7x S3cr@127.0.0.1:1", "postgresql+psycopg://ann:Zq7x/S3cr@127.0.0.1:1/x",
    "postgresql+psycopg://ann@Zq7x:S3cr@127.0.0.1:1/x", "postgresql+psycopg://ann:Zq7x:S3cr@:1/x",
    "postgresql+psycopg://127.0.0.1:1/x?user=ann&password=Zq7xS3cr", "nothing://Zq7x:S3cr@x",
    "postgresql+psycopg:///ann:Zq7xS3cr@127.0.0.1:1/x", "sqlite:///ann:Zq7xS3cr@host/x.db",
)  # fmt: skip


def assert_no_secret(text: str, where: object) -> None:
    for part in PARTS:
        assert part.lower() not in text.lower(), f"{where}: {text}"


def assert_clean(folder: Path) -> None:
    """No file below a folder, databases and pickles included, holds a part of the secret."""
    for file in (each for each in folder.rglob("*") if each.is_file()):
        assert_no_secret(file.read_bytes().decode("latin-1"), file)


@pytest.mark.slow
@pytest.mark.parametrize("quotes", ["'\"%s\"'", "'%s'"])
@pytest.mark.parametrize("address", FAILING)
def test_a_command_that_fails_does_not_show_an_address(
    address: str, quotes: str, tmp_path: Path
) -> None:
    """Without Hydra's own quotes, most of them are errors of Hydra's grammar."""
    typed = quotes % address
    for line in (f"tracking.uri={typed}", f"-m tracking=off sweep.storage={typed}"):
        given = f"{LINE} hydra/launcher=basic sweep.n_trials=1 sweep.final_seeds=0 {line}"
        ended = run_command(tmp_path / "here", given)
        assert ended.code in (0, 1)
        assert_no_secret(f"{ended.out}{ended.err}", line)
    assert_clean(tmp_path / "here")


def test_an_address_cut_by_the_shell_is_not_shown(tmp_path: Path) -> None:
    ended = run_command(tmp_path / "here", f"{LINE} tracking.uri=http://ann:Zq7x S3cr@127.0.0.1:1")
    assert ended.code == 1
    assert_no_secret(ended.out + ended.err, "output")


@contextmanager
def command_lines(ours: str) -> Iterator[set[str]]:
    """All command lines of processes that run meanwhile, as `ps` shows them.

    Args:
        ours: A text in the environment of the processes to look at.
    """
    seen: set[str] = set()
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.05):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    if ours.encode() in (process / "environ").read_bytes():
                        seen.add((process / "cmdline").read_bytes().decode().replace("\0", " "))
                except OSError:
                    continue

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


def run_terminal(
    folder: Path, line: list[str], **variables: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "recsweep", *line, f"cache_dir={cache_in(folder.parent)}"]
    environment = {**os.environ, **variables}
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        command, check=False, cwd=folder, env=environment, capture_output=True, text=True
    )


def sweep_cleanly(folder: Path, storage: str, uri: str) -> None:
    """Run a sweep, resume it and look at it, with addresses from the environment."""
    line = [
        *LINE.split(), "sweep.storage=${oc.env:STUDIES}", "tracking.uri=${oc.env:TRACKING}",
        "study=one", "sweep.n_workers=2", "sweep.final_seeds=1",
    ]  # fmt: skip
    addresses = {"STUDIES": storage, "TRACKING": uri, "MARK_OF_TEST": str(folder)}
    with command_lines(f"MARK_OF_TEST={folder}") as seen:
        for more in (["-m", "sweep.n_trials=2"], ["-m", "sweep.n_trials=3"], ["task=studies"]):
            given = line if "-m" in more else [each for each in line if "STUDIES" in each]
            ended = run_terminal(folder, [*more, *given], **addresses)
            assert ended.returncode == 0, ended.stderr
            assert_no_secret(f"{ended.stdout}{ended.stderr}", more)
    assert any("loky" in each for each in seen), seen  # workers were seen
    assert_no_secret("\n".join(seen), "ps")
    assert_clean(folder)
    resume = (folder / "sweeps/one/results/optimization_results.yaml").read_text()
    assert re.search(r"sweep\.storage=\$\{oc\.env:STUDIES\}", resume)


@pytest.mark.slow
def test_a_sweep_with_sqlite_and_a_server_with_tokens_writes_none(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        uri = server.uri.replace("http://", "http://Zq7x:S3cr%2Fa@")
        sweep_cleanly(tmp_path / "here", f"sqlite:///{tmp_path}/studies.db", uri)
        assert_no_secret((tmp_path / "server.db").read_bytes().decode("latin-1"), "MLflow")
        assert_no_secret((tmp_path / "studies.db").read_bytes().decode("latin-1"), "Optuna")
        assert_clean(tmp_path / "artifacts")


@pytest.mark.postgres
@pytest.mark.slow
def test_a_sweep_with_postgresql_and_a_hostile_password_writes_none(
    postgres: str, tmp_path: Path
) -> None:
    import sqlalchemy

    password = "Zq7x/@ ?#S3cr"  # noqa: S105 - of a server that lives for seconds
    server = sqlalchemy.create_engine(postgres, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        for statement in (
            f"CREATE ROLE \"ann@corp\" LOGIN SUPERUSER PASSWORD '{password}'",
            "CREATE DATABASE secrets",
        ):
            connection.execute(sqlalchemy.text(statement))
    server.dispose()
    host = postgres.rpartition("@")[2].rpartition("/")[0]
    storage = f"postgresql+psycopg://ann%40corp:{quote(password, safe='')}@{host}/secrets"
    sweep_cleanly(tmp_path / "here", storage, f"sqlite:///{tmp_path}/mlflow.db")
    assert_no_secret((tmp_path / "mlflow.db").read_bytes().decode("latin-1"), "MLflow")
    own = sqlalchemy.create_engine(postgres.removesuffix("postgres") + "secrets")
    with own.connect() as connection:
        tables = sqlalchemy.inspect(connection).get_table_names()
        rows = [connection.execute(sqlalchemy.text(f"SELECT * FROM {t}")).all() for t in tables]  # noqa: S608
    own.dispose()
    assert_no_secret(str(rows), "Optuna")
