"""A private Slurm cluster of one node, with its own folder and free ports of loopback."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ports import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo")
N_CPUS = 8
"""Of the node, whatever this machine has."""
CONFIGURATION = """
ClusterName=private
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge.socket,cred_expire=30
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
KillWait=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={host} NodeAddr=127.0.0.1 CPUs={n_cpus} State=UNKNOWN
PartitionName=short Nodes={host} Default=YES DefaultTime=10 MaxTime=30 PriorityTier=1 State=UP
PartitionName=urgent Nodes={host} MaxTime=30 PriorityTier=9 State=UP
"""


def missing_programs() -> list[str]:
    """What a cluster needs and this machine lacks."""
    wide = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    return [name for name in PROGRAMS if shutil.which(name, path=wide) is None]


@contextmanager
def slurm_cluster() -> Iterator[dict[str, str]]:
    """Start a cluster, as root; yields the variables of the environment that lead to it."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)  # munged refuses others
    host = socket.gethostname().partition(".")[0]
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(
            folder=folder, host=host, controller_port=free_port(), node_port=free_port(),
            n_cpus=N_CPUS,
        )
    )  # fmt: skip
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    variables = {"SLURM_CONF": str(folder / "slurm.conf")}
    daemons: list[subprocess.Popen[bytes]] = []
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])

    def start(*command: str | Path) -> None:
        with (folder / "out").open("ab") as out:
            daemons.append(
                subprocess.Popen(
                    command, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                    start_new_session=True, env={**os.environ, **variables, "PATH": path},
                )
            )  # fmt: skip

    try:
        start(
            "munged", "--foreground", "--force", f"--socket={folder}/munge.socket",
            f"--key-file={folder}/munge.key", f"--log-file={folder}/munge.log",
            f"--pid-file={folder}/munge.pid", f"--seed-file={folder}/munge.seed",
        )  # fmt: skip
        _wait_for((folder / "munge.socket").exists, "munged does not listen")
        start("slurmctld", "-D")
        start("slurmd", "-D", "-N", host)
        _wait_for(lambda: _is_idle(variables), "the node does not come up")
        yield variables
    finally:
        subprocess.run(
            ["scancel", "--signal=KILL", "--full", "--user=root"],
            env={**os.environ, **variables},
            check=False,
        )
        for daemon in reversed(daemons):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _is_idle(variables: dict[str, str]) -> bool:
    shown = subprocess.run(
        ["sinfo", "--noheader", "--format=%T"], env={**os.environ, **variables},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return "idle" in shown.stdout.split()


def _wait_for(condition: object, complaint: str) -> None:
    assert callable(condition)
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, complaint
        time.sleep(0.1)
