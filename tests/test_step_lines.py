"""When a long computation says how far it is."""

import pytest

from recsweep import step_lines
from recsweep.step_lines import report_progress


def test_a_line_comes_every_half_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = iter([100.0, 100.0, 120.0, 140.0, 160.0])  # the start, then before each block
    monkeypatch.setattr(step_lines.time, "monotonic", lambda: next(seconds))
    assert list(report_progress(range(0, 40, 10), "blocks of mine")) == [0, 10, 20, 30]
    assert capsys.readouterr().err == "blocks of mine: 2 of 4 blocks, 40 s left\n"
