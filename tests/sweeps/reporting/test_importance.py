import math

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from recsweep.sweeps.reporting.importance import importances, missing_importances, shared_params

SPACE = {
    "rate": FloatDistribution(1e-6, 1.0, log=True),
    "dim": CategoricalDistribution([50, 200]),
    "noise": FloatDistribution(0.0, 1.0),
}


def study_of(n_trials: int, weights: dict[str, float]) -> optuna.Study:
    """Values add up from a step of the rate at its logarithmic middle, and a step of the size."""
    study = optuna.create_study(direction="maximize")
    for i in range(n_trials):
        share = (i * 0.618034) % 1  # evenly over the logarithms
        params = {"rate": 10 ** (-6 * share), "dim": [50, 200][i % 2], "noise": (i * 0.732) % 1}
        parts = {"rate": float(share < 0.5), "dim": float(i % 2), "noise": params["noise"]}
        value = sum(weights[name] * parts[name] for name in weights)
        study.add_trial(optuna.create_trial(value=value, params=params, distributions=SPACE))
    return study


def test_variances_are_recovered() -> None:
    shares = importances(study_of(80, {"rate": 2.0, "dim": 1.0}))
    assert list(shares) == ["rate", "dim", "noise"]
    assert sum(shares.values()) == pytest.approx(1.0)
    # a step of height h in the middle has variance h² / 4; the forest has 80 trials to find it
    assert shares["rate"] == pytest.approx(4 / 5, abs=0.05)
    assert shares["dim"] == pytest.approx(1 / 5, abs=0.05)


def test_a_logarithmic_dimension_counts_by_its_logarithm() -> None:
    study = study_of(80, {"rate": 1.0, "noise": 1.0})
    # the step is at 0.001: of the line from 0 to 1 hardly anything lies below it
    linear = optuna.importance.FanovaImportanceEvaluator(seed=0).evaluate(study)
    assert linear["rate"] < linear["noise"]
    shares = importances(study)
    # variances: 1/4 of the step, 1/12 of what is even on [0, 1]
    assert shares["rate"] == pytest.approx(3 / 4, abs=0.05)


def test_params_of_a_branch_are_not_shared() -> None:
    study = study_of(2, {"dim": 1.0})
    study.add_trial(
        optuna.create_trial(value=0.0, params={"dim": 50}, distributions={"dim": SPACE["dim"]})
    )
    assert shared_params(study) == ["dim"]
    assert math.isclose(importances(study)["dim"], 1.0)


def test_nothing_is_shared_by_no_trial() -> None:
    assert shared_params(optuna.create_study()) == []


@pytest.mark.parametrize(
    ("trials", "reason"),
    [
        ([], "no trial is complete"),
        ([({"dim": 0.1}, 1.0)], "it needs two complete trials, and there is one"),
        ([({"dim": 0.1}, 1.0), ({"dim": 0.2}, 1.0)], "all complete trials have the same value"),
        ([({}, 1.0), ({}, 2.0)], "no hyperparameter has more than one value"),
        ([({"dim": 0.1}, 1.0), ({"rate": 0.1}, 2.0)], "no hyperparameter is in all trials"),
        ([({"dim": 0.1}, 1.0), ({"dim": 0.2}, 2.0)], ""),
    ],
)
def test_trials_that_cannot_tell_have_no_importances_and_a_reason(
    trials: list[tuple[dict[str, float], float]], reason: str
) -> None:
    study = optuna.create_study()
    for params, value in trials:
        spaces = {name: FloatDistribution(0, 1) for name in params}
        study.add_trial(optuna.create_trial(value=value, params=params, distributions=spaces))
    assert missing_importances(study) == reason
    assert importances(study) == ({} if reason else {"dim": 1.0})
