"""What stops a worker without its trial having failed."""

from recsweep.errors import InputError


class StorageError(InputError):
    """A study's storage or locks cannot be used: its worker stops, the trial has not failed."""
