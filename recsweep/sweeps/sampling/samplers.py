"""Which parameters the next trial gets: Optuna's samplers as settings, and one proposal.

A proposal is a function of the sweep's seed, the trial's number and the earlier trials. It is
made in an in-memory study by a new sampler, so it does not depend on which process asks or what
that process did before: a killed sweep resumes as if nothing had happened.
"""

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from recsweep.errors import InputError
from recsweep.interfaces import STRICT
from recsweep.seeds import Seeds
from recsweep.sweeps.sampling.evolution import ReplayedCmaEs
from recsweep.sweeps.sampling.grid import grid_point, n_grid_points
from recsweep.sweeps.space.space import Space

MAX_GRID_POINTS = 1_000_000
"""A larger grid would never be finished, and its random order would fill the memory."""


@dataclass(frozen=True)
class Turn:
    """The trial of a sweep that a sampler is built for.

    Args:
        space: The sweep's search space.
        n_objectives: The sweep's number of objectives.
        seeds: The sweep's seeds.
        number: The trial's number.
    """

    space: Space
    n_objectives: int
    seeds: Seeds
    number: int

    @property
    def seed(self) -> int:
        """The seed of this trial."""
        return self.seeds.named(f"trial/{self.number}")


class Sampler(ABC):
    """A way to choose parameters, with its settings."""

    needs_one_objective: ClassVar[bool] = False

    def refuse(self, space: Space, n_objectives: int) -> None:
        """Refuse, before the first trial, a search that this sampler does not support.

        Raises:
            InputError: The sampler needs another space, a single objective or a package.
        """
        if self.needs_one_objective and n_objectives > 1:
            raise InputError(
                f"sampler={_name(self)} needs one objective, but sweep.objectives has "
                f"{n_objectives}; choose sampler=tpe"
            )
        self.refuse_space(space)

    def refuse_space(self, space: Space) -> None:  # noqa: B027 - most samplers take any space
        """Raise InputError if this sampler cannot search `space`."""

    def n_points(self, space: Space) -> float:
        """Number of trials after which nothing is left to propose."""
        if not all(each.single() for each in _distributions(space).values()):
            return math.inf
        return 1 + bool(space.default_outside())  # which is tried, too

    @abstractmethod
    def make(self, turn: Turn) -> BaseSampler:
        """Optuna's sampler for one trial."""


@settings(kw_only=True, config=STRICT)
class TPE(Sampler):
    """Tree-structured Parzen estimator of all parameters jointly (Watanabe 2023).

    With several objectives each parameter is modelled on its own, as Optuna does by default.

    Args:
        n_startup_trials: Complete and pruned trials drawn at random before it learns.
        n_ei_candidates: Number of candidates among which the best is chosen.
    """

    n_startup_trials: Annotated[int, Field(ge=1)]
    n_ei_candidates: Annotated[int, Field(ge=1)]

    def make(self, turn: Turn) -> BaseSampler:
        """Groups allow joint learning if branches have different parameters."""
        is_joint = turn.n_objectives == 1
        return optuna.samplers.TPESampler(
            seed=turn.seed,
            n_startup_trials=self.n_startup_trials,
            n_ei_candidates=self.n_ei_candidates,
            multivariate=is_joint,
            group=is_joint,
        )


@settings(kw_only=True, config=STRICT)
class Random(Sampler):
    """Independent uniform draws (Bergstra & Bengio 2012)."""

    def make(self, turn: Turn) -> BaseSampler:
        """Trial n draws the same values regardless of earlier trials."""
        return optuna.samplers.RandomSampler(seed=turn.seed)


