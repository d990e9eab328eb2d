"""One run from configuration to results: train, choose the best epoch, score test once."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from recsweep import environment
from recsweep.app import Job, describe_sizes
from recsweep.interfaces import STRICT
from recsweep.messages import print_to_stderr, print_to_stdout

if TYPE_CHECKING:
    from recsweep.evaluation import Evaluation
    from recsweep.experiment import Experiment
    from recsweep.fitting import FitResult

# The rest is imported where it is used, once the backend is chosen.


@dataclass(kw_only=True, config=STRICT)
class Train:
    """Fit a model, choose its epoch on validation, score test once, report."""

    def run(self, job: Job) -> None:
        """Print the table of metrics and the paths of all results."""
        from recsweep.experiment import Experiment
        from recsweep.files import refuse_folder
        from recsweep.runs.records import page_note
        from recsweep.runs.results import final_metrics, log_final

        refuse_folder(job.results, "hydra.run.dir")
        run = Experiment.prepare(job.settings, job.tracker, job.split)
        tracker = run.tracker
        tracker.kept_in(job.results)
        run.evaluator.warn_of_full_lists(run.split.train.shape[1])
        print_to_stderr(describe_sizes(run.settings, run.split))

        with ExitStack() as at_the_end, tracker:
            run.log_settings(job.config)
            with tracker.monitored(lambda: environment.device() != "cpu"):
                fitted = run.refit(run.fit(job.listeners))
                test = run.evaluate_on_test()
            job.confirm()
            _write(job, run, fitted, test)
            at_the_end.callback(_report, job, run, fitted, test)  # even if tracking is stopped
            log_final(tracker, *final_metrics(job.results))
            tracker.log_artifacts(job.results)
            tracker.set_note(page_note(job.results))


def _write(job: Job, run: "Experiment", fitted: "FitResult", test: "Evaluation") -> None:
    """Write all files of a run, or none."""
    from recsweep.files import whole_folder
    from recsweep.persistence import save_model
    from recsweep.run_files import MODEL
    from recsweep.runs.results import write_environment, write_results

    with whole_folder(job.results, "hydra.run.dir") as unfinished:
        write_environment(unfinished, run.tracker.run_id, run.tags, run.split)
        write_results(unfinished, job.config, job.overrides, fitted, test)
        save_model(run.model, run.settings.model, run.split.item_ids, unfinished / MODEL)


def _report(job: Job, run: "Experiment", fitted: "FitResult", test: "Evaluation") -> None:
    """Print the table, the best epoch, the paths of the files and how to view the run."""
    from recsweep.report import metric_table

    refit_s = "" if fitted.refit_s is None else f" and {fitted.refit_s:.1f} s of refit"
    lines = [
        "",
        *metric_table(fitted.valid, test).split("\n"),
        "",
        f"best epoch {fitted.best_epoch + 1} of {len(fitted.curves)}, {fitted.train_s:.1f} s of "
        f"training{refit_s} ({run.settings.backend})",
        f"files     {job.results}",
    ]
    if run.tracker.lost:
        lines.append(f"tracking  {run.tracker.lost.removeprefix('warning: ')}")
    elif run.tracker.run_id is not None:
        lines += [f"run       {run.tracker.run_id}", f"open UI   {run.tracker.ui_command}"]
    print_to_stdout(*lines)
