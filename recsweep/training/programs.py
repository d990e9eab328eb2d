"""A least-recently-used cache of compiled programs, one per kind of work and input shapes.

The backends themselves would keep all of them, megabytes each, until the process ends.
"""

from collections.abc import Callable, Hashable
from typing import Any

import keras

MAX_PROGRAMS = 64
"""A training needs about five, and a sweep alternates between a dozen architectures and batch
sizes; a program takes 1 to 4 MiB."""

_PROGRAMS: dict[Hashable, Callable[..., Any]] = {}  # most recently used last


def call_program(key: Hashable, make: Callable[[], Callable[..., Any]], *arguments: Any) -> Any:
    """Call the program for `key` and the shapes of these arguments.

    Args:
        key: Everything that the program depends on besides its arguments' shapes.
        make: Returns a new compiled function, which is cached for these shapes only.
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
