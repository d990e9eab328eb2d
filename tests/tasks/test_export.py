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
        "unique_sid.txt", "user_ids.txt",
    ]  # fmt: skip
    popularity = ("model=popularity", "k=[5]")
    run(config(*SMALL_DATA, *popularity), tmp_path / "original", [])
    run(config("data=liang", f"data.path='{folder}'", *popularity), tmp_path / "copy", [])
    means = [metrics(tmp_path / name)["test"]["mean"] for name in ("original", "copy")]
    assert means[0] == pytest.approx(means[1], abs=1e-12)  # other order of users, other rounding


def test_users_in_several_parts_are_the_same_users_when_they_are_read_again(
    config: Any, tmp_path: Path
) -> None:
    weak = (*SMALL_DATA, "split=weak", "split.test_fraction=0.3")
    run(config("task=export", f"task.folder={tmp_path / 'weak'}", *weak), tmp_path, [])
    refit = ("model=ease", "k=[5]", "refit=true")
    run(config(*weak, *refit), tmp_path / "original", [])
    run(config("data=liang", f"data.path={tmp_path / 'weak'}", *refit), tmp_path / "copy", [])
    means = [metrics(tmp_path / name)["test"]["mean"] for name in ("original", "copy")]
    assert means[0] == means[1]


def test_what_the_files_cannot_hold_is_said(
    config: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "sold.csv").write_text(
        "user,item,value\n"
        + "".join(f"u{user},i{user * item % 89},2\n" for user in range(1, 40) for item in range(9))
    )
    data = ("data=csv", f"data.path={tmp_path / 'sold.csv'}", "transform=raw", "split=weak")
    lossy = ("split.per=all", "split.unknown_items=count", f"task.folder={tmp_path / 'lossy'}")
    run(config("task=export", *lossy, *data), tmp_path, [])
    unknown, values = (record.getMessage() for record in caplog.records)
    assert unknown.endswith("the files do not count them as misses")
    assert values.startswith("values are not written")
    caplog.clear()
    run(config("task=export", f"task.folder={tmp_path / 'whole'}", *SMALL_DATA), tmp_path, [])
    assert not caplog.records


def test_an_export_into_a_folder_in_use_is_refused_before_any_work(
    config: Any, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.csv").write_text("precious", encoding="utf-8")
    with pytest.raises(InputError, match=r"task\.folder must be a new or empty folder"):
        run(config("task=export", f"task.folder={tmp_path / 'mine'}"), tmp_path, [])
    assert not (tmp_path / "cache").exists()
    assert (tmp_path / "mine" / "train.csv").read_text("utf-8") == "precious"
