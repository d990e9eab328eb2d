"""One trial of a study: fit, report every epoch, stop early, tell how it ended."""

import math
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState

from recsweep import app
from recsweep.build import validated
from recsweep.errors import InputError
from recsweep.experiment import Patience, run_trial
from recsweep.experiment import Trial as Fit
from recsweep.interfaces import Part
from recsweep.memory import peak_bytes
from recsweep.report import Progress, write_curves, write_yaml
from recsweep.seeds import Seeds
from recsweep.sweeps.reporting.trial_record import STATUS, trial_metrics, trial_note
from recsweep.sweeps.storage.errors import StorageError
from recsweep.sweeps.study.folder import trial_folder
from recsweep.sweeps.study.shared_study import Claim, Plan, SharedStudy
from recsweep.tracking.nested_runs import trial_name
from recsweep.tracking.store import without_passwords


class Interrupted(Exception):  # noqa: N818 - not an error: the trial will begin again
    """Someone asked the workers to stop."""


@dataclass
class Reports:
    """A listener that reports each epoch to the study and hears whether to continue.

    Args:
        claim: The trial.
        plan: What the sweep is.
        objective: What is reported, such as `ndcg@100`.
    """

    claim: Claim
    plan: Plan
    objective: str
    pruned: str | None = field(default=None, init=False)

    def __call__(self, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Whether to continue.

        Raises:
            Interrupted: The workers are to stop.
        """
        trial, value = self.claim.trial, metrics[f"valid/{self.objective}"]
        if len(self.plan.objectives) == 1:
            # a trial that begins again hears no verdict before it is where it was at its death
            step, reached = epoch + 1, max(self.claim.frozen.intermediate_values, default=0)
            if step > reached:
                trial.report(value, step)
            if step >= reached and trial.should_prune():
                self.pruned = f"pruned at epoch {epoch + 1}: {self.objective} {value:.4f}"
        if self.pruned is None and self.plan.is_stopped:
            raise Interrupted("stopped by request; the trial begins again in another run")
        return self.pruned is None


@dataclass
class TrialRunner:
    """Runs claimed trials one after the other; what they share is made once.

    Args:
        study: Where trials come from.
        data: Split of the study, kept between trials.
    """

    study: SharedStudy
    data: Any = None

    def run(self, claim: Claim) -> None:
        """Run one trial and tell how it ended.

        Raises:
            Interrupted: The workers are to stop; the trial will begin again.
        """
        number, plan = claim.frozen.number, self.study.plan
        folder = trial_folder(plan.folder, number)
        folder.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        try:
            config = self.study.space.config(claim.frozen.user_attrs["settings"])
            write_yaml(folder / "config.yaml", without_passwords(config))
            with (folder / "log.txt").open("a", encoding="utf-8") as log:
                self._run(claim, config, log)
        except (Interrupted, KeyboardInterrupt):
            self.study.set_attrs(claim.frozen, {"is_interrupted": True})
            raise
        except (StorageError, StorageInternalError):  # the trial is not to blame
            raise
        except Exception as error:  # noqa: BLE001 - whatever breaks a trial, the sweep continues
            reason = " ".join(f"{_kind(error)}{error}".split())
            with (folder / "log.txt").open("a", encoding="utf-8") as log:
                if not isinstance(error, InputError):
                    traceback.print_exc(file=log)
                log.write(f"failed: {reason}\n")
            attrs = {"reason": reason, "wall_s": time.perf_counter() - started}
            self.study.finish(number, TrialState.FAIL, None, attrs)

    def _run(self, claim: Claim, config: dict[str, Any], log: Any) -> None:
        started, cpu_began = time.perf_counter(), time.process_time()
        settings = validated(app.Settings, config, "")
        evaluator, tracker, model = app.checked(settings, self._tracker(claim, settings))
        if self.data is None:
            self.data = app.prepared(settings)
        reports = Reports(claim, self.study.plan, evaluator.objective)
        with tracker:
            self.study.set_attrs(claim.frozen, {"run_id": tracker.run_id})
            self._log_settings(claim, settings, config, tracker)
            with (
                _killed_when_interrupted(tracker),
                Progress(getattr(model, "n_epochs", 1), evaluator.objective, log) as progress,
            ):
                patience = Patience(settings.patience, evaluator.objective)
                fit = run_trial(
                    model, self.data.train, self.data.valid, evaluator, Seeds(settings.seed),
                    [partial(_track, tracker), patience, progress, reports],
                )  # fmt: skip
            write_curves(trial_folder(self.study.plan.folder, claim.frozen.number), fit)
            attrs = {
                **_attributes(fit, reports.pruned, time.perf_counter() - started),
                "cpu_s": time.process_time() - cpu_began,
                "peak_bytes": peak_bytes(),
            }
            state = TrialState.PRUNED if reports.pruned else TrialState.COMPLETE
            tracker.log_metrics(trial_metrics(attrs), step=fit.best_epoch + 1)
            self._tell(claim, state, {**attrs, "is_untracked": tracker.lost is not None})
            tracker.end(STATUS[state], reports.pruned or "")

    def _tracker(self, claim: Claim, settings: app.Settings) -> Any:
        """Of the trial's own run, unopened."""
        plan, frozen = self.study.plan, claim.frozen
        name = trial_name(settings.called, frozen.user_attrs["settings"])
        tracking = app.made(settings, "tracking", "log_metrics")
        tracking.kept_in(Path(plan.folder))
        return tracking.nested(plan.parent_run, plan.study, Part(frozen.number), name)

    def _log_settings(
        self, claim: Claim, settings: app.Settings, config: dict[str, Any], tracker: Any
    ) -> None:
        """What the trial is, for the tracker and, should that go away, in the trial's folder."""
        folder = trial_folder(self.study.plan.folder, claim.frozen.number)
        tags, profile = app.tags(settings, self.data), self.data.profile()
        write_yaml(folder / "environment.yaml", {"run_id": tracker.run_id, **tags})
        write_yaml(folder / "split.yaml", {"fingerprint": self.data.fingerprint, **profile})
        tracker.log_settings(app.parameters_of_run(without_passwords(config)), tags)
        tracker.log_data(app.data_name(settings), self.data.data_fingerprint, profile)
        tracker.set_note(trial_note(self.study.study, claim.frozen))

    def _tell(self, claim: Claim, state: TrialState, attrs: dict[str, Any]) -> None:
        values = [
            attrs.get(name, attrs["metrics"].get(name)) for name in self.study.plan.objectives
        ]
        if not all(value is not None and math.isfinite(value) for value in values):
            named = dict(zip(self.study.plan.objectives, values, strict=True))
            raise InputError(f"all objectives must be finite numbers, but are {named}")
        if not claim.lease.is_held():
            raise StorageError(
                f"a worker must keep the lease of its trial, but that of trial "
                f"{claim.frozen.number} was lost, and another worker may have it; see that "
                "sweep.storage, or sweep.folder, stays reachable"
            )
        complete = state == TrialState.COMPLETE
        self.study.finish(claim.frozen.number, state, values if complete else None, attrs)


def _attributes(fit: Fit, pruned: str | None, wall_s: float) -> dict[str, Any]:
    reason = {"reason": pruned} if pruned else {}
    return {
        "best_epoch": fit.best_epoch + 1,
        "n_epochs": len(fit.curves),
        "train_s": fit.train_s,
        "wall_s": wall_s,
        "metrics": dict(fit.valid.means),
        **reason,
    }


def _track(tracker: Any, epoch: int, metrics: Mapping[str, float]) -> bool:
    tracker.log_metrics(metrics, step=epoch + 1)
    return True


@contextmanager
def _killed_when_interrupted(tracker: Any) -> Iterator[None]:
    """The run of a trial that will begin again in another one has not failed."""
    try:
        yield
    except Interrupted as stop:
        tracker.end("KILLED", str(stop))
        raise


def _kind(error: Exception) -> str:
    return "" if isinstance(error, InputError) else f"{type(error).__name__}: "
