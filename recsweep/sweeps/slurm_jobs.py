"""Workers as jobs of Slurm, submitted through submitit with the settings of Hydra's plugin.

The plugin's own launcher asks `sacct` for a job's end and waits forever on clusters without
accounting, gives up on all jobs as soon as one was killed, and cancels none.

Nothing here imports NumPy or Optuna: a job unpickles its task before it has set its threads.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsweep.credentials import redact
from recsweep.errors import InputError
from recsweep.messages import print_to_stderr
from recsweep.sweeps.execution.worker import FinalWorker, Worker, plan_of

if TYPE_CHECKING:
    from submitit import SlurmJob

POLL_S = 3.0
GRACE_S = 15.0
"""How long after a job's end its result may take to appear in a shared folder."""
DEFAULT_MINUTES = 60
"""The plugin's time limit, which pends forever where a partition allows less."""
PRIVATE = 0o077
"""The umask of files that no other user may read."""
ENDED = (
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "GONE", "NODE_FAIL",
    "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT",
)  # fmt: skip
"""States of jobs that do not run, unless Slurm requeues them."""
USUAL_REASONS = ("None", "Priority", "Resources", "BeginTime", "Cleaning")
"""Why jobs pend on a busy cluster."""
OF_SBATCH = {
    "name": "job_name", "timeout_min": "time", "tasks_per_node": "ntasks_per_node", "mem_gb": "mem",
}  # fmt: skip
"""Settings of the plugin that submitit's executor for Slurm calls otherwise."""
NOTHING_LEFT: dict[str, Any] = {"error": None, "n_trials": 0}
"""The result of a job that was cancelled before it began, as there was nothing to do."""


@dataclass(frozen=True)
class Job:
    """What a job runs.

    Args:
        task: The task, without credentials.
        umask: That of the command, for the files of the study.
    """

    task: Worker | FinalWorker
    umask: int

    def __call__(self, _number: int) -> dict[str, Any]:
        """Run the task; the time limit's warning is not for it, since a trial may still end."""
        if sys.platform != "win32":
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        os.umask(self.umask)
        try:
            return self.task(None)
        finally:
            os.umask(PRIVATE)  # submitit writes the result


def run(launcher: Mapping[str, Any], task: Worker | FinalWorker, n: int) -> list[dict[str, Any]]:
    """Run a task in `n` jobs and return their results.

    Args:
        launcher: `hydra.launcher`, with a time limit of None for that of the partition.
        task: The task.
        n: The number of jobs.

    Raises:
        InputError: The settings ask for several tasks in a job.
        ChildProcessError: Jobs were killed.
    """
    from submitit import SlurmExecutor  # takes a moment
    from submitit.core.utils import JobPaths

    plan = plan_of(task)
    settings = job_settings(launcher, plan)
    folder = JobPaths.get_first_id_independent_folder(launcher["submitit_folder"])
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True)
    executor = SlurmExecutor(launcher["submitit_folder"])
    executor.update_parameters(**settings)
    work = Job(task.seal(), _umask())

    def submit(n_jobs: int) -> "list[SlurmJob[dict[str, Any]]]":
        jobs = executor.map_array(work, range(n_jobs))
        for job in jobs:
            job.paths.submitted_pickle.chmod(0o600)
        return jobs

    return _Jobs(submit, plan).results(n)


