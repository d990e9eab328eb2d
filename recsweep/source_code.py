"""Hashes of the code that a result depends on: recsweep's own, and what a configuration names.

A class that the user wrote is more than its module: what counts is the module, all of the package
that it is in, and whatever these import from outside of Python's own library, installed packages
and recsweep. Files are read, not imported, so every process finds the same hash.
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
"""Python's own library and recsweep."""
SUFFIXES = (".py", *EXTENSION_SUFFIXES)


def of_config(*nodes: Any) -> dict[str, str]:
    """The code that parts of a configuration run: recsweep's, and that of classes from elsewhere.

    Args:
        nodes: Any part of a configuration.

    Returns:
        `recsweep` and the name of each such class -> the beginning of a hash.

    Raises:
        InputError: The code of a class cannot be read.
    """
    return of_names([OURS, *targets(nodes)])


def of_names(names: Iterable[str]) -> dict[str, str]:
    """Hashes of the code behind names, see `of_config`.

    Args:
        names: `recsweep`, and dotted names of classes; those of recsweep's own are left out.
    """
    kept = {name for name in names if name == OURS or not name.startswith(f"{OURS}.")}
    return {name: (of_package() if name == OURS else of_class(name))[:16] for name in sorted(kept)}


def of_package() -> str:
    """Of recsweep's own source, which any change to it changes."""
    return of_folder(Path(__file__).parent)


def of_folder(folder: Path) -> str:
    """Of all Python files in a folder and below it.

    Args:
        folder: Any.
    """
    return _digest((str(file.relative_to(folder)), file) for file in folder.rglob("*.py"))


def of_files(*files: Path) -> str:
    """Of the files' names and contents.

    Args:
        files: With a name each.
    """
    return _digest((file.name, file) for file in files)


def of_class(name: str) -> str:
    """Of a class and of everything of the user's own that it may use.

    Args:
        name: Dotted, such as `my_model.MyModel`.

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
    """Of names and contents, wherever the files lie."""
    digest = hashlib.sha256()
    for name, file in sorted(files):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{name}\n{content}\n".encode())
    return digest.hexdigest()


def targets(node: Any) -> Iterator[str]:
    """Dotted names of all classes that a part of a configuration names.

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
    """Where a top-level module is, without importing it."""
    try:
        return find_spec(name) if name else None
    except (ImportError, ValueError):  # __main__ and what is made while running has none
        return None


def _files(spec: ModuleSpec | None, *, is_own: bool = False) -> list[tuple[str, Path]]:
    """Name and path of a module's file, or of every file of a package that can be imported.

    Args:
        spec: Where it is.
        is_own: Leave out what is installed.
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
    """Files that can be imported: neither .git nor results in folders by date."""
    for place, folders, names in os.walk(folder):  # Path.walk needs Python 3.12
        folders[:] = filter(str.isidentifier, folders)
        for name in names:
            if name.endswith(SUFFIXES) and name.partition(".")[0].isidentifier():
                yield Path(place, name)


def _loaded(module: str) -> list[tuple[str, Path]]:
    """The file of a module that only this process knows, such as the script that it runs."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return [(Path(file).name, Path(file))] if file and Path(file).is_file() else []


def _is_installed(file: Path) -> bool:
    """Whether a file is Python's, an installed package's (which has a version) or ours."""
    return not INSTALLED.isdisjoint(file.parts) or any(map(file.is_relative_to, NOT_OWN))


def _imports(file: Path) -> frozenset[str]:
    """Top-level names of all modules that a file imports, wherever in it."""
    return _imported(file.read_bytes()) if file.suffix == ".py" else frozenset()


@lru_cache(maxsize=4096)  # a package is looked through again for every split and trial
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
    """Of a class that is in no file: the notebook's cells with its methods and its parents'."""
    module, _, leaf = name.rpartition(".")
    found = getattr(sys.modules.get(module), leaf, None)
    parents = [each for each in getattr(found, "__mro__", ()) if each.__module__ == module]
    methods = [each for parent in parents for each in vars(parent).values() if isfunction(each)]
    cells = {"".join(linecache.getlines(method.__code__.co_filename)) for method in methods} - {""}
    if not cells:
        raise InputError(
            f"the code of {name} must be readable, so that a change to it is noticed, but it is "
            "in no file; put the class into a module, such as my_module.py"
        )
    return hashlib.sha256("\n".join(sorted(cells)).encode()).hexdigest()
