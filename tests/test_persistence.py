"""Models on disk, and folders that appear whole or not at all."""

import os
import shlex
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
from recsweep.persistence import load_model, refuse_folder, save_model, whole_folder
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
    assert {f.name for f in folder.iterdir()} == {"model.yaml", "weights.npz", "items.parquet"}
    with np.load(folder / "weights.npz", allow_pickle=False) as weights:
        assert {name: array.tolist() for name, array in weights.items()} == {"totals": [2, 1, 2, 0]}
    spec = yaml.safe_load((folder / "model.yaml").read_text(encoding="utf-8"))
    assert spec == {"_target_": "recsweep.models.popularity.Popularity"}
    assert list(pd.read_parquet(folder / "items.parquet")["item"]) == list(IDS)


def test_a_pickle_in_the_place_of_weights_is_not_opened(tmp_path: Path) -> None:
    folder = popularity(tmp_path / "model")
    np.savez(folder / "weights.npz", totals=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        load_model(folder)


def test_a_model_file_cannot_run_a_command(tmp_path: Path) -> None:
    folder = popularity(tmp_path / "model")
    trap = {"_target_": "os.system", "command": f"touch {tmp_path / 'trap'}"}
    (folder / "model.yaml").write_text(yaml.safe_dump(trap), encoding="utf-8")
    with pytest.raises(InputError, match="must be a class that checks its values"):
        load_model(folder)
    assert not (tmp_path / "trap").exists()


def test_a_folder_appears_when_all_of_it_is_written(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"
    with whole_folder(target, "task.folder") as unfinished:
        (unfinished / "file").write_text("content", encoding="utf-8")
        assert not target.exists()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == [
        "a", "a/b", "a/b/file",
    ]  # fmt: skip


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