@settings(kw_only=True, config=STRICT)
class Grid(Sampler):
    """Every point of a finite space once, in a random order that the sweep's seed fixes."""

    def refuse_space(self, space: Space) -> None:
        """Intervals have no grid, and a huge grid would never be finished."""
        for branch in space.branches:
            for key, dimension in branch.dimensions.items():
                if _is_interval(dimension.distribution):
                    raise InputError(
                        f"sampler=grid needs choices or ranges, but {key} is an interval; "
                        f"write '{key}=range(START,STOP,STEP)' or choose sampler=random"
                    )
        if (n_points := self.n_points(space)) > MAX_GRID_POINTS:
            raise InputError(
                f"sampler=grid takes at most {MAX_GRID_POINTS:,} points, but the space has "
                f"{n_points:,}; search fewer values or choose sampler=qmc"
            )

    def n_points(self, space: Space) -> int:
        """Number of grid points, summed over branches."""
        return n_grid_points(space.branches)

    def make(self, turn: Turn) -> BaseSampler:
        """Trial n is point n of the shuffled grid."""
        random = np.random.RandomState(turn.seeds.named("grid"))
        index = int(random.permutation(self.n_points(turn.space))[turn.number])
        return _fixed(grid_point(turn.space.branches, index))


@settings(kw_only=True, config=STRICT)
class QMC(Sampler):
    """A quasi-random sequence: trial n is its point n, each parameter a coordinate.

    Args:
        sequence: `sobol` or `halton`.
        scramble: Randomise it by the sweep's seed; otherwise every seed gives the same points.
    """

    sequence: Literal["sobol", "halton"]
    scramble: bool

    def make(self, turn: Turn) -> BaseSampler:
        """All trials share the scrambling."""
        return _Sequence(
            _distributions(turn.space),
            qmc_type=self.sequence,
            scramble=self.scramble,
            seed=turn.seeds.named("qmc"),
        )


@settings(kw_only=True, config=STRICT)
class CmaEs(Sampler):
    """Covariance matrix adaptation (Hansen 2016) of numbers; choices are drawn at random.

    Args:
        n_startup_trials: Complete trials drawn at random before it starts.
        population_size: Trials per generation; None = 4 + 3 ln(number of numeric parameters).
        learn_from_pruned: Use the last value of pruned trials; otherwise ignore them.
    """

    needs_one_objective: ClassVar[bool] = True

    n_startup_trials: Annotated[int, Field(ge=1)]
    population_size: Annotated[int, Field(ge=5)] | None
    learn_from_pruned: bool

    def refuse_space(self, space: Space) -> None:
        """It needs at least two numeric parameters that every trial has."""
        _need_package(self, "cmaes")
        _need_equal_branches(self, space)
        n_numbers = sum(_is_varied_number(found) for found in _distributions(space).values())
        if n_numbers < 2:
            raise InputError(
                f"sampler=cmaes needs two or more intervals or ranges, but the space has "
                f"{n_numbers}; choose sampler=tpe"
            )

    def make(self, turn: Turn) -> BaseSampler:
        """Its state follows from the finished trials."""
        return ReplayedCmaEs(
            seed=turn.seed,
            n_startup_trials=self.n_startup_trials,
            popsize=self.population_size,
            consider_pruned_trials=self.learn_from_pruned,
            warn_independent_sampling=False,
        )


@settings(kw_only=True, config=STRICT)
class GP(Sampler):
    """A Gaussian process with expected improvement; it learns from complete trials only.

    Args:
        n_startup_trials: Complete trials drawn at random before it learns.
    """

    n_startup_trials: Annotated[int, Field(ge=1)]

    def refuse_space(self, space: Space) -> None:
        """It cannot learn parameters that only some trials have."""
        _need_package(self, "torch")
        _need_equal_branches(self, space)

    def make(self, turn: Turn) -> BaseSampler:
        """The process is refitted for every trial."""
        return optuna.samplers.GPSampler(
            seed=turn.seed,
            n_startup_trials=self.n_startup_trials,
            warn_independent_sampling=False,
        )