def job_settings(launcher: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of submitit's executor for one worker per job.

    Args:
        launcher: See `run`.
        plan: See `recsweep.sweeps.study.shared_study.Plan.plain`.

    Raises:
        InputError: The settings ask for several tasks in a job.
    """
    for name in ("nodes", "tasks_per_node"):
        if launcher[name] != 1:
            raise InputError(
                f"a job of Slurm runs one worker, but hydra.launcher.{name} is {launcher[name]}; "
                "remove it and set sweep.n_workers"
            )
    apart = ("_target_", "submitit_folder", "max_num_timeout")
    found = {OF_SBATCH.get(k, k): v for k, v in launcher.items() if k not in apart}
    if found["mem"] is not None:
        found["mem"] = f"{found['mem']}GB"
    if found["cpus_per_task"] is None and found["cpus_per_gpu"] is None:
        found["cpus_per_task"] = plan["threads"]
    asks_for_gpu = any(found[name] for name in ("gpus_per_node", "gpus_per_task", "gres"))
    if plan["device"] == "gpu" and not asks_for_gpu:
        found["gpus_per_node"] = 1
    if found["cpus_per_task"]:  # from Slurm 22.05 on, srun does not take it from sbatch
        found["srun_args"] = [f"--cpus-per-task={found['cpus_per_task']}"]
    found["additional_parameters"] = {"requeue": True, **found["additional_parameters"]}
    kept = {name: value for name, value in found.items() if value is not None}
    return {**kept, "time": found["time"]}  # left out, submitit asks for five minutes


def _umask() -> int:
    current = os.umask(PRIVATE)
    os.umask(current)
    return current


class _Jobs:
    """The jobs of one call of `run`.

    Args:
        submit: Submits so many jobs.
        plan: See `run`.
    """

    def __init__(
        self, submit: "Callable[[int], list[SlurmJob[dict[str, Any]]]]", plan: Mapping[str, Any]
    ) -> None:
        self._submit, self._stop_file = submit, plan["stop_file"]
        self._n_spare = plan["max_retries"]
        self._left: dict[str, SlurmJob[dict[str, Any]]] = {}
        self._results: list[dict[str, Any]] = []
        self._ended: dict[str, float] = {}
        self._lost: dict[str, str] = {}
        self._reasons: dict[str, str] = {}  # the first one after submission often changes
        self._told = set(USUAL_REASONS)

    def results(self, n: int) -> list[dict[str, Any]]:
        """Submit `n` jobs and wait until each has a result or was killed.

        Raises:
            ChildProcessError: Jobs were killed, and some not replaced.
        """
        try:
            self._begin(n)
            while self._left:
                self._look(_states(self._left))
                if self._left:
                    time.sleep(POLL_S)
        except BaseException:
            _cancel([*self._left])
            raise
        if self._lost:
            ends = ", ".join(f"{job_id} ended as {state}" for job_id, state in self._lost.items())
            raise ChildProcessError(f"jobs of Slurm were killed: {ends}")
        return self._results

    def _begin(self, n: int) -> None:
        self._left |= {job.job_id: job for job in self._submit(n)}

    def _look(self, states: dict[str, tuple[str, str]]) -> None:
        """Take the results that have come, replace lost jobs, say why others pend."""
        for job_id, job in [*self._left.items()]:
            state, reason = states.get(job_id, ("", ""))
            if _has_result(job):
                self._results.append(_result(self._left.pop(job_id)))
            elif state == "PENDING" and self._is_nothing_left:
                _slurm("scancel", "--state=PENDING", job_id)
            elif state == "PENDING" and self._reasons.get(job_id) == reason not in self._told:
                self._told.add(reason)
                line = f"warning: jobs of Slurm pend: {reason}"
                print_to_stderr(line)
            self._reasons[job_id] = reason
            if state not in ENDED:
                self._ended.pop(job_id, None)
            elif job_id in self._left:
                self._end(job_id, state)

    def _end(self, job_id: str, state: str) -> None:
        """Give up on a job without a result, after a while."""
        now = time.monotonic()
        if self._is_nothing_left and state == "CANCELLED":
            del self._left[job_id]
            self._results.append(NOTHING_LEFT)
        elif now - self._ended.setdefault(job_id, now) > GRACE_S:
            del self._left[job_id]
            if self._n_spare and not self._is_nothing_left:
                self._n_spare -= 1
                self._begin(1)
            else:
                self._lost[job_id] = state

    @property
    def _is_nothing_left(self) -> bool:
        """Whether a job that starts now has nothing to do: a worker found no trial, or all stop."""
        is_stopped = self._stop_file is not None and Path(self._stop_file).exists()
        return is_stopped or any(each["error"] is None for each in self._results)


def _has_result(job: "SlurmJob[dict[str, Any]]") -> bool:
    file = job.paths.result_pickle
    # a listing sees on NFS what a cached look-up does not
    return file.parent.is_dir() and file in file.parent.iterdir()


def _result(job: "SlurmJob[dict[str, Any]]") -> dict[str, Any]:
    """What a job returned, or the last line of its traceback, as of a node without recsweep."""
    error = job.exception()
    return job.result() if error is None else {"error": _job_error(str(error)), "n_trials": 0}


def _job_error(text: str) -> str:
    """The error of a job as one line.

    Args:
        text: Submitit's error, with a traceback between two lines of dashes.
    """
    trace = re.split(r"^-{10,}$", text, flags=re.MULTILINE)[1]
    return f"a job of Slurm failed: {redact(trace.strip().splitlines()[-1])}"


def _states(job_ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Id -> state, and why it pends; empty while Slurm does not answer."""
    own = [*job_ids]
    found: dict[str, tuple[str, str]] = {}
    for main in {job_id.partition("_")[0] for job_id in own}:
        told = _slurm(
            "squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%r",
            f"--jobs={main}",
        )  # fmt: skip
        if told.returncode and "Invalid job id" not in told.stderr:
            return {}
        for line in told.stdout.splitlines():
            job_id, state, reason = line.strip().split("|", 2)
            found[job_id] = (state, reason)
    return {job_id: found.get(job_id, ("GONE", "")) for job_id in own}


def _cancel(job_ids: list[str]) -> None:
    """End jobs at once, as a second Ctrl-C asks for: workers do not listen to SIGTERM."""
    if job_ids:
        _slurm("scancel", "--signal=KILL", "--full", *job_ids)
        _slurm("scancel", *job_ids)


def _slurm(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of Slurm, out of reach of the terminal's Ctrl-C."""
    return subprocess.run(  # noqa: S603 - fixed programs, ids from sbatch
        command, capture_output=True, text=True, check=False, start_new_session=True
    )
