"""Threads that end together, one that runs alone, and what each of them prints."""

import io
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest

from recsweep.sweeps.execution import crew
from recsweep.sweeps.execution.crew import Crew, Gate, output_to

PATIENCE_S = 20.0
"""A thread that waits longer is in a deadlock."""


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "POLL_S", 0.01)


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.001)


# --- a crew ---------------------------------------------------------------------------------------


def test_a_crew_does_its_work_in_all_threads_at_once_and_sums_the_results() -> None:
    all_here, numbers = threading.Barrier(3), iter([1, 20, 300])

    def work() -> int:
        all_here.wait(PATIENCE_S)
        assert threading.current_thread() is not threading.main_thread()
        return next(numbers)

    own = Crew(3)
    assert own.run(work) == 321
    assert not own.is_halted


def test_a_crew_of_one_works_in_the_callers_thread() -> None:
    own = Crew(1)
    assert own.run(threading.get_ident) == threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        own.run(lambda: 1 // 0)


def test_an_error_halts_the_others_and_is_raised_once_they_have_ended() -> None:
    own, all_here, ended = Crew(3), threading.Barrier(3), []

    def work() -> int:
        number = all_here.wait(PATIENCE_S)
        if number == 0:
            raise ZeroDivisionError("the first")
        until(lambda: own.is_halted)
        time.sleep(0.05)
        ended.append(number)
        if number == 1:
            raise KeyError("a later one")
        return 1

    with pytest.raises(ZeroDivisionError, match="the first"):
        own.run(work)
    assert sorted(ended) == [1, 2]


def test_ctrl_c_halts_all_threads_and_waits_for_them() -> None:
    own, all_here, ended = Crew(3), threading.Barrier(3), list[bool]()

    def work() -> int:
        if all_here.wait(PATIENCE_S) == 0:
            time.sleep(0.05)  # the main thread waits
            signal.raise_signal(signal.SIGINT)
        until(lambda: own.is_halted)
        is_first = threading.current_thread().name == "slot 0"  # the one that is waited for
        time.sleep(0.3 if is_first else 0.05)
        ended.append(True)
        return 1

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            own.run(work)
        assert len(ended) == 3
    finally:
        signal.signal(signal.SIGINT, before)


# --- a gate ---------------------------------------------------------------------------------------


class Visitor:
    """A thread that passes a gate, stays until it is told to leave, and notes its steps.

    Args:
        gate: The gate.
        log: Gets its name and its steps.
        name: Its name.
        wants_alone: Once this is set, it wants to be alone; None = never.
    """

    def __init__(
        self, gate: Gate, log: list[str], name: str, wants_alone: threading.Event | None = None
    ) -> None:
        self._gate, self._log, self.name, self._wants_alone = gate, log, name, wants_alone
        self._may_leave = threading.Event()
        self._thread = threading.Thread(target=self._visit, daemon=True)
        self._thread.start()

    def _visit(self) -> None:
        with self._gate.share() as be_alone:
            self._log.append(f"{self.name} in")
            if self._wants_alone:
                assert self._wants_alone.wait(PATIENCE_S)
                be_alone()
                self._log.append(f"{self.name} alone")
            assert self._may_leave.wait(PATIENCE_S)
            self._log.append(f"{self.name} out")

    def leave(self) -> None:
        """Let it leave, and wait until it has."""
        self._may_leave.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "it is in a deadlock"


def at_once() -> threading.Event:
    """An event that has happened."""
    event = threading.Event()
    event.set()
    return event


def never(log: list[str], line: str) -> None:
    """Give threads a moment in which they must not write this line."""
    time.sleep(0.1)
    assert line not in log


def test_trials_pass_a_gate_together() -> None:
    gate, log = Gate(), list[str]()
    both = [Visitor(gate, log, name) for name in "ab"]
    until(lambda: len(log) == 2)
    assert sorted(log) == ["a in", "b in"]
    for visitor in both:
        visitor.leave()


def test_one_alone_waits_for_the_others_and_keeps_new_ones_out() -> None:
    gate, log = Gate(), list[str]()
    other = Visitor(gate, log, "other")
    until(lambda: "other in" in log)
    alone = Visitor(gate, log, "one", at_once())
    until(lambda: "one in" in log)
    never(log, "one alone")
    late = Visitor(gate, log, "late")
    never(log, "late in")  # else it might never be alone
    other.leave()
    until(lambda: "one alone" in log)
    never(log, "late in")
    alone.leave()
    until(lambda: "late in" in log)
    late.leave()
    assert log == ["other in", "one in", "other out", "one alone", "one out", "late in", "late out"]


def test_two_that_want_to_be_alone_are_so_one_after_the_other() -> None:
    gate, log = Gate(), list[str]()
    third = Visitor(gate, log, "third")
    until(lambda: "third in" in log)
    both_in = threading.Event()
    two = [Visitor(gate, log, name, both_in) for name in "ab"]
    until(lambda: {"a in", "b in"} <= set(log))
    both_in.set()
    third.leave()
    until(lambda: any(line.endswith("alone") for line in log))
    first, second = sorted(two, key=lambda one: f"{one.name} alone" not in log)
    never(log, f"{second.name} alone")
    first.leave()
    until(lambda: f"{second.name} alone" in log)
    second.leave()
    last = Visitor(gate, log, "last")
    until(lambda: "last in" in log)
    last.leave()


@pytest.mark.parametrize("is_alone", [False, True])
def test_a_gate_is_open_again_after_an_error(is_alone: bool) -> None:
    gate, log = Gate(), list[str]()

    def fail() -> None:
        with gate.share() as be_alone:
            if is_alone:
                be_alone()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    alone = Visitor(gate, log, "one", at_once())  # nobody is counted as inside
    until(lambda: "one alone" in log)
    alone.leave()
    other = Visitor(gate, log, "other")
    until(lambda: "other in" in log)
    other.leave()


# --- output ---------------------------------------------------------------------------------------


@contextmanager
def usual_output() -> Iterator[io.StringIO]:
    """Where all threads print unless they are told otherwise."""
    stream = io.StringIO()
    with redirect_stdout(stream), redirect_stderr(stream):
        yield stream


def test_each_thread_prints_to_its_own_streams_and_all_others_as_before() -> None:
    outs, errs = ([io.StringIO() for _ in range(3)] for _ in range(2))
    numbers, all_here = iter(range(3)), threading.Barrier(4)

    def work() -> None:
        number = next(numbers)
        with output_to(outs[number], errs[number]):
            all_here.wait(PATIENCE_S)
            print("said", number)  # noqa: T201
            print("noted", number, file=sys.stderr)  # noqa: T201
            all_here.wait(PATIENCE_S)
        print("done", number)  # noqa: T201

    threads = [threading.Thread(target=work) for _ in range(3)]
    with usual_output() as usual:
        for thread in threads:
            thread.start()
        all_here.wait(PATIENCE_S)
        print("elsewhere")  # noqa: T201
        all_here.wait(PATIENCE_S)
        for thread in threads:
            thread.join()
    assert [out.getvalue() for out in outs] == [f"said {i}\n" for i in range(3)]
    assert [err.getvalue() for err in errs] == [f"noted {i}\n" for i in range(3)]
    assert sorted(usual.getvalue().splitlines()) == ["done 0", "done 1", "done 2", "elsewhere"]


def test_a_threads_output_is_as_before_even_after_an_error() -> None:
    own, inner = io.StringIO(), io.StringIO()

    def fail() -> None:
        with output_to(own, own):
            with output_to(inner, inner):
                print("inner")  # noqa: T201
            print("own")  # noqa: T201
            print("own", file=sys.stderr)  # noqa: T201
            raise ZeroDivisionError

    with usual_output() as usual:
        with pytest.raises(ZeroDivisionError):
            fail()
        print("usual")  # noqa: T201
        print("usual", file=sys.stderr)  # noqa: T201
    assert inner.getvalue() == "inner\n"
    assert own.getvalue() == "own\nown\n"
    assert usual.getvalue() == "usual\nusual\n"


def test_the_streams_themselves_are_back_once_no_thread_has_its_own() -> None:
    own, is_inside, may_leave = io.StringIO(), threading.Event(), threading.Event()

    def stay() -> None:
        with output_to(own, own):
            is_inside.set()
            may_leave.wait(PATIENCE_S)
            print("late")  # noqa: T201

    with usual_output() as usual:
        thread = threading.Thread(target=stay)
        thread.start()
        assert is_inside.wait(PATIENCE_S)
        with output_to(own, own):
            print("early")  # noqa: T201
        assert sys.stdout is not usual  # the other thread needs it
        may_leave.set()
        thread.join(PATIENCE_S)
        assert sys.stdout is usual
        assert sys.stderr is usual
    assert own.getvalue() == "early\nlate\n"


def test_a_stream_is_that_of_the_thread_in_all_else() -> None:
    own = io.TextIOWrapper(io.BytesIO(), "latin-1")
    with usual_output() as usual:
        with output_to(own, own):
            assert sys.stdout.encoding == "latin-1"
            assert sys.stdout.buffer is own.buffer
        assert sys.stdout.encoding == usual.encoding
