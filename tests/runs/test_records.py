"""A run's folder, read as a tracker would have heard it."""

import math
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from small_runs import SMALL

from recsweep import app
from recsweep.errors import InputError
from recsweep.runs.records import run_record
from recsweep.tracking import NullTracker


class Listener(NullTracker):
    """Remembers what it is told."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.heard: dict[str, Any] = {"curves": []}

    def log_settings(self, params: Any, tags: Any) -> None:
        self.heard |= {"params": params, "tags": tags}

    def log_data(self, name: str, digest: str, profile: Any) -> None:
        self.heard["data"] = (name, digest, dict(profile))

    def log_metrics(self, metrics: Any, step: int = 0) -> None:
        if "best_epoch" in metrics:
            self.heard["final"] = (step, dict(metrics))
        else:
            self.heard["curves"].append((step, dict(metrics)))

    def log_artifacts(self, folder: Path) -> None:
        self.heard["files"] = {"": folder}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run's folder and what its tracker was told."""
    from contracts import composed

    folder, listener = tmp_path_factory.mktemp("run"), Listener()
    app.run(dict(composed(f"cache_dir={folder}/cache", *SMALL)), folder, [], listener)
    return folder / "results", listener.heard


def test_a_folder_says_what_the_tracker_was_told(run: tuple[Path, dict[str, Any]]) -> None:
    results, heard = run
    record = asdict(run_record(results, {"a": "b"}, "a name", "recsweep model=multivae"))
    assert {name: record[name] for name in heard} == heard
    assert [k for k, m in heard["curves"] if "test/ndcg_by_k" in m] == [5, 10]
    assert (record["name"], record["marks"], record["status"]) == ("a name", {"a": "b"}, "FINISHED")
    took = [m["epoch_s"] + m["evaluate_s"] for _, m in heard["curves"] if "epoch_s" in m]
    assert math.isclose(record["ended"] - record["began"], sum(took), abs_tol=1e-5)


def test_a_folder_with_a_link_is_not_uploaded(
    run: tuple[Path, dict[str, Any]], tmp_path: Path, refused: Any
) -> None:
    folder = Path(shutil.copytree(run[0], tmp_path / "results"))
    (folder / "notes.txt").symlink_to(Path(__file__))
    with refused("must not contain links, but notes.txt is a link to"):
        run_record(folder, {}, "one", "recsweep")


@pytest.mark.parametrize(
    "name", ["config.yaml", "environment.yaml", "split.yaml", "curves.csv", "metrics.json"]
)
def test_a_damaged_file_is_one_line(
    run: tuple[Path, dict[str, Any]], tmp_path: Path, name: str
) -> None:
    for file in run[0].iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / name).write_text("epoch,a\nx,y\n", encoding="utf-8")
    with pytest.raises(InputError, match=f"a run must have a readable {name}"):
        run_record(tmp_path, {}, "a name", "a command")
