"""One trial of a study: fit, report every epoch, stop early, record how it ended."""

import math
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TextIO

from optuna.trial import TrialState

from recsweep import app, environment
from recsweep.build import validate
from recsweep.credentials import redact, without_credentials
from recsweep.data.split import Split
from recsweep.errors import InputError
from recsweep.experiment import Experiment
from recsweep.files import open_itself
from recsweep.fitting import FitResult
from recsweep.interfaces import Part, RanksWhileTraining, Recommender, RunTracker, SweepTracker
from recsweep.memory import peak_bytes
from recsweep.messages import describe_error, one_line
from recsweep.run_files import CONFIG, LOG, replicate_folder, trial_folder, write_yaml
from recsweep.runs.results import log_final, write_curves, write_environment
from recsweep.sweeps.execution.device_errors import DeviceLostError, device_errors
from recsweep.sweeps.execution.replicates import Replicates
from recsweep.sweeps.reporting.trial_record import (
    STATUS,
    trial_logarithms,
    trial_metrics,
    trial_note,
)
from recsweep.sweeps.sampling.pruners import REPLICATES
from recsweep.sweeps.storage.errors import StorageError
from recsweep.sweeps.study.claim import Claim, TrialLostError, refuse_begun, refuse_lost
from recsweep.sweeps.study.shared_study import Plan, SharedStudy
from recsweep.sweeps.study.takeover import DEVICE_ERROR
from recsweep.tracking.nested_runs import trial_name


class Interrupted(Exception):  # noqa: N818 - not an error: the trial will restart
    """The workers were asked to stop."""


