"""Imports Keras without its optional parts and without the user's settings, whoever asks for it."""

import os
import random
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np

NOT_NEEDED_BY_KERAS = ("sklearn", "matplotlib", "h5py", "IPython", "PIL")
"""Optional imports of unused parts of Keras: they cost a second and 95 MiB per process."""

HELD = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals that a command or a worker answers with an exception."""


def guard_keras(before: Callable[[], object]) -> None:
    """Guard the first import of Keras in this process, whichever module asks for it.

    Building a model imports its module, and with it Keras, before a device is needed.

    Args:
        before: Called before the import.
    """
    if "keras" not in sys.modules and not any(isinstance(each, _Finder) for each in sys.meta_path):
        sys.meta_path.insert(0, _Finder(before))


@dataclass
class _Finder(MetaPathFinder):
    before: Callable[[], object]

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find Keras as others do, but with a loader that guards its import."""
        if name != "keras":
            return None
        others = [each for each in sys.meta_path if each is not self]
        found = (each.find_spec(name, path, target) for each in others)
        spec = next(filter(None, found), None)
        if spec is not None and spec.loader is not None:
            guarded = partial(self._execute, spec.loader.exec_module)
            spec.loader.exec_module = guarded  # type: ignore[method-assign]
        return spec

    def _execute(self, execute: Callable[[ModuleType], None], module: ModuleType) -> None:
        with (
            _signals_held(),
            without_remarks(),
            _hidden(*NOT_NEEDED_BY_KERAS),
            _without_settings_of_keras(),
            _without_random_draws(),
        ):
            self.before()
            execute(module)
        sys.meta_path.remove(self)  # after a failure the next attempt is guarded, too


@contextmanager
def _signals_held() -> Iterator[None]:
    """Handle signals after the block: an exception while jaxlib initialises kills the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    handlers = {number: signal.getsignal(number) for number in HELD if signal.getsignal(number)}
    for number in handlers:
        signal.signal(number, lambda number, _frame: held.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(held):
            signal.raise_signal(number)


@contextmanager
def _hidden(*packages: str) -> Iterator[None]:
    """Make imports of packages that are not loaded yet fail."""
    modules: dict[str, Any] = sys.modules  # None there means "cannot be imported"
    absent = [package for package in packages if package not in modules]
    modules.update(dict.fromkeys(absent))
    try:
        yield
    finally:
        for package in absent:
            del modules[package]


@contextmanager
def _without_settings_of_keras() -> Iterator[None]:
    """Ignore the user's `keras.json`, which could change results; Keras writes none either."""
    before = os.environ.get("KERAS_HOME")
    os.environ["KERAS_HOME"] = os.devnull
    try:
        yield
    finally:
        del os.environ["KERAS_HOME"]
        if before is not None:
            os.environ["KERAS_HOME"] = before


@contextmanager
def _without_random_draws() -> Iterator[None]:
    """Keep the global random states, from which imports draw: they are the calling program's."""
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002


@contextmanager
def without_remarks() -> Iterator[None]:
    """Drop messages about the machine, which TensorFlow 2.21 prints at any log level."""
    if os.environ.get("KERAS_BACKEND") != "tensorflow":
        yield
        return
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            said.seek(0)
            lines = said.read().decode(errors="replace").splitlines(keepends=True)
            sys.stderr.write("".join(line for line in lines if not _is_remark(line)))


def _is_remark(line: str) -> bool:
    remarks = r"I\d{4} |WARNING: All log messages before absl|E\d{4} .*failed call to cuInit"
    return re.match(remarks, line) is not None
