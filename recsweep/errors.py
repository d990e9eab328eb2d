"""The few exceptions that somebody catches."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message is the one line they will read.

    It says what must hold, what was found and what to do. The command line prints it
    without a traceback and exits with 1; a notebook sees an ordinary `ValueError`.
    """


class TrainingDivergedError(InputError):
    """A trial whose loss is no longer finite: a sweep records it and continues."""
