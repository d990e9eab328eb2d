"""The runs of a sweep, read from its study and folders, for a tracker that missed some."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from recsweep import app
from recsweep.credentials import without_credentials
from recsweep.files import refuse_links
from recsweep.interfaces import Part
from recsweep.run_files import (
    COMPARISON,
    CONFIG,
    CURVES,
    ENVIRONMENT,
    NOTE,
    OF_LAUNCHERS,
    REPLICATE,
    RESULTS,
    STDOUT,
    WINNER,
    newest_comparison,
    read_config,
    read_curves,
    read_summary,
    replicate_folder,
    trial_folder,
)
from recsweep.runs.records import record_fields, run_record
from recsweep.runs.results import curves_over_k
from recsweep.sweeps.reporting.mlflow_note import page_note, view_columns
from recsweep.sweeps.reporting.tables import best_table, counts_line
from recsweep.sweeps.reporting.trial_record import (
    STATUS,
    replicate_metrics,
    training_name,
    trial_logarithms,
    trial_metrics,
    trial_note,
)
from recsweep.sweeps.sampling.pruners import REPLICATES
from recsweep.sweeps.space.space import Space
from recsweep.sweeps.storage.attempts import latest_attempts
from recsweep.sweeps.study.final_scores import FinalScores, Looks, read_trainings
from recsweep.sweeps.study.shared_study import RESUME
from recsweep.sweeps.study.status import FINISHED, StudyStatus
from recsweep.tracking.backfill import Record
from recsweep.tracking.nested_runs import child_tags, sweep_tags, trial_name


def outcome_metrics(status: StudyStatus, test: Mapping[str, Any] | None) -> dict[str, float]:
    """Metrics logged at the end of the run of a whole sweep.

    Args:
        status: The study's status.
        test: `test` in `optimization_results.yaml`; None = the winner was not scored.
    """
    values = {f"n_{state}": float(status.count(state)) for state in FINISHED}
    if status.best:
        values |= {f"valid_best_{name}": value for name, value in status.best.metrics.items()}
    if test:
        deviations = test["standard_deviation_over_replicates"]
        values |= {f"test_{name}": value for name, value in test["mean"].items()}
        values |= {f"test_sd_{name}": value for name, value in deviations.items()}
    return values


def outcome_curve(status: StudyStatus) -> list[tuple[int, dict[str, float]]]:
    """The best value so far of the first objective, by number of ended trials, for the sweep's run.

    Args:
        status: The study's status.
    """
    name = f"best/{status.objectives[0]}"
    return [(n_before + 1, {name: value}) for n_before, value in status.best_so_far.items()]


class StudyRecords:
    """All runs of a study, as records for a tracker.

    Args:
        study: Optuna's study.
        status: Its status.
        folder: Its folder.

    Raises:
        InputError: There is a link in the folder.
    """

    def __init__(self, study: optuna.Study, status: StudyStatus, folder: Path) -> None:
        refuse_links(folder, OF_LAUNCHERS)
        self.study, self.status, self.folder = study, status, folder
        self.results = folder / RESULTS
        self.outcome = read_summary(folder)
        resume = self.outcome.get("resume") or study.user_attrs.get(RESUME, "")
        self.command = str(resume).removeprefix("python -m ")
        trials = latest_attempts(study.get_trials(deepcopy=False))
        self.trials = [trial for trial in trials if trial.state.is_finished()]

    @property
    def config(self) -> app.Config:
        """The configuration of a trial; empty if none is finished."""
        return self._config(self.trials[0]) if self.trials else {}

    def view_columns(self) -> tuple[dict[str, list[Any]], list[str], set[str]]:
        """What a table of its trials shows, see `mlflow_note.view_columns`."""
        return view_columns(Space.of_study(self.study.user_attrs["space"]), self.status)

    def parent(self, links: Mapping[str, str] | None = None, run_id: str | None = None) -> Record:
        """The run of the whole sweep.

        Args:
            links: Title -> link of the UI, for its note.
            run_id: Its id in the tracking store.
        """
        status, rows = self.status, self.status.rows
        is_whole = status.n_finished >= status.n_trials
        params = app.parameters(self.study.user_attrs["identity"])
        looks = Looks.of(self.study).plain()
        return Record(
            name=f"sweep {status.study}",
            run_id=None,
            status="FINISHED" if is_whole else "KILLED",
            reason="" if is_whole else counts_line(status),
            began=min((row.began for row in rows if row.began), default=None),
            ended=status.last_change.timestamp() if status.last_change else None,
            params={**params, "n_trials": status.n_trials},
            tags={
                **(self._logged(self.trials[0], {})["tags"] if self.trials else {}),
                "recsweep.test_scored": str(looks["n_times"]),
                "recsweep.test_configurations": str(looks["n_configurations"]),
            },
            marks=sweep_tags(status.study),
            data=None,
            curves=outcome_curve(status),
            final=(len(rows), outcome_metrics(status, self._test())),
            files=self._files(),
            note=self._note(links or {}, run_id),
            command=self.command,
        )

    def children(self, parent_run_id: str) -> Iterator[Record]:
        """Finished trials, and completely written trainings of winners.

        Args:
            parent_run_id: Run id of the whole sweep.

        Raises:
            InputError: A file is missing or damaged.
        """
        for trial in self.trials:
            yield self._trial(trial, parent_run_id)
        for file in sorted(self.folder.glob(f"{WINNER}/*/*/{STDOUT}")):
            yield self._replicate(file.parent, parent_run_id)

    def _test(self) -> Mapping[str, Any] | None:
        """The winner's scores: as the sweep wrote them here, or from the study."""
        best = self.status.best
        if self.outcome or best is None:
            return self.outcome.get("test")
        noted = read_trainings(self.study, best.number).values()
        return FinalScores.of_study([*noted], Looks.of(self.study)).plain() if noted else None

    def _files(self) -> dict[str, Path]:
        comparison = newest_comparison(self.folder)
        if comparison:
            refuse_links(comparison)
        places = {"": self.results if self.outcome else None, COMPARISON: comparison}
        return {below: folder for below, folder in places.items() if folder}

    def _note(self, links: Mapping[str, str], run_id: str | None) -> str:
        """The note that the sweep wrote at its end, or what can be said before."""
        if (self.results / NOTE).exists():
            return page_note(self.results, links, run_id)
        return f"```\n{best_table(self.status)}\n```\n\n`python -m {self.command}`\n"

    def _folder(self, trial: FrozenTrial) -> Path:
        return trial_folder(self.folder, trial.number)

    def _trial(self, trial: FrozenTrial, parent_run_id: str) -> Record:
        noted, config = trial.user_attrs, self._config(trial)
        logged = self._logged(trial, config)
        logged["params"] |= trial_logarithms(trial)
        final = trial_metrics(noted, self.status.objectives[0]) if "metrics" in noted else {}
        return Record(
            name=trial_name(f"#{trial.number}", noted.get("settings", {})),
            run_id=noted.get("run_id"),
            status=STATUS[trial.state],
            reason=noted.get("reason", ""),
            began=noted.get("began"),
            ended=trial.datetime_complete.timestamp() if trial.datetime_complete else None,
            marks=child_tags(parent_run_id, self.status.study, Part(trial.number)),
            curves=[*self._curves(trial), *curves_over_k(final)],
            final=(noted.get("best_epoch", 0), final),
            files={},
            note=trial_note(self.study, trial),
            command=self.command,
            **logged,
        )

    def _config(self, trial: FrozenTrial) -> app.Config:
        """The configuration of a trial, whose files may be on another host."""
        if (self._folder(trial) / CONFIG).exists():
            return read_config(self._folder(trial))
        space = Space.of_study(self.study.user_attrs["space"])
        return without_credentials(space.config(trial.user_attrs.get("settings", {})))

    def _logged(self, trial: FrozenTrial, config: app.Config) -> dict[str, Any]:
        """Fields recorded by the trial, or by the sweep if the trial failed before that."""
        folder = self._folder(trial)
        if (folder / ENVIRONMENT).exists():
            return record_fields(folder, config)
        identity = self.study.user_attrs["identity"]
        tags = {f"{name}.fingerprint": digest for name, digest in identity["fingerprint"].items()}
        tags |= {f"version.{name}": number for name, number in identity["versions"].items()}
        return {"params": app.parameters_of_run(config), "tags": tags, "data": None}

    def _curves(self, trial: FrozenTrial) -> list[tuple[int, dict[str, float]]]:
        """Curves by epoch; for a failed trial only the one in the study."""
        if (self._folder(trial) / CURVES).exists():
            curves = read_curves(self._folder(trial))
            for index in range(1, len(trial.user_attrs.get(REPLICATES, []))):
                folder = replicate_folder(self.folder, trial.number, index)
                curves += [
                    (step, replicate_metrics(values, index)) for step, values in read_curves(folder)
                ]
            return curves
        name = f"valid/{self.status.objectives[0]}"
        return [(step, {name: value}) for step, value in trial.intermediate_values.items()]

    def _replicate(self, folder: Path, parent_run_id: str) -> Record:
        results, number = folder / RESULTS, int(folder.parent.name)
        index = folder.name.removeprefix(REPLICATE)
        config = read_config(results)
        trial = next(trial for trial in self.trials if trial.number == number)
        name = training_name(config, trial.user_attrs.get("settings", {}))
        marks = child_tags(parent_run_id, self.status.study, Part(number, int(index)))
        return run_record(results, marks, name, self.command)
