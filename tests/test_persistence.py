"""Models on disk."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
import yaml

from recsweep.errors import InputError
from recsweep.models.popularity import Popularity
from recsweep.persistence import MODEL_FILES, load_model, save_model, write_checksums
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
    assert pq.read_table(folder / "items.parquet").to_pydict() == {"item": list(IDS)}


def test_a_pickle_in_the_place_of_weights_is_not_opened(tmp_path: Path) -> None:
    folder = popularity(tmp_path / "model")
    np.savez(folder / "weights.npz", totals=np.array([{"a": 1}], dtype=object))
    write_checksums(folder)
    with pytest.raises(InputError, match="totals must hold numbers of this machine, but is object"):
        load_model(folder)


def test_a_model_file_cannot_run_a_command(tmp_path: Path) -> None:
    folder = popularity(tmp_path / "model")
    trap = {"_target_": "os.system", "command": f"touch {tmp_path / 'trap'}"}
    (folder / "model.yaml").write_text(yaml.safe_dump(trap), encoding="utf-8")
    write_checksums(folder)
    with pytest.raises(InputError, match=r"uses the class 'os\.system', which is not recsweep's"):
        load_model(folder)
    with pytest.raises(InputError, match="must be a class that checks its values"):
        load_model(folder, ["os"])
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
    with pytest.raises(InputError, match="SHA256SUMS is missing; copy the run's whole folder"):
        load_model(folder)


def test_sha256sum_checks_a_model(tmp_path: Path) -> None:
    if shutil.which("sha256sum") is None:
        pytest.skip("sha256sum is not here")
    folder = popularity(tmp_path / "model")
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(check, cwd=folder, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"{name}: OK" for name in MODEL_FILES]
