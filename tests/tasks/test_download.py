"""A download fills the cache and nothing else."""

from pathlib import Path
from typing import Any

import pytest
from small_runs import SMALL_DATA

from recsweep.app import run


def test_a_download_says_how_large_the_split_is_and_writes_only_the_cache(
    config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(config("task=download", *SMALL_DATA), tmp_path / "out", [])
    assert capsys.readouterr().out.startswith("synthetic: ")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
