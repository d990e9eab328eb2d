"""The name, final metrics and note of the run of a trial or of a winner's training."""

import math
import shlex
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from recsweep import app
from recsweep.interfaces import RunStatus
from recsweep.sweeps.sampling.pruners import REPLICATES
from recsweep.sweeps.space.space import overrides
from recsweep.sweeps.study.shared_study import FLAGS
from recsweep.tracking.nested_runs import trial_name
from recsweep.tracking.run_note import markdown_commands
from recsweep.tracking.ui_view import log10_name

STATUS: dict[TrialState, RunStatus] = {
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "PRUNED",
    TrialState.FAIL: "FAILED",
}
"""The tracker's status of a finished trial's run."""
COSTS = ("best_epoch", "train_s", "wall_s", "cpu_s", "peak_bytes")
"""Attributes of a trial that its run logs, too."""


def training_name(config: app.Config, settings: Mapping[str, Any]) -> str:
    """The run name of one of the winner's trainings.

    Args:
        config: The training's configuration.
        settings: The trial's searched settings.
    """
    name = trial_name(app.model_name(config), settings)
    return f"best: {name} seed={config['seed']}"


def trial_note(study: optuna.Study, trial: FrozenTrial) -> str:
    """The note on the page of a trial's run: how to repeat it as a single run.

    Args:
        study: The trial's study.
        trial: The trial as it was started.
    """
    fixed = study.user_attrs.get("identity", {}).get("fixed", [])
    flags = study.user_attrs.get(FLAGS, [])
    line = [*flags, *fixed, *overrides(trial.user_attrs.get("settings", {}))]
    command = shlex.join(["python", "-m", "recsweep", *line])
    which = f"trial {trial.number} of {study.study_name} as a single run"
    return markdown_commands({which: command})


def trial_logarithms(trial: FrozenTrial) -> dict[str, str]:
    """Decimal logarithms of what was sampled on a logarithmic scale, as parameters for charts."""
    spaces, sampled = trial.distributions, trial.params
    logs = [name for name, space in spaces.items() if getattr(space, "log", False)]
    return {
        log10_name(name.partition("[")[0]): f"{math.log10(sampled[name]):.3f}"
        for name in logs
        if name in sampled
    }


def replicate_metrics(metrics: Mapping[str, float], index: int) -> dict[str, float]:
    """Metrics under the names of one of a trial's replicates.

    Args:
        metrics: Values by name.
        index: The replicate's index, from 0.
    """
    return {f"replicate_{index}/{name}": value for name, value in metrics.items()}


def trial_metrics(attrs: Mapping[str, Any], objective: str) -> dict[str, float]:
    """Metrics logged at the end of a trial's run: means over its replicates, spread, and each.

    Args:
        attrs: The trial's attributes in the study.
        objective: The first objective.
    """
    deviations = attrs.get("deviations", {})
    return {
        **{f"valid_sd_{name}": value for name, value in deviations.items()},
        **{
            f"replicate_{index}/valid_best_{objective}": value
            for index, value in enumerate(attrs.get(REPLICATES, []))
        },
        **{f"valid_best_{name}": value for name, value in attrs["metrics"].items()},
        **{name: attrs[name] for name in COSTS if name in attrs},
    }
