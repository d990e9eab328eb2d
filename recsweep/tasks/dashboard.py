"""Shows a study in Optuna's dashboard while it runs."""

from contextlib import suppress
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.app import Job
from recsweep.interfaces import STRICT
from recsweep.loopback import HOST, show_page, usable_port
from recsweep.messages import print_to_stderr

USUAL_PORT = 8080


@dataclass(kw_only=True, config=STRICT)
class Dashboard:
    """Show the history, importance and coordinates of a study as they grow.

    Args:
        port: Port of the server; None = 8080 or a free one.
        browser: Whether to open the page in the desktop's browser.
    """

    port: Annotated[int, Field(ge=1, le=65535)] | None
    browser: bool

    def run(self, job: Job) -> None:
        """Print the page's address, open it, and serve it until Ctrl-C."""
        from recsweep.sweeps.reporting.dashboard import make_dashboard, make_dashboard_server
        from recsweep.sweeps.study.catalog import StudyCatalog
        from recsweep.tasks.best import choose_study

        studies = StudyCatalog.of(job.settings.sweep)
        name = choose_study(job.settings.study, studies)
        studies.load(name)  # a damaged study is one line
        storage = studies.storage_of(name)
        application = make_dashboard(storage)
        port = usable_port(self.port, USUAL_PORT)
        with suppress(KeyboardInterrupt), make_dashboard_server(application, port) as server:
            study_id = storage.get_study_id_from_name(name)
            show_page(f"http://{HOST}:{port}/dashboard/studies/{study_id}", self.browser)
            print_to_stderr("Ctrl-C ends the server")
            server.serve_forever()
