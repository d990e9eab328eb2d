"""Interfaces between the layers: protocols, callbacks and the names of arrays."""

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
import scipy.sparse as sp
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from recsweep.seeds import Seeds

CSR: TypeAlias = sp.csr_matrix
"""Users × items, float32; a stored value is an interaction."""

Tensor: TypeAlias = Any
"""An array of the backend, JAX's or TensorFlow's, traced or not; or a NumPy array."""

LossInputs = Mapping[str, Tensor]
"""What a loss is given beside its batch, by name, such as `beta` and `l2`."""

LossParts = dict[str, Tensor]
"""A loss and the parts that it is the sum of, as scalars by name; `loss` is the total."""

State = dict[str, np.ndarray]
"""The state of a fitted model, as named arrays."""

Shapes = Mapping[str, tuple[int | str, ...]]
"""The arrays of a state and their shapes.

A length that is a word, such as `users`, may be any, the same wherever the word stands; `users+1`
is one more.
"""

OnEpoch = Callable[[int, Mapping[str, float]], bool]
"""Called after each epoch with its index (from 0) and its losses; returns "continue?"."""

RunStatus = Literal["FINISHED", "PRUNED", "KILLED", "FAILED"]
"""How a tracked run ends: finished, pruned, interrupted, or failed."""


class Part(NamedTuple):
    """The part of a sweep that a run belongs to.

    Args:
        trial: The trial's number.
        replicate: Index of the winner's final training; None = the trial itself.
    """

    trial: int
    replicate: int | None = None


Verdict = Callable[[Part, str], tuple[RunStatus, str] | None]
"""Part of a sweep and run id -> how the run ended and why; None = it continues."""

STRICT = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
"""Validation of all classes built from configuration: no unknown key, NaN, or `true` for 1."""

Weight = Annotated[float, Field(ge=0, le=1e30)]
"""A weight that float32 can hold, with the products of weights and values."""

PositiveWeight = Annotated[float, Field(gt=0, le=1e30)]
"""The same without 0."""

DropoutRate = Annotated[float, Field(ge=0, le=0.999999)]
"""A share of inputs to drop; float32 holds it below 1."""


def _refuse_url(entry: Any) -> Any:
    if re.match(r"[A-Za-z][\w+.-]+:/", str(entry)):
        raise ValueError(
            f"the path must be one on this computer, but {str(entry)!r} is a URL; give a local "
            "path (download a file first)"
        )
    return entry


HomePath = Annotated[
    Path,
    Field(strict=False),
    BeforeValidator(_refuse_url),
    AfterValidator(lambda path: Path(os.path.expanduser(path))),  # noqa: PTH111
]
"""A local path in the configuration, with `~` expanded; an unknown `~user` is kept as is."""


@runtime_checkable
class Recommender(Protocol):
    """A model that learns from interactions and scores every item for a user's history.

    A class whose `fit` draws no random number says so by `is_deterministic = True`: a sweep then
    trains its winner again once instead of with several seeds.
    """

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:
        """Learn from `train`; stop when `on_epoch` returns False.

        A model with a closed form calls `on_epoch` once, with epoch 0.
        """

    def score(self, history: CSR) -> Tensor:
        """Scores of shape users × items, higher = better, all finite; a NumPy or device array."""

    def state(self) -> State:
        """The arrays that `restore` needs to reproduce the same scores."""

    def restore(self, state: State) -> None:
        """Load the state of another instance with the same settings."""


@runtime_checkable
class HasShapes(Protocol):
    """A model that says which arrays its state has: a saved one is checked before it is read."""

    def shapes(self, n_items: int) -> Shapes:
        """The arrays of a state with so many items; computed without allocating them."""


@runtime_checkable
class HasLoss(Protocol):
    """A model that can compute its loss on whole rows."""

    def loss(self, rows: CSR) -> dict[str, float]:
        """Loss parts of `rows` without noise, means per user, named as in training."""


class Ranking(NamedTuple):
    """A model's results on a fold after an epoch.

    Args:
        items: The best unseen items of each user, best first: users × k.
        hits: Whether each of them was held out: users × k.
        losses: Loss parts of whole rows without noise, means per user, named as in training.
        is_finite: Whether every score is a finite number.
        seconds: The training's share of the time that the epoch took, this ranking included.
    """

    items: np.ndarray
    hits: np.ndarray
    losses: dict[str, float]
    is_finite: bool
    seconds: float


