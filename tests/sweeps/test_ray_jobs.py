"""Jobs of Hydra on Ray: what is asked for, Hydra's own tests of a launcher, and whole sweeps."""

import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import optuna
import pytest
from faults.processes import ctrl_c_twice
from hydra.core.singleton import Singleton
from hydra.test_utils.launcher_common_tests import IntegrationTestSuite, LauncherTestSuite
from hydra.version import VersionBase
from mlflow_runs import start
from small_runs import SMALL, SMALL_DATA

from recsweep.sweeps.ray_jobs import _cluster, _gpus, _refuse_too_large, _refuse_unreachable


@pytest.mark.parametrize(
    ("asked", "n_jobs", "n_gpus", "expected"),
    [
        (None, 4, 0, 0),
        (None, 2, 2, 1),
        (None, 2, 4, 1),
        (None, 3, 2, 0.5),
        (None, 3, 1, 1 / 3),
        (0, 2, 2, 0),
        (2, 2, 1, 2),
    ],
)
def test_jobs_have_a_gpu_each_or_equal_shares(
    asked: float | None, n_jobs: int, n_gpus: int, expected: float
) -> None:
    assert _gpus(asked, n_jobs, {"CPU": 8.0, "GPU": float(n_gpus)}) == expected


NODES = [
    {"Alive": True, "Resources": {"CPU": 4.0}},
    {"Alive": True, "Resources": {"CPU": 2.0, "GPU": 1.0}},
    {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
]


def test_a_worker_that_no_node_can_run_is_refused(refused: Any) -> None:
    _refuse_too_large({"CPU": 4, "GPU": 0}, NODES)
    _refuse_too_large({"CPU": 2, "GPU": 0.5}, NODES)
    with refused("8 CPUs and 0 GPUs", "the largest has 4 and 1", "hydra.launcher.num_cpus"):
        _refuse_too_large({"CPU": 8, "GPU": 0}, NODES)
    with refused("4 CPUs and 1 GPUs"):
        _refuse_too_large({"CPU": 4, "GPU": 1}, NODES)


def test_an_address_where_nobody_listens_is_refused_at_once(refused: Any) -> None:
    for address in ("auto", "local"):
        _refuse_unreachable(address)
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1", "[::1]:1"):
        with refused(f"no cluster of Ray answers at {address} (", "hydra.launcher.address=local"):
            _refuse_unreachable(address)


starts_ray = pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning")
"""Of JAX, where an earlier test has trained: Ray forks in this process to start its programs."""

# --- Hydra's own tests ---------------------------------------------------------------------------


@pytest.fixture(scope="class")
def local_ray() -> Iterator[Any]:
    """A cluster that the tests share, with GPUs that nobody computes on.

    Hydra is as in a new process: other tests choose one of its versions for all that follows.
    """
    ray = pytest.importorskip("ray", reason="needs the extra ray")
    chosen = Singleton._instances.pop(VersionBase, None)
    ray.init(
        "local", num_cpus=4, num_gpus=2, include_dashboard=False, logging_level="WARNING",
        log_to_driver=False,
    )  # fmt: skip
    yield ray
    ray.shutdown()
    if chosen is not None:
        Singleton._instances[VersionBase] = chosen


@pytest.mark.ray
@pytest.mark.slow
@starts_ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(("launcher_name", "overrides"), [("ray", [])])
class TestAsALauncher(LauncherTestSuite):
    pass


@pytest.mark.ray
@pytest.mark.slow
@starts_ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(("task_launcher_cfg", "extra_flags"), [({}, ["-m", "hydra/launcher=ray"])])
class TestInAnApplication(IntegrationTestSuite):
    pass


@pytest.mark.ray
@pytest.mark.slow
def test_ray_starts_in_a_process_that_has_trained_without_a_warning() -> None:
    ray = pytest.importorskip("ray", reason="needs the extra ray")
    jax.numpy.zeros(1).block_until_ready()
    with _cluster(ray, "local", 1):
        assert ray.is_initialized()


# --- sweeps --------------------------------------------------------------------------------------

COMMAND = (
    "import sys; sys.argv = ['recsweep', *sys.argv[1:]]; import recsweep.__main__ as m; m.main()"
)
NETWORK = " ".join(each for each in SMALL if each not in SMALL_DATA)
SWEEP = f"-m tracking=off study=mine {' '.join(SMALL_DATA)} metrics=[ndcg]"


def sweep(folder: Path, line: str) -> "subprocess.Popen[str]":
    folder.mkdir(exist_ok=True)
    cache = f"cache_dir={folder.parent / 'cache'}"
    replaced = {word.partition("=")[0]: word for word in shlex.split(line)}  # the last counts
    return start(folder, COMMAND, *replaced.values(), cache)


def trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    from recsweep.sweeps.storage.backends import open_storage

    storage = open_storage(None, folder / "sweeps" / "mine")
    return optuna.load_study(study_name="mine", storage=storage).trials


def processes(mark: str) -> list[str]:
    """Command lines of the processes that a command has started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().decode())
        except OSError:
            continue
    return [line for line in found if line]


@pytest.mark.ray
@pytest.mark.slow
def test_ray_tries_the_same_and_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    monkeypatch.setenv("MARK_OF_TEST", str(tmp_path))
    found = {}
    for launcher in ("ray", "basic"):
        line = f"{SWEEP} hydra/launcher={launcher} model=ease threads=1 sweep.final_seeds=1"
        process = sweep(tmp_path / launcher, f"{line} sweep.n_trials=6 sweep.n_workers=2")
        _, err = process.communicate(timeout=500)
        assert process.returncode == 0, err
        found[launcher] = [(each.params, each.values) for each in trials(tmp_path / launcher)]
    assert found["ray"] == found["basic"]
    assert len({str(params) for params, _ in found["ray"]}) == 6
    assert_nothing_runs(tmp_path)


def assert_nothing_runs(folder: Path) -> None:
    """Wait until the processes of a command, which has a mark, have ended."""
    end = time.monotonic() + 30
    while (left := processes(f"MARK_OF_TEST={folder}")) and time.monotonic() < end:
        time.sleep(0.2)
    assert left == []


@pytest.mark.ray
@pytest.mark.slow
@starts_ray
def test_a_sweep_finishes_when_a_node_of_the_cluster_dies(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=2) for _ in range(2)]
    try:
        os.environ["RAY_ADDRESS"] = cluster.address  # put back after the test
        line = f"{SWEEP} {NETWORK} hydra/launcher=ray model=multivae pruner=none patience=null"
        process = sweep(
            tmp_path / "here",
            f"{line} threads=2 model.n_epochs=30 sweep.n_trials=8 sweep.n_workers=2 "
            "sweep.final_seeds=1",
        )
        logs = tmp_path / "here" / "sweeps" / "mine" / "trials"
        while sum("epoch" in log.read_text() for log in logs.glob("*/log.txt")) < 3:
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        cluster.remove_node(nodes[0], allow_graceful=False)
        _, err = process.communicate(timeout=500)
        assert process.returncode == 0, err
    finally:
        cluster.shutdown()
    found = trials(tmp_path / "here")
    assert [trial.number for trial in found] == list(range(8))
    assert {trial.state.name for trial in found} == {"COMPLETE"}
    assert sum(trial.user_attrs.get("n_deaths", 0) for trial in found) == 1


@pytest.mark.ray
@pytest.mark.slow
def test_ctrl_c_twice_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    monkeypatch.setenv("MARK_OF_TEST", str(tmp_path))
    line = f"{SWEEP} {NETWORK} hydra/launcher=ray model=multivae pruner=none patience=null"
    process = sweep(tmp_path / "here", f"{line} threads=1 model.n_epochs=20000 sweep.n_trials=1")
    logs = tmp_path / "here" / "sweeps" / "mine" / "trials"
    while not any("epoch" in log.read_text() for log in logs.glob("*/log.txt")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    ctrl_c_twice(process)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.endswith(", twice\n"), err[-600:]
    assert_nothing_runs(tmp_path)


@pytest.mark.ray
@pytest.mark.slow
def test_without_a_cluster_at_its_address_a_sweep_says_so(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    line = f"{SWEEP} hydra/launcher=ray model=ease hydra.launcher.address=127.0.0.1:1"
    process = sweep(tmp_path / "here", f"{line} sweep.n_trials=1")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "no cluster of Ray answers at 127.0.0.1:1 (Connection refused)" in err.splitlines()[-1]
