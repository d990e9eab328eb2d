"""How much each hyperparameter matters to a study's objective."""

import math
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.importance import BaseImportanceEvaluator, FanovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

MAX_DEPTH = 6
"""Maximum depth of a tree; ten more levels change no second digit but take ten times as long for
300 trials."""


def complete_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that have a value."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def shared_params(study: optuna.Study) -> list[str]:
    """Hyperparameters of all complete trials; the others belong to a branch of the space."""
    trials = complete_trials(study)
    return [name for name in (trials[0].params if trials else ()) if _is_in_all(name, trials)]


def missing_pair(study: optuna.Study) -> str:
    """Why no trial can be compared with another; empty if two are complete."""
    n_trials = len(complete_trials(study))
    if not n_trials:
        return "no trial is complete"
    return "" if n_trials > 1 else "it needs two complete trials, and there is one"


def missing_importances(study: optuna.Study) -> str:
    """Why there are no `importances`; empty if there are."""
    if missing := missing_pair(study):
        return missing
    trials = complete_trials(study)
    if len({trial.value for trial in trials}) < 2:
        return "all complete trials have the same value"
    if not any(trial.params for trial in trials):
        return "no hyperparameter has more than one value"
    return "" if shared_params(study) else "no hyperparameter is in all trials"


def importances(study: optuna.Study) -> dict[str, float]:
    """The share of the objective's variance over the space that each hyperparameter explains alone.

    They sum to 1. fANOVA fits a forest to the complete trials and integrates over the space as it
    was searched: logarithmic dimensions on a log scale, unlike Optuna's.

    Args:
        study: A single-objective study.

    Returns:
        Shares of `shared_params`, the largest first; empty if `missing_importances` says why.

    Source:
        Hutter, Hoos & Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter
        Importance", ICML 2014.
    """
    if missing_importances(study):
        return {}
    params, flat = shared_params(study), optuna.create_study(direction=study.direction)
    flat.add_trials([_flat(trial, params) for trial in complete_trials(study)])
    evaluator = FanovaImportanceEvaluator(max_depth=MAX_DEPTH, seed=0)
    shares = optuna.importance.get_param_importances(flat, evaluator=evaluator, params=params)
    return {name: float(share) for name, share in shares.items()}


class Known(BaseImportanceEvaluator):
    """Precomputed importances, for Optuna's plot.

    Args:
        shares: Share of each hyperparameter.
    """

    def __init__(self, shares: Mapping[str, float]) -> None:
        self.shares = shares

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The shares, whatever the arguments."""
        return dict(self.shares)


def _is_in_all(name: str, trials: list[FrozenTrial]) -> bool:
    return all(name in trial.params for trial in trials)


def _flat(trial: FrozenTrial, params: list[str]) -> FrozenTrial:
    """A trial with its logarithmic parameters on a log scale."""
    spaces = {name: trial.distributions[name] for name in params}
    values = {name: trial.params[name] for name in params}
    for name, space in spaces.items():
        if _is_log(space):
            low, high = (math.log(getattr(space, end)) for end in ("low", "high"))
            spaces[name], values[name] = FloatDistribution(low, high), math.log(values[name])
    return optuna.create_trial(value=trial.value, params=values, distributions=spaces)


def _is_log(space: BaseDistribution) -> bool:
    return getattr(space, "log", False) is True
