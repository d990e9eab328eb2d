"""The GPUs of a machine, by what nvidia-smi, the driver and CUDA_VISIBLE_DEVICES say."""

import time
from pathlib import Path

import pytest
from fake_gpus import UUIDS, put_gpus

from recsweep.sweeps.execution import gpus
from recsweep.sweeps.execution.gpus import Gpu, visible_gpus


def test_all_gpus_are_named_by_what_never_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_gpus(tmp_path, monkeypatch)
    assert visible_gpus() == [Gpu(uuid, uuid) for uuid in UUIDS[:2]]


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ("", []),
        (" ", []),
        ("1", [("1", UUIDS[1])]),
        ("2, 0", [("2", UUIDS[2]), ("0", UUIDS[0])]),
        ("GPU-1dfe", [("GPU-1dfe", UUIDS[1])]),
        (UUIDS[2], [(UUIDS[2], UUIDS[2])]),
        ("MIG-1/2/0", [("MIG-1/2/0", "MIG-1/2/0")]),
        ("0,-1,1", [("0", UUIDS[0])]),  # CUDA ignores what follows a name of nothing
        ("0,7,1", [("0", UUIDS[0])]),
        ("GPU-00,1", []),
        ("NoDevFiles", []),  # Slurm's
    ],
)
def test_only_what_the_user_has_chosen_is_visible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str, found: list[tuple[str, str]]
) -> None:
    put_gpus(tmp_path, monkeypatch, 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert visible_gpus() == [Gpu(*each) for each in found]


def test_a_choice_counts_without_nvidia_smi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "DRIVER", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-12")
    assert visible_gpus() == [Gpu("3", "3"), Gpu("GPU-12", "GPU-12")]


def test_without_nvidia_smi_the_drivers_files_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "DRIVER", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "FILES", tmp_path)
    for minor in (0, 2):
        (tmp_path / f"nvidia{minor}").touch()
    unknown = "GPU-????????-????-????-????-????????????"
    for minor, uuid in enumerate([UUIDS[0], UUIDS[1], unknown]):  # 1 has no device file
        (tmp_path / f"0000:0{minor}:00.0").mkdir()
        text = f"Model: \t\t H100\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}\n"
        (tmp_path / f"0000:0{minor}:00.0" / "information").write_text(text)
    assert visible_gpus() == [Gpu(UUIDS[0], UUIDS[0])]


@pytest.mark.parametrize("script", [None, "exit 9", "echo 'No devices were found'; exit 6"])
def test_a_machine_without_gpus_has_none_at_once_and_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    script: str | None,
) -> None:  # fmt: skip
    put_gpus(tmp_path, monkeypatch)
    smi = tmp_path / "bin" / "nvidia-smi"
    if script is None:
        smi.unlink()
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    else:
        smi.write_text(f"#!/bin/sh\necho driver mismatch >&2\n{script}\n")
    monkeypatch.setattr(gpus, "DRIVER", tmp_path / "absent")
    began = time.monotonic()
    assert visible_gpus() == []
    assert time.monotonic() - began < 2
    assert capfd.readouterr() == ("", "")
