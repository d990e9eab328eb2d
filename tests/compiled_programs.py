"""What XLA compiled, kept for all tests and the next session: most of a small training's time.

Processes that a test kills have a cache of their own: they may leave half a program behind.
"""

import os
from pathlib import Path

from recsweep import environment

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".pytest_cache" / "xla" / os.environ.get("PYTEST_XDIST_WORKER", "alone")
"""JAX does not write whole files at once, so processes of pytest do not share one."""


def cache_in(folder: Path) -> Path:
    """A cache folder of a test's own, in which only the compiled programs are everybody's.

    Args:
        folder: Gets it as `cache`.
    """
    cache = folder / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not (cache / "xla").exists():
        (cache / "xla").symlink_to(FOLDER, target_is_directory=True)
    return cache


def keep_compiled_programs() -> None:
    """Let JAX keep in `FOLDER` what this process compiles, and children even what is short."""
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    import jax

    jax.config.update("jax_compilation_cache_dir", str(FOLDER / environment._machine()))
