"""The numbers of a comparison: means with intervals, and corrected tests of all pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from functools import cached_property
from itertools import combinations
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from recsweep.comparison.contenders import Contender, objectives, refuse_unequal
from recsweep.comparison.significance import (
    Difference,
    Interval,
    PairedTest,
    bootstrap_interval,
    holm,
    paired_difference,
)
from recsweep.errors import InputError
from recsweep.evaluation import usual_metrics
from recsweep.interfaces import STRICT
from recsweep.messages import closest, suggest

_MAYBE_ONE = BeforeValidator(lambda entry: [entry] if isinstance(entry, str) else entry)


@dataclass(kw_only=True, config=STRICT)
class Statistics:
    """How contenders are compared.

    Args:
        metrics: Metrics such as `ndcg@100`; None = the objective of the runs, then NDCG at the
            largest cut-off and recall at 20 and 50.
        unit: The sampling unit: users, or replicates with different seeds.
        test: The paired test.
        confidence: Confidence level of intervals.
        n_resamples: Resamples of the bootstrap and of the permutation test.
        seed: Seed of the resamples: the same seed gives the same files.
    """

    metrics: Annotated[list[str], _MAYBE_ONE, Field(min_length=1)] | None
    unit: Literal["users", "replicates"]
    test: PairedTest
    confidence: Annotated[float, Field(gt=0, lt=1)]
    n_resamples: Annotated[int, Field(ge=100)]
    seed: Annotated[int, Field(ge=0)]

    @property
    def alpha(self) -> float:
        """Significance level: the largest adjusted p of a significant difference."""
        return round(1 - self.confidence, 10)


@plain_dataclass(frozen=True)
class Score:
    """A contender's score in a metric.

    Args:
        mean: Mean over users of the mean over replicates.
        interval: Confidence interval of the mean.
        by_replicate: Mean of each replicate; index: split and seed.
        mark: `best`, `tied` (not significantly worse than the best), or empty.
    """

    mean: float
    interval: Interval
    by_replicate: pd.Series
    mark: str

    @property
    def half_width(self) -> float:
        """Half the width of the interval."""
        return (self.interval.high - self.interval.low) / 2

    @property
    def deviation(self) -> float:
        """Standard deviation over the replicates; NaN with one."""
        return float(self.by_replicate.std(ddof=1))


@plain_dataclass(frozen=True)
class Pair:
    """The difference of two contenders in a metric.

    Args:
        metric: A metric such as `ndcg@100`.
        a: Name of the contender that is better in the first metric.
        b: Name of the other one.
        difference: a - b, its interval, and the uncorrected p.
        adjusted_p: p after Holm's correction over all pairs of contenders in this metric.
    """

    metric: str
    a: str
    b: str
    difference: Difference
    adjusted_p: float


@plain_dataclass(frozen=True)
class Comparison:
    """Contenders side by side.

    Args:
        contenders: Sorted by the first metric, best first.
        statistics: How they were compared.
        scores: Scores by metric and contender's name.
        pairs: All pairs, by metric.
        n_units: Number of users, of pairs of user and split, or of replicates.
    """

    contenders: tuple[Contender, ...]
    statistics: Statistics
    scores: Mapping[str, Mapping[str, Score]]
    pairs: tuple[Pair, ...]
    n_units: int

    @property
    def metrics(self) -> list[str]:
        """Columns of the table."""
        return list(self.scores)

    @cached_property
    def definitions(self) -> dict[str, str]:
        """Definitions of the metrics."""
        known = self.contenders[0].replicates[0].definitions
        names = dict.fromkeys(metric.partition("@")[0] for metric in self.metrics)
        return {name: known.get(name, "its definition is not noted") for name in names}


def compare(contenders: Sequence[Contender], statistics: Statistics) -> Comparison:
    """Compute means, intervals and tests.

    Args:
        contenders: At least two, on the same splits and users.
        statistics: How they are compared.

    Raises:
        InputError: They cannot be compared, or a metric is missing.
    """
    metrics = _chosen(contenders, statistics.metrics)
    refuse_unequal(contenders, metrics)
    ranked = sorted(contenders, key=lambda each: -float(each.of_users(metrics[0]).mean()))
    units = {metric: _units(ranked, metric, statistics.unit) for metric in metrics}
    pairs = {metric: _pairs(metric, values, statistics) for metric, values in units.items()}
    scores = {
        metric: _scores(ranked, metric, units[metric], pairs[metric], statistics)
        for metric in metrics
    }
    return Comparison(
        contenders=tuple(ranked),
        statistics=statistics,
        scores=scores,
        pairs=tuple(pair for of_metric in pairs.values() for pair in of_metric),
        n_units=len(units[metrics[0]]),
    )


def _units(contenders: Sequence[Contender], metric: str, unit: str) -> pd.DataFrame:
    """A column per contender, a row per unit."""
    if unit == "replicates":
        seeded = [each for each in contenders if not each.is_deterministic]
        _refuse_unpaired(seeded or contenders)
        index = (seeded or contenders)[0].of_replicates(metric).index
        units = pd.DataFrame(
            {each.name: _on(each.of_replicates(metric), each, index) for each in contenders}
        )
        _refuse_constant(units)
        return units
    return pd.DataFrame({each.name: each.of_users(metric) for each in contenders})


def _on(values: pd.Series, contender: Contender, index: "pd.Index[Any]") -> pd.Series:
    """A contender's replicates on these splits and seeds: one value per split serves all seeds."""
    if not contender.is_deterministic:
        return values
    by_split = values.groupby(level=0).mean()
    return pd.Series(by_split.loc[index.get_level_values(0)].to_numpy(), index)


