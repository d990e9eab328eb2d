"""Errors that stop a worker without failing its trial."""

from recsweep.errors import InputError


class StorageError(InputError):
    """A study's storage or locks are unusable: the worker stops, but its trial has not failed."""


class StorageLostError(StorageError):
    """The storage did not respond again within `sweep.outage_timeout_s`."""
