"""An exported split is whole, and the same split when it is read again."""

from pathlib import Path
from typing import Any

import pytest
from small_runs import SMALL_DATA, metrics

from recsweep.app import run
from recsweep.errors import InputError


def test_an_exported_split_is_the_same_split_when_it_is_read_again(
    config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "an export"
    run(config("task=export", f"task.folder='{folder}'", *SMALL_DATA), tmp_path, [])
    assert [Path(line).name for line in capsys.readouterr().out.splitlines()] == [
        "train.csv", "validation_tr.csv", "validation_te.csv", "test_tr.csv", "test_te.csv",
        "unique_sid.txt",
    ]  # fmt: skip
    popularity = ("model=popularity", "k=[5]")
    run(config(*SMALL_DATA, *popularity), tmp_path / "original", [])
    run(config("data=liang", f"data.path='{folder}'", *popularity), tmp_path / "copy", [])
    means = [metrics(tmp_path / name)["test"]["mean"] for name in ("original", "copy")]
    assert means[0] == pytest.approx(means[1], abs=1e-12)  # other order of users, other rounding


def test_an_export_into_a_folder_in_use_is_refused_before_any_work(
    config: Any, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.csv").write_text("precious", encoding="utf-8")
    with pytest.raises(InputError, match=r"task\.folder must be a new or empty folder"):
        run(config("task=export", f"task.folder={tmp_path / 'mine'}"), tmp_path, [])
    assert not (tmp_path / "cache").exists()
    assert (tmp_path / "mine" / "train.csv").read_text("utf-8") == "precious"
