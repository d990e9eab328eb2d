"""Machines with GPUs that are not there: a program nvidia-smi that says so."""

import os
from pathlib import Path

import pytest

UUIDS = (
    "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "GPU-1dfe3b5c-79a0-0422-f0d0-b22c6ded0af0",
    "GPU-5c89852c-d268-c3f3-1b07-005d5ae1dc3f",
)  # fmt: skip


def put_gpus(folder: Path, patch: pytest.MonkeyPatch, n: int = 2) -> None:
    """Have this process and its children see `n` GPUs, and nobody else's leases.

    Args:
        folder: For the program and the leases.
        patch: Undoes it.
        n: At most three.
    """
    leases = folder / "tmp"
    for place in (folder / "bin", leases):
        place.mkdir()
    lines = [f"{i}, {uuid}, 81559 MiB" for i, uuid in enumerate(UUIDS[:n])]
    smi = folder / "bin" / "nvidia-smi"
    smi.write_text("#!/bin/sh\ncat <<END\n" + "\n".join(lines) + "\nEND\n", encoding="utf-8")
    smi.chmod(0o755)
    patch.setenv("PATH", f"{folder}/bin{os.pathsep}{os.environ['PATH']}")
    patch.setenv("TMPDIR", str(leases))
    patch.setattr("tempfile.tempdir", str(leases))
    for name in ("CUDA_VISIBLE_DEVICES", "XLA_PYTHON_CLIENT_MEM_FRACTION", "JAX_PLATFORMS"):
        patch.delenv(name, raising=False)
