"""Compiled programs, one for each kind of work and each shape of its input: the last used are kept.

A backend would keep all of them for as long as the process lives, megabytes each.
"""

from collections.abc import Callable, Hashable
from typing import Any

import keras

MAX_PROGRAMS = 64
"""A training needs about five, and a sweep alternates between a dozen architectures and batch
sizes; so many programs of 1 to 4 MiB each are what a process holds at most."""

_PROGRAMS: dict[Hashable, Callable[..., Any]] = {}  # the last used is the last


def call_program(key: Hashable, make: Callable[[], Callable[..., Any]], *arguments: Any) -> Any:
    """What the program for `key` and for arguments of these shapes gives.

    Args:
        key: What the program depends on besides its arguments' shapes.
        make: Gives a compiled function of its own, which is kept for these shapes alone.
        arguments: Arrays, or containers of them.
    """
    place = (key, str(keras.tree.map_structure(_shape, arguments)))
    function = _PROGRAMS.pop(place, None) or make()
    _PROGRAMS[place] = function
    while len(_PROGRAMS) > MAX_PROGRAMS:
        _PROGRAMS.pop(next(iter(_PROGRAMS)), None)
    return function(*arguments)


def _shape(array: Any) -> str:
    return f"{array.dtype}{tuple(array.shape)}"
