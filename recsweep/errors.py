"""Exceptions that are caught by type."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

CONTROLS = re.compile(r"[\s\0-\x1f\x7f-\x9f]*[\0-\x1f\x7f-\x9f\u2028\u2029][\s\0-\x1f\x7f-\x9f]*")
"""Line breaks and what else a terminal would obey, with the white space around it."""
BEGINNING, END = 600, 300
"""Characters that are kept of a longer message, which begins with the rule and ends with advice."""


class InputError(ValueError):
    """Invalid user input; the message is the one line that the user will read.

    It says what is wrong, what was found and what to do. The command line prints it
    without a traceback and exits with 1; a notebook sees an ordinary `ValueError`.

    Args:
        message: May have texts of others in it: it is made one line of limited length.
    """

    def __init__(self, message: object = "") -> None:
        line = CONTROLS.sub(" ", str(message))
        is_long = len(line) > BEGINNING + END
        super().__init__(f"{line[:BEGINNING]} … {line[-END:]}" if is_long else line)


class TrainingDivergedError(InputError):
    """A model whose loss, weights or scores are not finite: a sweep records it and continues."""


@contextmanager
def error_context(setting: str) -> Iterator[None]:
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
