"""What runs log in the background: nothing is lost, nothing is out of order, all of it is soon."""

import math
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Barrier, Event, Thread
from typing import Any

import pytest
from mlflow_runs import history, run_of, start, tracker

from recsweep.interfaces import Part
from recsweep.tracking import write_buffer
from recsweep.tracking.write_buffer import Entry, RunBuffer, log_batches, write_all

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy


def epoch(step: int, n_metrics: int = 1) -> Entry:
    return Entry(epochs=[(step, 7, {f"m{i}": float(i) for i in range(n_metrics)})])


def steps(entries: Sequence[Entry]) -> list[int]:
    return [step for entry in entries for step, _, _ in entry.epochs]


def buffer_of(write: Callable[[Sequence[Entry]], None]) -> RunBuffer:
    """A buffer that is flushed by its thread, too."""

    def flush() -> None:
        buffer.flush()

    buffer = RunBuffer(f"a store of {id(write)}", write, flush)
    return buffer


def of_slow_store() -> tuple[RunBuffer, list[int]]:
    """A buffer with a first epoch, and the steps that its store has, which takes a while."""
    written: list[int] = []

    def write(entries: Sequence[Entry]) -> None:
        time.sleep(0.1)
        written.extend(steps(entries))

    buffer = buffer_of(write)
    buffer.add(epoch(1))
    return buffer, written


