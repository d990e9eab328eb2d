"""What `--help` says is what the YAML files say."""

import re
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from recsweep.command_help import GROUPS, files_of, help_text, read_choice, top_settings
from recsweep.defaults import conf_folder

CONF = conf_folder()
FILES = [(group, file) for group in GROUPS for file in files_of(group, [CONF]).values()]
HIDDEN = {"_target_", "sha256", "member", "wheel", "n_ratings", "url"}


def keys(node: Any, prefix: str = "") -> list[str]:
    """Keys of values, as `--help` should name them; a search's keys have dots of their own."""
    found = []
    for key, value in node.items():
        if key in HIDDEN:
            continue
        name = f"{prefix}.{key}".strip(".")
        found += keys(value, name) if isinstance(value, dict) and value else [name]
    return found


def test_every_group_is_described() -> None:
    assert set(GROUPS) == {folder.name for folder in CONF.iterdir() if folder.is_dir()} - {"hydra"}


@pytest.mark.parametrize(("group", "file"), FILES, ids=lambda part: getattr(part, "stem", part))
def test_every_key_of_a_file_is_listed(group: str, file: Path) -> None:
    choice = read_choice(file, group)
    is_global = "# @package _global_" in file.read_text("utf-8")
    content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    assert isinstance(content, dict)
    content.pop("defaults", None)
    listed = [each.key for each in choice.settings if "defaults" not in each.key.split(".")]
    package = f"metrics.{file.stem}" if group == "metrics" else "" if is_global else group
    assert listed == keys(content, package)
    assert choice.description


def test_a_comment_of_two_lines_is_one_meaning(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("# Own\na: 1  # one\n      # and more\nb:\n  c: x # y\n# Note\n", "utf-8")
    choice = read_choice(file, "task")
    assert [(each.key, each.default, each.meaning) for each in choice.settings] == [
        ("task.a", "1", "one and more"),
        ("task.b.c", "x", "y"),
    ]
    assert (choice.description, choice.notes) == ("Own", "Note")


def test_help_lists_groups_choices_and_common_settings() -> None:
    text = help_text([])
    for group in GROUPS:
        for choice in files_of(group, [CONF]):
            assert choice in text
    for each in (*top_settings(), *read_choice(CONF / "sweep" / "standard.yaml", "sweep").settings):
        assert f"  {each.key} " in text


def test_help_of_a_task_has_only_its_settings() -> None:
    text = help_text(["task=compare", "task.unit=users"])
    assert text.startswith("task=compare: Compare finished runs")
    assert re.search(r"task.confidence +0.95 ", text)
    assert "seed and split.seed are replicates" in text
    assert "model." not in text
    assert "Groups" not in text


def test_help_knows_your_own_choices(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "own.yaml").write_text(
        "# @package _global_\n# My model\nmodel:\n  depth: 3  # layers\n", "utf-8"
    )
    assert "own" in help_text([], str(tmp_path))
    assert help_text(["model=own"], str(tmp_path)).splitlines()[:3] == [
        "model=own: My model", "", "  model.depth  3  layers",
    ]  # fmt: skip
