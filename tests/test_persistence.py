"""Models on disk, and folders that appear whole or not at all."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import yaml

from recsweep.errors import InputError
from recsweep.models.popularity import Popularity
from recsweep.persistence import (
    MODEL_FILES,
    load_model,
    refuse_file,
    refuse_folder,
    save_model,
    whole_folder,
    write_checksums,
)
from recsweep.seeds import Seeds

IDS = np.array(["häuser", "b", "c", "d"], dtype=object)
TRAIN = sp.csr_matrix(np.array([[1, 0, 2, 0], [1, 1, 0, 0]], np.float32))


def popularity(folder: Path) -> Path:
    model = Popularity()
    model.fit(TRAIN, lambda _epoch, _losses: True, Seeds(3))
    save_model(model, {"_target_": "recsweep.models.popularity.Popularity"}, IDS, folder)
    return folder


def test_a_saved_model_gives_the_same_scores_in_a_new_object(tmp_path: Path) -> None:
    """Every model of the project is held to this in contracts.py."""
    loaded, item_ids = load_model(popularity(tmp_path / "new" / "model"))
    np.testing.assert_array_equal(loaded.score(TRAIN), [[2, 1, 2, 0]] * 2)
    np.testing.assert_array_equal(item_ids, IDS)


def test_a_model_is_arrays_and_yaml_and_no_pickle(tmp_path: Path) -> None:
    folder = popularity(tmp_path / "model")
    assert {f.name for f in folder.iterdir()} == {*MODEL_FILES, "SHA256SUMS"}
    with np.load(folder / "weights.npz", allow_pickle=False) as weights:
        assert {name: array.tolist() for name, array in weights.items()} == {"totals": [2, 1, 2, 0]}
    spec = yaml.safe_load((folder / "model.yaml").read_text(encoding="utf-8"))
    assert spec == {"_target_": "recsweep.models.popularity.Popularity"}
    assert list(pd.read_parquet(folder / "items.parquet")["item"]) == list(IDS)


def test_a_pickle_in_the_place_of_weights_is_not_opened(tmp_path: Path) -> None:
    folder = popularity(tmp_path / "model")
    np.savez(folder / "weights.npz", totals=np.array([{"a": 1}], dtype=object))
    write_checksums(folder)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        load_model(folder)


def test_a_model_file_cannot_run_a_command(tmp_path: Path) -> None:
    folder = popularity(tmp_path / "model")
    trap = {"_target_": "os.system", "command": f"touch {tmp_path / 'trap'}"}
    (folder / "model.yaml").write_text(yaml.safe_dump(trap), encoding="utf-8")
    write_checksums(folder)
    with pytest.raises(InputError, match="must be a class that checks its values"):
        load_model(folder)
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("name", MODEL_FILES)
def test_a_file_that_differs_from_what_was_saved_is_refused_by_name(
    name: str, tmp_path: Path
) -> None:
    folder = popularity(tmp_path / "model")
    before = (folder / name).read_bytes()
    (folder / name).write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    with pytest.raises(InputError, match=f"{name} must be the file that was saved, sha256 "):
        load_model(folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name} must be .* but is missing; copy"):
        load_model(folder)
    (folder / name).write_bytes(before)
    load_model(folder)


def test_a_model_without_checksums_or_with_other_ones_is_refused(tmp_path: Path) -> None:
    folder = popularity(tmp_path / "model")
    (folder / "SHA256SUMS").write_bytes(b"\xff\n\nnonsense")
    with pytest.raises(InputError, match=r"model\.yaml must be .* sha256 unknown, but is"):
        load_model(folder)
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(InputError, match="SHA256SUMS is not there; copy the run's whole folder"):
        load_model(folder)


def test_sha256sum_checks_a_model(tmp_path: Path) -> None:
    if shutil.which("sha256sum") is None:
        pytest.skip("sha256sum is not here")
    folder = popularity(tmp_path / "model")
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(check, cwd=folder, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"{name}: OK" for name in MODEL_FILES]


def test_a_folder_appears_when_all_of_it_is_written(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"
    with whole_folder(target, "task.folder") as unfinished:
        (unfinished / "file").write_text("content", encoding="utf-8")
        assert not target.exists()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == [
        "a", "a/b", "a/b/file",
    ]  # fmt: skip


def test_two_at_once_who_write_one_folder_do_not_write_into_each_others(tmp_path: Path) -> None:
    def write_late() -> None:
        with whole_folder(tmp_path / "a", "task.folder") as late:
            (late / "late").touch()
            with whole_folder(tmp_path / "a", "task.folder") as early:
                (early / "early").touch()

    with pytest.raises(InputError, match=r"task\.folder"):
        write_late()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["a", "a/early"]


def test_a_folder_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:

    def write_half() -> None:
        with whole_folder(tmp_path / "new" / "a", "task.folder") as unfinished:
            (unfinished / "file").write_text("content", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine").write_text("precious", encoding="utf-8")
    with pytest.raises(InputError, match=r"task\.folder must be a new or empty folder"):
        refuse_folder(tmp_path / "a", "task.folder")
    with (
        pytest.raises(InputError, match=r"task\.folder"),
        whole_folder(tmp_path / "a", "task.folder"),
    ):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "mine"]


def test_a_new_or_empty_folder_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_folder(tmp_path, "task.folder")
    refuse_folder(tmp_path / "a" / "b", "task.folder")
    monkeypatch.chdir(tmp_path)
    refuse_folder(Path("a"), "task.folder")
    (tmp_path / "taken").touch()
    with pytest.raises(InputError, match=r"taken is not; give task\.folder=FOLDER"):
        refuse_folder(Path("taken") / "b", "task.folder")


def test_a_folder_on_a_read_only_disk_is_refused(tmp_path: Path) -> None:
    """A real mount, in a namespace of its own; skipped where one may not be made."""
    script = (
        "mount --bind . . && mount -o remount,ro,bind . && "
        f'{shlex.quote(sys.executable)} -c "'
        "from pathlib import Path; from recsweep.persistence import refuse_folder; "
        "refuse_folder(Path('sub/results').absolute(), 'hydra.run.dir')\""
    )
    namespace = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    if subprocess.run([*namespace, "mount --bind . ."], cwd=tmp_path, check=False).returncode:
        pytest.skip("no mount may be made here")
    done = subprocess.run(
        [*namespace, script], cwd=tmp_path, check=False, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
    )  # fmt: skip
    assert "InputError: hydra.run.dir must be a new or empty folder" in done.stderr


def test_a_new_file_is_free_and_one_that_is_there_only_when_it_may_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refuse_file(Path("new/a.txt"), "task.output", overwrite=False) == tmp_path / "new/a.txt"
    assert list(tmp_path.iterdir()) == [], "looking makes nothing"
    Path("mine").write_text("precious", encoding="utf-8")
    with pytest.raises(InputError, match=r"mine is already there; set task\.overwrite=true, or"):
        refuse_file(Path("mine"), "task.output", overwrite=False)
    assert refuse_file(Path("mine"), "task.output", overwrite=True) == tmp_path / "mine"
    for wrong, found in ((tmp_path, "is a folder itself"), (Path("mine/a"), "is no such folder")):
        with pytest.raises(InputError, match=found):
            refuse_file(wrong, "task.output", overwrite=True)
