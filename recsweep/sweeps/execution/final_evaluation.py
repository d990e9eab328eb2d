"""The winner's final trainings: one per seed, each a separate run that scores test once.

    sweeps/STUDY/winner/0024/replicate-0/   results/, log.txt, and stdout.txt once everything
                                            is tracked

In a database the study also notes each training that is done, so that other hosts, which lack its
files, do not repeat it.

The study records every test evaluation under `test_scored` before it happens, so that a crash
cannot hide one; scoring another trial of the same study is refused unless requested.
"""

import copy
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsweep.errors import InputError
from recsweep.files import whole_folder
from recsweep.interfaces import SweepTracker
from recsweep.run_files import RESULTS, STDOUT
from recsweep.sweeps.execution.worker import FinalWorker, Worker
from recsweep.sweeps.reporting.result_files import trial_arguments
from recsweep.sweeps.reporting.trial_record import training_name
from recsweep.sweeps.study.final_scores import FinalScores, FinalTrainings, Looks
from recsweep.sweeps.study.shared_study import SharedStudy
from recsweep.sweeps.study.status import TrialRow


@dataclass(frozen=True)
class FinalEvaluation:
    """The best trial, retrained with several seeds.

    Args:
        study: The study.
        best: Its best trial.
        n_seeds: Number of trainings, with the trial's seed and the ones after it.
    """

    study: SharedStudy
    best: TrialRow
    n_seeds: int

    @property
    def trainings(self) -> FinalTrainings:
        """The trainings of this study's winners that are done."""
        return FinalTrainings(self.study.study, self.study.plan)

    @property
    def folders(self) -> list[Path]:
        """One per training."""
        return [self.trainings.folder(self.best.number, index) for index in range(self.n_seeds)]

    @property
    def missing(self) -> list[int]:
        """Indices of the trainings that are not done yet."""
        done = self.trainings.indices(self.best.number)
        return [index for index in range(self.n_seeds) if index not in done]

    @property
    def seeds_left(self) -> str:
        """How many are missing, such as `5 seeds`, `2 of 5 seeds` or `1 seed`."""
        n_left, all_seeds = len(self.missing), f"{self.n_seeds} seed{'s' * (self.n_seeds > 1)}"
        return all_seeds if n_left == self.n_seeds else f"{n_left} of {all_seeds}"

    @property
    def elsewhere(self) -> dict[Path, str]:
        """Folder -> run id of the tracked trainings whose files are on another host."""
        number, trainings = self.best.number, self.trainings
        return {
            trainings.folder(number, index): noted["run_id"]
            for index, noted in trainings.read(number).items()
            if index < self.n_seeds and noted["run_id"] and not trainings.has_files(number, index)
        }

    def fetch(self, tracker: SweepTracker) -> None:
        """Get the files of trainings of other hosts, as far as the tracking store has them.

        Args:
            tracker: The sweep's tracker.
        """
        for folder, run_id in self.elsewhere.items():
            shutil.rmtree(folder, ignore_errors=True)  # of a training that did not finish here
            with suppress(InputError), whole_folder(folder, "sweep.folder") as unfinished:
                (unfinished / RESULTS).mkdir()
                if not tracker.fetch(run_id, unfinished / RESULTS):
                    raise InputError(f"run {run_id} has no files")
                text = f"trained on another host, in run {run_id}\n"
                (unfinished / STDOUT).write_text(text, encoding="utf-8")

    def others_scored(self) -> list[int]:
        """Other trials of the study that were scored on test."""
        return [trial for trial in Looks.of(self.study.study).trials if trial != self.best.number]

    def finalist(self, worker: Worker) -> FinalWorker:
        """The task that runs the missing trainings, in any number of processes.

        Args:
            worker: A worker of the same sweep.
        """
        trainings = [self._training(index) for index in self.missing]
        return FinalWorker(worker, trainings, self.n_seeds)

    def _training(self, index: int) -> dict[str, Any]:
        config = copy.deepcopy(self.study.space.config(self.best.settings))
        config["seed"] += index
        kept = [
            line
            for line in trial_arguments(self.study.study, self.best)
            if line.partition("=")[0] != "seed"
        ]
        return {
            "trial": self.best.number,
            "index": index,
            "config": config,
            "overrides": [*kept, f"seed={config['seed']}"],
            "folder": str(self.folders[index]),
            "name": training_name(config, self.best.settings),
        }

    def scores(self) -> FinalScores | None:
        """The scores of the trainings; None unless all are done."""
        if self.missing or not self.n_seeds:
            return None
        return self.trainings.scores(self.best.number, self.n_seeds)
