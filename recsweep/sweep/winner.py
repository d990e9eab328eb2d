"""The winner's last trainings: one per seed, each a run of its own that scores test once.

    sweeps/STUDY/winner/0024/replicate-0/   results/, log.txt, and said.txt once all is tracked

The study counts every look at test under `test_scored`, before it happens, so that no death hides
one; scoring another trial of the same study is refused unless it is asked for.
"""

import copy
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from recsweep import app
from recsweep.sweep.results import trial_overrides
from recsweep.sweep.standing import TrialRow
from recsweep.sweep.study import SharedStudy
from recsweep.sweep.worker import SAID, TEST_SCORED, Finalist, Worker
from recsweep.tracking.sweeps import trial_name


class Looks(NamedTuple):
    """How often test was scored for a study.

    Args:
        n_times: Trainings whose test was scored.
        trials: Numbers of the trials they belong to.
    """

    n_times: int
    trials: tuple[int, ...]

    @classmethod
    def of(cls, study: Any) -> "Looks":
        """What an Optuna study has counted."""
        looks = study.user_attrs.get(TEST_SCORED, [])
        return cls(len(looks), tuple(sorted({look["trial"] for look in looks})))

    def plain(self) -> dict[str, Any]:
        """For YAML."""
        numbers = list(self.trials)
        return {"n_times": self.n_times, "n_configurations": len(numbers), "trials": numbers}

    def __str__(self) -> str:
        numbers = ", ".join(map(str, self.trials))
        which = f"trial {numbers}" if len(self.trials) == 1 else f"trials {numbers}"
        times = "once" if self.n_times == 1 else f"{self.n_times} times"
        return f"test was scored {times} for this study ({which})"


@dataclass(frozen=True)
class Winner:
    """The best trial, trained again with several seeds.

    Args:
        study: Whose best trial it is.
        best: The trial.
        n_seeds: Trainings, with the trial's seed and those that follow it.
    """

    study: SharedStudy
    best: TrialRow
    n_seeds: int

    @property
    def folders(self) -> list[Path]:
        """One per training."""
        place = Path(self.study.plan.folder) / "winner" / f"{self.best.number:04d}"
        return [place / f"replicate-{index}" for index in range(self.n_seeds)]

    @property
    def missing(self) -> list[int]:
        """Indices of the trainings that are not done."""
        return [index for index, folder in enumerate(self.folders) if not (folder / SAID).exists()]

    def others_scored(self) -> list[int]:
        """Other trials of the study that have been scored on test."""
        return [trial for trial in Looks.of(self.study.study).trials if trial != self.best.number]

    def finalist(self, worker: Worker) -> Finalist:
        """What trains those that are missing, in any number of processes.

        Args:
            worker: Of the same sweep.
        """
        return Finalist(worker, [self._training(index) for index in self.missing])

    def _training(self, index: int) -> dict[str, Any]:
        config = copy.deepcopy(self.study.space.config(self.best.settings))
        config["seed"] += index
        kept = [
            line
            for line in trial_overrides(self.study.study, self.best)
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

    def scores(self) -> "FinalScores | None":
        """What the trainings came to; None unless all are done."""
        return None if self.missing or not self.n_seeds else FinalScores.of(self)


def training_name(config: app.Config, settings: Mapping[str, Any]) -> str:
    """What the run of one of the winner's trainings is called.

    Args:
        config: The training's.
        settings: What the trial's search chose.
    """
    name = trial_name(app.model_name(config), settings)
    return f"best: {name} seed={config['seed']}"


@dataclass(frozen=True)
class FinalScores:
    """What the winner reaches, over its replicates.

    Args:
        valid: Validation metrics: per user the mean over the replicates.
        test: Test metrics, likewise.
        replicates: `results` (its folder), `seed`, `best_epoch`, and the means of each, `valid`
            and `test`.
        looks: How often test was scored for the study.
    """

    valid: Any
    test: Any
    replicates: list[dict[str, Any]]
    looks: Looks

    @classmethod
    def of(cls, winner: Winner) -> "FinalScores":
        """Read the files of a winner whose trainings are all done."""
        results = [folder / "results" for folder in winner.folders]
        return cls(
            averaged(results, "valid"),
            averaged(results, "test"),
            [_replicate(folder, Path(winner.study.plan.folder)) for folder in results],
            Looks.of(winner.study.study),
        )

    def plain(self) -> dict[str, Any]:
        """For YAML and JSON."""
        errors = self.test.standard_errors.items()
        return {
            "mean": self.test.means,
            "standard_error": {name: e if math.isfinite(e) else None for name, e in errors},
            "standard_deviation_over_replicates": self.deviations,
            "n_users": len(self.test.per_user),
            "replicates": self.replicates,
        }

    @property
    def deviations(self) -> dict[str, float]:
        """Standard deviation of each test metric over the replicates; empty with one."""
        import numpy as np

        if len(self.replicates) < 2:
            return {}
        return {
            name: float(np.std([each["test"][name] for each in self.replicates], ddof=1))
            for name in self.test.means
        }


def _replicate(results: Path, study: Path) -> dict[str, Any]:
    import yaml

    config = yaml.safe_load((results / "config.yaml").read_text("utf-8"))
    metrics = json.loads((results / "metrics.json").read_text("utf-8"))
    return {
        "results": str(results.relative_to(study)),
        "seed": config["seed"],
        "best_epoch": metrics["best_epoch"],
        **{fold: metrics[fold]["mean"] for fold in ("valid", "test")},
    }


def averaged(results: Sequence[Path], fold: str) -> Any:
    """One evaluation of several runs: the mean over runs of each user's metrics.

    Args:
        results: Folders of runs of the same model on the same split.
        fold: `valid` or `test`.

    Returns:
        An `Evaluation`; the catalogue's metrics are means over the runs.

    Raises:
        InputError: Files of a run are damaged, or not of the same run.
    """
    import pandas as pd

    from recsweep.comparison.consistency import metrics_per_user
    from recsweep.evaluation import Evaluation

    frames = [metrics_per_user(folder, fold) for folder in results]
    told = [json.loads((folder / "metrics.json").read_text("utf-8"))[fold] for folder in results]
    per_user = pd.concat(frames).groupby(level=0, sort=False).mean()
    of_catalog = {
        name: sum(each["mean"][name] for each in told) / len(told)
        for name in told[0]["mean"]
        if name not in per_user
    }
    return Evaluation(per_user, of_catalog, max(each["n_without_target"] for each in told))
