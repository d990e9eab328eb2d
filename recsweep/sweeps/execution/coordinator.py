"""The process that launches workers: from the first trial to the winner's score on test."""

import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from recsweep import app
from recsweep.build import is_deterministic
from recsweep.credentials import without_credentials
from recsweep.errors import InputError
from recsweep.files import disk_errors_in_one_line
from recsweep.messages import describe_error, print_to_stderr, print_to_stdout
from recsweep.run_files import (
    PLOTS,
    RESULTS,
    TRIALS_TABLE,
    is_run,
    read_run_id,
    summary_file,
)
from recsweep.shell import config_flags
from recsweep.sweeps.execution.announcement import announce
from recsweep.sweeps.execution.final_evaluation import FinalEvaluation
from recsweep.sweeps.execution.interrupt import StopRequest
from recsweep.sweeps.execution.progress import SweepProgress, best_line
from recsweep.sweeps.execution.run_endings import ending, verdict
from recsweep.sweeps.execution.setup import StudySpec
from recsweep.sweeps.execution.stop_relay import StopRelay
from recsweep.sweeps.execution.worker import FinalWorker, Worker
from recsweep.sweeps.execution.worker_errors import (
    Killed,
    LossCounter,
    Unfit,
    WorkerErrors,
    first_error,
)
from recsweep.sweeps.reporting.mlflow_note import (
    NoteContent,
    page_note,
    summary_note,
    view_columns,
    write_note,
)
from recsweep.sweeps.reporting.result import StudyOutcome
from recsweep.sweeps.reporting.result_files import (
    write_optimization_results,
    write_trials,
)
from recsweep.sweeps.reporting.run_records import outcome_curve, outcome_metrics
from recsweep.sweeps.reporting.tables import counts_line
from recsweep.sweeps.storage.errors import StorageError
from recsweep.sweeps.study import stop_requests
from recsweep.sweeps.study.final_claims import FINAL
from recsweep.sweeps.study.final_scores import Looks
from recsweep.sweeps.study.identity import refuse_difference
from recsweep.sweeps.study.shared_study import FLAGS, PARENT_RUN, RESUME, Plan, SharedStudy
from recsweep.sweeps.study.status import StudyStatus
from recsweep.sweeps.study.stop_requests import NO_MORE

POLL_S = 0.5
ENDED = "n_trials_at_end"
"""Attribute of a study: its number of trials when everything was finished."""


