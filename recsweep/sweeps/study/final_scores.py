"""The winner's trainings and their scores on test, and how often test was scored for a study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recsweep.run_files import (
    FOLDS,
    RESULTS,
    STDOUT,
    read_config,
    read_metrics,
    read_run_id,
    training_folder,
)

if TYPE_CHECKING:
    import optuna

    from recsweep.evaluation import Evaluation
    from recsweep.sweeps.study.shared_study import Plan

TEST_SCORED = "test_scored"
"""Attribute of a study: trial and seed of every training whose test was scored."""

TRAINING = "final_training"
"""Attributes of a study, `final_training/TRIAL/INDEX`: what is left of a training of the winner
on hosts that do not have its files: run id, seed, best epoch, and the means of its metrics."""


class Looks(NamedTuple):
    """How often test was scored for a study.

    Args:
        n_times: Number of trainings scored on test.
        trials: Numbers of the trials they belong to.
    """

    n_times: int
    trials: tuple[int, ...]

    @classmethod
    def of(cls, study: "optuna.Study") -> "Looks":
        """The test evaluations recorded in an Optuna study."""
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


def read_trainings(study: "optuna.Study", trial: int) -> dict[int, dict[str, Any]]:
    """What a study knows of a trial's final trainings, by index.

    Args:
        study: The study.
        trial: The trial's number.
    """
    prefix = f"{TRAINING}/{trial:04d}/"
    noted = {
        int(name.removeprefix(prefix)): each
        for name, each in study.user_attrs.items()
        if name.startswith(prefix)
    }
    return dict(sorted(noted.items()))


@dataclass(frozen=True)
class FinalTrainings:
    """The trainings of winners that are done: in this folder, or noted in the study by other hosts.

    Args:
        study: Optuna's study.
        plan: The sweep's plan.
    """

    study: "optuna.Study"
    plan: "Plan"

    def folder(self, trial: int, index: int) -> Path:
        """The folder of a training."""
        return training_folder(self.plan.folder, trial, index)

    def has_files(self, trial: int, index: int) -> bool:
        """Whether its files are here, all of them."""
        return (self.folder(trial, index) / STDOUT).exists()

    def add(self, trial: int, index: int) -> None:
        """Note a training whose files are here, for hosts that lack them."""
        if self.plan.storage is None:
            return
        results = self.folder(trial, index) / RESULTS
        noted = {
            "run_id": read_run_id(results),
            "replicate": _replicate(results, Path(self.plan.folder)),
            "users": {
                fold: {name: metrics.get(name, 0) for name in ("n_users", "n_without_target")}
                for fold, metrics in _of_folds(results).items()
            },
        }
        self.study.set_user_attr(f"{TRAINING}/{trial:04d}/{index}", noted)

    def read(self, trial: int) -> dict[int, dict[str, Any]]:
        """What the study knows of a trial's trainings, by index.

        With a journal all hosts share its folder, and only the files there count.
        """
        return {} if self.plan.storage is None else read_trainings(self.study, trial)

    def indices(self, trial: int) -> set[int]:
        """Which trainings of a trial are done."""
        parent = self.folder(trial, 0).parent
        here = {int(file.parent.name.rpartition("-")[2]) for file in parent.glob(f"*/{STDOUT}")}
        return here | set(self.read(trial))

    def scores(self, trial: int, n_seeds: int) -> "FinalScores":
        """The scores of a trial whose trainings are done.

        Args:
            trial: Its number.
            n_seeds: The number of its trainings.
        """
        looks, indices = Looks.of(self.study), range(n_seeds)
        if all(self.has_files(trial, index) for index in indices):
            folders = [self.folder(trial, index) for index in indices]
            return FinalScores.of(folders, Path(self.plan.folder), looks)
        noted = self.read(trial)
        for index in indices:
            if index not in noted:  # by an older version: only this host has it
                self.add(trial, index)
                noted = self.read(trial)
        return FinalScores.of_study([noted[index] for index in indices], looks)


@dataclass(frozen=True)
class FinalScores:
    """The winner's scores over its replicates.

    Args:
        valid: Validation metrics: the mean over the replicates for each user; without users if
            another host has the files.
        test: Test metrics, likewise.
        replicates: For each: `results` (its folder), `seed`, `best_epoch`, and the means `valid`
            and `test`.
        looks: How often test was scored for the study.
    """

    valid: "Evaluation"
    test: "Evaluation"
    replicates: list[dict[str, Any]]
    looks: Looks

    @classmethod
    def of(cls, trainings: Sequence[Path], study: Path, looks: Looks) -> "FinalScores":
        """Read the files of a winner whose trainings are all done.

        Args:
            trainings: Folders of the trainings.
            study: The study's folder.
            looks: How often test was scored for the study.
        """
        results = [folder / RESULTS for folder in trainings]
        return cls(
            average_runs(results, "valid"),
            average_runs(results, "test"),
            [_replicate(folder, study) for folder in results],
            looks,
        )

    @classmethod
    def of_study(cls, noted: Sequence[Mapping[str, Any]], looks: Looks) -> "FinalScores":
        """The same from the study alone: means, without what needs each user's values.

        Args:
            noted: See `FinalTrainings.read`, one per training.
            looks: How often test was scored for the study.
        """
        valid, test = (_average_means(noted, fold) for fold in FOLDS)
        return cls(valid, test, [dict(each["replicate"]) for each in noted], looks)

    def plain(self) -> dict[str, Any]:
        """For YAML and JSON."""
        return {
            **self.test.summary(),
            "standard_deviation_over_replicates": self.deviations,
            "replicates": self.replicates,
        }

    @property
    def deviations(self) -> dict[str, float]:
        """Standard deviation of each test metric over the replicates; empty for one replicate."""
        import numpy as np

        if len(self.replicates) < 2:
            return {}
        return {
            name: float(np.std([each["test"][name] for each in self.replicates], ddof=1))
            for name in self.test.means
        }


def _of_folds(results: Path) -> dict[str, dict[str, Any]]:
    metrics = read_metrics(results)
    return {fold: metrics[fold] for fold in FOLDS}


def _average_means(noted: Sequence[Mapping[str, Any]], fold: str) -> "Evaluation":
    """An evaluation that has means alone."""
    import pandas as pd

    from recsweep.evaluation import Evaluation

    means = [each["replicate"][fold] for each in noted]
    n_users = noted[0]["users"][fold]["n_users"]
    return Evaluation(
        pd.DataFrame(index=range(n_users)),
        {name: sum(each[name] for each in means) / len(means) for name in means[0]},
        max(each["users"][fold]["n_without_target"] for each in noted),
    )


def _replicate(results: Path, study: Path) -> dict[str, Any]:
    metrics = read_metrics(results)
    return {
        "results": results.relative_to(study).as_posix(),
        "seed": read_config(results)["seed"],
        "best_epoch": metrics["best_epoch"],
        **{fold: metrics[fold]["mean"] for fold in FOLDS},
    }


def average_runs(results: Sequence[Path], fold: str) -> "Evaluation":
    """Average several runs into one evaluation: each user's mean over the runs.

    Args:
        results: Folders of runs of the same model on the same split.
        fold: `valid` or `test`.

    Returns:
        An `Evaluation`; catalogue metrics are means over the runs.

    Raises:
        InputError: Files of a run are damaged or do not belong together.
    """
    import pandas as pd

    from recsweep.evaluation import Evaluation
    from recsweep.runs.consistency import metrics_per_user

    frames = [metrics_per_user(folder, fold) for folder in results]
    told = [read_metrics(folder)[fold] for folder in results]
    per_user = pd.concat(frames).groupby(level=0, sort=False).mean()
    of_catalog = {
        name: sum(each["mean"][name] for each in told) / len(told)
        for name in told[0]["mean"]
        if name not in per_user
    }
    return Evaluation(per_user, of_catalog, max(each["n_without_target"] for each in told))
