"""Damaged content, and what must come of it: a valid object, or an error of one line.

`RECSWEEP_FUZZ_EXAMPLES=5000` gives each test that many cases, drawn anew each time; without it
they are the same in every run.
"""

import copy
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from recsweep.errors import InputError

N_SEARCHED = int(os.environ.get("RECSWEEP_FUZZ_EXAMPLES", "0"))
COUNTS: Counter[str] = Counter()
"""Cases of this session by what came of them."""
PHASES = (Phase.generate, Phase.shrink) if N_SEARCHED > 1_000 else (Phase.generate,)
"""A smaller case is looked for only where there is time."""
LONGEST_S = 10
TOKENS = [
    b"\n", b"\r", b"\r\n", b",", b"::", b"\t", b" ", b'"', b"'", b"\0", b"\xff\xfe",
    b"\xef\xbb\xbf", b"\x80",
    b"1e999", b"-1", b"nan", b"inf", b"0x10", b"9" * 40, b"1.5", b"null", b"true", b"[]",
    b"{}", b"- ", b": ", b"&a [*a]", b"!!python/object/apply:os.getcwd []", b"[" * 3000,
    b"2024-13-45", b"user", b"item,user", "é".encode(), "\U0001f600".encode(), b"\\ud800", b"../",
]  # fmt: skip
"""What damage is likely to find something with."""
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-3, 3), st.floats(), st.text(max_size=8),
    st.sampled_from([10**30, -0.0, 1e300, "", "nan", "1", "a" * 2000, "\ud800", "${seed}"]),
    st.lists(st.integers(0, 3), max_size=3), st.dictionaries(st.text(max_size=3), st.none()),
)  # fmt: skip
"""Values as YAML and JSON have them."""


class Content(bytes):
    """Bytes that a report shows the first of."""

    def __repr__(self) -> str:
        return f"{bytes(self[:400])!r} ({len(self)} bytes)"


@st.composite
def damaged(draw: st.DrawFn, *originals: bytes) -> bytes:
    """One of the originals, changed in up to four places, or something else entirely."""
    if draw(st.integers(0, 15)) == 0:
        return draw(
            st.binary(max_size=80)
            | st.text(max_size=80).map(lambda t: t.encode("utf-8", "replace"))
        )
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content)))
        until = min(at + draw(st.integers(0, 12)), len(content))
        change = draw(st.sampled_from(["flip", "token", "drop", "repeat", "cut"]))
        if change == "flip" and content:
            content[min(at, len(content) - 1)] ^= 1 << draw(st.integers(0, 7))
        elif change == "token":
            content[at:until] = draw(st.sampled_from(TOKENS))
        elif change == "drop":
            del content[at:until]
        elif change == "repeat":
            content[at:at] = content[at:until]
        elif change == "cut":
            del content[at:]
    return Content(content)


@st.composite
def changed_tree(draw: st.DrawFn, tree: Any) -> Any:
    """A tree of mappings and lists in which up to three nodes are other, gone or renamed."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(0, 3))):
        holders = [node for node in _nodes(tree) if node]
        if not holders:
            break
        holder = draw(st.sampled_from(holders))
        key = draw(
            st.sampled_from(list(holder) if isinstance(holder, dict) else range(len(holder)))
        )
        change = draw(st.sampled_from(["value", "value", "gone", "renamed"]))
        if change == "value":
            holder[key] = draw(PLAIN)
        elif change == "gone":
            del holder[key]
        elif isinstance(holder, dict):
            holder[draw(st.text(max_size=5))] = holder.pop(key)
    return draw(PLAIN) if draw(st.integers(0, 30)) == 0 else tree


def _nodes(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict | list):
        yield tree
        for child in tree.values() if isinstance(tree, dict) else tree:
            yield from _nodes(child)


def hold(cases: st.SearchStrategy[Any], act: Callable[[Any], object], n: int, folder: Path) -> None:
    """Hold `act` to its promise: it returns, or raises an InputError of one short line.

    Args:
        cases: What it is called with, one after another.
        act: Reads or builds.
        n: Number of cases.
        folder: Where it reads and writes; no unfinished file may be left there.
    """

    @settings(
        max_examples=N_SEARCHED or n, derandomize=not N_SEARCHED, database=None, deadline=None,
        suppress_health_check=list(HealthCheck), phases=PHASES,
    )  # fmt: skip
    @given(cases)
    def case(given: Any) -> None:
        COUNTS[outcome(act, given, folder)] += 1

    case()


def outcome(act: Callable[[Any], object], given: Any, folder: Path) -> str:
    try:
        with _at_most(LONGEST_S):
            act(given)
    except InputError as error:
        assert_one_line(error)
        outcome = "refused"
    else:
        outcome = "valid"
    assert not list(folder.rglob("*.tmp")), "a partial file is left"
    return outcome


def assert_one_line(error: InputError) -> None:
    line = ": ".join([*getattr(error, "__notes__", []), str(error)])
    assert "\n" not in line
    assert 0 < len(line) < 1000


def all_of(steps: Sequence[Callable[[], object]]) -> None:
    """Every step, also after one that refuses; the first refusal is raised at the end."""
    first: InputError | None = None
    for step in steps:
        try:
            step()
        except InputError as error:
            assert_one_line(error)
            first = first or error
    if first:
        raise first


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Fail after so long: of computing, since a busy machine's disk may stall, or 12 × that."""

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise AssertionError(f"it took more than {seconds} s")

    timers = ((signal.SIGPROF, signal.ITIMER_PROF, 1), (signal.SIGALRM, signal.ITIMER_REAL, 12))
    before = [signal.signal(number, stop) for number, _, _ in timers]
    for _, timer, times in timers:
        signal.setitimer(timer, times * seconds)
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)
