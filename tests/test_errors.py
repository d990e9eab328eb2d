"""Errors say which setting they are about."""

import pytest

from recsweep.errors import InputError, concerning
from recsweep.mistakes import explain


def test_an_error_is_printed_after_its_setting() -> None:
    with pytest.raises(InputError, match="x must be a file") as error, concerning("task.users"):
        raise InputError("x must be a file")
    assert explain(error.value, [], None) == "task.users: x must be a file"


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(ZeroDivisionError) as error, concerning("task.users"):
        raise ZeroDivisionError
    assert not hasattr(error.value, "__notes__")
