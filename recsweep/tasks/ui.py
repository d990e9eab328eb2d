"""Opens MLflow's UI at the page of a study, a run or all runs."""

import os
import sys
import webbrowser
from contextlib import suppress
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep import app
from recsweep.app import Job
from recsweep.errors import InputError
from recsweep.interfaces import STRICT


@dataclass(kw_only=True, config=STRICT)
class OpenUI:
    """Show runs in a browser.

    Args:
        of: A study, or a run by id or name, or `latest`; None = all runs.
        port: Port of the server of a database; None = 5000 or a free one.
        browser: Whether to open the page in the desktop's browser.
    """

    of: Annotated[str, Field(min_length=1)] | None
    port: Annotated[int, Field(ge=1, le=65535)] | None
    browser: bool

    def run(self, job: Job) -> None:
        """Print the page's address and open it; for a database, serve it until Ctrl-C."""
        from recsweep.tracking.run_search import RunFinder
        from recsweep.tracking.ui_server import serve_ui

        tracker = app.build_group(job.settings, "tracking", "log_metrics")
        store = tracker.store
        if store is None:
            raise InputError(
                "task=ui needs runs that are tracked, but tracking=off tracks none; set "
                "tracking=mlflow"
            )
        page = RunFinder(store, tracker.experiment).page(self.of)
        if store.server:
            self._open(f"{store.server}/{page}")
            return
        print("starting MLflow's UI …", file=sys.stderr, flush=True)  # noqa: T201
        with suppress(KeyboardInterrupt), serve_ui(store.uri, self.port) as (address, process):
            self._open(f"{address}/{page}")
            print("Ctrl-C ends the server", file=sys.stderr, flush=True)  # noqa: T201
            process.wait()

    def _open(self, address: str) -> None:
        print(address, flush=True)  # noqa: T201
        has_desktop = sys.platform in ("darwin", "win32") or any(
            os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
        )
        if self.browser and has_desktop:  # elsewhere a browser in the terminal would take it over
            webbrowser.open(address)
