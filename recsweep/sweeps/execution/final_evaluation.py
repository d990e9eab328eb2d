"""The winner's final trainings: one per seed, each a separate run that scores test once.

    sweeps/STUDY/winner/0024/replicate-0/   results/, log.txt, and stdout.txt once everything
                                            is tracked

The study records every test evaluation under `test_scored` before it happens, so that a crash
cannot hide one; scoring another trial of the same study is refused unless requested.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsweep.run_files import STDOUT, training_folder
from recsweep.sweeps.execution.worker import FinalWorker, Worker
from recsweep.sweeps.reporting.result_files import trial_arguments
from recsweep.sweeps.reporting.trial_record import training_name
from recsweep.sweeps.study.final_scores import FinalScores, Looks
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
    def folders(self) -> list[Path]:
        """One per training."""
        folder, number = self.study.plan.folder, self.best.number
        return [training_folder(folder, number, index) for index in range(self.n_seeds)]

    @property
    def missing(self) -> list[int]:
        """Indices of the trainings that are not done yet."""
        return [
            index for index, folder in enumerate(self.folders) if not (folder / STDOUT).exists()
        ]

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
        return (
            None
            if self.missing or not self.n_seeds
            else FinalScores.of(
                self.folders, Path(self.study.plan.folder), Looks.of(self.study.study)
            )
        )
