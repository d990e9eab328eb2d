"""Statistics against SciPy, statsmodels, arithmetic on the page, and by simulation."""

import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from recsweep.comparison.significance import bootstrap_interval, holm, paired_difference
from recsweep.errors import InputError


def ndcg_like(rng, shape, zeros=0.3):
    """Skewed, from 0 to 1, a share of exact zeros; its mean is (1 − zeros) · 0.8 / 3.8."""
    return np.where(rng.random(shape) < zeros, 0.0, rng.beta(0.8, 3.0, shape))


@pytest.fixture
def rng():
    return np.random.default_rng(2007)


@pytest.fixture
def two_models(rng):
    a = ndcg_like(rng, 250)
    return a, np.clip(a + rng.normal(0.004, 0.05, 250), 0, 1)


# --- interval ------------------------------------------------------------------------------------


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("zeros", [0.0, 0.3, 0.9])
def test_the_interval_is_scipys_bca_interval(rng, zeros, confidence):
    values = ndcg_like(rng, 3000, zeros)
    expected = stats.bootstrap(
        (values,), np.mean, method="BCa", confidence_level=confidence, n_resamples=2000, batch=349,
        rng=np.random.default_rng(5),
    ).confidence_interval  # fmt: skip
    found = bootstrap_interval(values, seed=5, confidence=confidence, n_resamples=2000)
    assert found == pytest.approx(tuple(expected), rel=1e-9)  # float64 sums in another order


def test_the_interval_of_many_users_is_students(rng):
    """The central limit theorem, up to the ends' Monte-Carlo error.

    The .025 quantile of 10,000 normal draws has a standard deviation of
    sqrt(.025 · .975 / 10,000) / density(1.96) = .00156 / .0584 = .027 standard errors; the levels'
    correction for skew, (1 + 2 · 1.96²) / 6 · skewness / sqrt(users) < .04, comes on top.
    """
    values = ndcg_like(rng, 5000)
    found = bootstrap_interval(values, seed=1)
    expected = DescrStatsW(values).tconfint_mean()
    assert found == pytest.approx(expected, abs=(4 * 0.027 + 0.04) * stats.sem(values))


def test_the_interval_of_two_values_is_arithmetic():
    """Draws of {0, 1} have mean 0, ½, ½, 1 with equal chances: the .025 quantile is 0."""
    assert bootstrap_interval(np.array([0.0, 1.0]), seed=0) == (0.0, 1.0)


def test_equal_values_have_an_interval_without_width():
    assert bootstrap_interval(np.full(10, 0.1), seed=0) == (0.1, 0.1)


@pytest.mark.parametrize("scale", [1e-200, 1e-110, 1e100])
def test_the_interval_grows_with_the_values_however_small_they_are(scale):
    values = np.array([0.0, 0, 0, 1, 4])
    one = bootstrap_interval(values, seed=0)
    assert bootstrap_interval(values * scale, seed=0) == pytest.approx(
        (one.low * scale, one.high * scale), rel=1e-9, abs=0
    )


def test_a_seed_repeats_the_interval_and_another_changes_it(rng):
    values = ndcg_like(rng, 100)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


def test_memory_does_not_grow_with_users_times_resamples(rng):
    """50,000 users × 1,000 resamples are 400 MB as float64, and 20 GB in SciPy's jackknife."""
    values = ndcg_like(rng, 50_000)
    bootstrap_interval(values[:100], seed=0)  # imports
    tracemalloc.start()
    bootstrap_interval(values, seed=0, n_resamples=1000)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 50e6


# --- paired difference ---------------------------------------------------------------------------


def test_the_difference_is_a_minus_b_with_the_interval_of_the_differences(two_models):
    a, b = two_models
    found = paired_difference(a, b, seed=3)
    assert found.mean == pytest.approx(a.mean() - b.mean(), rel=1e-12)
    assert (found.low, found.high) == bootstrap_interval(a - b, seed=3)
    turned = paired_difference(b, a, seed=3)
    assert (turned.mean, turned.p) == pytest.approx((-found.mean, found.p), rel=1e-12)


