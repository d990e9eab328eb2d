"""What is printed is read back as it was meant: by the terminal, then by Hydra."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from recsweep.shell import command, command_line_arguments, config_flags, setting, use_arguments


@pytest.mark.parametrize(
    "value",
    [
        "sweeps/ease-ml-100k-0a1b", "/a/b.c", "a b", "häuschen", "my%20proj", "a#b", "what?", "a,b",
        "a=b", "it's", 'say "no"', 'end\\', 'mid\\"dle', "a\\b", "10", "1e5", ".5", "null", "True",
        "(x)", "[x]", "{x}", "a&b;c", "$HOME", "~", "-x", "!", "*", "",
        "sqlite+pysqlite:////x/my%2520proj/mlflow.db",
    ],
)  # fmt: skip
def test_a_setting_is_read_back(value: str) -> None:
    line = command("task=upload", setting("task.run", value))
    words = shlex.split(line)
    assert words[:4] == ["python", "-m", "recsweep", "task=upload"]
    override = OverridesParser.create().parse_override(words[4])
    assert (override.key_or_group, override.value()) == ("task.run", value)
    assert not override.is_sweep_override()


def test_a_plain_value_stays_as_it_is() -> None:
    assert command(setting("task.run", "a/b-1.c")) == "python -m recsweep task.run=a/b-1.c"


def test_the_id_of_a_run_stays_as_it_is() -> None:
    for run_id in ("7de11f0ddba44b689696e65b6471675e", "12e3abc", "c637"):
        assert setting("task.run", run_id) == f"task.run={run_id}"
        assert OverridesParser.create().parse_override(f"task.run={run_id}").value() == run_id
    for number in ("1e5", "123", "1_000", ".5"):
        assert setting("task.run", number) == f'task.run="{number}"'


def test_a_program_says_what_would_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["recsweep", "model=ease"])
    assert command_line_arguments() == ["model=ease"]
    with use_arguments(["-m", "model=popularity"]):
        assert command_line_arguments() == ["-m", "model=popularity"]
    assert command_line_arguments() == ["model=ease"]


def test_folders_of_configurations_are_repeated_as_typed() -> None:
    for typed in (["--config-dir=a b", "-m", "x=1"], ["-m", "--config-dir", "a b"], ["-cd", "a b"]):
        with use_arguments(typed):
            assert config_flags() == ["--config-dir=a b"]
    for typed in (["-m", "model=ease"], ["-m"], []):
        with use_arguments(typed):
            assert config_flags() == []
