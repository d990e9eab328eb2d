"""Workers as jobs of Slurm: what is asked for, and whole sweeps on a real cluster of one node."""

import os
import pickle
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from faults.processes import ctrl_c_twice
from mlflow_runs import start
from postgres_server import PASSWORD
from slurm_cluster import missing_programs, slurm_cluster
from small_runs import SMALL, SMALL_DATA

from recsweep.sweeps.slurm_jobs import _result, job_settings

PLUGIN = {
    "_target_": "SlurmLauncher", "submitit_folder": "x/%j", "timeout_min": None,
    "cpus_per_task": None, "gpus_per_node": None, "tasks_per_node": 1, "mem_gb": None, "nodes": 1,
    "name": "recsweep", "stderr_to_stdout": False, "partition": None, "qos": None, "comment": None,
    "constraint": None, "exclude": None, "gres": None, "cpus_per_gpu": None, "gpus_per_task": None,
    "mem_per_gpu": None, "mem_per_cpu": None, "account": None, "signal_delay_s": 120,
    "max_num_timeout": 0, "additional_parameters": {}, "array_parallelism": 256, "setup": None,
}  # fmt: skip
"""What hydra-submitit-launcher 1.2 asks for unless it is told."""
PLAN = {"threads": 4, "device": "auto"}


def test_a_job_has_the_cpus_of_its_workers_threads_and_the_partitions_time_limit() -> None:
    assert job_settings(PLUGIN, PLAN) == {
        "time": None, "cpus_per_task": 4, "srun_args": ["--cpus-per-task=4"], "nodes": 1,
        "ntasks_per_node": 1, "job_name": "recsweep", "stderr_to_stdout": False,
        "signal_delay_s": 120, "array_parallelism": 256,
        "additional_parameters": {"requeue": True},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"timeout_min": 20}, {"time": 20}),
        ({"mem_gb": 3}, {"mem": "3GB"}),
        ({"cpus_per_task": 2}, {"cpus_per_task": 2, "srun_args": ["--cpus-per-task=2"]}),
        ({"gpus_per_node": 2}, {"gpus_per_node": 2}),
        (
            {"additional_parameters": {"requeue": False, "nice": 5}},
            {"additional_parameters": {"requeue": False, "nice": 5}},
        ),
    ],
)
def test_what_the_command_sets_counts(given: dict[str, Any], expected: dict[str, Any]) -> None:
    asked = job_settings({**PLUGIN, **given}, PLAN)
    assert {key: asked[key] for key in expected} == expected


def test_cpus_per_gpu_leave_no_room_for_cpus_per_task() -> None:
    asked = job_settings({**PLUGIN, "cpus_per_gpu": 8, "gres": "gpu:1"}, PLAN)
    assert asked["cpus_per_gpu"] == 8
    assert not {"cpus_per_task", "srun_args"} & {*asked}