def _refuse_unpaired(contenders: Sequence[Contender]) -> None:
    """Raise InputError if replicates cannot be paired by split and seed."""
    seeds = {each.name: [(run.split, run.seed) for run in each.replicates] for each in contenders}
    first = next(iter(seeds.values()))
    if len(first) < 2 or any(found != first for found in seeds.values()):
        shown = [
            f"{name} has {', '.join(str(seed) for _, seed in keys)}" for name, keys in seeds.items()
        ]
        raise InputError(
            "task.unit=replicates needs at least two replicates of each, with the same seeds, but "
            f"{' and '.join(shown)}; train with the seeds that are missing, or set task.unit=users"
        )


def _refuse_constant(units: pd.DataFrame) -> None:
    """Refuse constant values: two deterministic models would differ with p = 0."""
    constant = [str(name) for name, values in units.items() if values.nunique() == 1]
    if len(constant) > 1:
        raise InputError(
            "task.unit=replicates needs models that change with the seed, all but one, but "
            f"{' and '.join(constant)} give the same for every seed; set task.unit=users"
        )


def _pairs(metric: str, units: pd.DataFrame, how: Statistics) -> list[Pair]:
    """All pairs of contenders in one metric: the family of Holm's correction."""
    found = [
        (a, b, paired_difference(
            units[a].to_numpy(), units[b].to_numpy(), how.seed, how.confidence, how.n_resamples,
            how.test,
        ))
        for a, b in combinations(map(str, units), 2)
    ]  # fmt: skip
    adjusted = holm([difference.p for _, _, difference in found])
    return [Pair(metric, *pair, p) for pair, p in zip(found, adjusted, strict=True)]


def _scores(
    contenders: Sequence[Contender],
    metric: str,
    units: pd.DataFrame,
    pairs: Sequence[Pair],
    how: Statistics,
) -> dict[str, Score]:
    best = str(units.mean().idxmax())
    equal = [{pair.a, pair.b} for pair in pairs if pair.adjusted_p > how.alpha]
    marks = {each.name: "tied" * ({best, each.name} in equal) for each in contenders}
    marks[best] = "best"
    return {
        each.name: Score(
            mean=float(units[each.name].mean()),
            interval=bootstrap_interval(
                units[each.name].to_numpy(), how.seed, how.confidence, how.n_resamples
            ),
            by_replicate=each.of_replicates(metric),
            mark=marks[each.name],
        )
        for each in contenders
    }


# --- which metrics -------------------------------------------------------------------------------


def _chosen(contenders: Sequence[Contender], asked: Sequence[str] | None) -> list[str]:
    """Metrics that every contender has."""
    if not contenders:
        return ["ndcg@10"]  # refused later: there are no contenders
    known = [
        name for name in contenders[0].metrics if all(name in each.metrics for each in contenders)
    ]
    if not known:
        raise InputError(
            "contenders must have a metric in common, but have none; evaluate all of them with "
            "the same k and metrics"
        )
    for metric in asked or ():
        if metric not in known:
            hint = suggest(closest(metric, known), "change task.metrics")
            raise InputError(
                f"task.metrics must be among what every run has for each user, {', '.join(known)}, "
                f"but is {metric}; {hint}"
            )
    first = [name for name in objectives(contenders) if name in known]
    return list(dict.fromkeys(asked or [*first, *usual_metrics(known)]))
