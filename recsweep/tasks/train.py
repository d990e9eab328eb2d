"""One run from configuration to results: train, choose the best epoch, score test once."""

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

from pydantic.dataclasses import dataclass

from recsweep.app import Job, checked, data_name, made, parameters_of_run, prepared, sizes, tags
from recsweep.interfaces import STRICT

# The rest is imported where it is used, once the backend is chosen.


@dataclass(kw_only=True, config=STRICT)
class Train:
    """Fit a model, choose its epoch on validation, score test once, report."""

    def run(self, job: Job) -> None:
        """Print the table of metrics and where everything is."""
        from recsweep.experiment import Patience, refit, run_trial
        from recsweep.persistence import refuse_folder
        from recsweep.report import Progress, final_metrics
        from recsweep.runs.records import page
        from recsweep.seeds import Seeds

        settings = job.settings
        refuse_folder(job.results, "hydra.run.dir")
        evaluator, tracker, model = checked(settings, job.tracker)
        tracker.kept_in(job.results)
        split = prepared(settings)
        evaluator.refuse_large_k(split.train.shape[1])
        print(sizes(settings, split), file=sys.stderr, flush=True)  # noqa: T201 - where progress goes

        with ExitStack() as at_the_end, tracker:
            environment = tags(settings, split)
            tracker.log_settings(parameters_of_run(job.config), environment)
            tracker.log_data(data_name(settings), split.data_fingerprint, split.profile())
            patience = Patience(settings.patience, evaluator.objective)
            with Progress(getattr(model, "n_epochs", 1), evaluator.objective) as progress:
                trial = run_trial(
                    model, split.train, split.valid, evaluator, Seeds(settings.seed),
                    [partial(_track, tracker), patience, progress, *job.listeners],
                )  # fmt: skip
            if settings.refit:
                _, rows = split.without_test()
                model = made(settings, "model", "fit")
                trial = refit(model, rows, trial, Seeds(settings.seed))
            test = evaluator.evaluate(model.score, split.test)
            _write(job, model, split, {"run_id": tracker.run_id, **environment}, trial, test)
            at_the_end.callback(_tell, job, trial, test, tracker)  # also when tracking is stopped
            tracker.log_metrics(*final_metrics(job.results))
            tracker.log_artifacts(job.results)
            tracker.set_note(page(job.results))


def _track(tracker: Any, epoch: int, metrics: Mapping[str, float]) -> bool:
    tracker.log_metrics(metrics, step=epoch + 1)
    return True


def _write(
    job: Job, model: Any, split: Any, environment: Mapping[str, Any], trial: Any, test: Any
) -> None:
    """All files of a run, or none."""
    from recsweep.persistence import save_model, whole_folder
    from recsweep.report import write_results, write_yaml

    with whole_folder(job.results, "hydra.run.dir") as unfinished:
        write_yaml(unfinished / "environment.yaml", environment)
        write_yaml(unfinished / "split.yaml", {"fingerprint": split.fingerprint, **split.profile()})
        write_results(unfinished, job.config, job.overrides, trial, test)
        save_model(model, job.settings.model, split.item_ids, unfinished / "model")


def _tell(job: Job, trial: Any, test: Any, tracker: Any) -> None:
    """Print the table, the best epoch, where the files are and how to look at the run."""
    from recsweep.report import metric_table

    refit_s = "" if trial.refit_s is None else f" and {trial.refit_s:.1f} s of refit"
    lines = [
        f"\n{metric_table(trial.valid, test)}\n",
        f"best epoch {trial.best_epoch + 1} of {len(trial.curves)}, {trial.train_s:.1f} s of "
        f"training{refit_s} ({job.settings.backend})",
        f"files     {job.results}",
    ]
    if tracker.lost:
        lines.append(f"tracking  {tracker.lost.removeprefix('warning: ')}")
    elif tracker.run_id is not None:
        lines += [f"run       {tracker.run_id}", f"open UI   {tracker.ui_command}"]
    print("\n".join(lines))  # noqa: T201