def test_the_paired_tests_are_scipys(two_models):
    a, b = two_models
    expected = {
        "t": stats.ttest_rel(a, b),
        "wilcoxon": stats.wilcoxon(a, b),
        "permutation": stats.permutation_test(
            (a, b), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples",
            n_resamples=1000, rng=np.random.default_rng(3),
        ),
    }  # fmt: skip
    for test, result in expected.items():
        found = paired_difference(a, b, seed=3, n_resamples=1000, test=test)
        # two-sided permutation p: twice a count of 1,001, which one tie by rounding may move
        abs_error = 2 / 1001 if test == "permutation" else 0
        assert found.p == pytest.approx(result.pvalue, rel=1e-9, abs=abs_error), test


def test_the_paired_t_test_is_arithmetic():
    """Differences 1, 2, 3: mean 2, standard error 1/√3, so t = 2√3 with 2 degrees of freedom.

    There P(|T| > t) = 1 − t / √(2 + t²) = 1 − √12 / √14.
    """
    found = paired_difference(np.array([2.0, 4.0, 6.0]), np.array([1.0, 2.0, 3.0]), seed=0)
    assert (found.mean, found.p) == pytest.approx((2.0, 1 - (12 / 14) ** 0.5), rel=1e-12)


def test_the_permutation_test_of_few_users_counts_all_signs():
    """Of the 2³ signs of differences 1, 2, 3 one sums to 6 or more and one to −6: p = 2/8."""
    a, b = np.array([1.0, 2.0, 3.0]), np.zeros(3)
    assert paired_difference(a, b, seed=0, test="permutation").p == 2 / 8


@pytest.mark.parametrize("test", ["t", "wilcoxon", "permutation"])
def test_models_that_agree_on_every_user_do_not_differ(rng, test):
    a = ndcg_like(rng, 30)
    assert paired_difference(a, a.copy(), seed=0, test=test) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("test", ["t", "wilcoxon", "permutation"])
def test_models_that_differ_by_rounding_only_have_p_1(test):
    a = np.tile([0.1 + 0.2, 0.6 - 0.4, 0.7], 20)
    b = np.tile([0.3, 0.2, np.mean([0.7] * 3)], 20)
    assert (a != b).any()
    assert paired_difference(a, b, seed=0, test=test).p == 1


@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e100])
def test_differences_that_are_equal_up_to_rounding_tie(scale):
    """Three differences of .2 and one of −.2 have the rank 2½ each."""
    a, b = np.array([0.6, 0.2, 0.5, 0.0]), np.array([0.4, 0.0, 0.3, 0.2])
    exact = np.array([2.0, 2.0, 2.0, -2.0])
    assert len(set(np.abs(a - b))) > 1
    found = paired_difference(a * scale, b * scale, seed=0, test="wilcoxon").p
    assert found == pytest.approx(float(stats.wilcoxon(exact).pvalue), rel=1e-12)


def test_a_binary_fraction_is_not_split_by_rounding():
    """1/8192 of the largest value has a 5 as its 13th decimal."""
    a, b = np.zeros((2, 5))
    a[:4], b[4] = [1.0, (1 + 1e-15) / 8192, (1 - 1e-15) / 8192, 0.5], 1 / 8192
    expected = stats.wilcoxon(np.array([8192.0, 1, 1, 4096, -1])).pvalue
    found = paired_difference(a, b, seed=0, test="wilcoxon").p
    assert found == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("test", ["t", "wilcoxon", "permutation"])
def test_differences_that_only_rounding_tells_apart_are_tested_without_a_warning(test):
    b = np.arange(8) / 10
    found = paired_difference(b + 0.1, b, seed=0, test=test)
    assert found.mean == pytest.approx(0.1)
    assert found.p <= 2 / 2**8  # all eight signs are equal


# --- Holm ----------------------------------------------------------------------------------------


