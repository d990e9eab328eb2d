"""Statistics of per-user metrics: interval of a mean, paired difference, Holm's correction.

Users are the sample: an interval says how far the mean would move with other users of the
same kind, not with another seed or another split.
"""

import warnings
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from recsweep.errors import InputError

PairedTest = Literal["t", "wilcoxon", "permutation"]
ROUNDING = 2**0.5 * 1e-12
"""Differences are equal up to this share of the largest value; irrational, so that no fraction lies
halfway between two steps."""
_RESAMPLED_AT_ONCE = 2**20  # values: 16 MiB with their indices, whatever the number of users


class Interval(NamedTuple):
    """A confidence interval.

    Args:
        low: Its lower end.
        high: Its upper end.
    """

    low: float
    high: float


class Difference(NamedTuple):
    """How far the mean of a is above that of b on the same users.

    Args:
        mean: Of a − b.
        low: Lower end of the mean's interval.
        high: Upper end of the mean's interval.
        p: How often chance alone would make a difference of at least this size, either way;
            not corrected for how many pairs are compared: see `holm`.
    """

    mean: float
    low: float
    high: float
    p: float


def bootstrap_interval(
    values: Float[np.ndarray, " users"],
    seed: int,
    confidence: float = 0.95,
    n_resamples: int = 10_000,
) -> Interval:
    """Bias-corrected and accelerated (BCa) bootstrap interval of a mean over users.

    Quantiles of the means of `n_resamples` draws of all users with replacement, at levels that
    are corrected for skew. Metrics are skewed and often 0, where the plain quantiles (the
    percentile interval) lie too low: of 4,000 simulated samples of 100 users with 80 % zeros,
    the 95 % interval held the true mean in 93.5 % (BCa), 90.7 % (percentile) and 90.1 %
    (Student's t); of 500 users in 94.7, 94.0 and 94.0 %.

    Args:
        values: A metric of each user.
        seed: Of the resamples: the same one gives the same interval.
        confidence: Above 0 and below 1.
        n_resamples: How many, at least 100.

    Returns:
        The interval; both ends are the mean when all users have the same value.

    Raises:
        InputError: There are fewer than two users, a value is not finite, or an argument is
            out of range.

    Source:
        Efron 1987, Better bootstrap confidence intervals. Equal to SciPy's `bootstrap` with the
        same seed, but the jackknife of a mean is in closed form here: SciPy's takes time and
        memory by the square of the users.
    """
    from scipy import special, stats  # slow to import, and only comparisons need it

    _check(values, confidence, n_resamples)
    mean = np.mean(values)
    deviations = values - mean
    if np.ptp(values) == 0:
        return Interval(float(values[0]), float(values[0]))
    means = stats.bootstrap(
        (values,),
        np.mean,
        method="percentile",
        n_resamples=n_resamples,
        batch=max(1, _RESAMPLED_AT_ONCE // len(values)),
        rng=np.random.default_rng(seed),
    ).bootstrap_distribution
    # Efron's equations 2.3 to 2.8 and 6.6: z0 = bias correction, a = acceleration
    z0 = special.ndtri((np.mean(means < mean) + np.mean(means <= mean)) / 2)
    deviations /= np.abs(deviations).max()  # tiny ones have no square
    a = np.sum(deviations**3) / (6 * np.sum(deviations**2) ** 1.5)
    z = z0 + special.ndtri([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = np.quantile(means, special.ndtr(z0 + z / (1 - a * z)))
    return Interval(float(low), float(high))


def paired_difference(
    a: Float[np.ndarray, " users"],
    b: Float[np.ndarray, " users"],
    seed: int,
    confidence: float = 0.95,
    n_resamples: int = 10_000,
    test: PairedTest = "t",
) -> Difference:
    """Mean difference of two models on the same users: bootstrap interval and paired test.

    The t-test is the default: of the tests in use it keeps its error rate best on the
    per-user metrics of ranked lists, although these are not normal. Wilcoxon's test leaves out
    users without a difference and asks about signed ranks, not about the mean; the permutation
    test changes signs at random, `n_resamples` times (20 s for 10,000 users).

    Args:
        a: A metric of each user under one model.
        b: The same metric of the same users, in the same order, under the other model.
        seed: Of the resamples and permutations.
        confidence: Of the interval, above 0 and below 1.
        n_resamples: Of the interval and of the permutation test, at least 100.
        test: Two-sided.

    Returns:
        The difference; p = 1 when no user differs by more than rounding.

    Raises:
        InputError: Not as many users in both, fewer than two, a value that is not finite, or an
            argument out of range.

    Source:
        Smucker, Allan & Carterette 2007, A comparison of statistical significance tests for
        information retrieval evaluation; Urbano, Lima & Hanjalic 2019, Statistical significance
        testing in information retrieval (type I, type II and type III errors of five tests).
    """
    if len(a) != len(b):
        raise InputError(
            f"a paired test needs the same users on both sides, but there are {len(a)} and "
            f"{len(b)}; compare the users that both have"
        )
    differences = np.subtract(a, b, dtype=np.float64)
    low, high = bootstrap_interval(differences, seed, confidence, n_resamples)
    steps = _in_steps(differences, max(np.abs(a).max(), np.abs(b).max()))
    p = _p_value(steps, seed, n_resamples, test) if steps.any() else 1.0
    return Difference(float(differences.mean()), low, high, p)


def _in_steps(differences: Float[np.ndarray, " users"], largest: float) -> np.ndarray:
    """Differences in whole steps of a fraction of the largest value: .6 − .4 equals .2 − 0."""
    return np.round(differences / largest / ROUNDING) if largest else differences


def _p_value(
    differences: Float[np.ndarray, " users"], seed: int, n_resamples: int, test: PairedTest
) -> float:
    from scipy import stats  # slow to import, and only comparisons need it

    if test == "t":
        with warnings.catch_warnings():  # differences that are all but equal: p is 0, rightly
            warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
            return float(stats.ttest_1samp(differences, 0.0).pvalue)
    if test == "wilcoxon":
        return float(stats.wilcoxon(differences).pvalue)
    null = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=n_resamples,
        batch=max(1, _RESAMPLED_AT_ONCE // len(differences)),
        rng=np.random.default_rng(seed),
    )
    return float(null.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for how many tests are looked at together.

    Calling those up to .05 significant then makes even one false claim in at most 5 % of all
    comparisons, however the tests depend on one another. The smallest of m is multiplied by m,
    the next by m − 1, and so on; none becomes smaller than one before it, nor larger than 1.

    Args:
        p_values: Of all tests that are looked at together.

    Returns:
        Adjusted ones, in the order of `p_values`.

    Raises:
        InputError: One is not from 0 to 1.

    Source:
        Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    p = np.asarray(p_values, dtype=np.float64)
    is_wrong = ~((p >= 0) & (p <= 1))
    if is_wrong.any():
        raise InputError(
            f"p-values must be from 0 to 1, but one is {p[is_wrong][0]}; leave out tests "
            f"that have none"
        )
    order = np.argsort(p)
    in_order = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(in_order, 1.0)
    return [float(value) for value in adjusted]


def _check(values: Float[np.ndarray, " users"], confidence: float, n_resamples: int) -> None:
    if len(values) < 2:
        raise InputError(
            f"an interval over users needs at least two of them, but got {len(values)}; "
            f"hold out more users"
        )
    is_finite = np.isfinite(values)
    if not is_finite.all():
        row = int(np.argmin(is_finite))
        raise InputError(
            f"every user's value must be finite, but that of row {row} is {values[row]}; "
            f"leave out users who have none"
        )
    if not 0 < confidence < 1:
        raise InputError(f"confidence must be above 0 and below 1, but is {confidence}; set 0.95")
    if n_resamples < 100:
        raise InputError(
            f"n_resamples must be at least 100, but is {n_resamples}; 10000 fixes the ends to "
            f"1 % of the interval's width"
        )
