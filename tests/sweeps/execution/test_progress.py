"""What a person sees while workers run, told from real studies."""

import io
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
from pseudo_terminal import frames, pseudo_terminal
from studies import COMPLETE, FAIL, PRUNED, RUNNING, add, make_study

from recsweep.sweeps.execution.progress import SweepProgress, best_line, status_parts
from recsweep.sweeps.study.status import StudyStatus

BEGUN = "{} done; starting workers: the first trial of each imports and compiles"
PARAMETERS = "β=.31 d=.5 hidden_dims=[600]"


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return make_study(tmp_path / "vae")


def looks_at(study: optuna.Study, n_trials: int = 30) -> Callable[[], StudyStatus]:
    return lambda: StudyStatus.of(study, n_trials)


def until(condition: Callable[[], bool]) -> None:
    """Wait for the thread that looks."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.005)


def lines_of(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


# --- words ----------------------------------------------------------------------------------------


def test_the_status_counts_what_is_and_what_is_missing(study: optuna.Study) -> None:
    for state, values, wall_s in ((COMPLETE, [0.4], 60.0), (PRUNED, [0.3], 20.0), (FAIL, None, 1)):
        add(study, state, values, wall_s=wall_s)
    add(study, RUNNING)
    assert status_parts(StudyStatus.of(study, 30)) == [
        "3 of 30 done", "1 running", "1 pruned", "1 failed", "about 12 min left"
    ]  # fmt: skip
    assert status_parts(StudyStatus.of(study, 30, lambda _: False))[1:5] == [
        "0 running", "1 pruned", "1 failed", "1 lost"
    ]  # fmt: skip
    assert status_parts(StudyStatus.of(study, 3))[-1] == "1 failed", "nothing is left to wait for"


def test_the_best_trial_is_told_with_its_parameters(study: optuna.Study) -> None:
    assert best_line(StudyStatus.of(study, 30)) == "no trial is complete yet"
    add(study, COMPLETE, [0.41234], beta=0.31)
    assert best_line(StudyStatus.of(study, 30)) == f"best ndcg@100 0.4123 (trial 0: {PARAMETERS})"


def test_of_several_objectives_the_best_in_each_is_told(tmp_path: Path) -> None:
    study = make_study(tmp_path / "vae", "ndcg@100", "train_s")
    for values in ([0.3, 1.0], [0.5, 5.0], [0.1, 9.0]):
        add(study, COMPLETE, values)
    assert best_line(StudyStatus.of(study, 30)) == (
        "2 on the Pareto front, best ndcg@100 0.5000 (trial 1), train_s 1.0 (trial 0)"
    )


# --- lines ----------------------------------------------------------------------------------------


def test_without_a_terminal_every_finished_trial_is_one_line(study: optuna.Study) -> None:
    stream = io.StringIO()
    trials = (
        (COMPLETE, [0.4123], {"best_epoch": 31, "wall_s": 94.0}),
        (PRUNED, [0.3811], {"n_epochs": 12, "best_epoch": 9, "wall_s": 26.0,
                            "metrics": {"ndcg@100": 0.3954}}),
        (FAIL, None, {"reason": "the loss is no longer finite", "wall_s": 3.0}),
        (COMPLETE, [0.5], {"best_epoch": 7, "wall_s": 77.0}),
    )  # fmt: skip
    with SweepProgress(looks_at(study), stream, every_s=0.01):
        for n_lines, (state, values, noted) in enumerate(trials, 2):
            add(study, state, values, beta=0.31, **noted)
            until(lambda n=n_lines: len(lines_of(stream)) == n)
    best = "ndcg@100 0.4123  (best 0.4123, trial 0)"
    assert lines_of(stream) == [
        BEGUN.format("0 of 30"),
        f"trial  0 complete, best epoch 31  {best}  2 min; 1 of 30 done",
        "trial  1 pruned at epoch 12, best epoch 9  ndcg@100 0.3954  (best 0.4123, trial 0)  26 s; "
        "2 of 30 done, about 28 min left",
        "trial  2 failed (the loss is no longer finite)  (best 0.4123, trial 0)  3 s; "
        "3 of 30 done, about 18 min left",
        "trial  3 complete, best epoch 7  ndcg@100 0.5000  (best 0.5000, trial 3)  77 s; "
        "4 of 30 done, about 22 min left",
        "4 of 30 done · 0 running · 1 pruned · 1 failed · about 22 min left · "
        f"best ndcg@100 0.5000 (trial 3: {PARAMETERS})",
    ]


def test_what_was_finished_before_is_no_news(study: optuna.Study) -> None:
    stream = io.StringIO()
    add(study, COMPLETE, [0.4], wall_s=1.0)
    with SweepProgress(looks_at(study), stream, every_s=0.01):
        add(study, COMPLETE, [0.3], best_epoch=2, wall_s=1.0)
    begun, *lines = lines_of(stream)
    assert begun == BEGUN.format("1 of 30")
    assert [line[:8] for line in lines] == ["trial  1", "2 of 30 "]


def test_where_all_is_done_no_worker_is_announced(study: optuna.Study) -> None:
    add(study, COMPLETE, [0.4], wall_s=1.0)
    with SweepProgress(looks_at(study, 1), stream := io.StringIO(), every_s=60):
        pass
    assert [line[:11] for line in lines_of(stream)] == ["1 of 1 done"]


def test_trials_that_end_before_the_last_look_are_told(study: optuna.Study) -> None:
    stream = io.StringIO()
    with SweepProgress(looks_at(study, 2), stream, every_s=60):
        for _ in range(2):
            add(study, PRUNED, [0.3], n_epochs=1, wall_s=1.0)
    assert [line.rpartition("; ")[2] for line in lines_of(stream)[1:3]] == [
        "1 of 2 done", "2 of 2 done"
    ]  # fmt: skip


def test_the_best_trial_of_a_line_is_one_that_had_its_line(study: optuna.Study) -> None:
    stream = io.StringIO()
    with SweepProgress(looks_at(study, 3), stream, every_s=60):
        for value in (0.3, 0.2, 0.4):
            add(study, COMPLETE, [value], best_epoch=1, wall_s=1.0)
    found = [re.findall(r"\((best .*?)\)", line) for line in lines_of(stream)[1:4]]
    assert found == [["best 0.3000, trial 0"], ["best 0.3000, trial 0"], ["best 0.4000, trial 2"]]


def test_after_an_interruption_the_last_word_is_the_sweeps(study: optuna.Study) -> None:
    stream = io.StringIO()
    with SweepProgress(looks_at(study, 2), stream, 60, is_interrupted=lambda: True):
        add(study, COMPLETE, [0.4], best_epoch=1, wall_s=1.0)
    assert lines_of(stream)[-1].startswith("trial 0 complete")


def test_on_the_front_of_several_objectives_is_said(tmp_path: Path) -> None:
    study, stream = make_study(tmp_path / "vae", "ndcg@100", "train_s"), io.StringIO()
    with SweepProgress(looks_at(study, 2), stream, every_s=60):
        add(study, COMPLETE, [0.3, 1.0], best_epoch=3, wall_s=2.0)
        add(study, COMPLETE, [0.2, 2.0], best_epoch=3, wall_s=2.0)
    first, second = lines_of(stream)[1:3]
    values = "ndcg@100 0.3000, train_s 1.0  (on the Pareto front)"
    assert first == f"trial 0 complete, best epoch 3  {values}  2 s; 1 of 2 done"
    assert "front" not in second


def test_a_storage_that_is_away_for_a_while_changes_nothing(study: optuna.Study) -> None:
    n_failures = 0

    def look() -> StudyStatus:
        nonlocal n_failures
        if study.user_attrs.get("is_away"):
            n_failures += 1
            raise ConnectionError("gone")
        return StudyStatus.of(study, 2)

    stream = io.StringIO()
    study.set_user_attr("is_away", True)
    with SweepProgress(look, stream, every_s=0.01) as progress:
        until(lambda: n_failures > 2)
        study.set_user_attr("is_away", False)
        until(lambda: progress.status is not None)
        add(study, COMPLETE, [0.4], best_epoch=1, wall_s=1.0)
        until(lambda: len(lines_of(stream)) == 1)
        study.set_user_attr("is_away", True)
    assert lines_of(stream)[-1].startswith("1 of 2 done · 0 running · 0 pruned · 0 failed")


def test_a_reader_who_has_gone_does_not_end_the_sweep(study: optuna.Study) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with suppress(BrokenPipeError), os.fdopen(writing, "w") as stream:  # closing it says so too
        with SweepProgress(looks_at(study), stream, every_s=0.01) as progress:
            for n_finished in (1, 2):
                add(study, PRUNED, [0.3], n_epochs=1, wall_s=1.0)
                until(lambda n=n_finished: progress.status.n_finished == n)
        assert not progress._thread.is_alive()
        with pytest.raises(BrokenPipeError):
            stream.flush()


# --- terminal -------------------------------------------------------------------------------------


def on_a_terminal(
    study: optuna.Study, columns: int, term: str, monkeypatch: pytest.MonkeyPatch, **how: Any
) -> str:
    """What a real pseudo-terminal is sent while two trials end."""
    with pseudo_terminal(columns, term, monkeypatch) as (terminal, sent):
        monkeypatch.setenv("COLUMNS", str(columns))
        with SweepProgress(looks_at(study), terminal, every_s=0.02, **how) as progress:
            for n_finished, value in enumerate((0.3, 0.4123), 1):
                add(study, COMPLETE, [value], beta=0.31, best_epoch=3, wall_s=26.0)
                until(lambda n=n_finished: progress.status.n_finished == n)
    return sent.decode()


@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal_two_lines_say_everything(
    study: optuna.Study, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = on_a_terminal(study, columns, "xterm", monkeypatch)
    shown = frames(text)
    assert re.match(r"0 of 30 done ━+ 0 running · 0 pruned · 0 failed$", shown[0])
    assert shown[1] == "no trial is complete yet"
    left = "0 running · 0 pruned · 0 failed · about 12 min left"
    assert re.match(rf"2 of 30 done ━+[╸╺]?━+ {left}$", shown[-2])
    assert shown[-1] == f"best ndcg@100 0.4123 (trial 1: {PARAMETERS})"
    assert max(map(len, shown)) == columns
    assert text.rstrip().endswith("\x1b[?25h"), "the cursor is shown again"


@pytest.mark.parametrize("is_interrupted", [True, False])
def test_an_interruption_erases_the_two_lines(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch, is_interrupted: bool
) -> None:
    how = {"is_interrupted": lambda: is_interrupted}
    text = on_a_terminal(study, 80, "xterm", monkeypatch, **how)
    assert text.endswith("\x1b[1A\x1b[2K" * 2) == is_interrupted


def test_a_narrow_terminal_loses_the_last_parameters(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = frames(on_a_terminal(study, 50, "xterm", monkeypatch))
    assert shown[-1] == "best ndcg@100 0.4123 (trial 1: β=.31 d=.5 hidden_…"
    assert max(map(len, shown)) == 50


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = on_a_terminal(study, 80, "dumb", monkeypatch)
    assert len(re.findall(r"^trial  [01] complete, best epoch 3", text, re.MULTILINE)) == 2
    assert "\x1b" not in text
