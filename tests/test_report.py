"""What a person sees of a run: progress, the table, the files."""

import fcntl
import io
import json
import os
import pty
import re
import select
import struct
import termios
import threading
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import yaml

from recsweep.evaluation import OF_CATALOG, PER_USER, Evaluation, definitions
from recsweep.experiment import Trial
from recsweep.report import Progress, metric_table, plot_curves, write_results

CUTOFFS = (10, 20, 50, 100)
CURVES: list[Mapping[str, float]] = [
    {
        "train/loss": 430.98, "train/kl": 0.5, "valid/loss": 418.7, "valid/ndcg@100": value,
        "time/epoch_s": 1.25, "time/evaluate_s": 0.5,
    }
    for value in (0.25, 0.5, 0.4)
]  # fmt: skip


def evaluation(n_users: int = 3, n_without_target: int = 0) -> Evaluation:
    """Every metric at every cut-off."""
    names = [f"{metric}@{k}" for metric in PER_USER for k in CUTOFFS]
    values = np.linspace(0, 1, n_users * len(names)).reshape(n_users, len(names))
    index = pd.Index([f"user {u}" for u in range(n_users)], name="user")
    of_catalog = {f"{metric}@{k}": 0.125 for metric in OF_CATALOG for k in CUTOFFS}
    return Evaluation(pd.DataFrame(values, index, names), of_catalog, n_without_target)


def trial() -> Trial:
    return Trial(best_epoch=1, valid=evaluation(), curves=CURVES, train_s=3.5)


# --- progress -----------------------------------------------------------------------------------


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
    metrics = {"valid/ndcg@100": 0.25, "time/epoch_s": 0.0, "time/evaluate_s": 0.04}
    with Progress(1, "ndcg@100", stream) as progress:
        progress(0, metrics)
    assert stream.getvalue() == "epoch   1/1  valid ndcg@100 0.2500 (best 0.2500)  0.0 s *\n"


def on_a_terminal(columns: int, term: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a real pseudo-terminal is sent while three epochs go by."""
    monkeypatch.setenv("TERM", term)
    for name in ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    sent = bytearray()

    def listen() -> None:
        try:
            while part := os.read(ours, 4096):
                sent.extend(part)
        except OSError:  # Linux says so when the other end is closed
            pass

    listener = threading.Thread(target=listen)
    listener.start()
    with (
        os.fdopen(theirs, "w", encoding="utf-8") as terminal,
        Progress(3, "ndcg@100", terminal) as progress,
    ):
        if progress._bar is not None:
            progress._bar.refresh()
        for epoch, metrics in enumerate(CURVES):
            progress(epoch, metrics)
    listener.join()
    os.close(ours)
    return sent.decode()


def test_on_a_terminal_a_bar_says_epoch_objective_best_and_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = on_a_terminal(80, "xterm", monkeypatch)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    frames = [frame.strip() for frame in re.split(r"[\r\n]+", plain) if frame.strip()]
    assert "compiling" in frames[0]
    assert re.match(r"epoch 0/3 .* left", frames[0])
    assert re.match(r"epoch 3/3 .* 0:00:00 left", frames[-1])
    assert frames[-1].endswith("ndcg@100 0.4000  best 0.5000 (epoch 2)")
    assert max(map(len, frames)) <= 80
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


# --- table --------------------------------------------------------------------------------------


def test_the_table_of_all_metrics_at_four_cutoffs_fits_into_100_columns() -> None:
    lines = metric_table(evaluation(), evaluation()).splitlines()
    assert max(map(len, lines)) <= 100
    assert len(lines) == 2 + 2 * (len(PER_USER) + len(OF_CATALOG)) + 1


def test_the_table_shows_mean_and_standard_error() -> None:
    frame = pd.DataFrame({"ndcg@10": [0.0, 1.0]}, pd.Index(["a", "b"], name="user"))
    one = Evaluation(frame, {"coverage@10": 0.25}, 0)
    table = metric_table(one, Evaluation(frame * 0.5, {"coverage@10": 0.75}, 0)).splitlines()
    # sample deviation of (0, 1) is √.5; over √2 users: 0.5
    assert [line.split() for line in table if "0." in line] == [
        ["ndcg", "validation", "0.5000", "±", "0.5000"],
        ["test", "0.2500", "±", "0.2500"],
        ["coverage", "validation", "0.2500"],
        ["test", "0.7500"],
    ]


def test_cutoffs_go_by_size_and_not_by_letters() -> None:
    header = metric_table(evaluation(), evaluation()).splitlines()[0]
    assert header.split() == ["@10", "@20", "@50", "@100"]


def test_users_who_are_left_out_are_counted_below_the_table() -> None:
    text = metric_table(evaluation(n_without_target=2), evaluation(n_without_target=1))
    assert "3 held-out users have nothing to be recommended" in text
    assert "left out" not in metric_table(evaluation(), evaluation())


# --- files --------------------------------------------------------------------------------------


def test_all_files_of_a_run_are_written(tmp_path: Path) -> None:
    write_results(tmp_path, {"seed": 1, "name": "β"}, ["seed=1"], trial(), evaluation(4))
    assert {file.name for file in tmp_path.iterdir()} == {
        "config.yaml", "overrides.yaml", "metric_definitions.yaml", "metrics.json", "curves.csv",
        "curves.png", "test_metrics_per_user.parquet", "valid_metrics_per_user.parquet",
    }  # fmt: skip
    read = {
        file.stem: yaml.safe_load(file.read_text(encoding="utf-8"))
        for file in tmp_path.glob("*.yaml")
    }
    assert read["config"] == {"seed": 1, "name": "β"}
    assert read["overrides"] == ["seed=1"]
    assert read["metric_definitions"] == definitions()
    curves = pd.read_csv(tmp_path / "curves.csv", index_col="epoch")
    assert list(curves.index) == [1, 2, 3]
    assert list(curves["valid/ndcg@100"]) == [0.25, 0.5, 0.4]
    per_user = pd.read_parquet(tmp_path / "test_metrics_per_user.parquet")
    pd.testing.assert_frame_equal(per_user, evaluation(4).per_user)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_metrics_are_json_for_every_reader_even_with_a_single_user(tmp_path: Path) -> None:
    write_results(tmp_path, {}, [], trial(), evaluation(1))

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    text = (tmp_path / "metrics.json").read_text(encoding="utf-8")
    metrics = json.loads(text, parse_constant=refuse)
    assert metrics["best_epoch"] == 2
    assert metrics["test"]["standard_error"]["ndcg@10"] is None
    assert metrics["test"]["n_users"] == 1
    assert metrics["valid"]["mean"] == evaluation().means


def test_one_epoch_is_no_curve(tmp_path: Path) -> None:
    single = Trial(best_epoch=0, valid=evaluation(), curves=CURVES[:1], train_s=0.1)
    write_results(tmp_path, {}, [], single, evaluation())
    assert not (tmp_path / "curves.png").exists()


def test_the_plot_has_the_metric_that_validation_chose_by(tmp_path: Path) -> None:
    curves = pd.DataFrame({"valid/ndcg@10": [0.1, 0.2], "valid/recall@10": [0.3, 0.4]}, [1, 2])
    with mpl.rc_context({"svg.fonttype": "none"}):  # text stays text
        for objective, other in (("recall@10", "ndcg@10"), ("ndcg@10", "recall@10")):
            plot_curves(curves, 2, objective, tmp_path / "curves.svg")
            text = (tmp_path / "curves.svg").read_text(encoding="utf-8")
            assert f">valid/{objective}<" in text
            assert f">valid/{other}<" not in text