def propose(
    sampler: Sampler,
    space: Space,
    trials: Sequence[FrozenTrial],
    directions: Sequence[str],
    seed: int,
    enqueue_default: bool,
) -> FrozenTrial | None:
    """The next trial, ready for `study.add_trial`.

    Args:
        sampler: Chooses the parameters.
        space: The search space.
        trials: All trials of the study by number; running ones are taken into account.
        directions: `maximize` or `minimize` per objective.
        seed: The sweep's seed.
        enqueue_default: Start with the configuration's own values, see `Space.default_params`;
            a grid never does, as it visits each of its points once.

    Returns:
        A running trial with number `len(trials)`; None once the space is exhausted.
    """
    number = len(trials)
    if number >= sampler.n_points(space):
        return None
    turn = Turn(space, len(directions), Seeds(seed), number)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=[StudyDirection[name.upper()] for name in directions])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = _default(sampler, turn, enqueue_default) or sampler.make(turn)
    study.add_trials(map(_Past.of, trials))
    space.suggest(study.ask())
    return _template(study.get_trials(deepcopy=False)[number])


def _default(sampler: Sampler, turn: Turn, is_wanted: bool) -> BaseSampler | None:
    """A sampler that proposes the configuration's own values for the first trial, or None."""
    if not is_wanted or turn.number > 0 or isinstance(sampler, Grid):
        return None
    params = turn.space.default_params()
    return None if params is None else _fixed(params)


def _fixed(params: dict[str, Any]) -> BaseSampler:
    """A sampler that proposes these parameters."""
    return optuna.samplers.PartialFixedSampler(params, optuna.samplers.RandomSampler(seed=0))


def _template(asked: FrozenTrial) -> FrozenTrial:
    """A trial as it was asked, without the sampler's temporary attributes."""
    template = optuna.trial.create_trial(
        state=TrialState.RUNNING,
        params=asked.params,
        distributions=asked.distributions,
        system_attrs={k: v for k, v in asked.system_attrs.items() if "relative_params" not in k},
    )
    template.number = asked.number
    return template


class _Past(FrozenTrial):
    """A past trial: it is never changed, so it needs no deep copy, which would be slow."""

    @classmethod
    def of(cls, trial: FrozenTrial) -> "_Past":
        """The same trial, for an in-memory study."""
        past = cls.__new__(cls)
        past.__dict__.update(trial.__dict__)
        return past

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Past":
        return self.of(self)


class _Sequence(optuna.samplers.QMCSampler):
    """Uses the trial's number as the index of its point; Optuna would count trials in the study."""

    def __init__(self, distributions: dict[str, BaseDistribution], **settings: Any) -> None:
        super().__init__(**settings)
        self._distributions = distributions

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002 - Optuna's signature
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """Every parameter has its coordinate, even if this trial does not use it."""
        return self._distributions

    def _find_sample_id(
        self,
        study: Study,
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> int:
        return len(study.get_trials(deepcopy=False)) - 1


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    """All parameters that any trial may have, the choices of groups first."""
    searched = [d for branch in space.branches for d in branch.dimensions.values()]
    return {d.name: d.distribution for d in (*space.groups.values(), *searched)}


def _name(sampler: Sampler) -> str:
    """What the user types."""
    return type(sampler).__name__.lower()


def _need_package(sampler: Sampler, package: str) -> None:
    """Refuse a sampler whose library is not installed."""
    if find_spec(package) is None:
        raise InputError(
            f"sampler={_name(sampler)} needs the package {package}, but it is not installed; "
            f"pip install 'recsweep[{_name(sampler)}]'"
        )


def _need_equal_branches(sampler: Sampler, space: Space) -> None:
    """Refuse parameters that only some trials have: the sampler would draw them at random."""
    first, *others = ({d.name for d in branch.dimensions.values()} for branch in space.branches)
    for name in (name for names in others for name in sorted(first ^ names)):
        raise InputError(
            f"sampler={_name(sampler)} needs the same parameters in every trial, but {name} "
            f"depends on {', '.join(space.groups)}; choose sampler=tpe"
        )


def _is_interval(found: BaseDistribution) -> bool:
    return isinstance(found, FloatDistribution) and found.step is None and not found.single()


def _is_varied_number(found: BaseDistribution) -> bool:
    return isinstance(found, FloatDistribution | IntDistribution) and not found.single()
