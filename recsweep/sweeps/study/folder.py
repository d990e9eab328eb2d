"""What lies in a study's folder: trials/NNNN, winner/NNNN/replicate-N, and `results`."""

from pathlib import Path

SAID = "said.txt"
"""What the winner's last training said, in its folder."""


def trial_folder(folder: str | Path, number: int) -> Path:
    """Where a trial's log, configuration and curves are."""
    return Path(folder) / "trials" / f"{number:04d}"
