"""The tracker of `tracking=off`: accepts everything, stores nothing."""

# ruff: noqa: ARG002 - all arguments are accepted and ignored

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NoReturn, Self

from pydantic.dataclasses import dataclass

from recsweep.errors import InputError
from recsweep.interfaces import STRICT, Part, RunStatus, Verdict


@dataclass(kw_only=True, config=STRICT)
class NullTracker:
    """Stores nothing; the run's files stay in its output folder."""

    def __post_init__(self) -> None:
        self.run_id: str | None = None
        self.lost: str | None = None
        self.views: dict[str, str] = {}
        self.store = None

    @property
    def ui_command(self) -> str:
        """No command."""
        return ""

    def ui_command_of(self, run_id: str) -> str:
        """No command."""
        return ""

    def link(self, run_id: str) -> str:
        """No page."""
        return ""

    def named(self, name: str) -> Self:
        """Itself."""
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to close."""

    def refuse_unusable(self) -> None:
        """Always usable."""

    def kept_in(self, folder: Path) -> None:
        """Nothing."""

    def waits(self, timeout_s: float) -> None:
        """For nothing."""

    def end(self, status: RunStatus, reason: str = "") -> None:
        """Nothing."""

    def log_settings(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Nothing."""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Nothing."""

    def log_data(self, name: str, digest: str, profile: Mapping[str, int]) -> None:
        """Nothing."""

    def log_artifacts(self, folder: Path, below: str = "") -> None:
        """Nothing."""

    def set_note(self, markdown: str) -> None:
        """Nothing."""

    def monitored(self, is_on_gpu: Callable[[], bool | None]) -> AbstractContextManager[None]:
        """Nothing."""
        return nullcontext()

    def flush(self) -> None:
        """Nothing."""

    def open_sweep(
        self,
        study: str,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        known: str | None = None,
    ) -> None:
        """Nothing."""

    def join_sweep(
        self, study: str, name: str, tags: Mapping[str, str], known: str | None = None
    ) -> None:
        """Nothing."""

    def fetch(self, run_id: str, folder: Path) -> bool:
        """No files."""
        return False

    def share_view(
        self,
        study: str,
        params: Mapping[str, Sequence[Any]],
        metrics: Sequence[str],
        logarithms: Collection[str] = (),
    ) -> None:
        """Nothing."""

    def log_curve(self, curve: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Nothing."""

    def log_comparison(self, study: str, folder: Path) -> None:
        """Nothing."""

    def close_sweep(self, status: RunStatus, reason: str = "") -> None:
        """Nothing."""

    def nested(self, parent_run_id: str | None, study: str, part: Part, name: str) -> Self:
        """Itself."""
        return self

    def tidy(self, study: str, verdict: Verdict) -> int:
        """Nothing to end."""
        return 0

    def download(self, run: str, folder: Path) -> NoReturn:
        """Refuse: there are no runs.

        Raises:
            InputError: Always.
        """
        raise InputError(
            f"tracking=off keeps no runs, but {run} is the name of one; give the run's results "
            "folder instead, or set tracking=mlflow"
        )
