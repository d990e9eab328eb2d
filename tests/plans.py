"""Sweeps over a toy model, without a command line: every epoch takes a moment."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from contracts import composed
from pydantic.dataclasses import dataclass
from small_runs import SMALL_DATA

from recsweep.interfaces import STRICT
from recsweep.source_code import of_config
from recsweep.sweeps.execution.watchdog import Process
from recsweep.sweeps.space.branch import Branch
from recsweep.sweeps.space.dimension import dimension
from recsweep.sweeps.space.space import Space
from recsweep.sweeps.study.shared_study import Plan

N_EPOCHS = 4
SEARCH = ("model.quality=interval(0.0,1.0)",)


@dataclass(kw_only=True, config=STRICT)
class Toy:
    """Scores that are the better the nearer `quality` is to 1, and get worse by the epoch.

    Args:
        quality: 1 = popularity, 0 = its opposite.
        n_epochs: That it calls.
        breaks: Raise this in the second epoch.
    """

    quality: float
    n_epochs: int
    breaks: str | None

    def fit(self, train: Any, on_epoch: Any, seeds: Any) -> None:  # noqa: ARG002
        """Each epoch is a verdict on the same counts."""
        self.counts = np.asarray(train.sum(axis=0)).ravel()
        for epoch in range(self.n_epochs):
            self.weight = 2 * self.quality - 1 - 0.01 * epoch
            if epoch == 1 and self.breaks:
                raise ZeroDivisionError(self.breaks)
            if not on_epoch(epoch, {"loss": 1.0}):
                return

    def score(self, history: Any) -> np.ndarray:
        """The same for everyone."""
        return np.tile(self.weight * self.counts, (history.shape[0], 1))

    def state(self) -> dict[str, np.ndarray]:
        """What an epoch has learnt."""
        return {"weight": np.array(self.weight), "counts": self.counts}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go back to that epoch."""
        self.weight, self.counts = float(state["weight"]), state["counts"]


def toy_config(folder: Path, *overrides: str, **model: Any) -> dict[str, Any]:
    """The configuration of a single run of the toy.

    Args:
        folder: For the cache.
        overrides: Of the command line.
        model: Settings of the toy.
    """
    config = dict(composed("model=ease", f"cache_dir={folder}/cache", *SMALL_DATA, *overrides))
    toy = {"quality": 0.9, "n_epochs": N_EPOCHS, "breaks": None, **model}
    return {**config, "model": {"_target_": "plans.Toy", **toy}, "model_name": None, "threads": 1}


def toy_space(config: dict[str, Any], *search: str) -> Space:
    """What is searched; the toy's quality when nothing is named."""
    dimensions = {line.partition("=")[0]: dimension(line) for line in search or SEARCH}
    return Space((Branch({}, config, dimensions),), 0)


def toy_plan(folder: Path, config: dict[str, Any] | None = None, **changes: Any) -> Plan:
    """A sweep of four trials that learns at random.

    Args:
        folder: Its name is the study's.
        config: Of the toy.
        changes: Of the plan.
    """
    config = config or toy_config(folder.parent)
    plan = Plan(
        study=folder.name, folder=str(folder), storage=None, n_trials=4, deadline=None, seed=0,
        folds=None, seeds_per_trial=1, try_defaults=True, max_retries=2, max_failures=10,
        outage_timeout_s=60.0,
        sampler={"_target_": "recsweep.sweeps.sampling.samplers.Random"},
        pruner={"_target_": "recsweep.sweeps.sampling.pruners.NoPruner"},
        objectives=["ndcg@10"], space=toy_space(config).plain(), backend="jax", threads=1,
        device="auto", precision="tf32", n_workers=1, slots=None,
        code=of_config(config), parent_run=None, parent_process=asdict(Process.current()),
        stop_file=None, retry=[],
    )  # fmt: skip
    return replace(plan, **changes)
