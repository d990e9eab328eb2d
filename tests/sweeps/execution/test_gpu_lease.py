"""GPUs are handed out evenly, to living processes only, whatever study they work on."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from fake_gpus import UUIDS, put_gpus
from mlflow_runs import start

from recsweep.errors import InputError
from recsweep.sweeps.execution import gpu_lease
from recsweep.sweeps.execution.watchdog import Process

TAKE = """
import json, os, sys
from recsweep.sweeps.execution.gpu_lease import mark_lost, take_gpu
plan = json.loads(sys.argv[1])
n = take_gpu(plan)
assert take_gpu(plan) == n
if "--lost" in sys.argv: mark_lost()
assert not {"jax", "tensorflow", "keras"} & set(sys.modules)
print(os.environ.get("CUDA_VISIBLE_DEVICES"), n, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_gpus(tmp_path, monkeypatch)
    monkeypatch.setattr(gpu_lease, "_held", {})
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def plan(n: int, **changes: Any) -> dict[str, Any]:
    parent = asdict(Process.current())
    usual = {"device": "auto", "backend": "jax", "n_workers": n, "parent_process": parent}
    return {**usual, **changes}


@contextmanager
def workers(folder: Path, n: int, *options: str, **changes: Any) -> Iterator[list[tuple[str, int]]]:
    """The GPU of each of so many processes, one started after the other, and its share."""
    processes, taken = [], []
    try:
        for _ in range(n):
            process = start(folder, TAKE, json.dumps(plan(n, **changes)), *options)
            processes.append(process)
            assert process.stdout is not None
            name, _, share = process.stdout.readline().strip().rpartition(" ")
            assert share, process.communicate()[1]
            taken.append((name, int(share)))
        yield taken
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.mark.parametrize(
    ("n", "shares"), [(1, [1]), (2, [1, 1]), (3, [2, 1, 2]), (4, [2, 2, 2, 2])]
)
def test_workers_are_spread_evenly_and_know_who_shares_their_gpu(
    tmp_path: Path, n: int, shares: list[int]
) -> None:
    with workers(tmp_path, n) as taken:
        assert taken == [(UUIDS[i % 2], share) for i, share in enumerate(shares)]


def test_studies_of_one_machine_share_its_gpus_and_a_dead_worker_has_none(tmp_path: Path) -> None:
    with workers(tmp_path, 1) as first, workers(tmp_path, 1, n_workers=1) as second:
        assert [first[0][0], second[0][0]] == list(UUIDS[:2])
        other = {**asdict(Process.current()), "pid": 1}
        with workers(tmp_path, 1, parent_process=other) as third:
            assert third == [(UUIDS[0], 2)]
    with workers(tmp_path, 1) as again:
        assert again == [(UUIDS[0], 1)]


def test_only_what_cuda_visible_devices_names_is_handed_out_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with workers(tmp_path, 2) as taken:
        assert taken == [("1", 2), ("1", 2)]
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        with workers(tmp_path, 1) as other:
            assert other == [(UUIDS[0], 1)], "index 1 is known to be the second GPU"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with workers(tmp_path, 1) as taken:
        assert taken == [("", 0)]


@pytest.mark.parametrize("reason", ["device=cpu", "JAX_PLATFORMS", "no GPU"])
def test_a_worker_on_a_cpu_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    if reason == "JAX_PLATFORMS":
        monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    if reason == "no GPU":
        (tmp_path / "bin" / "nvidia-smi").unlink()
    with workers(tmp_path, 1, device="cpu" if reason == "device=cpu" else "auto") as taken:
        assert taken == [("None", 0)]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_job_of_slurm_has_its_gpus_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    elsewhere = {"pid": 1, "place": "login node", "started": 5}
    with workers(tmp_path, 1, n_workers=8, parent_process=elsewhere) as taken:
        assert taken == [("0", 1)]
    with workers(tmp_path, 1, n_workers=8) as taken:  # a whole sweep in one job
        assert taken == [("0", 8)]


def test_workers_of_ray_share_a_gpu_with_as_many_as_ray_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv(gpu_lease.SHARED_BY, "2")
    with workers(tmp_path, 1, n_workers=8) as taken:
        assert taken == [("0", 2)]


def test_a_gpu_that_was_lost_comes_last_among_equals(tmp_path: Path) -> None:
    with workers(tmp_path, 1, "--lost") as first:
        assert first == [(UUIDS[0], 1)]
    with workers(tmp_path, 2) as taken:
        assert taken == [(UUIDS[1], 1), (UUIDS[0], 1)]


def test_a_process_that_computes_already_keeps_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", sys)
    assert not gpu_lease.has_gpu()
    assert gpu_lease.take_gpu(plan(4)) == 1, "here, workers run one after the other"
    assert gpu_lease.has_gpu()
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    (held,) = gpu_lease._held.values()
    assert held.folder.name == UUIDS[0]
    held.lease.release()


@pytest.mark.parametrize("before", [None, "1,0"])
def test_a_child_sees_what_its_parent_saw_before_it_chose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    if before is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    gpu_lease.take_gpu(plan(1))
    (held,) = gpu_lease._held.values()
    own, other = ("1", "0") if before else UUIDS[:2]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == own
    with workers(tmp_path, 1) as taken:
        assert taken == [(other, 1)]
    held.lease.release()


def test_a_folder_that_cannot_be_used_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Any
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with refused("workers need a folder to share out the GPUs, but ", "set TMPDIR to"):
        gpu_lease.take_gpu(plan(1))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    with pytest.raises(InputError, match="it belongs to another user"):
        gpu_lease.take_gpu(plan(1))


def test_nothing_is_imported_that_reads_the_threads_or_the_device_first() -> None:
    code = "import sys, recsweep.sweeps.execution.gpu_lease; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "jax", "optuna", "tensorflow"} & set(done.stdout.split())
