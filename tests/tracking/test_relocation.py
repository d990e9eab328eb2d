"""A store that was moved, renamed or copied: where its runs' files are looked for and written."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow_runs import run_of, tracker

from recsweep.tracking import MLflowTracker
from recsweep.tracking.relocation import follow_database, path_of_url

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy


@pytest.fixture
def old(database: Path, tmp_path: Path) -> Path:
    """A project with a store of its own, which has no run of this project yet."""
    folder = tmp_path / "old project"
    folder.mkdir()
    shutil.copy(database, folder)
    return folder


def at(folder: Path) -> MLflowTracker:
    return tracker(f"sqlite:///{folder}/mlflow.db", experiment="moved")


def run(folder: Path, text: str = "a file") -> str:
    """Id of a run that keeps one file."""
    (folder / "kept").mkdir(exist_ok=True)
    (folder / "kept" / "a.txt").write_text(text, encoding="utf-8")
    with at(folder) as one:
        one.log_artifacts(folder / "kept")
    return str(one.run_id)


def file_of(folder: Path, run_id: str) -> Path:
    return folder / "mlartifacts" / run_id / "artifacts" / "a.txt"


def downloaded(folder: Path, run_id: str, place: Path) -> str:
    """The file as the UI would show it."""
    place.mkdir(parents=True)
    found = at(folder).store.client.download_artifacts(run_id, "a.txt", str(place))
    return Path(found).read_text("utf-8")


def addresses(folder: Path) -> set[str]:
    """Of all runs and experiments."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        rows = connection.execute(
            "SELECT artifact_uri FROM runs UNION SELECT artifact_location FROM experiments"
        ).fetchall()
    return {address for (address,) in rows}


def test_a_moved_project_keeps_old_files_and_new_ones_together(old: Path, tmp_path: Path) -> None:
    first = run(old)
    new = old.rename(tmp_path / "new 100% #1?")
    second = run(new, "another")
    assert not old.exists()
    assert file_of(new, first).is_file()
    assert file_of(new, second).read_text("utf-8") == "another"
    assert downloaded(new, first, tmp_path / "1") == "a file"
    assert downloaded(new, second, tmp_path / "2") == "another"
    assert run_of(at(new), first).info.artifact_uri == file_of(new, first).parent.as_uri()


def test_looking_at_a_run_of_before_the_move_is_enough(old: Path, tmp_path: Path) -> None:
    first = run(old)
    new = old.rename(tmp_path / "deeper")
    assert downloaded(new, first, tmp_path / "1") == "a file"


def test_a_copy_leaves_the_original_alone(old: Path, tmp_path: Path) -> None:
    first = run(old)
    copy = shutil.copytree(old, tmp_path / "copy")
    file_of(copy, first).write_text("of the copy", encoding="utf-8")
    before, named = sorted(old.rglob("*")), addresses(old)
    second = run(copy)
    assert file_of(copy, second).is_file()
    assert (sorted(old.rglob("*")), addresses(old)) == (before, named)
    assert downloaded(copy, first, tmp_path / "1") == "of the copy"
    assert downloaded(old, first, tmp_path / "2") == "a file"


def test_a_copy_without_any_file_yet_writes_beside_itself(old: Path, tmp_path: Path) -> None:
    with at(old):
        pass
    copy = shutil.copytree(old, tmp_path / "copy")
    assert file_of(copy, run(copy)).is_file()
    assert not list(old.rglob("a.txt"))


def test_a_run_that_goes_on_after_the_move_writes_to_the_new_place(
    old: Path, tmp_path: Path
) -> None:
    one = at(old)
    one.open_sweep("s", "a sweep", {}, {})
    one.close_sweep("KILLED", "Ctrl-C")
    new = old.rename(tmp_path / "new")
    again = at(new)
    again.open_sweep("s", "a sweep", {}, {})
    assert again.run_id == one.run_id
    (new / "kept").mkdir()
    (new / "kept" / "a.txt").write_text("late", encoding="utf-8")
    again.log_artifacts(new / "kept")
    again.close_sweep("FINISHED")
    assert file_of(new, str(one.run_id)).read_text("utf-8") == "late"
    assert not old.exists()


def test_files_that_were_left_behind_are_still_found(old: Path, tmp_path: Path) -> None:
    first = run(old)
    (tmp_path / "new").mkdir()
    (old / "mlflow.db").rename(tmp_path / "new" / "mlflow.db")
    assert downloaded(tmp_path / "new", first, tmp_path / "1") == "a file"
    assert file_of(old, run(tmp_path / "new")).is_file(), "the files stay together"


@pytest.mark.parametrize("name", ["mlartifacts", "big disk"])
def test_a_folder_that_somebody_chose_stays(old: Path, tmp_path: Path, name: str) -> None:
    chosen = tmp_path / "chosen" / name
    chosen.mkdir(parents=True)
    at(old).store.client.create_experiment("moved", artifact_location=chosen.as_uri())
    first = run(old)
    new = old.rename(tmp_path / "new")
    assert downloaded(new, first, tmp_path / "1") == "a file"
    second = run(new)
    assert {path.name for path in chosen.iterdir()} == {first, second}


def test_addresses_elsewhere_are_not_touched(tmp_path: Path) -> None:
    own = {
        "s3://bucket/mlartifacts/1", "mlflow-artifacts:/1", "dbfs:/old/mlartifacts", "models:/m-1",
        "file:///gone/elsewhere/1/artifacts", f"{tmp_path.as_uri()}/mlartifacts/2/artifacts", "",
    }  # fmt: skip
    moved = {
        "file:///gone/a%20b/mlartifacts/3/artifacts": "mlartifacts/3/artifacts",
        "/gone/mlruns/0": "mlruns/0",
    }
    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE runs (artifact_uri TEXT)")
        connection.execute("CREATE TABLE experiments (artifact_location TEXT)")
        connection.execute("INSERT INTO runs VALUES (NULL)")
        rows = [(address,) for address in [*own, *moved]]
        connection.executemany("INSERT INTO runs VALUES (?)", rows)
    for _ in range(2):
        follow_database(file)
        found = addresses(tmp_path) - {None}
        assert found == own | {(tmp_path / place).as_uri() for place in moved.values()}


def test_a_drive_has_no_slash_before_it_on_windows() -> None:
    assert path_of_url("/C:/My runs/mlartifacts", "win32") == "C:/My runs/mlartifacts"
    assert path_of_url("/home/ann/mlartifacts", "win32") == "/home/ann/mlartifacts"
    assert path_of_url("/C:/mlartifacts", "linux") == "/C:/mlartifacts"
