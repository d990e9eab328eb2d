"""A study shared by workers: claim trials and report their results.

One trial is one atomic write, so that a process may die at any moment: a trial exists with all its
parameters or not at all, and a trial whose process died is restarted by the next worker that asks,
with the same number and the same parameters.
"""

import os
import socket
import time
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from recsweep.build import build
from recsweep.sweeps.sampling.samplers import propose
from recsweep.sweeps.space.space import Space
from recsweep.sweeps.storage.attempts import RETRIES, latest_attempts
from recsweep.sweeps.storage.backends import make_locks, open_storage
from recsweep.sweeps.storage.errors import StorageError
from recsweep.sweeps.storage.locks import Lease

PATIENCE_S, N_TRIES = 5.0, 100
"""How long and how often a claim waits for the lock of a process that died while claiming."""


@dataclass(frozen=True)
class Plan:
    """Everything that a worker needs to know, as plain values.

    Args:
        study: The study's name.
        folder: The sweep's folder.
        storage: URL of the storage; None = a journal in the folder.
        n_trials: Number of trials to finish.
        deadline: Unix time after which no new trial is started; None = no limit.
        seed: The sampler's seed.
        try_defaults: Trial 0 is the configuration as it stands.
        max_retries: How often a trial is restarted after its process died.
        max_failures: More failed trials than this end the sweep.
        sampler: Configuration of the sampler.
        pruner: Configuration of the pruner.
        objectives: Metrics and times, such as `ndcg@100`, `train_s`.
        space: See `Space.plain`.
        backend: `jax` or `tensorflow`.
        threads: CPU threads per worker.
        code: Hashes of the code that the sweep started with, see `recsweep.source_code.of_config`.
        parent_run: Id of the tracked run of the whole sweep; None = not tracked.
        parent_process: The process that launches the workers, see `watchdog.Process`.
        stop_file: Workers stop after their epoch once this file exists; None = never.
        retry: Optuna's ids of the failed trials to retry.
    """

    study: str
    folder: str
    storage: str | None
    n_trials: int
    deadline: float | None
    seed: int
    try_defaults: bool
    max_retries: int
    max_failures: int
    sampler: dict[str, Any]
    pruner: dict[str, Any]
    objectives: list[str]
    space: dict[str, Any]
    backend: str
    threads: int
    code: dict[str, str]
    parent_run: str | None
    parent_process: dict[str, Any]
    stop_file: str | None
    retry: list[int]

    def plain(self) -> dict[str, Any]:
        """As a dict, for another process."""
        return asdict(self)

    @property
    def is_stopped(self) -> bool:
        """Whether the workers were asked to stop."""
        return self.stop_file is not None and Path(self.stop_file).exists()


def directions(objectives: list[str]) -> list[Literal["maximize", "minimize"]]:
    """Times are minimized, metrics maximized."""
    return ["minimize" if name.endswith("_s") else "maximize" for name in objectives]


@dataclass(frozen=True)
class Claim:
    """The right to run one trial.

    Args:
        trial: Optuna's trial, for reports.
        frozen: The trial as it was claimed.
        lease: Held until the trial is finished or the process dies.
    """

    trial: Trial
    frozen: FrozenTrial
    lease: Lease


