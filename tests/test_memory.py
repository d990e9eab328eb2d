"""How much memory is left, from the files in which Linux says so."""

import subprocess
import sys
from pathlib import Path

import pytest

from recsweep.errors import InputError
from recsweep.memory import available_bytes, refuse_beyond_memory

PROC = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no /proc")
MEMINFO = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    500 kB\n"


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_this_machine_has_memory_left() -> None:
    assert 1 << 20 < available_bytes() < 1 << 50


@PROC
def test_without_control_groups_it_is_what_the_kernel_says(tmp_path: Path) -> None:
    assert available_bytes(machine(tmp_path, {})) == 500 * 1024


@PROC
def test_the_limit_of_any_group_above_holds_and_file_pages_are_free(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/jobs"
    root = machine(tmp_path, {
        "proc/self/cgroup": "0::/jobs/mine\n",
        f"{group}/mine/memory.max": "max\n", f"{group}/mine/memory.current": "7000\n",
        f"{group}/memory.max": "10000\n", f"{group}/memory.current": "8000\n",
        f"{group}/memory.stat": "anon 6000\ninactive_file 1500\n",
    })  # fmt: skip
    assert available_bytes(root) == 10000 - 8000 + 1500


@PROC
def test_the_older_groups_are_read_even_under_another_path(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/memory"  # a container sees its own group at the top
    root = machine(tmp_path, {
        "proc/self/cgroup": "5:cpu:/elsewhere\n4:memory:/docker/abc\n0::/\n",
        f"{group}/memory.limit_in_bytes": "9000\n", f"{group}/memory.usage_in_bytes": "9500\n",
        f"{group}/memory.stat": "total_inactive_file 100\n",
    })  # fmt: skip
    assert available_bytes(root) == 0  # above its limit for a moment: not less than nothing


def test_where_linux_says_nothing_it_is_what_is_built_in(tmp_path: Path) -> None:
    assert available_bytes(tmp_path) > 1 << 20


LARGE_PARENT = """
import subprocess, sys
held = bytearray(400 << 20)
child = "from recsweep.memory import peak_bytes; print(peak_bytes() >> 20)"
print(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts a child's parent")
def test_the_peak_is_that_of_the_process_and_not_of_the_one_that_started_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LARGE_PARENT], capture_output=True, text=True, check=True
    )
    assert 5 < int(done.stdout) < 350


def test_what_cannot_fit_is_refused_in_one_line() -> None:
    refuse_beyond_memory(1 << 30, "a matrix", "take fewer items", available=1 << 30)
    with pytest.raises(InputError) as refusal:
        refuse_beyond_memory(3 << 30, "a matrix", "take fewer items", available=1 << 30)
    assert str(refusal.value) == (
        "a matrix must have 3.0 GiB of memory, but 1.0 GiB are available; take fewer items"
    )
