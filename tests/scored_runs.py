"""Results folders as runs and sweeps leave them, with test metrics that the test chooses."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from metric_names import definitions

from recsweep.evaluation import Evaluation
from recsweep.fitting import FitResult
from recsweep.run_files import write_yaml
from recsweep.runs.results import write_results
from recsweep.runs.scored_run import ScoredRun, read_run

SPLIT = "5" * 64
ENVIRONMENT = {"run_id": "none", "git.commit": "c" * 40, "backend": "jax", "version.numpy": "2.0"}


def write_run(
    folder: Path, model: str, per_user: Mapping[str, Sequence[float]], **settings: Any
) -> Path:
    """Write what a run of a model leaves, and give the folder back.

    Args:
        folder: Made.
        model: Its file's stem.
        per_user: Metric and cut-off -> a value per test user; the users are a, b, c …
        settings: `seed`, `split`, `objective`, `model_name`, and the model's own.
    """
    folder.mkdir(parents=True)
    seed, split = settings.pop("seed", 42), settings.pop("split", SPLIT)
    target = f"recsweep.models.{model}.Model"
    of_run = {key: settings.pop(key) for key in ("objective", "model_name") if key in settings}
    config = {"seed": seed, "model": {"_target_": target, **settings}, "split": {"seed": 1}}
    config |= of_run
    n_users = len(next(iter(per_user.values())))
    users = pd.Index([chr(ord("a") + u) for u in range(n_users)], name="user")
    found = Evaluation(pd.DataFrame(dict(per_user), users), {}, 0, definitions())
    curve = {f"valid/{name}": value for name, value in found.means.items()}
    trial = FitResult(best_epoch=0, valid=found, curves=[curve], train_s=1.0)
    write_results(folder, config, [f"model={model}"], trial, found)
    write_yaml(folder / "split.yaml", {"fingerprint": split})
    write_yaml(folder / "environment.yaml", ENVIRONMENT)
    return folder


def scored_run(folder: Path, model: str, values: Sequence[float], **settings: Any) -> ScoredRun:
    """A run with these values of ndcg@10, read again."""
    name = f"{len(list(folder.iterdir())) if folder.exists() else 0}"
    return read_run(write_run(folder / name, model, {"ndcg@10": values}, **settings), name)


def write_study(
    folder: Path, model: str, replicates: Sequence[Sequence[float]], **noted: Any
) -> Path:
    """Write what a finished sweep leaves: its summary and the winner, trial 3, once per seed."""
    places = [f"winner/0003/replicate-{number}/results" for number in range(len(replicates))]
    for number, values in enumerate(replicates):
        write_run(folder / places[number], model, {"ndcg@10": values}, seed=42 + number)
    (folder / "results").mkdir(parents=True, exist_ok=True)
    summary = {"study": folder.name, "best_trial": 3, "resume": "recsweep -m",
               "trials": {"asked": 30, "finished": 30},
               "test": {"replicates": [{"results": place} for place in places]},
               **noted}  # fmt: skip
    write_yaml(folder / "results" / "optimization_results.yaml", summary)
    return folder