def until(condition: Callable[[], bool], limit_s: float) -> float:
    """Seconds until it holds."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < limit_s
        time.sleep(0.02)
    return time.monotonic() - started


def test_a_slow_store_gets_a_pause_in_which_others_can_use_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(write_buffer, "FLUSH_S", 0.05)
    monkeypatch.setattr(write_buffer, "IDLE_SHARE", 1000)
    buffer, written = of_slow_store()
    until(lambda: written == [1], 10)
    buffer.add(epoch(2))
    time.sleep(1)
    assert written == [1]
    buffer.flush()
    assert written == [1, 2], "a run that ends does not wait for the pause"


@pytest.mark.extended
def test_the_pause_after_an_outage_is_limited_and_may_pass_while_nothing_is_logged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(write_buffer, "FLUSH_S", 0.05)
    monkeypatch.setattr(write_buffer, "IDLE_SHARE", 1000)
    monkeypatch.setattr(write_buffer, "LONGEST_PAUSE_S", 4.0)
    buffer, written = of_slow_store()
    until(lambda: written == [1], 10)
    buffer.add(epoch(2))
    assert until(lambda: written == [1, 2], 60) > 1
    time.sleep(4.5)
    buffer.add(epoch(3))
    assert until(lambda: written == [1, 2, 3], 60) < 3


# --- requests -----------------------------------------------------------------------------------


def test_one_request_carries_parameters_tags_and_metrics() -> None:
    entries = [
        Entry(params={"a": 1}, tags={"note": "first"}), epoch(1, 13), epoch(2, 13),
        Entry(params={"b": None}, tags={"note": "second", "x": "y"}),
    ]  # fmt: skip
    (batch,) = log_batches(entries)
    assert [(param.key, param.value) for param in batch["params"]] == [("a", "1"), ("b", "None")]
    assert [(tag.key, tag.value) for tag in batch["tags"]] == [("note", "second"), ("x", "y")]
    assert [metric.step for metric in batch["metrics"]] == [1] * 13 + [2] * 13
    assert {metric.timestamp for metric in batch["metrics"]} == {7}


@pytest.mark.parametrize(
    ("n_params", "n_epochs", "n_metrics", "expected"),
    [
        (0, 0, 0, []),
        (3, 0, 0, [0]),
        (0, 100, 10, [1000]),
        (0, 101, 10, [1000, 10]),
        (1, 100, 10, [990, 10]),
        (250, 100, 10, [900, 100]),  # of parameters, MLflow takes 100 at once
        (0, 3, 400, [800, 400]),
        (1, 1, 1000, [0, 1000]),
    ],
)
def test_a_request_has_as_many_whole_epochs_as_mlflow_takes(
    n_params: int, n_epochs: int, n_metrics: int, expected: list[int]
) -> None:
    params = Entry(params={f"p{i}": i for i in range(n_params)})
    batches = list(log_batches([params, *(epoch(i, n_metrics) for i in range(n_epochs))]))
    assert [len(batch["metrics"]) for batch in batches] == expected


# --- one buffer ---------------------------------------------------------------------------------


def test_an_interrupted_request_is_repeated() -> None:
    written: list[int] = []
    interrupts = iter([KeyboardInterrupt("Ctrl-C, twice")])

    def write(entries: Sequence[Entry]) -> None:
        for error in interrupts:
            raise error
        written.extend(steps(entries))

    buffer = buffer_of(write)
    buffer.add(epoch(1))
    with pytest.raises(KeyboardInterrupt):
        buffer.flush(epoch(2))
    assert written == []
    buffer.add(epoch(3))
    write_all()
    assert (written, buffer.is_empty) == ([1, 2, 3], True)


def test_what_cannot_be_written_is_dropped_and_not_tried_again() -> None:
    n_calls = []

    def write(entries: Sequence[Entry]) -> None:
        n_calls.append(len(entries))
        raise OSError("no space left")

    buffer = buffer_of(write)
    buffer.add(epoch(1))
    with pytest.raises(OSError, match="no space left"):
        buffer.flush()
    write_all()
    assert (n_calls, buffer.is_empty) == ([1], True)


def test_a_flush_waits_for_the_thread_and_writes_the_rest() -> None:
    written: list[int] = []
    begun, may_end = Event(), Event()

    def write(entries: Sequence[Entry]) -> None:
        if not begun.is_set():
            begun.set()
            assert may_end.wait(60)
        written.extend(steps(entries))

    buffer = buffer_of(write)
    buffer.add(epoch(1))
    assert begun.wait(60), "the thread writes"
    buffer.add(epoch(2))
    with pytest.raises(TimeoutError, match=r"did not respond within 0 s"):
        buffer.flush(wait_s=0.1)
    assert written == []
    may_end.set()
    buffer.flush(epoch(3))
    assert written == [1, 2, 3]


def test_a_large_buffer_is_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_buffer, "FLUSH_S", 3600.0)
    written: list[int] = []
    buffer = buffer_of(lambda entries: written.extend(steps(entries)))
    for step in range(99):
        buffer.add(epoch(step, 10))
    time.sleep(0.3)
    assert written == []
    buffer.add(epoch(99, 10))
    until(lambda: written == list(range(100)), 30)


# --- runs ---------------------------------------------------------------------------------------


def test_curves_appear_while_the_run_goes_on(store: str) -> None:
    with tracker(store) as one:
        for step in (1, 2):
            one.log_metrics({"valid/loss": step / 3}, step=step)
        assert history(one, "valid/loss") == []
        until(lambda: len(history(one, "valid/loss")) == 2, 60)
        one.log_metrics({"valid/loss": 1.0}, step=3)
        until(lambda: len(history(one, "valid/loss")) == 3, 60)


def test_a_call_takes_no_time(store: str) -> None:
    with tracker(store) as one:
        metrics = {f"valid/metric_{i}": i / 7 for i in range(15)}
        started = time.thread_time()
        for step in range(500):
            one.log_metrics(metrics, step=step)
        assert (time.thread_time() - started) / 500 < 0.0002
    assert len(history(one, "valid_metric_3")) == 500


def test_a_metric_has_the_time_of_its_epoch(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with tracker(store) as one:
        for at_s in (100.0, 200.5):
            monkeypatch.setattr(time, "time", lambda at_s=at_s: at_s)
            one.log_metrics({"a": at_s}, step=int(at_s))
        monkeypatch.undo()
    found = one.store.client.get_metric_history(one.run_id, "a")
    assert [metric.timestamp for metric in found] == [100_000, 200_500]


def test_what_comes_after_metrics_finds_them_written(store: str, tmp_path: Path) -> None:
    for finish in (
        lambda one: one.log_artifacts(tmp_path), lambda one: one.flush(),
        lambda one: one.end("FINISHED"),
    ):  # fmt: skip
        with tracker(store) as one:
            one.log_metrics({"a": 1.0}, step=1)
            one.set_note("a note")
            finish(one)
            assert history(one, "a") == [(1, 1.0)]
            assert run_of(one).data.tags["mlflow.note.content"] == "a note"


def test_a_run_that_breaks_off_keeps_its_metrics_even_after_a_second_ctrl_c(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = tracker(store)
    log_batch = one.store.client.log_batch

    def interrupted(*_: Any, **__: Any) -> None:
        monkeypatch.setattr(one.store.client, "log_batch", log_batch)
        raise KeyboardInterrupt("Ctrl-C, twice")

    def run(error: type[BaseException], is_repeated: bool) -> None:
        with one:
            one.log_metrics({"a": 1.0}, step=1)
            if is_repeated:
                monkeypatch.setattr(one.store.client, "log_batch", interrupted)
            raise error

    with pytest.raises(KeyboardInterrupt, match="twice"):
        run(KeyboardInterrupt, is_repeated=True)
    write_all()
    assert history(one, "a") == [(1, 1.0)]
    with pytest.raises(ZeroDivisionError):
        run(ZeroDivisionError, is_repeated=False)
    assert history(one, "a") == [(1, 1.0)]


N_THREADS, N_EPOCHS = 16, 50


def curve(trial: int) -> dict[int, dict[str, float]]:
    """Metrics of each epoch of a trial."""
    return {
        step: {f"valid/m{i}@{trial}": math.sin(trial * step + i) for i in range(12)}
        | {"epoch_s": step / 3, "test_se": math.nan if step == 7 else step / 9}
        for step in range(1, N_EPOCHS + 1)
    }


@pytest.mark.extended
def test_sixteen_threads_lose_nothing(store: str, capfd: pytest.CaptureFixture[str]) -> None:
    parent = tracker(store, experiment="threads")
    parent.open_sweep("threads", "a sweep", {}, {})
    trials = [parent.nested(parent.run_id, "threads", Part(i), f"#{i}") for i in range(N_THREADS)]

    def run(number: int) -> None:
        with trials[number] as trial:
            trial.log_settings({f"p{i}": number * i for i in range(40)}, {"t": f"{number}"})
            trial.log_data("ml-100k", f"{number:064}"[::-1], {"n_items": number})
            trial.set_note(f"trial {number}")
            for step, metrics in curve(number).items():
                trial.log_metrics(metrics, step=step)
                time.sleep(0.04)

    threads = [Thread(target=run, args=(number,)) for number in range(N_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert capfd.readouterr() == ("", "")
    for number, trial in enumerate(trials):
        assert trial.lost is None
        assert_kept(trial, number)


def assert_kept(trial: Any, number: int) -> None:
    """MLflow has exactly what the trial has logged."""
    run, expected = run_of(trial), curve(number)
    assert (run.info.status, run.data.tags["recsweep.state"]) == ("FINISHED", "complete")
    assert run.data.params == {f"p{i}": f"{number * i}" for i in range(40)}
    assert (run.data.tags["t"], run.data.tags["mlflow.note.content"]) == (
        f"{number}", f"trial {number}",
    )  # fmt: skip
    assert run.inputs.dataset_inputs[0].dataset.profile == f'{{"n_items": {number}}}'
    assert len(run.data.metrics) == 14
    for i in range(12):
        name = f"valid/m{i}@{number}"
        kept = history(trial, f"valid_m{i}_at_{number}")
        assert sorted(kept) == [(step, metrics[name]) for step, metrics in expected.items()]
    kept = history(trial, "epoch_s")
    assert sorted(kept) == [(step, float(f"{step / 3:.4g}")) for step in expected]
    odd = dict(history(trial, "test_se"))
    assert [step for step, value in odd.items() if math.isnan(value)] == [7]
    assert len(odd) == N_EPOCHS


def test_threads_that_log_the_same_new_data_set_do_not_lose_the_store(store: str) -> None:
    for name in ("first", "second", "third"):
        runs, at_once = [tracker(store) for _ in range(8)], Barrier(8)
        for one in runs:
            one.__enter__()

        def log(one: Any, name: str = name, at_once: Barrier = at_once) -> None:
            one.log_data(name, "f" * 36, {})
            at_once.wait(60)
            one.end("FINISHED")

        threads = [Thread(target=log, args=(one,)) for one in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [one.lost for one in runs] == [None] * 8
        assert [len(run_of(one).inputs.dataset_inputs) for one in runs] == [1] * 8


# --- processes ----------------------------------------------------------------------------------

OPEN_RUN = """
import os, signal, sys, time
from recsweep.tracking import MLflowTracker, write_buffer
write_buffer.FLUSH_S = 3600
one = MLflowTracker(uri=sys.argv[1], experiment="e", run_name="r")
one.__enter__()
print(one.run_id, flush=True)
for step in range(1, 4):
    one.log_metrics({"a": step / 7}, step=step)