class SharedStudy:
    """One Optuna study as all processes of a sweep see it.

    Args:
        plan: The sweep's plan.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        folder = Path(plan.folder)
        self.space = Space.of(plan.space)
        self.locks = make_locks(plan.storage, folder, plan.study)
        self.sampler = build(plan.sampler, "sampler")
        self.study = self._opened(open_storage(plan.storage, folder))

    def _opened(self, storage: optuna.storages.BaseStorage) -> optuna.Study:
        """Optuna's study; an existing one is only read."""
        plan, pruner = self.plan, build(self.plan.pruner, "pruner").make(self._n_epochs())
        try:
            return optuna.load_study(study_name=plan.study, storage=storage, pruner=pruner)
        except KeyError:
            study = optuna.create_study(
                study_name=plan.study, storage=storage, pruner=pruner,
                directions=directions(plan.objectives), load_if_exists=True,
            )  # fmt: skip
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names(list(plan.objectives))  # what dashboards show
            return study

    def _n_epochs(self) -> int:
        """Maximum number of epochs of a trial."""
        return max(int(branch.config["model"].get("n_epochs", 1)) for branch in self.space.branches)

    def trials(self) -> list[FrozenTrial]:
        """All trials by number; for a retried one, the latest attempt."""
        return latest_attempts(self.study.get_trials(deepcopy=False))

    def unfinished(self) -> list[int]:
        """Numbers of the trials that were started but not finished."""
        return [trial.number for trial in self.trials() if not trial.state.is_finished()]

    def failed(self) -> list[FrozenTrial]:
        """Failed trials, except those to retry."""
        failed = (trial for trial in self.trials() if trial.state == TrialState.FAIL)
        return [trial for trial in failed if trial._trial_id not in self.plan.retry]

    def to_retry(self) -> list[FrozenTrial]:
        """Failed trials to retry."""
        return [trial for trial in self.trials() if trial._trial_id in self.plan.retry]

    def is_alive(self, number: int) -> bool:
        """Whether a process is running this trial."""
        return self.locks.is_leased(number)

    def is_finished(self) -> bool:
        """Whether no trial is left to run."""
        is_whole = len(self.trials()) >= self.plan.n_trials or self.is_exhausted()
        return is_whole and not self.unfinished() and not self.to_retry()

    def is_exhausted(self) -> bool:
        """Whether every point of the space has been tried."""
        return bool(self.study.user_attrs.get("exhausted"))

    def claim(self) -> Claim | None:
        """The next trial to run; None if no trial is left or none may start.

        Trials whose process died come first, then failed ones to retry, then new ones.
        """
        with self.locks.mutex():
            if self._may_not_begin():
                return None
            for number in self.unfinished():
                if claim := self._taken_over(number):
                    return claim
            if failed := self.to_retry():
                return self._retried(failed[0])
            trials = self.trials()
            return None if len(trials) >= self.plan.n_trials else self._begun(trials)

    def _may_not_begin(self) -> bool:
        is_late = self.plan.deadline is not None and time.time() > self.plan.deadline
        return is_late or self.plan.is_stopped or len(self.failed()) > self.plan.max_failures

    def _taken_over(self, number: int) -> Claim | None:
        """A trial to restart, as its process died; None if it is alive or died too often."""
        lease = self.locks.lease(number)
        if lease is None:
            return None
        with ExitStack() as at_the_end:
            at_the_end.enter_context(lease)
            frozen = self.trials()[number]
            if frozen.state.is_finished():  # just before its process released the lease
                return None
            attrs = frozen.user_attrs
            n_deaths = attrs.get("n_deaths", 0) + (not attrs.get("is_interrupted", False))
            if n_deaths > self.plan.max_retries:
                reason = f"its process died {n_deaths} times; see sweep.max_retries"
                self.finish(number, TrialState.FAIL, None, {"reason": reason})
                return None
            noted = {"n_deaths": n_deaths, "is_interrupted": False, **self._who()}
            self.set_attrs(frozen, noted)
            at_the_end.pop_all()
            return Claim(Trial(self.study, frozen._trial_id), frozen, lease)

    def _begun(self, trials: list[FrozenTrial]) -> Claim | None:
        """A new trial proposed by the sampler; None when the space is exhausted."""
        plan, number = self.plan, len(trials)
        template = propose(
            self.sampler, self.space, trials, directions(plan.objectives), plan.seed,
            plan.try_defaults,
        )  # fmt: skip
        if template is None:
            self.study.set_user_attr("exhausted", True)
            return None
        settings, own = self.space.settings(template.params), self.space.default_settings()
        if plan.try_defaults and number == 0 and template.params == self.space.default_params():
            settings = own or settings  # the sampler sees a value outside clipped to its interval
        template.user_attrs.update(settings=settings, is_default=settings == own)
        return self._added(number, template)

    def _retried(self, failed: FrozenTrial) -> Claim:
        """Another attempt at a trial, with the same parameters."""
        kept = {name: failed.user_attrs[name] for name in ("settings", "is_default")}
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING, params=failed.params, distributions=failed.distributions,
            user_attrs={**kept, RETRIES: failed.number}, system_attrs=failed.system_attrs,
        )  # fmt: skip
        return self._added(failed.number, template)

    def _added(self, number: int, template: FrozenTrial) -> Claim:
        """Take the lease of a new trial and add it to the study."""
        template.user_attrs.update(self._who())
        lease = self._new_lease(number)
        with ExitStack() as at_the_end:
            at_the_end.enter_context(lease)
            self.study.add_trial(template)
            frozen = self.trials()[number]
            at_the_end.pop_all()
            return Claim(Trial(self.study, frozen._trial_id), frozen, lease)

    def _new_lease(self, number: int) -> Lease:
        """The lease of a trial that does not exist yet; a process that just died may still hold it.

        Raises:
            StorageError: Another process does not release it.
        """
        for _ in range(N_TRIES):
            if (lease := self.locks.lease(number)) is not None:
                return lease
            time.sleep(PATIENCE_S / N_TRIES)
        raise StorageError(
            f"the lock of new trial {number} of {self.plan.study} must be free, but another "
            "process holds it; end that process"
        )

    def set_attrs(self, frozen: FrozenTrial, attrs: Mapping[str, Any]) -> None:
        """Set user attributes of an unfinished trial."""
        for name, value in attrs.items():
            self.study._storage.set_trial_user_attr(frozen._trial_id, name, value)

    def finish(
        self, number: int, state: TrialState, values: list[float] | None, attrs: Mapping[str, Any]
    ) -> None:
        """Record how a trial ended: attributes first, then the state, which commits them.

        Args:
            number: The trial's number.
            state: Complete, pruned or failed.
            values: Values of the objectives, if complete.
            attrs: Other user attributes.
        """
        frozen = self.trials()[number]
        self.set_attrs(frozen, attrs)
        of_optuna = self.study._storage.get_trial_number_from_id(frozen._trial_id)
        self.study.tell(of_optuna, values, state=state)

    def _who(self) -> dict[str, Any]:
        return {
            "worker": f"{socket.gethostname()}:{os.getpid()}",
            "parent": self.plan.parent_process,
            "began": time.time(),
        }

    def interrupt(self) -> None:
        """Mark trials that this command's workers are running as interrupted."""
        for trial in self.trials():
            is_ours = trial.user_attrs.get("parent") == self.plan.parent_process
            if is_ours and not trial.state.is_finished() and self.is_alive(trial.number):
                self.set_attrs(trial, {"is_interrupted": True})
