"""The outcome of a study, and its summary at the end of a sweep."""

import math
from dataclasses import dataclass
from pathlib import Path

import optuna

from recsweep.interfaces import RunTracker
from recsweep.report import metric_table
from recsweep.run_files import PLOTS, RESULTS, SWEEP_PAGE, summary_file
from recsweep.shell import command, setting
from recsweep.sweeps.reporting.edges import remarks_on_edges
from recsweep.sweeps.reporting.result_files import trial_arguments
from recsweep.sweeps.reporting.tables import best_table, short_names
from recsweep.sweeps.study.final_scores import FinalScores, Looks
from recsweep.sweeps.study.shared_study import PARENT_RUN, SharedStudy, is_untracked
from recsweep.sweeps.study.status import StudyStatus, TrialRow, format_value


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
        has_error = error is not None and math.isfinite(error)
        return [
            status.study,
            str(status.n_finished),
            name,
            format_value(name, best.values[0]) if best else "",
            _default(status),
            "" if score is None else f"{score:.4f}" + (f" ± {error:.4f}" if has_error else ""),
        ]

    def report(self, study: SharedStudy, resume: str, tracker: RunTracker) -> list[str]:
        """All that is printed at the end of a sweep: `lines`, and what to do next.

        Args:
            study: The study.
            resume: The sweep's command.
            tracker: The tracker of the sweep's run.
        """
        folder, failed = Path(study.plan.folder), self.status.count("failed")
        page = folder / RESULTS / PLOTS / SWEEP_PAGE
        lines = [f"page      {page}"] if page.exists() else []
        lines += [*self.lines(), ""]
        if shares := importance_shares(study.study, self.status):
            lines.append(f"matters   {shares} (share of the variance)")
        edges = remarks_on_edges(study.space, self.status)
        lines += [f"edge      {remark}" for remark in edges]
        if best := self.status.best:
            lines.append(f"best      {command(*trial_arguments(study.study, best))}")
        lines.append(f"results   {summary_file(folder)}")
        if not study.is_finished():
            lines.append(f"resume    {resume}")
        if failed and self.status.front:
            trials = f"{failed} trial{'s' * (failed > 1)}, {study.last_failure()}"
            lines.append(f"failed    {trials}; sweep.retry_failed=true retries them")
        if tracker.lost or any(map(is_untracked, study.trials())):
            upload = command("task=upload", setting("task.run", self.status.study))
            lines.append(f"tracking  the store was lost; {upload} uploads the rest")
        elif tracker.run_id is not None:
            lines.append(f"open UI   {tracker.ui_command}")
        elif (earlier := study.study.user_attrs.get(PARENT_RUN)) and (
            view := tracker.ui_command_of(earlier)
        ):
            lines.append(f"open UI   {view}")
        return lines

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
        Text; empty with several objectives or a single hyperparameter, or if the trials do not say.
    """
    from recsweep.sweeps.reporting.importance import importances  # scikit-learn

    shares = importances(study) if len(status.objectives) == 1 else {}
    if len(shares) < 2:  # one that is alone explains everything
        return ""
    names = short_names(list(shares))
    return ", ".join(
        f"{name} {share:.2f}" for name, share in zip(names, shares.values(), strict=True)
    )


def _default(status: StudyStatus) -> str:
    """The default configuration's value, with its state if it is not complete."""
    default = status.default
    if default is None or not default.values:
        return ""
    value = format_value(status.objectives[0], default.values[0])
    return value if default.state == "complete" else f"{value} {default.state}"
