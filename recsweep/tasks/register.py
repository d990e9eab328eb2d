"""Registers the model of a finished run in MLflow, for other programs to load."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.app import Job, build_group, make_evaluator
from recsweep.errors import InputError
from recsweep.interfaces import STRICT
from recsweep.messages import print_to_stdout
from recsweep.shell import command, setting

if TYPE_CHECKING:
    from recsweep.runs.past_run import PastRun
    from recsweep.tracking.store import Store


@dataclass(kw_only=True, config=STRICT)
class Register:
    """Register a run's model as a new version.

    Args:
        run: Id of an MLflow run, `latest`, or the results folder of a tracked run.
        name: Name of the registered model; None = not given yet, an error.
    """

    from_run: Annotated[str, Field(alias="run", min_length=1)]
    name: str | None

    def run(self, job: Job) -> None:
        """Print the version, and how to load and use it.

        Raises:
            InputError: There is no such run or no registry, or the name cannot be used.
        """
        from recsweep.runs.lookup import find_run
        from recsweep.tracking.registry import refuse_name, register

        name = refuse_name(self.name, "task.name")
        tracker = build_group(job.settings, "tracking", "log_metrics")
        if tracker.store is None:
            raise InputError(
                "task=register needs a store, but tracking=off names none; leave it out"
            )
        with TemporaryDirectory(prefix="recsweep-") as folder:
            run = find_run(self.from_run, job.settings, Path(folder))
            settings = run.settings(run.config(job.trusted, job.config))
            run_id = _run_id(run, tracker.store)
            found = register(
                tracker.store, run_id, name, run.results, str(make_evaluator(settings).objective)
            )
        before = "" if found.is_new else ", registered before"
        usage = found.usage(tracker.store).replace("\n", "\n          ")
        print_to_stdout(
            f"run       {run_id}",
            f"model     {found.uri} (version {found.version}{before})",
            *f"python    {usage}".split("\n"),
        )


def _run_id(run: "PastRun", store: "Store") -> str:
    """The run's id; for a folder, the one recorded there."""
    from recsweep.tracking.run_by_name import check_finished

    if run.tracker is not None:
        return run.name
    run_id = run.environment().get("run_id", "None")
    if run_id == "None":
        raise InputError(
            f"task.run must be a run in the tracking store, but {run.name} was not tracked; bring "
            f"it there with {command('task=upload', setting('task.run', run.name))} and give the "
            "id of its page"
        )
    store.refuse_absent()
    store.refuse_unusable()
    with store.errors_in_one_line("name the store that has the run"):
        return check_finished(store.client, run_id)