@pytest.mark.parametrize(
    ("device", "given", "expected"),
    [
        ("gpu", {}, {"gpus_per_node": 1}),
        ("gpu", {"gres": "gpu:a100:1"}, {"gres": "gpu:a100:1"}),
        ("gpu", {"gpus_per_task": 1}, {"gpus_per_task": 1}),
        ("auto", {}, {}),
        ("cpu", {}, {}),
    ],
)
def test_a_worker_for_gpus_has_one(
    device: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    asked = job_settings({**PLUGIN, **given}, {**PLAN, "device": device})
    found = {key: asked[key] for key in ("gres", "gpus_per_node", "gpus_per_task") if key in asked}
    assert found == expected


@pytest.mark.parametrize("name", ["nodes", "tasks_per_node"])
def test_several_tasks_in_a_job_are_refused(name: str, refused: Any) -> None:
    with refused("one worker", f"hydra.launcher.{name} is 2", "sweep.n_workers"):
        job_settings({**PLUGIN, name: 2}, PLAN)


def test_the_error_of_a_job_is_the_last_line_of_its_traceback(tmp_path: Path) -> None:
    core = pytest.importorskip("submitit.core.core", reason="needs the extra slurm")
    job = core.Job(tmp_path, "7")
    trace = "Traceback:\n  File x\nModuleNotFoundError: No module named 'recsweep'\n"
    job.paths.folder.mkdir(exist_ok=True)
    job.paths.result_pickle.write_bytes(pickle.dumps(("error", trace)))
    expected = "a job of Slurm failed: ModuleNotFoundError: No module named 'recsweep'"
    assert _result(job) == {"error": expected, "n_trials": 0}
    job.paths.result_pickle.write_bytes(pickle.dumps(("success", {"error": None, "n_trials": 3})))
    assert _result(job) == {"error": None, "n_trials": 3}


# --- a real cluster -------------------------------------------------------------------------------

real = [pytest.mark.slurm, pytest.mark.slow]
COMMAND = (
    "import sys; sys.argv = ['recsweep', *sys.argv[1:]]; import recsweep.__main__ as m; m.main()"
)
NETWORK = " ".join(each for each in SMALL if each not in SMALL_DATA)
SWEEP = (
    f"-m hydra/launcher=submitit_slurm {' '.join(SMALL_DATA)} {NETWORK} model=multivae study=mine "
    "metrics=[ndcg] pruner=none patience=null sweep.final_seeds=2"
)
LONG = f"{SWEEP} tracking=off sweep.n_trials=2 sweep.n_workers=2 model.n_epochs=20000"


class Cluster:
    """Commands on a cluster.

    Args:
        folder: Where they run.
        variables: That lead to the cluster.
    """

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.folder, self.variables = folder, variables
        self.sweeps: list[subprocess.Popen[str]] = []

    def sweep(self, line: str, **variables: str) -> "subprocess.Popen[str]":
        """Start a sweep."""
        self.folder.mkdir(exist_ok=True)
        os.environ.update(self.variables | variables)  # put back after the test
        cache = f"cache_dir={self.folder.parent / 'cache'}"
        replaced = {word.partition("=")[0]: word for word in shlex.split(line)}  # the last counts
        self.sweeps.append(start(self.folder, COMMAND, *replaced.values(), cache))
        return self.sweeps[-1]

    def slurm(self, *command: str) -> str:
        """What one of Slurm's programs prints."""
        done = subprocess.run(
            command, env={**os.environ, **self.variables}, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        return done.stdout

    def jobs(self, name: str = "recsweep", *, state: str = "RUNNING") -> list[str]:
        """Ids of jobs in a state."""
        return self.slurm(
            "squeue", "--noheader", "--array", f"--states={state}", f"--name={name}",
            "--format=%i", "--sort=i",
        ).split()  # fmt: skip

    def wait_until_gone(self) -> None:
        """Wait until the jobs of sweeps have ended, whose results are there a moment before."""
        end = time.monotonic() + 120
        while left := self.jobs(state="PENDING,RUNNING"):
            assert time.monotonic() < end, left
            time.sleep(0.2)

    def wait_for_epochs(self, process: "subprocess.Popen[str]", n_trials: int = 1) -> None:
        """Wait until some trials have been trained for an epoch."""
        while True:
            logs = (self.folder / "sweeps" / "mine" / "trials").glob("*/log.txt")
            if sum("epoch" in log.read_text() for log in logs) >= n_trials:
                return
            assert process.poll() is None, process.communicate()
            time.sleep(0.2)


@pytest.fixture(scope="module")
def variables() -> Iterator[dict[str, str]]:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra slurm")
    if missing := missing_programs():
        pytest.skip(f"Slurm's {', '.join(missing)} are not here")
    if os.geteuid():
        pytest.skip("a private cluster needs root")
    with slurm_cluster() as found:
        yield found


@pytest.fixture
def cluster(tmp_path: Path, variables: dict[str, str]) -> Iterator[Cluster]:
    found = Cluster(tmp_path / "here", variables)
    yield found
    for process in found.sweeps:
        process.kill()
        process.communicate()
    found.slurm("scancel", "--signal=KILL", "--full", "--user=root")
    found.slurm("scancel", "--user=root")
    while found.slurm("squeue", "--noheader"):
        time.sleep(0.2)


def trials(folder: Path, url: str | None = None) -> list[optuna.trial.FrozenTrial]:
    from recsweep.sweeps.storage.backends import open_storage

    storage = open_storage(url, folder / "sweeps" / "mine")
    return optuna.load_study(study_name="mine", storage=storage).trials


def worker_of(job: str) -> int:
    """The process that runs a job's task."""
    wanted = f"SLURM_ARRAY_TASK_ID={job.partition('_')[2]}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_worker = b"submitit.core._submit" in (process / "cmdline").read_bytes()
            is_python = b"python" in (process / "comm").read_bytes()
            is_job = wanted in (process / "environ").read_bytes().split(b"\0")
            if is_worker and is_python and is_job:
                return int(process.name)
        except OSError:
            continue
    raise AssertionError(f"{job} has no process")


class TestOnACluster:
    pytestmark = real

    def test_a_sweep_survives_jobs_that_are_killed(
        self, cluster: Cluster, postgres_url: str
    ) -> None:
        line = (
            f"{SWEEP} tracking=off sweep.n_trials=24 sweep.n_workers=3 threads=2 "
            "model.n_epochs=15 sweep.storage=${oc.env:STUDIES}"
        )
        process = cluster.sweep(line, STUDIES=postgres_url)
        cluster.wait_for_epochs(process, n_trials=3)
        jobs = cluster.jobs()
        assert len(jobs) == 3
        shown = cluster.slurm("squeue", "--noheader", f"--jobs={jobs[0]}", "--format=%C %l %m")
        assert shown.split()[:2] == ["2", "10:00"], "CPUs, and the partition's own time limit"
        os.kill(worker_of(jobs[0]), signal.SIGKILL)
        cluster.slurm("scancel", jobs[1])
        _, err = process.communicate(timeout=500)
        assert process.returncode == 0, err
        found = trials(cluster.folder, postgres_url)
        assert [trial.number for trial in found] == list(range(24))
        assert {trial.state.name for trial in found} == {"COMPLETE"}
        assert sum(trial.user_attrs.get("n_deaths", 0) for trial in found) >= 1
        pickles = [*cluster.folder.rglob("*.pkl")]
        assert {file.stat().st_mode & 0o777 for file in pickles} == {0o600}
        assert len(pickles) >= 6
        for file in cluster.folder.rglob("*"):
            assert not file.is_file() or PASSWORD.encode() not in file.read_bytes(), file
        assert [path for path in (cluster.folder / "sweeps").rglob("*") if path.is_symlink()]
        more = cluster.sweep(line.replace("n_trials=24", "n_trials=25"), STUDIES=postgres_url)
        _, err = more.communicate(timeout=300)
        assert more.returncode == 0, err
        assert len(trials(cluster.folder, postgres_url)) == 25

    def test_ctrl_c_once_lets_jobs_end_their_epoch(self, cluster: Cluster) -> None:
        process = cluster.sweep(LONG)
        cluster.wait_for_epochs(process, n_trials=2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)
        assert process.returncode == 130, err
        assert "0 complete, 0 pruned, 0 failed, 2 interrupted" in err
        assert "resume    python -m recsweep -m hydra/launcher=submitit_slurm " in err
        cluster.wait_until_gone()

    def test_ctrl_c_twice_cancels_the_jobs_of_this_command(self, cluster: Cluster) -> None:
        cluster.slurm("sbatch", "--job-name=foreign", "--wrap=sleep 300", "--output=/dev/null")
        process = cluster.sweep(LONG)
        cluster.wait_for_epochs(process)
        ctrl_c_twice(process)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert err.endswith(", twice\n"), err[-600:]
        cluster.wait_until_gone()
        assert len(cluster.jobs("foreign")) == 1

    def test_jobs_that_are_requeued_resume_the_study(self, cluster: Cluster) -> None:
        line = f"{SWEEP} tracking=off sweep.n_trials=4 sweep.n_workers=2 threads=2"
        process = cluster.sweep(f"{line} model.n_epochs=1000")  # not over before it is pre-empted
        cluster.wait_for_epochs(process, n_trials=2)
        first = cluster.jobs()
        cluster.slurm(
            "sbatch", "--wait", "--job-name=urgent", "--partition=urgent", "--ntasks=8",
            "--wrap=sleep 1", "--output=/dev/null",
        )  # fmt: skip
        assert len(first) == 2
        _, err = process.communicate(timeout=400)
        assert process.returncode == 0, err
        found = trials(cluster.folder)
        assert [trial.state.name for trial in found] == ["COMPLETE"] * 4
        assert sum(trial.user_attrs.get("n_deaths", 0) for trial in found) >= 1
        logs = sorted((cluster.folder / "sweeps" / "mine" / ".submitit").rglob("*_log.out"))
        assert any("Starting with JobEnvironment" in log.read_text() for log in logs)
        n_begun = {log.parent.name: log.read_text().count("Starting with") for log in logs}
        assert [n_begun[job] for job in first] == [2, 2], "each began again under its own id"

    def test_a_time_limit_above_the_partitions_is_said(self, cluster: Cluster) -> None:
        process = cluster.sweep(f"{LONG} hydra.launcher.timeout_min=60")
        assert process.stderr is not None
        for line in process.stderr:
            if "pend" in line:
                break
        assert line == "warning: jobs of Slurm pend: PartitionTimeLimit\n"
        process.send_signal(signal.SIGINT)  # what pends is taken back
        process.communicate(timeout=60)
        assert process.returncode == 130
        cluster.wait_until_gone()
