"""Any change to code that a result depends on is seen, and nothing else is."""

import importlib
import linecache
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from recsweep import source_code
from recsweep.errors import InputError
from recsweep.source_code import of_class, of_config, of_files, of_folder, of_package

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a file of the user's, whose folder is one that Python imports from."""
    monkeypatch.syspath_prepend(tmp_path)

    def file(name: str, content: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(dedent(content), "utf-8")
        importlib.invalidate_caches()

    return file


def test_a_class_is_known_by_its_modules_content(write: Write) -> None:
    write("my_own.py", "class Mine: x = 1")
    first = of_class("my_own.Mine")
    assert of_class("my_own.Mine") == first
    write("my_own.py", "class Mine: x = 2")
    assert of_class("my_own.Mine") != first
    write("my_own.py", "class Mine: x = 1")
    assert of_class("my_own.Mine") == first
    assert "my_own" not in sys.modules  # a worker has not fixed its backend yet


@pytest.mark.parametrize(
    "line",
    [
        "import my_helper",
        "import my_helper as other",
        "from my_helper import x",
        "def fit():\n    from my_helper import x",
        "import importlib\nother = importlib.import_module('my_helper')",
        "from importlib import import_module\nother = import_module('my_helper')",
        "import my_middle",
        "from my_space.deep import x",
    ],
)
def test_what_a_model_imports_counts_however_it_does(write: Write, line: str) -> None:
    write("my_own.py", f"{line}\nclass Mine: pass")
    write("my_middle.py", "import my_helper, my_own")  # in a circle
    write("my_helper.py", "x = 1")
    write("my_space/deep.py", "from my_helper import x")  # no __init__.py
    first = of_class("my_own.Mine")
    write("my_helper.py", "x = 2")
    assert of_class("my_own.Mine") != first


@pytest.mark.parametrize("init", ["my_package/__init__.py", "my_package/deep/__init__.py"])
def test_all_of_a_package_counts(write: Write, init: str) -> None:
    write(init, "")  # without the other one the folder is a package as well
    write("my_package/deep/model.py", "from ..scale import factor\nclass Mine: pass")
    write("my_package/scale.py", "factor = 1")
    first = of_class("my_package.deep.model.Mine")
    write("my_package/scale.py", "factor = 2")
    second = of_class("my_package.deep.model.Mine")
    write("my_package/deep/added.py", "")
    assert len({first, second, of_class("my_package.deep.model.Mine")}) == 3


def test_what_cannot_be_imported_does_not_count(write: Write) -> None:
    write("my_package/__init__.py", "class Mine: pass")
    first = of_class("my_package.Mine")
    write("my_package/notes.txt", "a list")
    write("my_package/2026-11-26/copy.py", "x = 1")
    write("my_package/.ipynb_checkpoints/model.py", "x = 1")
    write("my_package/mlartifacts/0/model.py", "x = 1")
    write("unrelated.py", "x = 1")
    assert of_class("my_package.Mine") == first


def test_another_place_is_no_other_code_but_another_name_is(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("my_package/model.py", "import my_helper")
    write("my_helper.py", "x = 1")
    first = of_class("my_package.model.Mine")
    (tmp_path / "moved").mkdir()
    for name in ("my_package", "my_helper.py"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    monkeypatch.syspath_prepend(tmp_path / "moved")
    assert of_class("my_package.model.Mine") == first
    (tmp_path / "moved" / "my_package").rename(tmp_path / "moved" / "my_other")
    assert of_class("my_other.model.Mine") != first


def test_installed_packages_and_recsweep_are_known_by_other_means(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("site-packages/installed.py", "x = 1")
    write("my_own.py", "import json, numpy, installed, not_there\nfrom recsweep import errors")
    monkeypatch.syspath_prepend(Path(sys.path[0]) / "site-packages")
    read: list[Path] = []
    monkeypatch.setattr(source_code, "_digest", lambda files: str(read.extend(f for _, f in files)))
    of_class("my_own.Mine")
    assert [file.name for file in read] == ["my_own.py"]
    of_class("installed.Mine")  # named in a configuration it counts
    assert [file.name for file in read] == ["my_own.py", "installed.py"]


def test_code_that_python_cannot_parse_is_compared_all_the_same(write: Write) -> None:
    write("my_own.py", "class Mine:")
    first = of_class("my_own.Mine")
    write("my_own.py", "class Mine: pass")
    assert of_class("my_own.Mine") != first


# --- classes in no file ---------------------------------------------------------------------------


def in_notebook(monkeypatch: pytest.MonkeyPatch, *cells: str) -> None:
    """Let this process's `__main__` be a notebook that has run some cells."""
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell()
    for cell in cells:
        assert shell.run_cell(dedent(cell)).success
    monkeypatch.setitem(sys.modules, "__main__", shell.user_module)


CELL = """
class Base:
    def score(self): return {score}
class Mine(Base):
    def fit(self): return {fit}
"""


def test_a_class_of_a_notebook_is_known_by_its_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for fit, score in ((1, 1), (2, 1), (2, 2), (1, 1)):
        in_notebook(monkeypatch, CELL.format(fit=fit, score=score), "unrelated = 1")
        found.append(of_class("__main__.Mine"))
    assert found[0] == found[3]
    assert len(set(found)) == 3


def test_a_class_of_a_script_is_known_by_its_file(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("my_script.py", "import my_helper")
    write("my_helper.py", "x = 1")
    script = type(sys)("__main__")
    script.__file__ = str(tmp_path / "my_script.py")
    monkeypatch.setitem(sys.modules, "__main__", script)
    first = of_class("__main__.Mine")
    write("my_helper.py", "x = 2")
    assert of_class("__main__.Mine") != first


@pytest.mark.parametrize("name", ["made.Mine", "made.Absent", "no_module_at_all.Mine", "Mine"])
def test_code_that_nobody_can_read_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: Any = type(sys)("made")
    exec("class Mine:\n    def fit(self): pass", made.__dict__)  # noqa: S102 - no file, no cell
    monkeypatch.setitem(sys.modules, "made", made)
    of_another = (9, None, ["x = 12345"], "<string>")  # Python 3.13 puts that of `-c` there
    monkeypatch.setitem(linecache.cache, "<string>", of_another)
    with pytest.raises(InputError, match=f"^the code of {name} must be readable.* put the class"):
        of_class(name)


# --- what is asked for ----------------------------------------------------------------------------


def test_a_configuration_names_its_classes_wherever_they_are(write: Write) -> None:
    for name in ("a", "b"):
        write(f"my_{name}.py", f"name = '{name}'")
    config = {
        "model": {"_target_": "my_a.Model", "layers": [{"_target_": "my_b.Layer"}]},
        "data": {"_target_": "recsweep.data.sources.synthetic.Synthetic"},
        "k": [1, 2],
    }
    assert of_config(config, {"_target_": "my_a.Model"}) == {
        "my_a.Model": of_class("my_a.Model")[:16],
        "my_b.Layer": of_class("my_b.Layer")[:16],
        "recsweep": of_package()[:16],
    }
    assert list(of_config({"data": config["data"]})) == ["recsweep"]


def test_any_change_to_our_own_source_is_seen(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    module = tmp_path / "sub" / "module.py"
    module.write_text("x = 1\n")
    first = of_folder(tmp_path)
    assert first == of_folder(tmp_path)
    module.write_text("x = 2\n")
    second = of_folder(tmp_path)
    module.rename(tmp_path / "sub" / "other.py")
    assert len({first, second, of_folder(tmp_path)}) == 3


def test_a_new_version_on_disk_changes_only_a_hash_that_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_code, "_kept", [])
    runs = of_package()
    assert runs == of_folder(Path(source_code.__file__).parent)
    with monkeypatch.context() as changed:
        changed.setattr(source_code, "__file__", str(tmp_path / "source_code.py"))
        assert of_package() != runs
    source_code.keep_package_hash()
    monkeypatch.setattr(source_code, "__file__", str(tmp_path / "source_code.py"))
    assert of_package() == runs


def test_files_are_known_by_name_and_content(tmp_path: Path) -> None:
    file, found = tmp_path / "a.py", []
    for name, content in (("a.py", "x = 1"), ("a.py", "x = 2"), ("b.py", "x = 2")):
        file = file.rename(tmp_path / name) if file.exists() else file
        file.write_text(content)
        found.append(of_files(file))
    assert len(set(found)) == 3
