"""Files of an earlier study in a new study's folder are refused: they would pass for its own."""

import shlex
from pathlib import Path

from recsweep.errors import InputError
from recsweep.run_files import TRIALS, WINNER, read_summary


def has_trainings(folder: Path) -> bool:
    """Whether a study's folder holds trials or trainings of a winner."""
    return any(any((folder / name).glob("[0-9]*")) for name in (TRIALS, WINNER))


def refuse_leftovers(study: str, folder: Path) -> None:
    """Refuse to begin a study in a folder with trainings.

    They belong to a study whose journal was deleted, or whose trials are in another storage.

    Args:
        study: The new study's name.
        folder: Its folder.

    Raises:
        InputError: Always.
    """
    storage = storage_of(folder)
    told = f"to resume that one add {storage}" if storage else "move the folder away"
    raise InputError(
        f"study {study} has no trials yet, but its folder {folder} has those of an earlier one; "
        f"{told}, or choose another name with study=NAME"
    )


def storage_of(folder: Path) -> str:
    """`sweep.storage=…` from a study's resume command, without password; empty = not there."""
    command = shlex.split(read_summary(folder).get("resume", ""))
    words = (shlex.quote(word) for word in command if word.startswith("sweep.storage="))
    return next(words, "")