@runtime_checkable
class RanksWhileTraining(Protocol):
    """A model that ranks a fold at the end of each epoch where it trains, without the host."""

    def watch(self, history: CSR, target: CSR, k: int) -> bool:
        """Rank this fold at the end of each epoch of the next fit; returns whether it will."""

    def ranking(self) -> Ranking:
        """The latest epoch's ranking."""


@runtime_checkable
class KeepsWeights(Protocol):
    """A model that can keep its weights where it trains, instead of a copy on the host."""

    def keep(self) -> None:
        """Keep the current weights, in place of earlier ones."""

    def return_to_kept(self) -> None:
        """Replace the weights by the kept ones, after `fit`."""


class RunTracker(Protocol):
    """Tracks a run's settings, curves and files; as a context manager, starts and ends the run."""

    run_id: str | None
    lost: str | None
    """The message if the store became unavailable during the run, which continues untracked."""

    @property
    def ui_command(self) -> str:
        """The command to view the run; empty if it is not tracked."""

    def ui_command_of(self, run_id: str) -> str:
        """The command to view a run that ended before; empty if there is nothing to open."""

    def named(self, name: str) -> Self:
        """This tracker, with this run name unless the configuration sets one."""

    def refuse_unusable(self) -> None:
        """Raise InputError, before long work, if runs cannot be tracked."""

    def kept_in(self, folder: Path) -> None:
        """Note the folder for `task=upload` if the store goes down; only the first call counts."""

    def __enter__(self) -> Self:
        """Start the run."""

    def __exit__(self, *error: Any) -> None:
        """End the run unless it has ended, as FINISHED or by the error."""

    def end(self, status: RunStatus, reason: str = "") -> None:
        """End the run now; leaving the context then has no effect."""

    def log_settings(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Log parameters and tags, once."""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log one value per name at an epoch; written in the background."""

    def log_data(self, name: str, digest: str, profile: Mapping[str, int]) -> None:
        """Log the data set of the run."""

    def log_artifacts(self, folder: Path, below: str = "") -> None:
        """Log every file below `folder`."""

    def set_note(self, markdown: str) -> None:
        """Set the text on the run's page, replacing any earlier one."""

    def monitored(self, is_on_gpu: Callable[[], bool | None]) -> AbstractContextManager[None]:
        """Log the machine's load while the block runs, if it computes on a GPU (None = unknown)."""

    def flush(self) -> None:
        """Write everything that was logged; then `lost` says whether the store has it."""


class SweepTracker(RunTracker, Protocol):
    """Tracks a whole sweep: a parent run, and a nested run per trial."""

    views: Mapping[str, str]
    """Views of a sweep in the UI -> their links, after `share_view` was called."""
    store: Any
    """The tracking store, for operations that only a store supports; None = no store."""

    def link(self, run_id: str) -> str:
        """The path of a run's page, relative to the UI's address; empty without a store."""

    def waits(self, timeout_s: float) -> None:
        """Set how long a server that stops responding is waited for; nested trackers do so, too."""

    def open_sweep(
        self,
        study: str,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        known: str | None = None,
    ) -> None:
        """Resume the parent run of a study, or create it with these parameters and tags."""

    def join_sweep(
        self, study: str, name: str, tags: Mapping[str, str], known: str | None = None
    ) -> None:
        """Find the parent run of a study without opening it, or create it."""

    def fetch(self, run_id: str, folder: Path) -> bool:
        """Copy the files of a run into an existing folder; returns whether the store has them."""

    def share_view(
        self,
        study: str,
        params: Mapping[str, Sequence[Any]],
        metrics: Sequence[str],
        logarithms: Collection[str] = (),
    ) -> None:
        """Make the UI show trials best first, with searched keys (-> values tried) and metrics."""

    def log_curve(self, curve: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Log the points (step, metrics) of a curve that the parent run lacks."""

    def log_comparison(self, study: str, folder: Path) -> None:
        """Log the files of a comparison to the parent run of one of its studies."""

    def close_sweep(self, status: RunStatus, reason: str = "") -> None:
        """End the parent run."""

    def nested(self, parent_run_id: str | None, study: str, part: Part, name: str) -> RunTracker:
        """A tracker of a trial, or of a replicate of the winner; its context starts the run."""

    def tidy(self, study: str, verdict: Verdict) -> int:
        """End the runs of crashed trials according to `verdict`; return their number."""
