"""Keras as recsweep imports it, whichever module asks for it first."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recsweep import guarded_import

ROOT = Path(__file__).resolve().parent.parent
SETTLE = "environment.settle_own_process(); "
FIRST = [
    "environment.load_backend()",
    f"{SETTLE}import recsweep.models.multivae",
    f"{SETTLE}from importlib.util import find_spec; find_spec('keras'); import keras",
]
"""What imports Keras first in a process: recsweep itself, a model, who has looked for it before."""


def run_in_a_process(first: str, code: str, **changes: str) -> str:
    """What a process without Keras prints that imports it in one of the ways of `FIRST`."""
    start = "import os, sys\nfrom recsweep import environment\n"
    choose = 'environment.choose_backend(os.environ["KERAS_BACKEND"], 1)\n'
    done = subprocess.run(
        [sys.executable, "-c", f"{start}{choose}{first}\n{code}"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "jax", **changes},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("first", FIRST)
def test_tensorflow_is_loaded_without_a_remark(first: str) -> None:
    code = 'print(sys.modules["keras"].config.backend(), "tensorflow" in sys.modules)'
    assert run_in_a_process(first, code, KERAS_BACKEND="tensorflow") == "tensorflow True\n"


def test_what_is_no_remark_is_said() -> None:
    assert guarded_import._is_remark("I0000 00:00:17 27373 port.cc:153] oneDNN is on")
    assert not guarded_import._is_remark("E0000 00:00:17 27373 cuda.cc:1] no such device")


@pytest.mark.parametrize("first", FIRST)
def test_keras_is_loaded_without_what_it_does_not_need(first: str) -> None:
    code = """
from recsweep.guarded_import import NOT_NEEDED_BY_KERAS
assert "keras" in sys.modules
print(*sorted(set(NOT_NEEDED_BY_KERAS) & set(sys.modules)))
import h5py, matplotlib, sklearn
"""
    assert run_in_a_process(first, code) == "\n"


@pytest.mark.parametrize("first", FIRST)
def test_settings_of_keras_change_nothing(tmp_path: Path, first: str) -> None:
    settings = '{"floatx": "float16", "epsilon": 0.1}' if first != FIRST[0] else '{"floatx": "bf"}'
    (tmp_path / "keras.json").write_text(settings, encoding="utf-8")
    code = """
import keras
print(keras.config.floatx(), keras.config.epsilon(), os.environ["KERAS_HOME"])
"""
    assert run_in_a_process(first, code, KERAS_HOME=str(tmp_path)) == f"float32 1e-07 {tmp_path}\n"


def test_a_sweep_does_not_read_the_settings_of_keras(tmp_path: Path) -> None:
    own = tmp_path / "home" / ".keras" / "keras.json"
    own.parent.mkdir(parents=True)
    own.write_text('{"floatx": "float16", "backend": "none"}', encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if name != "KERAS_HOME"}
    command = [
        "-m", "model=multivae", "data=synthetic", "model.n_epochs=1", "sweep.n_trials=1",
        "sweep.final_seeds=0", "tracking=off",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "recsweep", *command], cwd=tmp_path, timeout=300,
        env={**inherited, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path / "home")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_an_import_draws_no_random_numbers_and_is_prepared() -> None:
    code = """
import random
import numpy as np
from recsweep.guarded_import import guard_keras
guard_keras(lambda: print("prepared"))
random.seed(1), np.random.seed(1)
before = random.getstate(), np.random.get_state()[1].tolist()
import keras
print(before == (random.getstate(), np.random.get_state()[1].tolist()))
"""
    assert run_in_a_process("", code) == "prepared\nTrue\n"


def test_an_import_that_failed_is_guarded_when_it_is_tried_again() -> None:
    code = """
from recsweep.guarded_import import NOT_NEEDED_BY_KERAS
sys.modules["jax"] = None
try:
    import keras
except ImportError:
    del sys.modules["jax"]
    for name in [name for name in sys.modules if name.partition(".")[0] == "keras"]:
        del sys.modules[name]
import keras
print(*sorted(set(NOT_NEEDED_BY_KERAS) & set(sys.modules)))
"""
    assert run_in_a_process("environment.settle_own_process()", code) == "\n"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there are no such signals")
@pytest.mark.parametrize("number", guarded_import.HELD)
def test_signals_wait_for_the_end_of_an_import(number: int) -> None:
    handled: list[int] = []
    before = signal.signal(number, lambda number, _frame: handled.append(number))
    try:
        with guarded_import._signals_held():
            for _ in range(2):
                signal.raise_signal(number)
            assert handled == []
        assert handled == [number]
    finally:
        signal.signal(number, before)


def test_ctrl_c_during_an_import_is_handled_after_it() -> None:
    code = """
import signal
from recsweep.guarded_import import guard_keras
guard_keras(lambda: signal.raise_signal(signal.SIGINT))
try:
    import keras
except KeyboardInterrupt:
    print(hasattr(sys.modules["jax"], "jit"))
"""
    assert run_in_a_process("", code) == "True\n"


def test_a_calling_programs_keras_is_its_own() -> None:
    code = "print([type(each).__name__ for each in sys.meta_path if 'recsweep' in str(type(each))])"
    choose = 'environment.choose_for_children("jax", 1); environment.choose_backend("jax", 1)'
    assert run_in_a_process(choose, code) == "[]\n"


def test_a_guard_is_set_once_and_gone_after_the_import() -> None:
    code = """
from recsweep.guarded_import import _Finder, guard_keras
def count():
    return sum(isinstance(each, _Finder) for each in sys.meta_path)
guard_keras(lambda: print("once"))
guard_keras(lambda: print("again"))
print(count())
import keras
guard_keras(lambda: print("too late"))
print(count())
"""
    assert run_in_a_process("", code) == "1\nonce\n0\n"
