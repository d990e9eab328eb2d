"""What the layers promise each other: protocols, callbacks and the names of arrays."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
import scipy.sparse as sp
from pydantic import AfterValidator, ConfigDict, Field

from recsweep.seeds import Seeds

CSR: TypeAlias = sp.csr_matrix
"""Users × items, float32; a stored value is an interaction."""

State = dict[str, np.ndarray]
"""What a fitted model has learned, as named arrays."""

OnEpoch = Callable[[int, Mapping[str, float]], bool]
"""Called after each epoch with its index (from 0) and its losses; answers "continue?"."""

RunStatus = Literal["FINISHED", "PRUNED", "KILLED", "FAILED"]
"""How a tracked run ends: it went through, was pruned, was stopped, or broke."""


class Part(NamedTuple):
    """Which part of a sweep a run is.

    Args:
        trial: The trial's number.
        replicate: Which training of the winner for test; None = the trial itself.
    """

    trial: int
    replicate: int | None = None


Verdict = Callable[[Part, str], tuple[RunStatus, str] | None]
"""Part of a sweep and run id -> how the run ended and why; None = it continues."""

STRICT = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
"""How every class that configuration builds is validated: no unknown key, NaN, or `true` for 1."""


HomePath = Annotated[
    Path,
    Field(strict=False),
    AfterValidator(lambda path: Path(os.path.expanduser(path))),  # noqa: PTH111
]
"""A path of the configuration, `~` being the home; an unknown `~user` is merely not found."""


@runtime_checkable
class Recommender(Protocol):
    """A model that learns from interactions and scores every item for a user's history."""

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:
        """Learn from `train`; stop when `on_epoch` answers False.

        A model with a closed form calls `on_epoch` once, with epoch 0.
        """

    def score(self, history: CSR) -> Any:
        """Scores of shape users × items, higher = better, all finite; a NumPy or device array."""

    def state(self) -> State:
        """What `restore` needs to make the same scores again."""

    def restore(self, state: State) -> None:
        """Take over what another instance with the same settings has learned."""


@runtime_checkable
class HasLoss(Protocol):
    """A model that can say how well it explains whole rows."""

    def loss(self, rows: CSR) -> dict[str, float]:
        """Loss parts of `rows` without noise, means per user, under the training's names."""


class RunTracker(Protocol):
    """Where a run's settings, curves and files go. As a context it begins and ends the run."""

    run_id: str | None
    lost: str | None
    """Once a store went away in mid-run: the line that says so; the run continues untracked."""

    @property
    def ui_command(self) -> str:
        """What to type to look at the run; empty where it is not kept."""

    def named(self, name: str) -> Self:
        """Itself, under this name unless the configuration has given one."""

    def refuse_unusable(self) -> None:
        """Raise InputError, before long work, when nothing could be kept."""

    def kept_in(self, folder: Path) -> None:
        """Note what `task=upload` can upload if the store goes away; the first word counts."""

    def __enter__(self) -> Self:
        """Begin the run."""

    def __exit__(self, *error: Any) -> None:
        """End it unless it has ended: FINISHED, or why not."""

    def end(self, status: RunStatus, reason: str = "") -> None:
        """End the run now; leaving the context changes nothing more."""

    def log_settings(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Parameters and tags, once."""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """One value per name at an epoch."""

    def log_data(self, name: str, digest: str, profile: Mapping[str, int]) -> None:
        """The data set that the run read."""

    def log_artifacts(self, folder: Path) -> None:
        """Every file below `folder`."""

    def set_note(self, markdown: str) -> None:
        """The text on the run's page; replaces the one before."""


class SweepTracker(RunTracker, Protocol):
    """Where a whole sweep goes: its own run, and a nested one per trial."""

    views: Mapping[str, str]
    """What the UI can open of a sweep -> the link, once `share_view` was called."""
    store: Any
    """The tracking store, for what only a store can do; None = there is none."""

    def link(self, run_id: str) -> str:
        """What follows the UI's address in the address of a run's page; empty without a store."""

    def open_sweep(
        self, study: str, name: str, params: Mapping[str, Any], tags: Mapping[str, str]
    ) -> None:
        """Resume the parent run of a study, or create it with these parameters and tags."""

    def share_view(
        self, study: str, params: Mapping[str, Sequence[Any]], metrics: Sequence[str]
    ) -> None:
        """Let the UI show trials best first: searched key -> values tried, and metrics."""

    def close_sweep(self, status: RunStatus, reason: str = "") -> None:
        """End the parent run."""

    def nested(self, parent_run_id: str | None, study: str, part: Part, name: str) -> RunTracker:
        """One trial of a sweep, or a replicate of its winner; the run begins with the context."""

    def tidy(self, study: str, verdict: Verdict) -> int:
        """End the runs of trials that died, as `verdict` says; how many there were."""
