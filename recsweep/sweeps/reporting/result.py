"""The outcome of a study, and its summary at the end of a sweep."""

from dataclasses import dataclass

import optuna

from recsweep.report import metric_table
from recsweep.sweeps.reporting.tables import best_table, short_names
from recsweep.sweeps.study.final_scores import FinalScores, Looks
from recsweep.sweeps.study.status import StudyStatus, TrialRow, shown_value


@dataclass(frozen=True)
class StudyOutcome:
    """The outcome of a study.

    Args:
        status: Its trials.
        test: The winner's scores; None = there is no winner, or it was not scored.
        looks: How often test was scored.
    """

    status: StudyStatus
    test: FinalScores | None
    looks: Looks

    def cells(self) -> list[str]:
        """The study's row in a table of several studies."""
        status = self.status
        name, best = status.objectives[0], status.best
        score = error = None
        if self.test:
            test = self.test.test
            score, error = test.means.get(name), test.standard_errors.get(name)
        return [
            status.study,
            str(status.n_finished),
            name,
            shown_value(name, best.values[0]) if best else "",
            _default(status),
            "" if score is None else f"{score:.4f}" + (f" ± {error:.4f}" if error else ""),
        ]

    def lines(self) -> list[str]:
        """The best trials and, once all are finished, the winner's scores."""
        best, n_done = self.status.best, self.status.n_finished
        lines = ["", best_table(self.status)]
        return lines + self._of_test(best) if best and n_done >= self.status.n_trials else lines

    def _of_test(self, best: TrialRow) -> list[str]:
        """The winner's scores, or why there are none, and how often test was scored."""
        if self.test is None:
            scored = ", ".join(map(str, self.looks.trials))
            why = (
                f"test was scored for trial {scored} of this study before, and trial {best.number} "
                "is better on validation now; sweep.score_another=true scores it too, and every "
                "table will say so"
            )
            return ["", why if scored else "test is not scored, since sweep.final_seeds=0"]
        name, replicates = self.status.objectives[0], self.test.replicates
        seeds = ", ".join(str(each["seed"]) for each in replicates)
        seeds = f"seed{'s' * (len(replicates) > 1)} {seeds}"
        lines = [
            f"\nwinner: trial {best.number}, trained again with {seeds}\n",
            metric_table(self.test.valid, self.test.test),
        ]
        if deviation := self.test.deviations.get(name):
            values = " ".join(f"{each['test'][name]:.4f}" for each in replicates)
            lines.append(f"test {name} by seed: {values}; standard deviation {deviation:.4f}")
        return [*lines, str(self.looks)]


def importance_shares(study: optuna.Study, status: StudyStatus) -> str:
    """The importance of each hyperparameter, such as `l2 0.83, dropout_rate 0.17`.

    Args:
        study: The study.
        status: Its status.

    Returns:
        Text; empty with several objectives, or if the trials do not say.
    """
    from recsweep.sweeps.reporting.importance import importances, shared_params  # scikit-learn

    values = {row.values for row in status.ranked}
    if len(status.objectives) > 1 or len(values) < 2 or len(shared_params(study)) < 2:
        return ""
    shares = importances(study)
    names = short_names(list(shares))
    return ", ".join(
        f"{name} {share:.2f}" for name, share in zip(names, shares.values(), strict=True)
    )


def _default(status: StudyStatus) -> str:
    """The default configuration's value, with its state if it is not complete."""
    default = status.default
    if default is None or not default.values:
        return ""
    value = shown_value(status.objectives[0], default.values[0])
    return value if default.state == "complete" else f"{value} {default.state}"