@dataclass
class Reports:
    """A listener that reports each epoch of a trial's first replicate and asks whether to continue.

    Args:
        claim: The trial.
        plan: The sweep's plan.
        objective: The reported metric, such as `ndcg@100`.
        is_halted: Whether this worker's trials should stop soon.
        refuse_lost: Raises if another worker has begun the trial.
    """

    claim: Claim
    plan: Plan
    objective: str
    is_halted: Callable[[], bool] = lambda: False
    refuse_lost: Callable[[], object] = lambda: None
    pruned: str | None = field(default=None, init=False)

    def __call__(self, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Whether to continue.

        Raises:
            Interrupted: The workers are to stop.
            TrialLostError: Another worker has begun the trial.
        """
        self.refuse_lost()
        trial, value = self.claim.trial, metrics[f"valid/{self.objective}"]
        if len(self.plan.objectives) == 1:
            # a restarted trial is not pruned before the epoch at which its process died
            step, reached = epoch + 1, max(self.claim.frozen.intermediate_values, default=0)
            if step > reached:
                trial.report(value, step)
            if step >= reached and trial.should_prune():
                self.pruned = f"pruned at epoch {epoch + 1}: {self.objective} {value:.4f}"
        return self.pruned is None and self.on_unreported_epoch(epoch, metrics)

    def on_unreported_epoch(self, _epoch: int, _metrics: Mapping[str, float]) -> bool:
        """A listener for later replicates, whose epochs are not reported.

        Raises:
            Interrupted: The workers are to stop.
            TrialLostError: Another worker has begun the trial.
        """
        self.refuse_lost()
        if self.plan.is_stopped or self.is_halted():
            raise Interrupted("stopped on request; the trial will restart in another run")
        return True


@dataclass
class TrialRunner:
    """Runs claimed trials, possibly in several threads, and loads shared data only once.

    Args:
        study: The study that the trials belong to.
        split: The study's data, kept between trials.
        is_halted: Whether the trials should stop soon.
    """

    study: SharedStudy
    split: Split | None = None
    is_halted: Callable[[], bool] = lambda: False
    _preparing: Lock = field(default_factory=Lock)
    _replicates: Replicates = field(init=False)
    _without_slots: Lock = field(default_factory=Lock)
    _known_gaps: dict[float, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plan = self.study.plan
        self._replicates = Replicates(plan.folds, plan.seeds_per_trial)

    def load(self) -> Split:
        """The data of the study's first branch, which all trials share."""
        if self.split is None:
            branch = self.study.space.branches[0]
            settings = validate(app.Settings, branch.at(branch.own_settings()), "")
            environment.use_cache(settings.cache)
            self.split = app.load_split(settings)
        return self.split

    def run(self, claim: Claim) -> None:
        """Run one trial and record how it ended.

        Raises:
            Interrupted: The workers were asked to stop; the trial will be restarted.
            DeviceLostError: Another worker will restart the trial, at most `max_retries` times.
            TrialLostError: Another worker has restarted the trial, as an outage took its lease.
        """
        number, plan = claim.frozen.number, self.study.plan
        folder = trial_folder(plan.folder, number)
        folder.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        try:
            config = self.study.space.config(claim.frozen.user_attrs["settings"])
            write_yaml(folder / CONFIG, without_credentials(config))
            with _appended(folder / LOG) as log, device_errors():
                self._run(claim, config, log)
        except (Interrupted, KeyboardInterrupt):
            self.study.set_attrs(claim.frozen, {"is_interrupted": True})
            raise
        except (StorageError, TrialLostError):  # the trial is not to blame
            raise
        except DeviceLostError as lost:
            with _appended(folder / LOG) as log:
                log.write(f"interrupted: {lost}\n")
            self.study.set_attrs(claim.frozen, {DEVICE_ERROR: str(lost)})
            raise
        except Exception as error:  # noqa: BLE001 - whatever breaks a trial, the sweep continues
            reason = one_line(error) if isinstance(error, InputError) else describe_error(error)
            with _appended(folder / LOG) as log:
                if not isinstance(error, InputError):
                    log.write(redact(traceback.format_exc()))
                log.write(f"failed: {reason}\n")
            attrs = {"reason": reason, "wall_s": time.perf_counter() - started}
            self._finish(claim, TrialState.FAIL, None, attrs)

    def _run(self, claim: Claim, config: dict[str, Any], log: TextIO) -> None:
        started, cpu_began = time.perf_counter(), time.process_time()
        settings = validate(app.Settings, config, "")
        with self._preparing:  # the first of several threads loads the data
            run = Experiment.prepare(settings, self._tracker(claim, settings), self.split)
            self.split, tracker = run.split, run.tracker
        folder = trial_folder(self.study.plan.folder, claim.frozen.number)
        with tracker:
            self.study.set_attrs(claim.frozen, {"run_id": tracker.run_id})
            write_environment(folder, tracker.run_id, run.tags, run.split)  # the store may go down
            run.log_settings(without_credentials(config))
            tracker.log_settings(trial_logarithms(claim.frozen), {})
            tracker.set_note(trial_note(self.study.study, claim.frozen))
            with _killed_when_interrupted(tracker), device_errors():
                trained = self._train(claim, run, log)
            pruned, objective = trained.pruned, str(run.evaluator.objective)
            attrs = {
                **_attributes(trained, time.perf_counter() - started),
                "cpu_s": (time.process_time() - cpu_began) / self.study.n_slots,
                "peak_bytes": peak_bytes(),
            }
            state = TrialState.PRUNED if pruned else TrialState.COMPLETE
            log_final(tracker, trial_metrics(attrs, objective), attrs["best_epoch"])
            tracker.flush()  # sets `lost`
            with _killed_when_interrupted(tracker):
                self._tell(claim, state, {**attrs, "is_untracked": tracker.lost is not None})
            tracker.end(STATUS[state], pruned or "")

    def _train(self, claim: Claim, run: Experiment, log: TextIO) -> "_Trained":
        """Fit the trial's replicates, one after the other."""
        number, objective = claim.frozen.number, str(run.evaluator.objective)
        refuse_lost = partial(self._refuse_gap, claim)
        reports = Reports(claim, self.study.plan, objective, self.is_halted, refuse_lost)
        n_replicates = self._replicates.count(run.settings.model)
        trained = _Trained([], [], None)
        for index in range(n_replicates):
            name = self._replicates.name(run.settings, index)
            if n_replicates > 1:
                log.write(f"{name}\n")
            with self._preparing:
                own = self._replicates.experiment(run, index)
            with self._its_turn(own.model):
                fitted = own.fit([reports.on_unreported_epoch if index else reports], log)
            trained.fits.append(fitted)
            folder = replicate_folder(self.study.plan.folder, number, index)
            folder.mkdir(exist_ok=True)
            write_curves(folder, fitted)
            if n_replicates == 1 or reports.pruned:
                return trained._replace(pruned=reports.pruned)
            trained.values.append(fitted.valid.means[objective])
            if self.study.add_replicate(claim.frozen, trained.values, n_replicates):
                mean = statistics.fmean(trained.values)
                return trained._replace(pruned=f"pruned after {name}: mean {objective} {mean:.4f}")
        return trained

    def _its_turn(self, model: Recommender) -> AbstractContextManager[Any]:
        """Models that do not train in slots are fitted one at a time."""
        return nullcontext() if isinstance(model, RanksWhileTraining) else self._without_slots

    def _tracker(self, claim: Claim, settings: app.Settings) -> RunTracker:
        """The tracker of the trial's own run, not yet opened."""
        plan, frozen = self.study.plan, claim.frozen
        name = trial_name(f"#{frozen.number}", frozen.user_attrs["settings"])
        tracking: SweepTracker = app.build_group(settings, "tracking", "log_metrics")
        tracking.kept_in(Path(plan.folder))
        tracking.waits(plan.outage_timeout_s)
        return tracking.nested(plan.parent_run, plan.study, Part(frozen.number), name)

    def _tell(self, claim: Claim, state: TrialState, attrs: dict[str, Any]) -> None:
        values = [
            attrs.get(name, attrs["metrics"].get(name)) for name in self.study.plan.objectives
        ]
        if not all(value is not None and math.isfinite(value) for value in values):
            named = dict(zip(self.study.plan.objectives, values, strict=True))
            raise InputError(f"all objectives must be finite numbers, but are {named}")
        self._finish(claim, state, values if state == TrialState.COMPLETE else None, attrs)

    def _finish(
        self, claim: Claim, state: TrialState, values: list[float] | None, attrs: dict[str, Any]
    ) -> None:
        """Record how a trial ended, unless another worker has begun it.

        Raises:
            TrialLostError: One has.
        """

        def finish() -> None:
            if refuse_lost(self.study, claim):
                self.study.finish(claim.frozen.number, state, values, attrs)

        self.study.at_once(finish)

    def _refuse_gap(self, claim: Claim) -> None:
        """After a gap in the lease, check whether another worker has restarted the trial."""
        n_gaps = claim.lease.n_gaps
        if n_gaps != self._known_gaps.get(claim.began, 0):
            refuse_begun(self.study, claim)
            self._known_gaps[claim.began] = n_gaps


class _Trained(NamedTuple):
    """What a trial's trainings gave.

    Args:
        fits: One per replicate that was begun.
        values: The objective of each that is done; empty if a trial has a single one.
        pruned: Why the trial was pruned; None = it was not.
    """

    fits: list[FitResult]
    values: list[float]
    pruned: str | None


def _attributes(trained: _Trained, wall_s: float) -> dict[str, Any]:
    """A trial's attributes: means over its replicates, and their spread if there are several."""
    fits = trained.fits
    metrics = {name: [fit.valid.means[name] for fit in fits] for name in fits[0].valid.means}
    attrs = {
        "best_epoch": round(statistics.fmean(fit.best_epoch + 1 for fit in fits)),
        "n_epochs": sum(len(fit.curves) for fit in fits),
        "train_s": statistics.fmean(fit.train_s for fit in fits),
        "wall_s": wall_s,
        "metrics": {name: statistics.fmean(values) for name, values in metrics.items()},
    }
    if trained.pruned:
        attrs["reason"] = trained.pruned
    if trained.values:
        attrs[REPLICATES] = trained.values
    if len(fits) > 1:
        attrs["deviations"] = {name: statistics.stdev(values) for name, values in metrics.items()}
    return attrs


def _appended(log: Path) -> TextIO:
    """A trial's log, opened to append; a link is an error."""
    return open(log, "a", encoding="utf-8", opener=open_itself)


@contextmanager
def _killed_when_interrupted(tracker: RunTracker) -> Iterator[None]:
    """Mark the run of an interrupted trial as killed, not failed: it will restart in another."""
    try:
        yield
    except (Interrupted, DeviceLostError, TrialLostError) as stop:
        tracker.end("KILLED", str(stop))
        raise
