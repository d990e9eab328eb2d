"""Small studies, trial by trial as a sweep writes them."""

from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from recsweep.evaluation import Evaluation
from recsweep.sweeps.space.branch import Branch
from recsweep.sweeps.space.dimension import dimension
from recsweep.sweeps.space.space import Space
from recsweep.sweeps.storage.backends import open_storage
from recsweep.sweeps.study.final_scores import FinalScores, Looks

FIXED = ["model=multivae", "data=synthetic"]
COMPLETE, PRUNED, FAIL, RUNNING = (
    TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING,
)  # fmt: skip
SEARCH = {
    "model.beta": "interval(0.0,1.0)",
    "model.dropout_rate": "interval(0.1,0.8)",
    "model.hidden_dims": "choice([600],[300,300])",
}
IDENTITY = {
    "fixed": FIXED,
    "fingerprint": {"data": "d" * 64, "split": "5" * 64},
    "versions": {},
}  # fmt: skip
OWN = {"beta": 0.2, "dropout_rate": 0.5, "hidden_dims": [600]}
SPACE = Space(
    (Branch({}, {"model": OWN}, {key: dimension(f"{key}={SEARCH[key]}") for key in SEARCH}),), 0
)


def make_study(
    folder: Path, *objectives: str, n_trials: int = 4, url: str | None = None
) -> optuna.Study:
    """An empty study that has the name of its folder.

    Args:
        folder: For its journal.
        objectives: None = `ndcg@100`.
        n_trials: Asked for.
        url: Its storage; None = the journal.
    """
    names = list(objectives or ["ndcg@100"])
    directions = ["minimize" if name.endswith("_s") else "maximize" for name in names]
    study = optuna.create_study(
        storage=open_storage(url, folder), study_name=folder.name, directions=directions
    )
    noted = {"objectives": names, "n_trials": n_trials, "identity": IDENTITY,
             "space": SPACE.plain()}  # fmt: skip
    for name, value in noted.items():
        study.set_user_attr(name, value)
    return study


def add(
    study: optuna.Study, state: TrialState, values: list[float] | None = None, **noted: Any
) -> FrozenTrial:
    """One more trial.

    Args:
        study: Gets it.
        state: Its state.
        values: Of the objectives.
        noted: User attributes beside `settings`; `beta` is the trial's own, `reported` its values
            by epoch.
    """
    reported = noted.pop("reported", {})
    params = {**(SPACE.default_params() or {}), "model.beta": noted.pop("beta", 0.2)}
    distributions = {d.name: d.distribution for d in SPACE.branches[0].dimensions.values()}
    trial = optuna.create_trial(
        state=state, values=values, params=params, distributions=distributions,
        user_attrs={"settings": SPACE.settings(params), **noted}, intermediate_values=reported,
    )  # fmt: skip
    study.add_trial(trial)
    return study.get_trials()[-1]


def final_scores(*by_seed: float) -> FinalScores:
    """A winner with two users, trained with a seed per value."""
    frame = pd.DataFrame({"ndcg@100": [0.25, 0.75]}, index=["u", "v"])
    replicates = [{"seed": n, "test": {"ndcg@100": value}} for n, value in enumerate(by_seed)]
    evaluation = Evaluation(frame, {}, 0)
    return FinalScores(evaluation, evaluation, replicates, Looks(len(by_seed), (0,)))
