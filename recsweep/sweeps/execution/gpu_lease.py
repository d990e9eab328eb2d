"""One GPU per worker process: the least loaded one, under a lease that dies with the process.

    TMP/recsweep-UID-HOST/UUID/0000   one file per process that uses the GPU; see `FileLease`
    TMP/recsweep-UID-HOST/UUID/lost   a process has lost this GPU

The folder belongs to the user and the machine, not to a study: several studies share the GPUs.
Nothing here imports a backend, which reads CUDA_VISIBLE_DEVICES only once.
"""

import getpass
import itertools
import json
import os
import platform
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from recsweep.errors import InputError
from recsweep.sweeps.execution.gpus import VISIBLE, Gpu, visible_gpus
from recsweep.sweeps.execution.watchdog import Process
from recsweep.sweeps.storage.errors import StorageError
from recsweep.sweeps.storage.locks import FileLocks, Lease

OURS, BEFORE = "RECSWEEP_GPU", "RECSWEEP_GPUS"
"""Variables with the CUDA_VISIBLE_DEVICES that recsweep has set, and the one it has replaced."""
SHARED_BY = "RECSWEEP_GPU_SHARED_BY"
"""Variable with the number of workers that Ray lets share a GPU."""
LOST = "lost"


class _Held(NamedTuple):
    lease: Lease
    folder: Path
    n_sharing: int


_held: dict[int, _Held] = {}
"""This process's GPU, by process id: a forked child has none."""


def take_gpu(plan: Mapping[str, Any]) -> int:
    """Make one GPU the only one that this process sees; a second call changes nothing.

    Args:
        plan: See `recsweep.sweeps.study.shared_study.Plan.plain`.

    Returns:
        How many processes share the GPU once all workers have started; 0 = no GPU.

    Raises:
        InputError: The folder of the leases cannot be used.
    """
    own = _held.get(os.getpid())
    if own is not None:
        return own.n_sharing
    _show_all_again()
    is_hidden = plan["backend"] == "jax" and os.environ.get("JAX_PLATFORMS") == "cpu"
    gpus = [] if plan["device"] == "cpu" or is_hidden else visible_gpus()
    if not gpus:
        return 0
    is_fixed = "keras" in sys.modules  # it computes on the first one already
    gpu, own = _lease(gpus[:1] if is_fixed else gpus, plan)
    if not is_fixed:
        before = os.environ.get(VISIBLE)
        os.environ.update({OURS: gpu.name, **({} if before is None else {BEFORE: before})})
        os.environ[VISIBLE] = gpu.name
    _held[os.getpid()] = own
    return own.n_sharing


def has_gpu() -> bool:
    """Whether this process has taken a GPU, whose memory it keeps until it ends."""
    return os.getpid() in _held


def mark_lost() -> None:
    """Note that this process has lost its GPU: the next one prefers another, if equally loaded."""
    own = _held.get(os.getpid())
    if own is not None:
        with suppress(OSError):
            (own.folder / LOST).touch()


def _show_all_again() -> None:
    """Undo what a parent process has chosen for itself."""
    ours, before = os.environ.pop(OURS, None), os.environ.pop(BEFORE, None)
    if ours is None or os.environ.get(VISIBLE) != ours:
        return
    del os.environ[VISIBLE]
    if before is not None:
        os.environ[VISIBLE] = before


def _lease(gpus: Sequence[Gpu], plan: Mapping[str, Any]) -> tuple[Gpu, _Held]:
    """Take a place on the least loaded GPU."""
    folder, command = _runtime_folder(), json.dumps(plan["parent_process"], sort_keys=True)
    places = [folder / re.sub(r"[^\w-]", "_", gpu.uuid) for gpu in gpus]
    try:
        with FileLocks(folder).mutex():
            commands = [_commands(place) for place in places]
            loads = [len(each) for each in commands]
            best = min(range(len(gpus)), key=lambda i: (loads[i], (places[i] / LOST).exists()))
            n_left = _n_workers_here(plan) - sum(each.count(command) for each in commands) - 1
            lease = _free_place(places[best], command)
    except StorageError as error:
        raise InputError(
            f"workers need a folder to share out the GPUs, but {folder} cannot be used "
            f"({error.__cause__ or error}); set TMPDIR to a writable folder of this machine"
        ) from error
    loads[best] += 1
    for _ in range(n_left):  # where the workers that are still to start will go
        loads[loads.index(min(loads))] += 1
    return gpus[best], _Held(lease, places[best], loads[best])


def _free_place(folder: Path, command: str) -> Lease:
    locks = FileLocks(folder)
    number, lease = next((n, own) for n in itertools.count() if (own := locks.lease(n)))
    _file(folder, number).write_text(command, encoding="utf-8")
    return lease


def _commands(folder: Path) -> list[str]:
    """The command of every process that uses a GPU."""
    locks, numbers = FileLocks(folder), sorted(int(f.name) for f in folder.glob("[0-9]*"))
    return [_file(folder, n).read_text(encoding="utf-8") for n in numbers if locks.is_leased(n)]


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}"


def _n_workers_here(plan: Mapping[str, Any]) -> int:
    """Workers of the command that see the GPUs of this process."""
    parent = Process.of(plan["parent_process"])
    is_slurm_job = "SLURM_JOB_ID" in os.environ and os.getppid() != parent.pid
    # tasks in the parent itself run one after the other; a job of Slurm has its own GPUs
    if parent.is_current or is_slurm_job:
        return 1
    return int(os.environ.get(SHARED_BY) or plan["n_workers"])


def _runtime_folder() -> Path:
    """A folder of this user on this machine that outlives a login, unlike /run/user.

    Raises:
        InputError: It cannot be created, or belongs to another user.
    """
    # Windows has a temporary folder for each user
    if sys.platform == "win32":
        user = getpass.getuser()
    else:
        user = str(os.getuid())
    folder = Path(tempfile.gettempdir()) / f"recsweep-{user}-{platform.node()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        is_ours = sys.platform == "win32" or str(folder.lstat().st_uid) == user
        is_ours = is_ours and not folder.is_symlink()
        reason = "" if is_ours else "it belongs to another user"
    except OSError as error:
        reason = str(error.strerror)
    if reason:
        raise InputError(
            f"workers need a folder to share out the GPUs, but {folder} cannot be used "
            f"({reason}); set TMPDIR to a writable folder of this machine"
        )
    return folder
