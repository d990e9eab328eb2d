"""CMA-ES whose state is replayed from finished trials.

Optuna's own sampler pickles its state into the attributes of a trial and unpickles whatever stands
there: anyone who can write to the storage could run code in every worker.
"""

from collections import defaultdict
from datetime import datetime
from typing import Any

import numpy as np
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution
from optuna.samplers import CmaEsSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial


class ReplayedCmaEs(CmaEsSampler):
    """Optuna's sampler, which only keeps in a trial which generation proposed it.

    A generation learns from those of its trials that ended first, as many as its population has:
    a trial that ends later changes nothing that was proposed before.
    """

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Ask the generation that follows from the finished trials."""
        self._raise_error_if_multi_objective(study)
        finished = self._get_trials(study)
        if not search_space or len(finished) < self._n_startup_trials:
            return {}
        scaled = _SearchSpaceTransform(search_space, transform_step=True, transform_0_1=True)
        sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
        optimizer = self._init_optimizer(scaled, study.direction)
        generations = self._generations(finished)
        while len(own := generations[optimizer.generation]) >= optimizer.population_size:
            solutions: list[tuple[np.ndarray, float]] = [
                (scaled.transform(each.params), sign * float(each.values[0]))
                for each in own[: optimizer.population_size]
            ]
            optimizer.tell(solutions)
        optimizer._rng.seed(self._cma_rng.rng.randint(1, 2**16) + trial.number)
        study._storage.set_trial_system_attr(
            trial._trial_id, self._attr_key_generation, optimizer.generation
        )
        return scaled.untransform(optimizer.ask())

    def _generations(self, finished: list[FrozenTrial]) -> dict[int, list[FrozenTrial]]:
        """Finished trials by the generation that proposed them, in the order of their ends."""
        found = defaultdict(list)
        for trial in sorted(finished, key=lambda each: each.datetime_complete or datetime.max):
            generation = trial.system_attrs.get(self._attr_key_generation)
            if isinstance(generation, int):
                found[generation].append(trial)
        return found
