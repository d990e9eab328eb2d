import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from recsweep.sweeps.storage import database
from recsweep.sweeps.storage.backends import open_storage
from recsweep.sweeps.storage.errors import StorageError


def refusal(url: str, folder: Path) -> str:
    """The one line in which a URL is refused."""
    with pytest.raises(StorageError) as caught:
        open_storage(url, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:secret@host/studies",
        "postgresql://me:secret@host/studies",
        "postgresql+psycopg://me:secret@p@ss@host/studies",
        "postgresql+psycopg://host/studies?user=me&password=secret",
        "postgresql+psycopg://me:secret@host:port/studies",
        "redis:secret",
        "secret@host",
        "",
    ],
)
def test_what_is_no_storage_is_refused_without_its_password(url: str, tmp_path: Path) -> None:
    line = refusal(url, tmp_path)
    assert "sweep.storage" in line
    assert "secret" not in line


def test_a_path_without_its_kind_is_quoted_and_completed(tmp_path: Path) -> None:
    assert refusal("my/studies.db", tmp_path).endswith(
        "but is my/studies.db; for a file write sweep.storage=sqlite:///my/studies.db"
    )


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?uri=true"])
def test_a_database_in_memory_is_refused(url: str, tmp_path: Path) -> None:
    assert "must be sqlite:///PATH or postgresql+psycopg://" in refusal(url, tmp_path)


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    line = refusal("postgresql+psycopg://me:secret@127.0.0.1:1/studies", tmp_path)
    assert "refused" in line
    assert "secret" not in line


def test_a_missing_driver_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    line = refusal("postgresql+psycopg://me:secret@127.0.0.1:1/studies", tmp_path)
    assert "pip install 'recsweep[postgres]'" in line
    assert "secret" not in line


@pytest.mark.postgres
def test_a_wrong_password_is_one_line_that_does_not_show_it(postgres_url: str) -> None:
    line = refusal(postgres_url.replace("sesame-17", "secret"), Path())
    assert "password authentication failed" in line
    assert "secret" not in line


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "studies.db").write_text("no database\n" * 100)
    assert "file is not a database" in refusal(f"sqlite:///{tmp_path}/studies.db", tmp_path)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "Not a directory" in refusal(f"sqlite:///{tmp_path}/file/studies.db", tmp_path)


def test_a_database_that_may_only_be_read_is_one_line() -> None:
    folder = Path(tempfile.mkdtemp())
    url = f"sqlite:///{folder}/studies.db"
    open_storage(url, folder)
    for path in [*folder.rglob("*"), folder]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    is_root = os.geteuid() == 0
    try:
        if is_root:
            os.seteuid(65534)
        assert "sweep." in refusal(url, folder)
    finally:
        if is_root:
            os.seteuid(0)
        shutil.rmtree(folder)


@pytest.mark.slow
def test_the_database_of_mlflow_is_refused_and_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    code = "import sys, mlflow; mlflow.MlflowClient(sys.argv[1]).search_experiments()"
    subprocess.run([sys.executable, "-c", code, f"sqlite:///{file}"], cwd=tmp_path, check=True)
    before = sorted(tmp_path.iterdir()), file.read_bytes()
    assert "is that of MLflow" in refusal(f"sqlite:///{file}", tmp_path)
    assert (sorted(tmp_path.iterdir()), file.read_bytes()) == before


def test_the_database_of_another_program_is_refused_and_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num)")
    before = sorted(tmp_path.iterdir()), file.read_bytes()
    assert "is taken" in refusal(f"sqlite:///{file}", tmp_path)
    assert (sorted(tmp_path.iterdir()), file.read_bytes()) == before


def test_tables_of_another_version_of_optuna_are_refused_and_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "studies.db"
    open_storage(f"sqlite:///{file}", tmp_path)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v2.6.0.a'")
        connection.execute("DROP TABLE trial_heartbeats")
    assert "has those of another one" in refusal(f"sqlite:///{file}", tmp_path)
    with closing(sqlite3.connect(file)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert "studies" in tables
    assert "trial_heartbeats" not in tables


def test_no_connection_is_left_open_to_a_database_that_is_refused(tmp_path: Path) -> None:
    file, opened = tmp_path / "studies.db", list[int]()
    url = f"sqlite:///{file}"
    open_storage(url, tmp_path)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v2.6.0.a'")

    def note(driver: sqlite3.Connection, _: object) -> None:
        opened.append(id(driver))

    def forget(driver: sqlite3.Connection, _: object) -> None:
        opened.remove(id(driver))

    sqlalchemy.event.listen(sqlalchemy.Pool, "connect", note)
    sqlalchemy.event.listen(sqlalchemy.Pool, "close", forget)
    try:
        assert "has those of another one" in refusal(url, tmp_path)
        with pytest.raises(StorageError):
            database.make_tables(database.parse_address(url))
        assert opened == []
    finally:
        sqlalchemy.event.remove(sqlalchemy.Pool, "connect", note)
        sqlalchemy.event.remove(sqlalchemy.Pool, "close", forget)


def test_readers_of_a_file_go_on_while_somebody_writes(tmp_path: Path) -> None:
    file = tmp_path / "studies.db"
    storage = open_storage(f"sqlite:///{file}", tmp_path)
    study = optuna.create_study(storage=storage, study_name="study")
    with closing(sqlite3.connect(file)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert study.user_attrs == {}


def test_a_relative_path_stays_where_it_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = open_storage("sqlite:///studies.db", tmp_path)
    monkeypatch.chdir(Path("/"))
    optuna.create_study(storage=storage)
    assert (tmp_path / "studies.db").exists()


@pytest.mark.parametrize(("folder", "typed"), [("my%20proj", "my%20proj"), ("a b", "a%20b")])
def test_a_file_is_where_its_path_says_or_where_it_is_decoded(
    tmp_path: Path, folder: str, typed: str
) -> None:
    (tmp_path / folder).mkdir()
    optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/{typed}/s.db", tmp_path))
    assert [each.name for each in tmp_path.iterdir()] == [folder]
    assert (tmp_path / folder / "s.db").exists()


def test_a_file_whose_decoded_name_is_there_is_found(tmp_path: Path) -> None:
    optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/a b.db", tmp_path))
    assert optuna.get_all_study_names(open_storage(f"sqlite:///{tmp_path}/a%20b.db", tmp_path))
    assert not (tmp_path / "a%20b.db").exists()


def test_errors_in_use_become_one_line_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    study = optuna.create_study(storage=open_storage(url, tmp_path))
    with closing(sqlite3.connect(tmp_path / "studies.db")) as connection:
        connection.execute("DROP TABLE study_user_attributes")
    with (
        pytest.raises(StorageError, match="no such table: study_user_attributes"),
        database.errors_in_one_line(database.parse_address(url)),
    ):
        study.set_user_attr("a", 1)
