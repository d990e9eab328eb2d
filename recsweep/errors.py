"""Exceptions that are caught by type."""

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Invalid user input; the message is the one line that the user will read.

    It says what must hold, what was found and what to do. The command line prints it
    without a traceback and exits with 1; a notebook sees an ordinary `ValueError`.
    """


class TrainingDivergedError(InputError):
    """A model whose loss, weights or scores are not finite: a sweep records it and continues."""


@contextmanager
def concerning(setting: str) -> Iterator[None]:
    """Make the command line print `setting:` before an InputError that is raised inside.

    Args:
        setting: What the user has set, such as `task.users`.
    """
    try:
        yield
    except InputError as error:
        error.add_note(setting)
        raise


class UnfitHostError(InputError):
    """This host must not work on a study, and another attempt would not change that."""