@dataclass
class SweepCoordinator:
    """Runs one study to its end, possibly together with other processes.

    Args:
        spec: The study.
    """

    spec: StudySpec
    study: SharedStudy = field(init=False)

    def __post_init__(self) -> None:
        """Open or create the study.

        Raises:
            InputError: The existing study is a different one.
        """
        plan = self.spec.plan(deadline=None, parent_run=None, stop_file=None, retry=[])
        self.study = self._opened(plan)
        with disk_errors_in_one_line(Path(plan.folder), "sweep.folder"):
            Path(plan.folder).mkdir(parents=True, exist_ok=True)  # a database does not create it
        self.study.alone(self._identify)
        self.study.refuse_other_slots()
        if self.spec.sweep.retry_failed:
            failed = [trial._trial_id for trial in self.study.failed_trials()]
            self.study.plan = replace(plan, retry=failed)
            if failed:
                self.study.study.set_user_attr(ENDED, None)

    def _opened(self, plan: Plan) -> SharedStudy:
        return SharedStudy(plan)

    def run(self) -> StudyOutcome:
        """Launch workers until all trials are finished, then retrain the winner and score test.

        Raises:
            InputError: Workers cannot continue, or all trials have failed.
            KeyboardInterrupt: The sweep was asked to stop; the same command resumes it.
        """
        plan, spec = self.study.plan, self.spec
        print_to_stderr(f"study     {plan.study} in {plan.folder}")
        n_done = self._status().n_finished
        if self._is_complete():
            print_to_stderr(f"budget    all {n_done} trials were done before: nothing to train")
            outcome = self._outcome()
        else:
            print_to_stderr(f"data      {spec.sizes}")
            print_to_stderr(*announce(
                self.study.space, spec.sweep, spec.objectives, self.study.sampler, n_done,
                spec.typed,
            ))  # fmt: skip
            outcome = self._run(Path(plan.folder))
        told = outcome.report(self.study, self.spec.command, self.spec.tracker)
        print_to_stdout(*"\n".join(told).split("\n"))
        if failure := self._failure(outcome.status):
            raise InputError(failure)
        return outcome

    def _identify(self) -> None:
        """Record the identity of a new study, or refuse to resume a different one."""
        spec, study = self.spec, self.study.study
        attrs = study.user_attrs
        if "identity" in attrs:
            refuse_difference(study.study_name, attrs["identity"], spec.identity)
            if attrs["identity"]["config"] != spec.identity["config"]:
                self._note_identity()  # its files have moved
        elif self.study.trials():
            raise InputError(
                f"study {study.study_name} must be a recsweep study, but another program "
                "created it; choose another name with study=NAME"
            )
        else:
            self._note_identity()
        self._agree_on_n_trials(attrs.get("n_trials"))

    def _agree_on_n_trials(self, noted: int | None) -> None:
        """Record this command's number of trials; trials that have started are kept."""
        n_trials = max(self.study.n_planned, len(self.study.trials()))
        if noted != n_trials:
            self.study.study.set_user_attr("n_trials", n_trials)

    def _note_identity(self) -> None:
        study, spec = self.study.study, self.spec
        study.set_user_attr(RESUME, spec.command)
        study.set_user_attr("space", without_credentials(spec.space))
        study.set_user_attr(FLAGS, config_flags())
        study.set_user_attr("objectives", spec.objectives)
        study.set_user_attr("identity", spec.identity)

    def _status(self) -> StudyStatus:
        n_begun = len(self.study.trials())
        n_trials = n_begun if self.study.is_exhausted() else max(self.study.n_planned, n_begun)
        return StudyStatus.of(self.study.study, n_trials, self.study.is_alive)

    # --- trials ----------------------------------------------------------------------------------

    def _run(self, folder: Path) -> StudyOutcome:
        """Do everything that is left to do, tracked as one run."""
        tracker = self.spec.tracker
        tracker.kept_in(folder)
        tracker.waits(self.spec.sweep.outage_timeout_s)
        self._open_run()
        with StopRequest(folder) as stop:
            plan = self._plan(stop)
            try:
                with (
                    StopRelay(stop, self.study.study, plan) as relay,
                    tracker.monitored(self.study.is_on_gpu),
                ):
                    self._search(plan, stop, relay)
                    outcome = self._outcome(plan if self.study.is_finished() else None)
                if stop.reason is not None:
                    raise KeyboardInterrupt(stop.reason)  # noqa: TRY301 - as the second one does
            except BaseException as error:
                tracker.waits(0)
                if isinstance(error, KeyboardInterrupt):
                    self.study.interrupt()
                    self._say_how_to_go_on()  # first: closing the tracker may take a while
                with suppress(StorageError):  # which may be the error
                    self._tidy()
                tracker.close_sweep(*ending(error))
                raise
            self._tidy()
        self._track(outcome)
        if failure := self._failure(outcome.status):
            tracker.close_sweep("FAILED", failure)
        elif self.study.is_finished():
            tracker.close_sweep("FINISHED")
        else:
            tracker.close_sweep("KILLED", "stopped by sweep.timeout")
        self._note_end()
        return outcome

    def _open_run(self) -> None:
        """Open the run of the whole sweep, which the study names for commands on other hosts."""
        spec, tracker, study = self.spec, self.spec.tracker, self.study.study
        params = {**app.parameters(spec.identity), "n_trials": spec.sweep.n_trials}

        def open_or_adopt() -> None:
            known = study.user_attrs.get(PARENT_RUN)
            tracker.open_sweep(spec.name, f"sweep {spec.name}", params, spec.tags, known)
            if tracker.run_id not in (None, known):
                study.set_user_attr(PARENT_RUN, tracker.run_id)

        self.study.alone(open_or_adopt)  # two terminals adopt or create the same run
        tracker.share_view(spec.name, *view_columns(self.study.space, self._status()))

    def _plan(self, stop: StopRequest) -> Plan:
        """The plan for the workers of this command."""
        timeout = self.spec.sweep.timeout
        plan = self.spec.plan(
            deadline=timeout and time.time() + timeout,
            parent_run=self.spec.tracker.run_id,
            stop_file=str(stop.file),
            retry=self.study.plan.retry,
            stops=stop_requests.counts(self.study.study),
        )
        return replace(plan, n_trials=self.study.plan.n_trials)

    def _search(self, plan: Plan, stop: StopRequest, relay: StopRelay) -> None:
        """Launch workers repeatedly until nothing is left to run."""
        spec, n_idle = self.spec, 0  # launches in a row in which no trial was started
        losses, told = LossCounter(self.study), WorkerErrors(plan)

        def look() -> StudyStatus:
            told.look()
            return self._status()

        if self._has_too_many_failures():
            self._report_failures()
            return
        with SweepProgress(look, is_interrupted=lambda: stop.reason is not None):
            while stop.reason is None and not self.study.is_finished():
                before = self._mark()
                self._tidy()
                error = self._launch(Worker(plan.plain()), spec.sweep.n_workers, told)
                is_closed = relay.look() is not None
                if not is_closed and self._has_too_many_failures():
                    self._report_failures()
                    is_closed = True
                if stop.reason is not None or is_closed or plan.is_late:
                    return
                losses.count(error)
                n_idle = n_idle + 1 if self._mark() == before else 0
                if n_idle and isinstance(error, Unfit):
                    raise InputError(error)
                if n_idle <= spec.sweep.max_retries * isinstance(error, Killed):
                    continue
                if not any(map(self.study.is_alive, self.study.unfinished_numbers())):
                    raise InputError(
                        f"workers must be able to run trials, but none ran ({error}); fix "
                        "it and re-run the same command"
                    )
                self._wait_for_others(stop)

    def _wait_for_others(self, stop: StopRequest) -> None:
        """Wait until a trial that another command's workers run has ended, or they have died."""
        before = self._mark()
        while stop.reason is None and self._mark() == before:
            running = self.study.unfinished_numbers()
            if not running or not all(map(self.study.is_alive, running)):
                return
            time.sleep(POLL_S)

    def _launch(
        self, task: Worker | FinalWorker, n_processes: int, told: WorkerErrors
    ) -> str | None:
        """Run a task in `n_processes` processes; return the error of one of them, if any."""
        try:
            done = self.spec.launch(task, n_processes, self.study.plan.folder)
        except Exception as error:  # noqa: BLE001 - a killed process takes its pool down
            return Killed(describe_error(error))
        told.note(done)
        return first_error(done)

    def _mark(self) -> object:
        """A value that changes whenever a worker made progress."""
        claims = [(trial.state, trial.user_attrs.get("began")) for trial in self.study.trials()]
        return claims, self.study.is_exhausted()

    def _has_too_many_failures(self) -> bool:
        """Whether more than `sweep.max_failures` trials have failed."""
        return len(self.study.failed_trials()) > self.spec.sweep.max_failures

    def _report_failures(self) -> None:
        """Too many trials failed: stop other commands' workers, and end this command.

        Raises:
            InputError: Always.
        """
        n_failed, limit = len(self.study.failed_trials()), self.spec.sweep.max_failures
        stop_requests.request(self.study.study, NO_MORE, f"sweep.max_failures={limit}")
        raise InputError(
            f"at most sweep.max_failures={limit} trials may fail, but {n_failed} did, "
            f"{self.study.last_failure()}; fix it and add sweep.retry_failed=true to retry "
            "them, or raise sweep.max_failures"
        )

    def _failure(self, status: StudyStatus) -> str | None:
        """Why a study has no result; None if it has one, or may still get one."""
        n_failed = status.count("failed")
        if not n_failed or status.count("complete"):
            return None
        return (
            f"at least one trial of {status.study} must be complete, but {n_failed} of "
            f"{status.n_finished} failed, {self.study.last_failure()}; fix it and add "
            "sweep.retry_failed=true to retry them"
        )

    # --- tracking --------------------------------------------------------------------------------

    def _tidy(self) -> None:
        """End the runs of trials whose process died before it could do so."""
        self.spec.tracker.tidy(self.spec.name, partial(verdict, self.study))

    def _track(self, outcome: StudyOutcome) -> None:
        """Log the outcome to the run of the whole sweep."""
        status, tracker = outcome.status, self.spec.tracker
        test = outcome.test.plain() if outcome.test else None
        tracker.log_metrics(outcome_metrics(status, test), step=len(status.rows))
        self.study.alone(lambda: tracker.log_curve(outcome_curve(status)))  # or two terminals do
        looks = outcome.looks.plain()
        tracker.log_settings({}, {
            "recsweep.test_scored": str(looks["n_times"]),
            "recsweep.test_configurations": str(looks["n_configurations"]),
        })  # fmt: skip
        from recsweep.sweeps.reporting import plots  # takes 2 s: plotly, pyplot, scikit-learn

        plots.write_plots(self.study.study, outcome, self._results() / PLOTS)
        told = NoteContent.of(self.study, outcome, self.spec.command, self.spec.tags)
        write_note(self._results(), summary_note(outcome, told))
        tracker.log_artifacts(self._results())
        tracker.share_view(status.study, *view_columns(self.study.space, status))
        tracker.set_note(page_note(self._results(), tracker.views, tracker.run_id))
        self._register(outcome)

    def _register(self, outcome: StudyOutcome) -> None:
        """Register the winner's first training as a model version, if requested."""
        name, tracker = self.spec.sweep.register, self.spec.tracker
        if name is None or outcome.test is None or tracker.lost:
            return
        from recsweep.tracking.registry import register  # imports MLflow's models: takes seconds

        results = Path(self.study.plan.folder) / outcome.test.replicates[0]["results"]
        if not is_run(results):
            print_to_stderr("warning: the winner is not registered: its files are on another host")
            return
        run_id = read_run_id(results)
        if run_id is not None:
            objective = self.spec.objectives[0]
            found = register(tracker.store, run_id, name, results, objective)
            print_to_stderr(f"registered {found.uri}")

    # --- outcome ---------------------------------------------------------------------------------

    def _results(self) -> Path:
        return Path(self.study.plan.folder) / RESULTS

    def _is_complete(self) -> bool:
        """Whether all trials are finished, the winner is scored and everything is tracked."""
        n_trials = self.study.study.user_attrs.get(ENDED)
        if not self.study.is_finished() or len(self.study.trials()) != n_trials:
            return False
        winner = self._winner(self._status())
        return winner is None or not winner.missing or self._is_locked(winner)

    def _note_end(self) -> None:
        """Mark the study as finished, so that the same command finds nothing left to do."""
        if self.study.is_finished():
            self.study.study.set_user_attr(ENDED, len(self.study.trials()))

    def _outcome(self, plan: Plan | None = None) -> StudyOutcome:
        """The study's outcome, also written to files.

        Args:
            plan: Retrain the winner and score it on test if not done yet; None = do not.
        """
        status = self._status()
        winner = self._winner(status) if self.study.is_finished() else None
        if winner and plan and winner.missing and not self._is_locked(winner):
            self._train(winner, plan)
        if winner:
            winner.fetch(self.spec.tracker)
        test = winner.scores() if winner else None
        outcome, results = StudyOutcome(status, test, Looks.of(self.study.study)), self._results()
        results.mkdir(exist_ok=True)
        write_optimization_results(
            summary_file(self.study.plan.folder), self.study.study, status,
            self.spec.command,
            {"test": test and test.plain(), "test_scored": outcome.looks.plain()},
        )  # fmt: skip
        write_trials(results / TRIALS_TABLE, status)
        return outcome

    def _winner(self, status: StudyStatus) -> FinalEvaluation | None:
        sweep, best = self.spec.sweep, status.best
        if best is None:
            return None
        model = self.study.space.config(best.settings)["model"]
        n_seeds = min(sweep.final_seeds, 1) if is_deterministic(model) else sweep.final_seeds
        return FinalEvaluation(self.study, best, n_seeds)

    def _is_locked(self, winner: FinalEvaluation) -> bool:
        """Whether test was scored for another trial and must not be for this one."""
        return bool(winner.others_scored()) and not self.spec.sweep.score_another

    def _train(self, winner: FinalEvaluation, plan: Plan) -> None:
        """Retrain the winner as separate runs, each of which scores test."""
        n_deaths = 0
        print_to_stderr(f"retraining the winner with {winner.seeds_left} to score it on test")
        while winner.missing and not plan.is_stopped:
            left = [index for index in winner.missing if not self.study.is_alive(FINAL + index)]
            if not left:
                time.sleep(POLL_S)  # another terminal is doing it, or an orphaned process
                continue
            finalist = winner.finalist(Worker(plan.plain()))
            n_processes = -(-len(left) // (self.study.agreed_slots or 1))
            n_processes = min(n_processes, self.spec.sweep.n_workers)
            error = self._launch(finalist, n_processes, WorkerErrors(plan))
            n_deaths += isinstance(error, Killed)
            if error and not (isinstance(error, Killed) and n_deaths <= plan.max_retries):
                raise InputError(
                    f"the winner, trial {winner.best.number}, must be retrained for test, but "
                    f"{error}; fix it and re-run the same command"
                )
        while any(self.study.is_alive(FINAL + index) for index in range(winner.n_seeds)):
            time.sleep(POLL_S)

    def _say_how_to_go_on(self) -> None:
        status = self._status()
        best = [best_line(status)] * bool(status.front)
        print_to_stderr(*best, counts_line(status), f"resume    {self.spec.command}")
