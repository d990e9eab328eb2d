"""What the run of a trial is called, logs and says."""

from pathlib import Path

import optuna
from studies import COMPLETE, add, make_study

from recsweep.sweeps.reporting.trial_record import (
    training_name,
    trial_logarithms,
    trial_metrics,
    trial_note,
)


def test_a_trainings_name_has_what_was_searched_and_its_seed() -> None:
    config = {"model_name": "multivae", "seed": 43}
    name = training_name(config, {"model.beta": 0.25})
    assert name == "best: multivae β=.25 seed=43"


def test_a_trials_page_says_how_to_have_it_as_a_single_run(tmp_path: Path) -> None:
    study = make_study(tmp_path / "vae")
    trial = add(study, COMPLETE, [0.5], beta=0.25)
    note = trial_note(study, trial)
    assert "trial 0 of vae as a single run" in note
    assert "python -m recsweep model=multivae data=synthetic model.beta=0.25" in note


def test_what_is_sampled_on_a_logarithmic_scale_is_logged_on_it_too() -> None:
    log = optuna.distributions.FloatDistribution(1e-7, 1e-3, log=True)
    plain = optuna.distributions.FloatDistribution(0.0, 1.0)
    trial = optuna.trial.create_trial(
        params={"model.l2[model=ease]": 1e-5, "model.beta": 0.25},
        distributions={"model.l2[model=ease]": log, "model.beta": plain},
        value=0.5,
    )
    assert trial_logarithms(trial) == {"log10 model.l2": "-5.000"}


def test_a_trial_logs_its_best_epochs_metrics_and_what_it_took() -> None:
    attrs = {
        "metrics": {"ndcg@10": 0.5}, "best_epoch": 3, "train_s": 1.0, "wall_s": 2.0, "cpu_s": 3.0,
        "peak_bytes": 4,
    }  # fmt: skip
    assert trial_metrics(attrs, "ndcg@10") == {
        "valid_best_ndcg@10": 0.5, "best_epoch": 3, "train_s": 1.0, "wall_s": 2.0,
        "cpu_s": 3.0, "peak_bytes": 4,
    }  # fmt: skip
