"""Compiled programs that are kept, pushed out, and let go with all that they hold."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from keras import ops

from recsweep.training import programs
from recsweep.training.backend import compile_program, name
from recsweep.training.programs import call_program


@pytest.fixture(autouse=True)
def _room_for_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_PROGRAMS", {})
    monkeypatch.setattr(programs, "MAX_PROGRAMS", 3)


class Maker:
    """Makes programs that double, and remembers those that are still there."""

    def __init__(self) -> None:
        self.n_made = 0
        self.alive: weakref.WeakSet[Any] = weakref.WeakSet()

    def __call__(self) -> Callable[..., Any]:
        def double(x: Any) -> Any:
            return ops.multiply(x, 2)

        self.n_made += 1
        self.alive.add(double)
        return compile_program(double)

    def double(self, length: int, key: str = "double") -> None:
        x = np.arange(length, dtype=np.float32)
        assert np.asarray(call_program(key, self, x)).tolist() == (2 * x).tolist()


def test_a_program_is_made_once_for_each_key_shape_and_type() -> None:
    maker = Maker()
    for _ in range(2):
        maker.double(5)
    assert maker.n_made == 1
    maker.double(6)
    maker.double(5, key="other")
    call_program("double", maker, np.arange(5))
    assert maker.n_made == 4


def test_the_one_that_was_not_used_for_longest_goes() -> None:
    maker = Maker()
    for length in (1, 2, 3, 1, 4):  # 2 goes
        maker.double(length)
    assert maker.n_made == 4
    for length in (1, 3, 4):
        maker.double(length)
    assert maker.n_made == 4
    maker.double(2)
    assert maker.n_made == 5


def n_executables() -> int:
    import jax

    return len(jax.devices()[0].client.live_executables())


def test_whatever_shapes_come_only_three_programs_stay() -> None:
    maker = Maker()
    maker.double(1)
    before = n_executables() if name() == "jax" else 0
    for length in range(2, 20):
        maker.double(length)
    gc.collect()
    assert maker.n_made == 19
    assert len(maker.alive) == 3
    if name() == "jax":
        assert n_executables() - before == 2


@pytest.mark.extended
@pytest.mark.skipif(name() != "jax", reason="TensorFlow keeps no executables of operations")
def test_executables_of_single_operations_are_let_go_once_they_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import jax

    maker, key = Maker(), jax.random.key(1)
    monkeypatch.setattr(programs, "MAX_EXECUTABLES", n_executables() + 12)
    maker.double(3)
    before = n_executables()
    jax.random.uniform(key, (1000,))
    programs.limit_executables()
    assert before < n_executables() <= programs.MAX_EXECUTABLES
    for length in range(1001, 1012):
        jax.random.uniform(key, (length,))
    assert n_executables() > programs.MAX_EXECUTABLES
    programs.limit_executables()
    assert n_executables() < 10
    assert maker.n_made == 1
    maker.double(3)
    assert maker.n_made == 2
