"""YAML and JSON of others are plain data, read within limits of size, depth and number."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsweep import documents
from recsweep.documents import MAX_DEPTH, MAX_VALUES, parse_json, parse_yaml, read_json, read_yaml


def bomb(parts: str) -> str:
    """Nine of nine of nine … values, in lists or merged into mappings."""
    first = {"[": "a0: &a0 [x]", "{": "a0: &a0 {x: 1}"}[parts[0]]
    lines = [
        f"a{i}: &a{i} {parts.format(', '.join([f'*a{i - 1}'] * 9))}".replace("<<", "<<: ")
        for i in range(1, 12)
    ]
    return "\n".join([first, *lines, ""])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (bomb("[{}]"), "250,000 values"),
        (bomb("{{<<[{}]}}"), "250,000 values"),
        ("[" * 100_000, "64 levels"),
        ("- " * 5_000 + "x", "64 levels"),
        ("&a [*a]", "alias 'a' must follow"),
        ("a: *b", "alias"),
        ("a: 1" + ":59" * 100_000, "finite and short"),
        (f"a: {'9' * 2_000}", "finite and short"),
        ('a: !!int "1:59"', "no tags"),
        ("a: !!python/object/apply:os.system [ls]", "no tags"),
        ("a: 1" + ":59" * 300 + ".5", "cannot be read"),
        ("a: [", "parsing a flow node|did not find expected"),
        (b"\xff", "utf-8"),
        ("a: 1\n--- \nb: 2", "single document"),
        ("".join(f"%TAG !{i:x}! x\n" for i in range(40_000)) + "---\na: 1\n", "begin with %"),
        ("\ufeff%YAML 1.1\n---\na: 1\n", "begin with %"),
        ("a: 1\n...\u2028%TAG ! x\n---\nb: 1\n", "begin with %"),
        (f"{{{', '.join(f'{i * (2**61 - 1)}: 1' for i in range(40_000))}}}", "finite and short"),
        (f"a: {{<<: {{{2**61 - 1}: 1}}}}", "finite and short"),
    ],
    ids=range(19),
)
def test_a_document_beyond_a_limit_is_refused_at_once(text: str | bytes, said: str) -> None:
    started = time.monotonic()
    with pytest.raises((ValueError, yaml.YAMLError), match=said):
        parse_yaml(text)
    assert time.monotonic() - started < 5


def test_what_recsweep_writes_is_read_again() -> None:
    shared = [1, 2.5, None, True, "${oc.env:HOME}", "1:59", "über", {}]
    content: dict[str, Any] = {"a": shared, "b": {"c": shared}, "d": "x " * 5_000, "e": 10**300}
    text = yaml.safe_dump(content, allow_unicode=True, width=100)
    assert "*id001" in text, "aliases are written"
    assert parse_yaml(text) == parse_yaml(text.encode()) == content
    assert parse_yaml("") is None


def test_keys_that_are_short_numbers_and_percents_within_lines_are_read() -> None:
    keys = {10**14: "a", -2: "b", 0.5: "c", False: "d", None: "e"}
    assert parse_yaml("{100000000000000: a, -2: b, 0.5: c, false: d, null: e}") == keys
    assert parse_yaml("a: 5%\nb: |\n  %c") == {"a": "5%", "b": "%c"}
    assert parse_yaml(f"{10**300}") == 10**300


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes that have names")
def test_a_pipe_or_a_device_is_refused_at_once_and_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("zero", "pipe", "."):
        for reader in (read_yaml, read_json):
            with pytest.raises(ValueError, match="must be a regular file, but is a folder, a pipe"):
                reader(tmp_path / name)
    (tmp_path / "a").write_text("[1]")
    (tmp_path / "b").symlink_to("a")
    assert read_yaml(tmp_path / "b") == [1]


def test_values_up_to_the_limits_are_read() -> None:
    depth = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse_yaml(depth) == parse_json(depth)
    with pytest.raises(ValueError, match="64 levels"):
        parse_yaml(f"[{depth}]")
    with pytest.raises(ValueError, match="64 levels"):
        parse_json(f"[{depth}]")
    aliases = f"- &a [{'x, ' * 98}x]\n"
    n_more = MAX_VALUES // 100 - 1
    assert len(parse_yaml(aliases + "- *a\n" * (n_more - 1))) == n_more
    with pytest.raises(ValueError, match="values"):
        parse_yaml(aliases + "- *a\n" * (n_more + 1))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 200_000, "levels deep"),
        ("[NaN]", "finite"),
        ("[-Infinity]", "finite"),
        ("[1e999]", "finite"),
        (f"[{'9' * 400}]", "finite|too large"),
        (f"[{'9' * 5_000}]", "finite"),
        ("{", "Expecting property"),
        (b"\xff", "utf-8"),
    ],
)
def test_json_beyond_a_limit_is_refused(text: str | bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_json(text)


def test_json_is_what_python_reads() -> None:
    content = {"a": [1, -2.5, 10**17, None, True, "ü"], "b": {}}
    assert parse_json(json.dumps(content)) == parse_json(json.dumps(content).encode()) == content


def test_no_more_of_a_file_is_read_than_may_be_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("[1, 2]")
    assert read_yaml(tmp_path / "a") == read_json(tmp_path / "a") == [1, 2]
    monkeypatch.setattr(documents, "MAX_BYTES", 5)
    monkeypatch.setattr(documents, "MAX_JSON_BYTES", 5)
    for reader in (read_yaml, read_json):
        with pytest.raises(ValueError, match="at most 5 bytes"):
            reader(tmp_path / "a")
