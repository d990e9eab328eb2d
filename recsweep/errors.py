"""Exceptions that are caught by type."""


class InputError(ValueError):
    """Invalid user input; the message is the one line that the user will read.

    It says what must hold, what was found and what to do. The command line prints it
    without a traceback and exits with 1; a notebook sees an ordinary `ValueError`.
    """


class TrainingDivergedError(InputError):
    """A trial whose loss is no longer finite: a sweep records it and continues."""
