"""Optuna's own tests of a sampler, on the samplers that sweeps build."""

import warnings
from collections.abc import Callable
from typing import ClassVar

import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
    SingleOnlySamplerTestCase,
)

from recsweep.seeds import Seeds
from recsweep.sweeps.sampling.samplers import QMC, TPE, CmaEs, Random, Sampler, Turn
from recsweep.sweeps.space.branch import Branch
from recsweep.sweeps.space.space import Space

pytestmark = pytest.mark.extended
UNKNOWN = Space((Branch({}, {}, {}),))
"""Optuna's tests bring their own parameters."""


class _Built:
    """The sampler of a sweep's first trial.

    Attributes:
        settings: What `sampler=` names.
        n_objectives: The sweep's number of objectives.
    """

    settings: ClassVar[Sampler]
    n_objectives: ClassVar[int] = 1

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        def make() -> BaseSampler:
            with warnings.catch_warnings():  # as `propose` does: Optuna calls some experimental
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return self.settings.make(Turn(UNKNOWN, self.n_objectives, Seeds(0), 0))

        return make


# Without RelativeSamplerTestCase: groups of parameters are sampled only once they were inferred.
class TestJointTPE(_Built, BasicSamplerTestCase):
    settings = TPE(n_startup_trials=1, n_ei_candidates=24)


class TestTPEOfSeveralObjectives(
    _Built, BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase
):
    settings = TPE(n_startup_trials=1, n_ei_candidates=24)
    n_objectives = 2


class TestRandom(_Built, BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    settings = Random()


class TestSobol(
    _Built, BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase
):
    settings = QMC(sequence="sobol", scramble=True)


class TestHalton(
    _Built, BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase
):
    settings = QMC(sequence="halton", scramble=False)


class TestCmaEs(_Built, BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    settings = CmaEs(n_startup_trials=1, population_size=None, learn_from_pruned=True)
