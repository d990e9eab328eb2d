"""A study shared by workers: who may try what, and what came of it.

One trial is one atomic write, so that a process may die at any moment: a trial exists with all its
parameters or not at all, and one whose process died is begun again by whoever asks next, with the
same number and the same parameters.
"""

import os
import socket
import time
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
"""How long and how often a claimer waits for the lock of one who died in the same claim."""


@dataclass(frozen=True)
class Plan:
    """All that a worker needs to know, as plain values.

    Args:
        study: The study's name.
        folder: The sweep's folder.
        storage: URL of the storage; None = a journal in the folder.
        n_trials: That are to be finished.
        deadline: Unix time after which no trial is begun; None = none.
        seed: Of the sampler.
        try_defaults: Trial 0 is the configuration as it stands.
        max_retries: How often a trial begins again after its process died.
        max_failures: More failed trials than this end the sweep.
        sampler: Configuration of the sampler.
        pruner: Configuration of the pruner.
        objectives: Metrics and times, such as `ndcg@100`, `train_s`.
        space: See `Space.plain`.
        backend: What trains.
        threads: CPU threads of a worker.
        code: Hashes of the code that the sweep began with, see `recsweep.source_code.of_config`.
        parent_run: Id of the tracker's run of the whole sweep; None = not tracked.
        parent_process: The process that launches the workers, see `watchdog.Process`.
        stop_file: Workers stop after their epoch once this file exists; None = never.
        retry: Optuna's ids of failed trials that are to be run again.
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
        """For another process."""
        return asdict(self)

    @property
    def is_stopped(self) -> bool:
        """Whether someone asked the workers to stop."""
        return self.stop_file is not None and Path(self.stop_file).exists()


def directions(objectives: list[str]) -> list[Literal["maximize", "minimize"]]:
    """Seconds are to be few, metrics high."""
    return ["minimize" if name.endswith("_s") else "maximize" for name in objectives]


@dataclass(frozen=True)
class Claim:
    """The right to run one trial.

    Args:
        trial: Reports go here.
        frozen: The trial as it was claimed.
        lease: Held until the trial is told, or the process dies.
    """

    trial: Trial
    frozen: FrozenTrial
    lease: Lease


class SharedStudy:
    """One Optuna study as all processes of a sweep see it.

    Args:
        plan: What the sweep is.
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
        """Optuna's study; one that is there is only read."""
        plan, pruner = self.plan, build(self.plan.pruner, "pruner").make(self._n_epochs())
        try:
            return optuna.load_study(study_name=plan.study, storage=storage, pruner=pruner)
        except KeyError:
            return optuna.create_study(
                study_name=plan.study, storage=storage, pruner=pruner,
                directions=directions(plan.objectives), load_if_exists=True,
            )  # fmt: skip

    def _n_epochs(self) -> int:
        """Epochs that a trial can have at most."""
        return max(int(branch.config["model"].get("n_epochs", 1)) for branch in self.space.branches)

    def trials(self) -> list[FrozenTrial]:
        """All of them, by number; of one that failed and was run again the latest attempt."""
        return latest_attempts(self.study.get_trials(deepcopy=False))

    def unfinished(self) -> list[int]:
        """Numbers of the trials that were begun and not told."""
        return [trial.number for trial in self.trials() if not trial.state.is_finished()]

    def failed(self) -> list[FrozenTrial]:
        """Trials that broke, but for those that are to be run again."""
        failed = (trial for trial in self.trials() if trial.state == TrialState.FAIL)
        return [trial for trial in failed if trial._trial_id not in self.plan.retry]

    def to_retry(self) -> list[FrozenTrial]:
        """Trials that broke and are to be run again."""
        return [trial for trial in self.trials() if trial._trial_id in self.plan.retry]

    def is_alive(self, number: int) -> bool:
        """Whether some process runs this trial."""
        return self.locks.is_leased(number)

    def is_finished(self) -> bool:
        """Whether no trial is left to run."""
        is_whole = len(self.trials()) >= self.plan.n_trials or self.is_exhausted()
        return is_whole and not self.unfinished() and not self.to_retry()

    def is_exhausted(self) -> bool:
        """Whether every point of the space has been tried."""
        return bool(self.study.user_attrs.get("exhausted"))

    def claim(self) -> Claim | None:
        """The next trial to run; None when others run the last ones, or none shall be begun.

        A dead process's trial comes before one that failed, and that before a new one.
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
        """A trial whose process died, to be begun again; None if it is alive, or died too often."""
        lease = self.locks.lease(number)
        if lease is None:
            return None
        with ExitStack() as at_the_end:
            at_the_end.enter_context(lease)
            frozen = self.trials()[number]
            if frozen.state.is_finished():  # told just before its process released the lease
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
        """A new trial as the sampler proposes it; None when the space is exhausted."""
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
            settings = own or settings  # beyond an interval the sampler saw the interval's end
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
        """Make a trial, which exists from then on, and take its lease."""
        template.user_attrs.update(self._who())
        lease = self._new_lease(number)
        with ExitStack() as at_the_end:
            at_the_end.enter_context(lease)
            self.study.add_trial(template)
            frozen = self.trials()[number]
            at_the_end.pop_all()
            return Claim(Trial(self.study, frozen._trial_id), frozen, lease)

    def _new_lease(self, number: int) -> Lease:
        """That of a trial which does not exist yet; a claimer who just died may not be quite gone.

        Raises:
            StorageError: Somebody keeps it.
        """
        for _ in range(N_TRIES):
            if (lease := self.locks.lease(number)) is not None:
                return lease
            time.sleep(PATIENCE_S / N_TRIES)
        raise StorageError(
            f"trial {number} of {self.plan.study} must be free before it exists, but some process "
            "holds its lock; end that process"
        )

    def set_attrs(self, frozen: FrozenTrial, attrs: Mapping[str, Any]) -> None:
        """Note something about a trial that is not finished."""
        for name, value in attrs.items():
            self.study._storage.set_trial_user_attr(frozen._trial_id, name, value)

    def finish(
        self, number: int, state: TrialState, values: list[float] | None, attrs: Mapping[str, Any]
    ) -> None:
        """Tell how a trial ended: attributes first, the state is what commits them.

        Args:
            number: The trial's.
            state: Complete, pruned or failed.
            values: Of the objectives, when complete.
            attrs: What else there is to know.
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
        """Note that trials which this command's workers run are cut off because it was stopped."""
        for trial in self.trials():
            is_ours = trial.user_attrs.get("parent") == self.plan.parent_process
            if is_ours and not trial.state.is_finished() and self.is_alive(trial.number):
                self.set_attrs(trial, {"is_interrupted": True})
