"""Hashes of the code that a result depends on: recsweep and the classes in a configuration.

For a user's own class, the hash covers its module, the whole package that contains it, and their
imports, except from the standard library, installed packages and recsweep. Files are read, not
imported, so every process computes the same hash.
"""

import ast
import hashlib
import linecache
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import find_spec
from inspect import isfunction
from pathlib import Path
from typing import Any

from recsweep.errors import InputError

OURS = "recsweep"
INSTALLED = {"site-packages", "dist-packages"}
NOT_OWN = (
    *(Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib")), Path(__file__).parent
)  # fmt: skip
"""The standard library and recsweep."""
SUFFIXES = (".py", *EXTENSION_SUFFIXES)
EXECUTED = "<string>"
"""File of all code that `exec` runs; from Python 3.13 on, its lines are those of `python -c`."""


def of_config(*nodes: Any) -> dict[str, str]:
    """Hashes of the code that parts of a configuration run: recsweep's and other classes'.

    Args:
        nodes: Any part of a configuration.

    Returns:
        `recsweep` and the name of each such class -> a shortened hash.

    Raises:
        InputError: The code of a class cannot be read.
    """
    return of_names([OURS, *targets(nodes)])


def of_names(names: Iterable[str]) -> dict[str, str]:
    """Hashes of the code behind names, see `of_config`.

    Args:
        names: `recsweep`, and dotted names of classes; recsweep's own classes are skipped.
    """
    kept = {name for name in names if name == OURS or not name.startswith(f"{OURS}.")}
    return {name: (of_package() if name == OURS else of_class(name))[:16] for name in sorted(kept)}


_kept: list[str] = []
"""The hash of recsweep's source, if it is kept."""


def keep_package_hash() -> None:
    """Hash recsweep's source now and not again: a later version on disk is not what runs here."""
    _kept[:] = [of_folder(Path(__file__).parent)]


def of_package() -> str:
    """Hash of all of recsweep's source."""
    return _kept[0] if _kept else of_folder(Path(__file__).parent)


def of_folder(folder: Path) -> str:
    """Hash of all Python files in a folder and below it.

    Args:
        folder: Any folder.
    """
    return _digest((file.relative_to(folder).as_posix(), file) for file in folder.rglob("*.py"))


def of_files(*files: Path) -> str:
    """Hash of the files' names and contents.

    Args:
        files: Files with distinct names.
    """
    return _digest((file.name, file) for file in files)


def of_class(name: str) -> str:
    """Hash of a class and of all user code that it may use.

    Args:
        name: Dotted name, such as `my_model.MyModel`.

    Raises:
        InputError: Its code cannot be read.
    """
    module = name.rpartition(".")[0]
    own = dict(_files(_spec(module.partition(".")[0])) or _loaded(module))
    if not own:
        return _of_cells(name)
    pending = list(own.values())
    seen: set[str] = set()
    while pending:
        imported = _imports(pending.pop()) - seen
        seen |= imported
        found = dict(each for top in imported for each in _files(_spec(top), is_own=True))
        pending += [file for key, file in found.items() if key not in own]
        own |= found
    return _digest(own.items())


def _digest(files: Iterable[tuple[str, Path]]) -> str:
    """Hash of names and contents, independent of the files' locations."""
    digest = hashlib.sha256()
    for name, file in sorted(files):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{name}\n{content}\n".encode())
    return digest.hexdigest()


def targets(node: Any) -> Iterator[str]:
    """Dotted names of all classes in a part of a configuration.

    Args:
        node: Any part.
    """
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        node = list(node.values())
    if isinstance(node, list | tuple):
        for child in node:
            yield from targets(child)


# --- which files ----------------------------------------------------------------------------------


def _spec(name: str) -> ModuleSpec | None:
    """Find a top-level module without importing it."""
    try:
        return find_spec(name) if name else None
    except (ImportError, ValueError):  # __main__ and modules created at run time have none
        return None


def _files(spec: ModuleSpec | None, *, is_own: bool = False) -> list[tuple[str, Path]]:
    """Name and path of a module's file, or of every file of a package that can be imported.

    Args:
        spec: The module's spec.
        is_own: Whether to skip installed modules.
    """
    if spec is None:
        return []
    folders = spec.submodule_search_locations
    places = [Path(each) for each in ([spec.origin] if folders is None else folders) if each]
    places = [place for place in places if not (is_own and _is_installed(place))]
    if folders is None:
        return [(file.name, file) for file in places if file.is_file()]
    return [
        (f"{spec.name}/{file.relative_to(folder).as_posix()}", file)
        for folder in places
        for file in _below(folder)
    ]


def _below(folder: Path) -> Iterator[Path]:
    """Importable files, without .git and dated results folders."""
    for place, folders, names in os.walk(folder):  # Path.walk needs Python 3.12
        folders[:] = filter(str.isidentifier, folders)
        for name in names:
            if name.endswith(SUFFIXES) and name.partition(".")[0].isidentifier():
                yield Path(place, name)


def _loaded(module: str) -> list[tuple[str, Path]]:
    """The file of a module known only to this process, such as the running script."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return [(Path(file).name, Path(file))] if file and Path(file).is_file() else []


def _is_installed(file: Path) -> bool:
    """Whether a file is Python's, an installed package's (which has a version) or ours."""
    return not INSTALLED.isdisjoint(file.parts) or any(map(file.is_relative_to, NOT_OWN))


def _imports(file: Path) -> frozenset[str]:
    """Top-level names of all modules imported anywhere in a file."""
    return _imported(file.read_bytes()) if file.suffix == ".py" else frozenset()


@lru_cache(maxsize=4096)  # packages are scanned again for every split and trial
def _imported(source: bytes) -> frozenset[str]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return frozenset()
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom(module=str(module), level=0):
                names.add(module)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                names.add(module)
    return frozenset(name.partition(".")[0] for name in names)


def _of_cells(name: str) -> str:
    """Hash of a class defined in a notebook: the cells with its methods and its parents'."""
    module, _, leaf = name.rpartition(".")
    found = getattr(sys.modules.get(module), leaf, None)
    parents = [each for each in getattr(found, "__mro__", ()) if each.__module__ == module]
    methods = [each for parent in parents for each in vars(parent).values() if isfunction(each)]
    files = {method.__code__.co_filename for method in methods} - {EXECUTED}
    cells = {"".join(linecache.getlines(file)) for file in files} - {""}
    if not cells:
        raise InputError(
            f"the code of {name} must be readable, so that changes to it are detected, but it is "
            "not in a file; put the class into a module, such as my_module.py"
        )
    return hashlib.sha256("\n".join(sorted(cells)).encode()).hexdigest()
