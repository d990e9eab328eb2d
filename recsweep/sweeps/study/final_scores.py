"""The winner's test scores, and how often test was scored for a study."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recsweep.run_files import FOLDS, RESULTS, read_config, read_metrics

if TYPE_CHECKING:
    import optuna

    from recsweep.evaluation import Evaluation

TEST_SCORED = "test_scored"
"""Attribute of a study: trial and seed of every training whose test was scored."""


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


@dataclass(frozen=True)
class FinalScores:
    """The winner's scores over its replicates.

    Args:
        valid: Validation metrics: the mean over the replicates for each user.
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


def _replicate(results: Path, study: Path) -> dict[str, Any]:
    metrics = read_metrics(results)
    return {
        "results": str(results.relative_to(study)),
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
