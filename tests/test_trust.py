"""Which classes a stored configuration may name, and what is a name and not a path."""

import sys
from typing import Any

import pytest

from recsweep.trust import is_trusted, of_environment, path_below, plain_name, refuse_foreign

OTHERS = [
    "", "a", "recsweep", "recsweeper.X", "os.system", "recsweep.app.os.system", ".recsweep.X",
    "recsweep.__main__.main", "recsweep..app.Job", "recsweep.nothing.X", "unittest.__main__.X",
    "recsweep.models.ease.EASE.X",
]  # fmt: skip


def test_only_what_recsweep_has_itself_is_trusted_from_the_start() -> None:
    assert is_trusted("recsweep.models.ease.EASE", [])
    assert is_trusted("recsweep.tracking.MLflowTracker", [])
    assert [name for name in OTHERS if is_trusted(name, [])] == []


def test_a_trusted_module_stands_for_all_in_it_and_a_class_for_itself() -> None:
    trusted = ["mine", "theirs.part", "one.Class"]
    allowed = ["mine.Model", "mine.deep.Model", "theirs.part.Model", "one.Class"]
    assert all(is_trusted(name, trusted) for name in allowed)
    refused = ["mines.Model", "theirs.Model", "theirs.parts.Model", "one.Classes", "one.Other"]
    assert not any(is_trusted(name, trusted) for name in [*refused, *OTHERS])


@pytest.mark.parametrize(
    "node",
    [
        {"model": {"_target_": "evil.Model"}},
        {"model": {"part": [[{"a": {"_target_": "evil.Model"}}]]}},
        {"model": {"_target_": "recsweep.models.ease.EASE", "l2": {"_target_": "evil.Model"}}},
    ],
)
def test_a_class_of_others_is_refused_wherever_it_is_and_not_imported(
    node: dict[str, Any], refused: Any
) -> None:
    with refused("row one uses the class 'evil.Model', which is not recsweep's", "trust=[evil]",
                 "--config-dir=FOLDER model=ITS_FILE"):  # fmt: skip
        refuse_foreign(node, [], "row one")
    refuse_foreign(node, ["evil"], "row one")
    refuse_foreign(node, ["evil.Model"], "row one")
    assert "evil" not in sys.modules


@pytest.mark.parametrize("target", [*OTHERS, "a\nb.c", "x" * 10_000, ["a"], None])
def test_whatever_is_named_is_one_short_line(target: object, refused: Any) -> None:
    with refused("the run"):
        refuse_foreign({"model": {"_target_": target}}, [], "the run")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "/a", "a/b", "../a", "a\\b", "C:a", "~", "~root", "a\0", "a\nb"]
)
def test_a_name_that_could_be_a_path_is_refused(name: str, refused: Any) -> None:
    with refused("data.name must be a name, but is"):
        plain_name(name, "data.name")


def test_other_names_are_kept() -> None:
    assert [plain_name(name, "data.name") for name in ("ml-1m", "...", 7)] == ["ml-1m", "...", "7"]


def test_a_path_stays_below_its_folder() -> None:
    assert path_below("winner/0003/replicate-0/results") == "winner/0003/replicate-0/results"
    for name in ("", ".", "..", "/a", "a/../b", "a//b", "a/", "a\\b", "C:/a", "a\0", "./a"):
        with pytest.raises(ValueError, match="is not the name of a file in it"):
            path_below(name)


def test_the_environment_names_modules_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_environment() == []
    monkeypatch.setenv("RECSWEEP_TRUST", "mine, theirs.part,, 1a,../b")
    assert of_environment() == ["mine", "theirs.part"]
