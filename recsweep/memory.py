"""How much memory is available, and one-line errors for what cannot fit."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from recsweep.errors import InputError

if sys.platform == "win32":
    from recsweep import windows
else:
    import resource

GIB = 1 << 30


def refuse_beyond_memory(
    needed_bytes: int, what: str, remedy: str, available: int | None = None
) -> None:
    """Check before allocating that enough memory is available.

    Args:
        needed_bytes: Bytes allocated at the same time.
        what: What needs it, such as `model=ease on 60,000 items`.
        remedy: What the user can do.
        available: Available bytes of other memory, such as a GPU's; None = the machine's.

    Raises:
        InputError: Less memory is available.
    """
    available = available_bytes() if available is None else available
    if needed_bytes > available:
        raise InputError(
            f"{what} must have {needed_bytes / GIB:,.1f} GiB of memory, but "
            f"{available / GIB:,.1f} GiB are available; {remedy}"
        )


def available_bytes(root: Path = Path("/")) -> int:
    """The minimum left by the machine and the process's control groups; on Linux without swap.

    Args:
        root: The folder of `proc` and `sys`.
    """
    if sys.platform == "win32":
        return windows.available_bytes()
    if not (root / "proc/meminfo").exists():  # macOS reports only the installed memory
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    kib = _table(root / "proc/meminfo")["MemAvailable:"]
    return min([1024 * kib, *_left_by_groups(root)])


def peak_bytes() -> int:
    """Peak memory of this process."""
    if sys.platform == "win32":
        return windows.peak_bytes()
    else:  # noqa: RET505 - mypy skips a branch, not what stands below it
        if (kib := _table(Path("/proc/self/status")).get("VmHWM:")) is not None:
            return 1024 * kib
        # under Linux this may be the peak of the process that started this one
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


def _left_by_groups(root: Path) -> Iterator[int]:
    """Bytes left by each limit on this process; file pages that the kernel can drop are free."""
    groups = root / "proc/self/cgroup"
    for line in groups.read_text("utf-8").splitlines() if groups.exists() else []:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount, names = "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            mount = "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        inner = Path(path.lstrip("/"))
        for group in (inner, *inner.parents):  # a limit applies to everything below it
            folder = root / mount / group
            limit, used = (_number(folder / name) for name in names[:2])
            if limit is not None and used is not None:
                droppable = _table(folder / "memory.stat").get(names[2], 0)
                yield max(0, limit - used + droppable)


def _number(file: Path) -> int | None:
    """The number in a file; None without a file or limit (`max`)."""
    try:
        return int(file.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _table(file: Path) -> dict[str, int]:
    """`name number …` lines."""
    if not file.exists():
        return {}
    rows = (line.split() for line in file.read_text("utf-8", "replace").splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}
