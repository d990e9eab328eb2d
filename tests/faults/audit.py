"""What must hold once a sweep has exited with 0, read from outside by Optuna and MLflow."""

from collections import Counter
from typing import Any

import mlflow
import yaml
from faults.processes import wait_until_gone
from faults.storm import N_SEEDS, Sweep
from optuna.trial import FrozenTrial

from recsweep.tracking.store import mlflow_value

STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
STATE = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
LOST = (
    "its process died", "stopped by", "stopped on request",
    "another worker restarted the trial after an outage",
)  # fmt: skip
OBJECTIVE = "valid/ndcg_at_10"


def shown(value: float) -> float:
    """As a run has it at its end."""
    return mlflow_value("valid_best_ndcg_at_10", value)


def audit(sweep: Sweep) -> Counter[str]:
    """Check a finished sweep; how many retries and lost runs it took."""
    n_trials = sweep.n_trials
    client = mlflow.MlflowClient(f"sqlite:///{sweep.folder / 'mlflow.db'}")
    assert not wait_until_gone(sweep.mark, 20)
    assert not list(sweep.place.rglob("stop-*"))

    with sweep.loaded() as study:
        trials = study.get_trials()
    assert [trial.number for trial in trials] == list(range(n_trials))
    by_kind = audit_runs(client, trials)
    _audit_winner(sweep, by_kind["winner"])
    return Counter(
        finished=n_trials,
        pruned=sum(trial.state.name == "PRUNED" for trial in trials),
        retries=sum(trial.user_attrs.get("n_deaths", 0) for trial in trials),
        shared_deaths=sum(trial.user_attrs.get("n_shared_deaths", 0) for trial in trials),
        lost_runs=len(by_kind["superseded"]),
    )


def audit_runs(client: mlflow.MlflowClient, trials: list[FrozenTrial]) -> dict[str, list[Any]]:
    """Check that all trials are finished and that the tracker has the same; its runs by kind."""
    assert all(trial.state.is_finished() for trial in trials)
    (experiment,) = (e for e in client.search_experiments() if e.name == "recsweep")
    runs = list(client.search_runs([experiment.experiment_id], max_results=10_000))
    assert not [run.info.run_id for run in runs if run.info.status == "RUNNING"]
    by_kind: dict[str, list[Any]] = {"sweep": [], "trial": [], "winner": [], "superseded": []}
    for run in runs:
        by_kind[run.data.tags["recsweep.kind"]].append(run)
    (parent,) = by_kind["sweep"]
    assert parent.info.status == "FINISHED"
    assert "reason" not in parent.data.tags
    for trial in trials:
        own = [r for r in by_kind["trial"] if r.data.tags["recsweep.trial"] == str(trial.number)]
        _audit_trial(client, trial, own)
    _audit_superseded(by_kind["superseded"], [*by_kind["trial"], *by_kind["winner"]])
    return by_kind


def _audit_trial(client: mlflow.MlflowClient, trial: FrozenTrial, runs: list[Any]) -> None:
    """One run that says what the trial says."""
    noted = trial.user_attrs
    (own,) = runs
    assert own.info.run_id == noted["run_id"]
    assert own.data.tags["recsweep.state"] == STATE[trial.state.name]
    assert own.info.status == STATUS[trial.state.name]
    assert own.data.tags.get("reason") == noted.get("reason")
    curve = client.get_metric_history(own.info.run_id, OBJECTIVE)
    steps = list(range(1, noted["n_epochs"] + 1))
    reported = trial.intermediate_values
    assert [(m.step, m.value) for m in curve] == [(s, reported[s]) for s in steps]
    assert sorted(reported) == steps
    if trial.state.name == "PRUNED":
        assert noted["reason"].startswith(f"pruned at epoch {steps[-1]}:")
    else:
        assert trial.value == max(reported.values())
    metrics = own.data.metrics
    assert metrics["valid_best_ndcg_at_10"] == shown(max(reported.values()))
    assert reported[noted["best_epoch"]] == max(reported.values())
    assert metrics["best_epoch"] == noted["best_epoch"]
    assert metrics["train_s"] == shown(noted["train_s"])


def _audit_superseded(runs: list[Any], valid: list[Any]) -> None:
    """Each was lost, or ended just before its process did, and names one that came after it."""
    known = {run.info.run_id for run in [*runs, *valid]}
    for run in runs:
        assert run.data.tags["recsweep.state"] == "superseded"
        assert run.data.tags["recsweep.superseded_by"] in known - {run.info.run_id}
        if run.info.status != "FINISHED":
            assert run.info.status == "KILLED", run.data.tags
            assert run.data.tags["reason"].startswith(LOST), run.data.tags


def _audit_winner(sweep: Sweep, runs: list[Any]) -> None:
    """Trained again once per seed, each folder whole, test in all three places, looks counted."""
    results = yaml.safe_load((sweep.place / "results" / "optimization_results.yaml").read_text())
    assert results["trials"]["finished"] == sweep.n_trials
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.tags["recsweep.state"] for run in runs} == {"complete"}
    best = results["best_trial"]
    counted = {"n_times": N_SEEDS, "n_configurations": 1, "trials": [best]}
    assert results["test_scored"] == counted
    own = {int(run.data.tags["recsweep.replicate"]): run.data.metrics for run in runs}
    assert len(runs) == len(own) == N_SEEDS
    assert sorted(own) == list(range(N_SEEDS))
    assert own[0]["valid_best_ndcg_at_10"] == shown(results["best_evaluated_result"])
    for index, replicate in enumerate(results["test"]["replicates"]):
        assert own[index]["test_ndcg_at_10"] == shown(replicate["test"]["ndcg@10"])
        folder = sweep.place / "winner" / f"{best:04d}" / f"replicate-{index}" / "results"
        assert folder == sweep.place / replicate["results"]
        written = {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()}
        assert {"metrics.json", "curves.csv", "config.yaml", "model/weights.npz"} <= written
