"""The backend: what it is called, and that a compiled function is the function."""

import os

import numpy as np

from recsweep.training import backend


def test_the_backend_is_the_one_that_was_asked_for() -> None:
    assert backend.name() == os.environ["KERAS_BACKEND"]


def test_a_compiled_function_gives_the_same_and_leaves_its_inputs() -> None:
    values = np.arange(4, dtype=np.float32)
    doubled = backend.compile_program(lambda x: x * 2)
    np.testing.assert_array_equal(np.asarray(doubled(values)), [0, 2, 4, 6])
    np.testing.assert_array_equal(values, [0, 1, 2, 3])
