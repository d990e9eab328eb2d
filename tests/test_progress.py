"""Progress of a fit, on a terminal and elsewhere."""

import io
import os
import pty
import re
import select

import pytest
from fits import CURVES
from pseudo_terminal import frames, pseudo_terminal

from recsweep.progress import Progress


def test_without_a_terminal_every_epoch_is_one_line() -> None:
    stream = io.StringIO()
    with Progress(3, "ndcg@100", stream) as progress:
        answers = [progress(epoch, metrics) for epoch, metrics in enumerate(CURVES)]
    assert answers == [True, True, True]
    losses = "train loss 430.98  valid loss 418.70"
    assert stream.getvalue().splitlines() == [
        f"epoch   1/3  {losses}  valid ndcg@100 0.2500 (best 0.2500)  1.8 s *",
        f"epoch   2/3  {losses}  valid ndcg@100 0.5000 (best 0.5000)  1.8 s *",
        f"epoch   3/3  {losses}  valid ndcg@100 0.4000 (best 0.5000)  1.8 s",
    ]


def test_a_model_without_losses_has_lines_too() -> None:
    stream = io.StringIO()
    metrics = {"valid/ndcg@100": 0.25, "epoch_s": 0.0, "evaluate_s": 0.04}
    with Progress(1, "ndcg@100", stream) as progress:
        progress(0, metrics)
    assert stream.getvalue() == "epoch   1/1  valid ndcg@100 0.2500 (best 0.2500)  0.0 s *\n"


def on_a_terminal(columns: int, term: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a real pseudo-terminal is sent while three epochs go by."""
    with (
        pseudo_terminal(columns, term, monkeypatch) as (terminal, sent),
        Progress(3, "ndcg@100", terminal) as progress,
    ):
        if progress._bar is not None:
            progress._bar.refresh()
        for epoch, metrics in enumerate(CURVES):
            progress(epoch, metrics)
    return sent.decode()


def test_on_a_terminal_a_bar_says_epoch_objective_best_and_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = on_a_terminal(80, "xterm", monkeypatch)
    shown = frames(text)
    assert "compiling" in shown[0]
    assert re.match(r"epoch 0/3 .* left", shown[0])
    assert re.match(r"epoch 3/3 .* 0:00:00 left", shown[-1])
    assert shown[-1].endswith("ndcg@100 0.4000  best 0.5000 (epoch 2)")
    assert max(map(len, shown)) <= 80
    assert text.rstrip().endswith("\x1b[?25h"), "the cursor is shown again"


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    text = on_a_terminal(80, "dumb", monkeypatch)
    assert len(re.findall(r"^epoch   [123]/3", text, re.MULTILINE)) == 3
    assert "\x1b" not in text


def test_a_bar_that_is_broken_off_gives_the_cursor_back() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        with pytest.raises(KeyboardInterrupt), Progress(3, "ndcg@100", terminal):
            raise KeyboardInterrupt
        assert read_until(ours, "\x1b[?25h").startswith("\x1b[?25l")
    os.close(ours)


def read_until(terminal: int, ending: str) -> str:
    """What a terminal is sent up to an ending, in however many pieces it comes."""
    text = ""
    while not text.rstrip().endswith(ending):
        there, _, _ = select.select([terminal], [], [], 60)
        assert there, f"{ending!r} did not come, but {text!r}"
        text += os.read(terminal, 4096).decode()
    return text
