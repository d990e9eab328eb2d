"""The NVIDIA GPUs that this process may use, found without importing a backend."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

VISIBLE = "CUDA_VISIBLE_DEVICES"
DRIVER, FILES = Path("/proc/driver/nvidia/gpus"), Path("/dev")
QUERY = ("nvidia-smi", "--query-gpu=index,uuid,memory.total", "--format=csv,noheader")
TIMEOUT_S = 30.0
"""How long nvidia-smi may take: it wakes up every GPU of the machine."""


class Gpu(NamedTuple):
    """One GPU, or one part of it (MIG).

    Args:
        name: An entry of CUDA_VISIBLE_DEVICES that selects it.
        uuid: The same for all names; the name itself if the driver does not report one.
    """

    name: str
    uuid: str


def visible_gpus() -> list[Gpu]:
    """All GPUs, or those in CUDA_VISIBLE_DEVICES, in its order; none where there is no driver."""
    chosen = os.environ.get(VISIBLE)
    if chosen is not None and not chosen.strip():
        return []
    uuids = _of_nvidia_smi() or _of_driver()
    if chosen is None:
        return [Gpu(uuid, uuid) for uuid in uuids.values()]
    return list({gpu.uuid: gpu for gpu in _chosen(chosen, uuids)}.values())


def _chosen(names: str, uuids: dict[str, str]) -> Iterator[Gpu]:
    """The chosen GPUs up to the first name that selects none: CUDA ignores all after it."""
    for name in map(str.strip, names.split(",")):
        if name.isdigit():
            found = uuids.get(str(int(name)), "" if uuids else name)
        elif name.startswith("GPU-"):
            found = next((uuid for uuid in uuids.values() if uuid.startswith(name)), "")
            found = found if uuids else name
        else:
            found = name if name.startswith("MIG-") else ""
        if not found:
            return
        yield Gpu(name, found)


def _of_nvidia_smi() -> dict[str, str]:
    """Index -> UUID; empty if there is no such program or it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            QUERY, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    return {row[0]: row[1] for row in rows if len(row) > 1 and row[1].startswith("GPU-")}


def _of_driver() -> dict[str, str]:
    """The same from the driver's files, for GPUs with a device file, which a container may lack."""
    found: dict[str, str] = {}
    with suppress(OSError):
        for file in sorted(DRIVER.glob("*/information")):
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            parts = [line.partition(":") for line in lines]
            facts = {key.strip(): text.strip() for key, _, text in parts}
            uuid, minor = facts.get("GPU UUID", "?"), facts.get("Device Minor")
            if "?" not in uuid and (FILES / f"nvidia{minor}").exists():
                found[str(len(found))] = uuid
    return found