def test_holm_by_hand():
    """.01 · 3 = .03; .03 · 2 = .06; .04 · 1 = .04 < .06, so .06."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06], rel=1e-12)


def test_holm_stops_at_1_and_leaves_a_single_test_alone():
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.04]) == [0.04]
    assert holm([1.0, 0.0]) == [1.0, 0.0]
    assert holm([]) == []


@pytest.mark.extended
def test_holm_equals_statsmodels(rng):
    for n in (2, 10, 45):
        p_values = np.round(rng.beta(0.3, 2, n), 2)  # rounded: some are equal
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], rel=1e-12)


# --- bad input -----------------------------------------------------------------------------------


def test_bad_input_is_refused_in_one_line():
    two = np.array([0.1, 0.2])
    refused = [
        (lambda: bootstrap_interval(two[:1], seed=0), "at least two of them, but got 1"),
        (lambda: bootstrap_interval(np.array([0.1, np.nan]), seed=0), "that of row 1 is nan"),
        (lambda: bootstrap_interval(two, seed=0, confidence=95), "confidence .* but is 95"),
        (lambda: bootstrap_interval(two, seed=0, confidence=1.5), "confidence .* but is 1.5"),
        (lambda: bootstrap_interval(two, seed=0, confidence=0), "confidence .* but is 0"),
        (lambda: bootstrap_interval(two, seed=0, n_resamples=10), "n_resamples .* but is 10;"),
        (lambda: paired_difference(two[:1], two[:1], seed=0), "at least two of them, but got 1"),
        (lambda: paired_difference(two, two[:1], seed=0), "the same users .* there are 2 and 1"),
        (lambda: paired_difference(two, np.array([0.1, np.inf]), seed=0), "that of row 1 is -inf"),
        (lambda: holm([0.1, np.nan]), "from 0 to 1, but one is nan"),
        (lambda: holm([1.1]), "from 0 to 1, but one is 1.1"),
    ]
    for call, message in refused:
        with pytest.raises(InputError, match=message):
            call()


# --- simulation ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("zeros", "n_users"), [(0.3, 200), (0.8, 500)])
def test_the_interval_holds_the_true_mean_in_95_of_100_samples(rng, zeros, n_users):
    """2,000 samples: the share's standard error is sqrt(.95 · .05 / 2,000) = .0049.

    On either side it misses .025, standard error .0035. Measured: .027 and .029 with 30 % zeros,
    .021 and .025 with 80 % (the percentile interval: .024 and .034, .015 and .034).
    """
    mean = (1 - zeros) * 0.8 / 3.8
    samples = ndcg_like(rng, (2000, n_users), zeros)
    ends = np.array([bootstrap_interval(s, i, n_resamples=1000) for i, s in enumerate(samples)])
    n_too_high, n_too_low = np.sum(ends[:, 0] > mean), np.sum(ends[:, 1] < mean)
    assert 1 - (n_too_high + n_too_low) / 2000 == pytest.approx(0.95, abs=3 * 0.0049)
    assert n_too_high / 2000 == pytest.approx(0.025, abs=3 * 0.0035)
    assert n_too_low / 2000 == pytest.approx(0.025, abs=3 * 0.0035)


@pytest.mark.slow
def test_five_equal_models_seldom_differ(rng):
    """1,000 comparisons of 5 models that differ by chance alone, so that every claim is false.

    One pair: .05, standard error .0069 (measured: .036). Any of the 10 pairs: far above .05
    uncorrected (.281), at most .05 by Holm (.042).
    """
    n_times, n_users = 1000, 200
    false_claims = np.zeros((n_times, 3), dtype=bool)
    for i in range(n_times):
        taste = rng.random(n_users)[:, np.newaxis]  # users differ more than models do
        models = (ndcg_like(rng, (n_users, 5)) * taste).T
        p = [paired_difference(a, b, i, n_resamples=100).p for a, b in combinations(models, 2)]
        false_claims[i] = p[0] < 0.05, min(p) < 0.05, min(holm(p)) < 0.05
    of_one_pair, uncorrected, corrected = false_claims.mean(axis=0)
    assert of_one_pair == pytest.approx(0.05, abs=3 * 0.0069)
    assert uncorrected > 0.2
    assert corrected < 0.05 + 3 * 0.0069
