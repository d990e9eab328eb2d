"""A least-recently-used cache of compiled programs, one per kind of work and input shapes.

The backends themselves would keep all of them, megabytes each, until the process ends. JAX also
keeps what it compiles for single operations, such as drawing weights of a shape: those are counted,
and let go all at once.
"""

import ctypes
import gc
import sys
import threading
from collections.abc import Callable, Hashable
from typing import Any

import keras

MAX_PROGRAMS = 20
"""Those of four trainings, since each needs about five; a program takes 1 to 4 MiB."""

MAX_EXECUTABLES = 100
"""Of JAX, after which a training begins with none: each takes about 1.6 MB, a training of new
shapes makes five to seven, and what is needed again is compiled or read from JAX's files."""

_LOCK = threading.RLock()
_PROGRAMS: dict[Hashable, Callable[..., Any]] = {}  # most recently used last


def call_program(key: Hashable, make: Callable[[], Callable[..., Any]], *arguments: Any) -> Any:
    """Call the program for `key` and the shapes of these arguments.

    Args:
        key: Everything that the program depends on besides its arguments' shapes.
        make: Returns a new program of `compile_program`, which is called with these shapes only.
        arguments: Arrays, or containers of them.
    """
    place = (key, str(keras.tree.map_structure(_shape, arguments)))
    with _LOCK:
        known = _PROGRAMS.pop(place, None)
        if known is None:
            while len(_PROGRAMS) >= MAX_PROGRAMS:
                del _PROGRAMS[next(iter(_PROGRAMS))]
        program = _PROGRAMS[place] = known or make()
        if known is None:  # compiled here, not by two threads at once
            return program(*arguments)
    return program(*arguments)


def limit_executables() -> None:
    """Let go everything that JAX has compiled if that is more than `MAX_EXECUTABLES`.

    Other threads may be training: what they run stays until it ends.
    """
    import jax

    if len(jax.devices()[0].client.live_executables()) <= MAX_EXECUTABLES:
        return
    with _LOCK:
        _PROGRAMS.clear()
        jax.clear_caches()
    gc.collect()
    if sys.platform == "linux":  # glibc would keep what is free
        getattr(ctypes.CDLL(None), "malloc_trim", int)(0)


def _shape(array: Any) -> str:
    return f"{keras.backend.standardize_dtype(array.dtype)}{tuple(array.shape)}"
