"""What the run of a trial, or of a winner's training, is called, logs at its end, and says."""

import shlex
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from recsweep import app
from recsweep.interfaces import RunStatus
from recsweep.sweeps.space.space import overrides
from recsweep.tracking.nested_runs import trial_name
from recsweep.tracking.run_note import markdown_commands

STATUS: dict[TrialState, RunStatus] = {
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "PRUNED",
    TrialState.FAIL: "FAILED",
}
"""How the tracker calls the end of a trial's run."""


def training_name(config: app.Config, settings: Mapping[str, Any]) -> str:
    """What the run of one of the winner's trainings is called.

    Args:
        config: The training's.
        settings: What the trial's search chose.
    """
    name = trial_name(app.model_name(config), settings)
    return f"best: {name} seed={config['seed']}"


def trial_note(study: optuna.Study, trial: FrozenTrial) -> str:
    """What the page of a trial's run says: how to have it as a single run.

    Args:
        study: The trial's.
        trial: As it was begun.
    """
    fixed = study.user_attrs.get("identity", {}).get("fixed", [])
    line = [*fixed, *overrides(trial.user_attrs["settings"])]
    command = shlex.join(["python", "-m", "recsweep", *line])
    which = f"trial {trial.number} of {study.study_name} as a single run"
    return markdown_commands({which: command})


def trial_metrics(attrs: Mapping[str, Any]) -> dict[str, float]:
    """What the run of a trial logs at its end.

    Args:
        attrs: The trial's attributes in the study.
    """
    return {
        **{f"valid_best/{name}": value for name, value in attrs["metrics"].items()},
        "best_epoch": attrs["best_epoch"],
        **{f"time/{name}": attrs[name] for name in ("train_s", "wall_s", "cpu_s")},
        "memory/peak_bytes": attrs["peak_bytes"],
    }