"""
LOGGED = [(step, step / 7) for step in range(1, 4)]
ENDINGS = {
    "the end": ("", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "an error": ("raise ZeroDivisionError", 1),
    "Ctrl-C": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(9)", -signal.SIGINT),
}


@pytest.mark.extended
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_process_that_ends_writes_what_it_has(store: str, tmp_path: Path, ending: str) -> None:
    code, expected = ENDINGS[ending]
    process = start(tmp_path, OPEN_RUN + code, store)
    out, _ = process.communicate(timeout=300)
    one = tracker(store)
    one.run_id = out.strip()
    assert process.returncode == expected
    assert history(one, "a") == [(s, float(f"{v:.4g}")) for s, v in LOGGED]


FORKED = """
child = os.fork()
if child == 0:
    assert one._buffer.is_empty
    one.log_metrics({"of the child": 1.0}, step=1)
    assert not one._buffer.is_empty
    thread = one._buffer._writer._thread
    assert thread.is_alive(), "the child has a thread of its own"
    one._buffer.forget()
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
assert not one._buffer.is_empty
"""


@pytest.mark.extended
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_has_neither_entries_nor_a_dead_thread(store: str, tmp_path: Path) -> None:
    process = start(tmp_path, OPEN_RUN + FORKED, store)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    one = tracker(store)
    one.run_id = out.strip()
    assert history(one, "a") == [(s, float(f"{v:.4g}")) for s, v in LOGGED]
    assert set(run_of(one).data.metrics) == {"a"}, "once, and nothing of the child's"
