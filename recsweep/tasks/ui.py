"""Opens MLflow's UI at the page of a study, a run or all runs."""

from contextlib import suppress
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep import app
from recsweep.app import Job
from recsweep.errors import InputError
from recsweep.interfaces import STRICT
from recsweep.loopback import show_page
from recsweep.messages import print_to_stderr


@dataclass(kw_only=True, config=STRICT)
class OpenUI:
    """Show runs in a browser.

    Args:
        run: A study, or a run by id or name, or `latest`; None = all runs.
        port: Port of the server of a database; None = 5000 or a free one.
        browser: Whether to open the page in the desktop's browser.
    """

    from_run: Annotated[str | None, Field(alias="run", min_length=1)]
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
        store.refuse_absent()
        page = RunFinder(store, tracker.experiment, "task.run").page(self.from_run)
        if store.server:
            show_page(f"{store.server}/{page}", self.browser)
            return
        print_to_stderr("starting MLflow's UI …")
        with suppress(KeyboardInterrupt), serve_ui(store.uri, self.port) as (address, process):
            show_page(f"{address}/{page}", self.browser)
            print_to_stderr("Ctrl-C ends the server")
            process.wait()
