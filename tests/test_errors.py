"""Errors are one line of limited length, and say which setting they are about."""

import pickle

import pytest

from recsweep.errors import InputError, TrainingDivergedError, error_context
from recsweep.mistakes import explain


def test_an_error_is_printed_after_its_setting() -> None:
    with pytest.raises(InputError, match="x must be a file") as error, error_context("task.users"):
        raise InputError("x must be a file")
    assert explain(error.value, [], None) == "task.users: x must be a file"


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(ZeroDivisionError) as error, error_context("task.users"):
        raise ZeroDivisionError
    assert not hasattr(error.value, "__notes__")


def test_a_message_is_one_line_whatever_is_quoted_in_it() -> None:
    found = "clicks\r\n \x1b[31m.csv\u2028\tx  y"
    assert str(InputError(f"{found} must be a file")) == "clicks [31m.csv x  y must be a file"


def test_a_long_message_keeps_its_rule_and_its_advice() -> None:
    told = str(InputError(f"a file must be text, but is {'x' * 5000}; give another path"))
    assert told.startswith("a file must be text, but is xxx")
    assert told.endswith("xxx; give another path")
    assert len(told) < 1000
    assert str(InputError("x" * 900)) == "x" * 900


def test_an_error_of_another_process_is_the_same() -> None:
    error = TrainingDivergedError("the loss must be finite")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(again), str(again)) == (type(error), str(error))
