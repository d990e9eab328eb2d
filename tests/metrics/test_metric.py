"""Each metric against arithmetic on the page, a naive twin and two outside libraries."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from metric_names import METRICS as ALL

from recsweep.metrics.hit_rate import HitRate
from recsweep.metrics.map import AveragePrecision
from recsweep.metrics.metric import CatalogMetric, UserMetric
from recsweep.metrics.mrr import ReciprocalRank
from recsweep.metrics.ndcg import NDCG
from recsweep.metrics.ndcg_full_ideal import NDCGFullIdeal
from recsweep.metrics.precision import Precision
from recsweep.metrics.ranked_lists import RankedLists
from recsweep.metrics.recall import Recall
from recsweep.metrics.recall_all import RecallAll

Metric = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def as_function(kind: type[UserMetric]) -> Metric:
    """A metric of hits, counts of held-out items and a cut-off."""

    def metric(hits: np.ndarray, n_relevant: np.ndarray, k: int) -> np.ndarray:
        return kind().per_user(RankedLists(hits, n_relevant), k)

    metric.__name__, metric.__doc__ = kind.__name__, kind.__doc__
    return metric


ndcg_at_k, ndcg_full_ideal_at_k = as_function(NDCG), as_function(NDCGFullIdeal)
recall_at_k, recall_all_at_k = as_function(Recall), as_function(RecallAll)
precision_at_k, average_precision_at_k = as_function(Precision), as_function(AveragePrecision)
reciprocal_rank_at_k, hit_rate_at_k = as_function(ReciprocalRank), as_function(HitRate)

# Both sides of a comparison do at most some 60 additions and divisions of numbers below 10, each
# good to 1.1e-16 of its value, so they part by less than 1e-14; the rest is room for other libms.
ROUNDING = 1e-12

N_USERS, N_ITEMS, N_RANKS = 1000, 40, 12


def one_user(metric: Metric, ranks: str, n_relevant: int, k: int) -> float:
    """The metric of one user whose list is drawn as 'x.x..' (x = hit, best rank first)."""
    (value,) = metric(np.array([[mark == "x" for mark in ranks]]), np.array([n_relevant]), k)
    return value


def about(value: float):
    return pytest.approx(value, rel=0, abs=ROUNDING)


# --- definitions, worked by hand ---------------------------------------------------------------


def test_a_hit_at_rank_2_is_discounted_by_the_logarithm_of_3():
    assert one_user(ndcg_at_k, ".x.", n_relevant=1, k=3) == about(1 / np.log2(3))


def test_ndcg_divides_by_the_best_list_of_two_when_two_items_were_held_out():
    dcg = 1 / np.log2(3) + 1 / np.log2(5)  # hits at ranks 2 and 4
    best = 1 + 1 / np.log2(3)  # hits at ranks 1 and 2
    assert one_user(ndcg_at_k, ".x.x.", n_relevant=2, k=5) == about(dcg / best)


def test_ndcg_cuts_the_ideal_at_k_and_the_full_ideal_does_not():
    dcg = 1 + 1 / 2  # hits at ranks 1 and 3: 1/log2(2) + 1/log2(4)
    ideal_of_5 = 1 + 1 / np.log2(3) + 1 / 2 + 1 / np.log2(5) + 1 / np.log2(6)  # 2.9485
    ideal_of_7 = ideal_of_5 + 1 / np.log2(7) + 1 / 3  # 3.6380; 1/log2(8) = 1/3

    cut = one_user(ndcg_at_k, "x.x..", n_relevant=7, k=5)
    full = one_user(ndcg_full_ideal_at_k, "x.x..", n_relevant=7, k=5)

    assert cut == about(dcg / ideal_of_5)
    assert full == about(dcg / ideal_of_7)
    assert (round(cut, 3), round(full, 3)) == (0.509, 0.412)


def test_the_two_ndcgs_agree_up_to_k_held_out_items():
    for n_relevant in (2, 3, 4, 5):
        cut = one_user(ndcg_at_k, "x.x..", n_relevant, k=5)
        assert one_user(ndcg_full_ideal_at_k, "x.x..", n_relevant, k=5) == cut


def test_the_two_recalls_part_beyond_k_held_out_items():
    assert one_user(recall_at_k, "x.x..", n_relevant=7, k=5) == 2 / 5
    assert one_user(recall_all_at_k, "x.x..", n_relevant=7, k=5) == 2 / 7  # .286


def test_the_two_recalls_agree_up_to_k_held_out_items():
    assert one_user(recall_at_k, "x.x..", n_relevant=4, k=5) == 2 / 4
    assert one_user(recall_all_at_k, "x.x..", n_relevant=4, k=5) == 2 / 4


def test_precision_divides_by_k_however_few_items_were_held_out():
    assert one_user(precision_at_k, "x....", n_relevant=1, k=5) == 1 / 5


def test_average_precision_averages_the_precision_at_each_hit():
    expected = (1 / 1 + 2 / 3) / 2  # precision at rank 1, precision at rank 3, two held-out items
    assert one_user(average_precision_at_k, "x.x..", n_relevant=2, k=5) == about(expected)


def test_average_precision_counts_a_held_out_item_that_was_missed_as_zero():
    expected = (1 / 1 + 2 / 3 + 0) / 3
    assert one_user(average_precision_at_k, "x.x..", n_relevant=3, k=5) == about(expected)


def test_average_precision_divides_by_k_beyond_k_held_out_items():
    expected = (1 / 1 + 2 / 3) / 5  # 1/3; trec_eval would divide by 7
    assert one_user(average_precision_at_k, "x.x..", n_relevant=7, k=5) == about(expected)


def test_reciprocal_rank_looks_at_the_first_hit_only():
    assert one_user(reciprocal_rank_at_k, "..x.x", n_relevant=2, k=5) == 1 / 3


def test_hit_rate_is_one_with_one_hit_and_with_many():
    assert one_user(hit_rate_at_k, "....x", n_relevant=5, k=5) == 1.0
    assert one_user(hit_rate_at_k, "xxxxx", n_relevant=5, k=5) == 1.0


# --- a naive twin: lists and sets, one user at a time, straight from the definitions -----------


def is_hit(ranked: list[int], held_out: set[int], rank: int) -> bool:
    return ranked[rank - 1] in held_out


def n_hits(ranked: list[int], held_out: set[int], k: int) -> int:
    return len(set(ranked[:k]) & held_out)


def dcg(ranked: list[int], held_out: set[int], k: int) -> float:
    total = 0.0
    for rank in range(1, k + 1):
        if is_hit(ranked, held_out, rank):
            total += 1 / math.log2(rank + 1)
    return total


def naive_ndcg(ranked: list[int], held_out: set[int], k: int) -> float:
    best = sorted(held_out)[:k]
    return dcg(ranked, held_out, k) / dcg(best, held_out, len(best))


def naive_ndcg_full_ideal(ranked: list[int], held_out: set[int], k: int) -> float:
    best = sorted(held_out)
    return dcg(ranked, held_out, k) / dcg(best, held_out, len(best))


def naive_recall(ranked: list[int], held_out: set[int], k: int) -> float:
    return n_hits(ranked, held_out, k) / min(k, len(held_out))


def naive_recall_all(ranked: list[int], held_out: set[int], k: int) -> float:
    return n_hits(ranked, held_out, k) / len(held_out)


def naive_precision(ranked: list[int], held_out: set[int], k: int) -> float:
    return n_hits(ranked, held_out, k) / k


def naive_average_precision(ranked: list[int], held_out: set[int], k: int) -> float:
    total = 0.0
    for rank in range(1, k + 1):
        if is_hit(ranked, held_out, rank):
            total += naive_precision(ranked, held_out, rank)
    return total / min(k, len(held_out))


def naive_reciprocal_rank(ranked: list[int], held_out: set[int], k: int) -> float:
    for rank in range(1, k + 1):
        if is_hit(ranked, held_out, rank):
            return 1 / rank
    return 0.0


def naive_hit_rate(ranked: list[int], held_out: set[int], k: int) -> float:
    return 1.0 if set(ranked[:k]) & held_out else 0.0


NAIVE = {
    ndcg_at_k: naive_ndcg,
    ndcg_full_ideal_at_k: naive_ndcg_full_ideal,
    recall_at_k: naive_recall,
    recall_all_at_k: naive_recall_all,
    precision_at_k: naive_precision,
    average_precision_at_k: naive_average_precision,
    reciprocal_rank_at_k: naive_reciprocal_rank,
    hit_rate_at_k: naive_hit_rate,
}
METRICS = list(NAIVE)
every_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
every_cut = pytest.mark.parametrize("k", [1, 2, 5, N_RANKS])


class Rankings(NamedTuple):
    """The same users twice: as lists and sets, and as the arrays that the metrics take."""

    ranked: list[list[int]]
    held_out: list[set[int]]
    hits: np.ndarray
    n_relevant: np.ndarray


@pytest.fixture(scope="module")
def rankings() -> Rankings:
    """1,000 users: from 1 to 30 of 40 items held out, 12 items ranked at random."""
    rng = np.random.default_rng(20180423)
    n_relevant = rng.integers(1, 31, size=N_USERS)
    ranked = [rng.permutation(N_ITEMS)[:N_RANKS].tolist() for _ in n_relevant]
    held_out = [set(rng.permutation(N_ITEMS)[:n].tolist()) for n in n_relevant]
    hits = [
        [item in wanted for item in items] for items, wanted in zip(ranked, held_out, strict=True)
    ]
    return Rankings(ranked, held_out, np.array(hits), n_relevant)


@every_metric
@every_cut
def test_every_metric_agrees_with_its_naive_twin(metric, k, rankings):
    pairs = zip(rankings.ranked, rankings.held_out, strict=True)
    expected = [NAIVE[metric](ranked, held_out, k) for ranked, held_out in pairs]
    actual = metric(rankings.hits, rankings.n_relevant, k)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=ROUNDING)


# --- outside libraries -------------------------------------------------------------------------

Values = dict[tuple[str, int], np.ndarray]
"""One value per user, by metric and cut-off."""

CUTS = (1, 2, 5, N_RANKS)
SAME_DEFINITION = {
    "ndcg": ndcg_at_k,
    "recall": recall_all_at_k,
    "precision": precision_at_k,
    "mrr": reciprocal_rank_at_k,
    "hit_rate": hit_rate_at_k,
}
"""The libraries' metrics under ranx's names -> the functions that mean the same."""


def by_trec_eval(ranked: list[list[int]], held_out: list[set[int]]) -> Values:
    """ir_measures, which asks trec_eval's own code and a few others."""
    ir_measures = pytest.importorskip("ir_measures", reason="needs pip install ir-measures")
    measures = {
        "ndcg": ir_measures.nDCG, "recall": ir_measures.R, "precision": ir_measures.P,
        "map": ir_measures.AP, "mrr": ir_measures.RR, "hit_rate": ir_measures.Success,
    }  # fmt: skip
    names = {measure @ k: (name, k) for name, measure in measures.items() for k in CUTS}
    values = {name: np.full(len(ranked), np.nan) for name in names.values()}
    for result in ir_measures.iter_calc(list(names), truth(held_out), scores(ranked)):
        values[names[result.measure]][int(result.query_id)] = result.value
    return values


def by_ranx(ranked: list[list[int]], held_out: list[set[int]]) -> Values:
    """ranx, as plain Python: compiling it takes a minute, these rankings take a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUMBA_DISABLE_JIT", "1")  # read when numba is first imported
        ranx = pytest.importorskip("ranx", reason="needs pip install ranx")
    names = {f"{name}@{k}": (name, k) for name in (*SAME_DEFINITION, "map") for k in CUTS}
    relevant, run = ranx.Qrels(truth(held_out)), ranx.Run(scores(ranked))
    values = ranx.evaluate(relevant, run, list(names), return_mean=False)
    in_its_order = np.argsort([int(user) for user in relevant.keys()])  # noqa: SIM118 - no mapping
    return {names[name]: per_user[in_its_order] for name, per_user in values.items()}


def truth(held_out: list[set[int]]) -> dict[str, dict[str, int]]:
    return {str(user): {str(item): 1 for item in items} for user, items in enumerate(held_out)}


def scores(ranked: list[list[int]]) -> dict[str, dict[str, float]]:
    """Scores that bring the items into the order in which they are listed."""
    return {
        str(user): {str(item): float(-rank) for rank, item in enumerate(items)}
        for user, items in enumerate(ranked)
    }


LIBRARIES = [by_trec_eval, by_ranx]


@pytest.fixture(scope="module", params=LIBRARIES, ids=lambda library: library.__name__)
def theirs(request, rankings) -> Values:
    return request.param(rankings.ranked, rankings.held_out)


@pytest.mark.extended
def test_metrics_equal_the_libraries_where_the_definitions_agree(theirs, rankings):
    for name, metric in SAME_DEFINITION.items():
        for k in CUTS:
            ours = metric(rankings.hits, rankings.n_relevant, k)
            np.testing.assert_allclose(theirs[name, k], ours, rtol=0, atol=ROUNDING)


def test_what_divides_otherwise_equals_the_libraries_up_to_k_held_out_items(theirs, rankings):
    divides_otherwise = {
        "ndcg": ndcg_full_ideal_at_k, "recall": recall_at_k, "map": average_precision_at_k,
    }  # fmt: skip
    for name, metric in divides_otherwise.items():
        for k in (5, N_RANKS):
            ours = metric(rankings.hits, rankings.n_relevant, k)
            is_short = rankings.n_relevant <= k
            assert 0.1 < is_short.mean() < 0.5
            np.testing.assert_allclose(theirs[name, k][is_short], ours[is_short], atol=ROUNDING)
            differs = np.abs(theirs[name, k] - ours)[~is_short & (ours > 0)] > ROUNDING
            assert differs.all()


@pytest.mark.parametrize("library", LIBRARIES)
def test_beyond_k_held_out_items_the_libraries_divide_by_something_else(library):
    # Five items are shown, seven were held out; the hits are at ranks 1 and 3: x.x..
    theirs = library([[0, 10, 1, 11, 12]], [{0, 1, 2, 3, 4, 5, 6}])

    dcg = 1 + 1 / 2  # 1/log2(2) + 1/log2(4)
    ideal_of_5 = 1 + 1 / np.log2(3) + 1 / 2 + 1 / np.log2(5) + 1 / np.log2(6)  # 2.9485
    ideal_of_7 = ideal_of_5 + 1 / np.log2(7) + 1 / 3  # 3.6380; 1/log2(8) = 1/3
    assert theirs["ndcg", 5] == about(dcg / ideal_of_5)  # .509: their ideal is cut at k
    assert one_user(ndcg_full_ideal_at_k, "x.x..", 7, k=5) == about(dcg / ideal_of_7)  # .412

    assert theirs["recall", 5] == about(2 / 7)  # .286: of all that was held out
    assert one_user(recall_at_k, "x.x..", 7, k=5) == about(2 / 5)  # .400: of what 5 items can hold

    assert theirs["map", 5] == about((1 / 1 + 2 / 3) / 7)  # .238
    assert one_user(average_precision_at_k, "x.x..", 7, k=5) == about((1 / 1 + 2 / 3) / 5)  # .333


# --- what holds for any list -------------------------------------------------------------------


@every_metric
@every_cut
def test_every_value_is_a_float64_from_0_to_1_and_there_is_one_per_user(metric, k, rankings):
    values = metric(rankings.hits, rankings.n_relevant, k)
    assert values.shape == (N_USERS,)
    assert values.dtype == np.float64
    assert (values >= 0).all()
    assert (values <= 1).all()


@every_metric
def test_a_list_without_hits_is_worth_exactly_0(metric):
    assert metric(np.zeros((3, 5), dtype=bool), np.array([1, 5, 9]), 5).tolist() == [0, 0, 0]


@every_metric
def test_a_perfect_list_is_worth_exactly_1_when_k_items_were_held_out(metric):
    for k in range(1, 101):
        assert one_user(metric, "x" * k, n_relevant=k, k=k) == 1.0


@pytest.mark.parametrize(
    "metric",
    [ndcg_at_k, recall_at_k, average_precision_at_k, reciprocal_rank_at_k, hit_rate_at_k],
    ids=lambda metric: metric.__name__,
)
def test_a_perfect_list_is_worth_exactly_1_however_many_items_were_held_out(metric):
    n_relevant = np.arange(1, 41)
    hits = np.arange(20) < n_relevant[:, np.newaxis]
    for k in range(1, 21):
        assert (metric(hits, n_relevant, k) == 1.0).all()


@pytest.mark.parametrize("metric", [ndcg_full_ideal_at_k, recall_all_at_k])
def test_what_divides_by_all_held_out_items_cannot_reach_1_when_they_exceed_k(metric):
    assert one_user(metric, "xxxxx", n_relevant=5, k=5) == 1.0
    assert one_user(metric, "xxxxx", n_relevant=6, k=5) < 1.0


@every_metric
@every_cut
def test_moving_a_hit_one_rank_up_never_lowers_a_metric(metric, k, rankings):
    before = metric(rankings.hits, rankings.n_relevant, k)
    for rank in range(N_RANKS - 1):
        moved = rankings.hits.copy()
        pair = moved[:, rank : rank + 2]
        pair[:] = np.sort(pair, axis=1)[:, ::-1]  # (miss, hit) becomes (hit, miss)
        assert (metric(moved, rankings.n_relevant, k) >= before - ROUNDING).all()


@every_metric
@every_cut
def test_one_more_hit_never_lowers_a_metric(metric, k, rankings):
    n_relevant = rankings.n_relevant + 1  # leaves every user a held-out item to find
    before = metric(rankings.hits, n_relevant, k)
    for rank in range(N_RANKS):
        more = rankings.hits.copy()
        more[:, rank] = True
        assert (metric(more, n_relevant, k) >= before - ROUNDING).all()


@pytest.mark.parametrize(
    "metric",
    [ndcg_full_ideal_at_k, recall_all_at_k, reciprocal_rank_at_k, hit_rate_at_k],
    ids=lambda metric: metric.__name__,
)
def test_what_does_not_divide_by_k_never_falls_with_k(metric, rankings):
    by_cut = [metric(rankings.hits, rankings.n_relevant, k) for k in range(1, N_RANKS + 1)]
    assert (np.diff(by_cut, axis=0) >= -ROUNDING).all()


@every_metric
def test_what_is_ranked_below_k_does_not_count(metric):
    with_late_hits = one_user(metric, ".x.xx", n_relevant=6, k=3)
    assert with_late_hits == one_user(metric, ".x...", n_relevant=6, k=3)


@every_metric
def test_a_users_value_does_not_depend_on_who_else_is_in_the_batch(metric, rankings):
    together = metric(rankings.hits, rankings.n_relevant, 5)
    for user in range(50):
        row = slice(user, user + 1)
        assert metric(rankings.hits[row], rankings.n_relevant[row], 5) == together[user]


@every_metric
def test_no_users_give_no_values(metric):
    assert metric(np.zeros((0, 5), dtype=bool), np.zeros(0, dtype=np.int64), 5).shape == (0,)


@every_metric
def test_counts_may_come_in_a_type_too_small_for_k(metric):
    hits = np.tile([True, False], (2, 100))
    narrow = metric(hits, np.array([100, 127], dtype=np.int8), 200)
    assert narrow.tolist() == metric(hits, np.array([100, 127]), 200).tolist()


# --- errors and docstrings ---------------------------------------------------------------------


@every_metric
@pytest.mark.parametrize("k", [-1, 0, 6])
def test_a_cut_outside_the_list_is_an_error(metric, k):
    with pytest.raises(ValueError, match=f"k must be from 1 to the 5 ranks of the lists, got {k};"):
        one_user(metric, "x....", n_relevant=1, k=k)


@every_metric
@pytest.mark.parametrize("n_relevant", [-1, 0])
def test_a_user_without_a_held_out_item_is_an_error_that_names_the_row(metric, n_relevant):
    hits = np.zeros((3, 5), dtype=bool)
    with pytest.raises(ValueError, match=f"row 2 has n_relevant={n_relevant};"):
        metric(hits, np.array([1, 1, n_relevant]), 5)


@every_metric
def test_more_hits_than_held_out_items_is_an_error_that_names_the_row(metric):
    hits = np.array([[True, False, False], [True, False, True]])
    with pytest.raises(ValueError, match="row 1 has 2 hits and n_relevant=1;"):
        metric(hits, np.array([1, 1]), 3)


@every_metric
def test_too_many_hits_are_an_error_even_when_the_surplus_is_below_k(metric):
    with pytest.raises(ValueError, match="row 0 has 2 hits and n_relevant=1;"):
        one_user(metric, "x...x", n_relevant=1, k=1)


@every_metric
def test_the_docstring_opens_with_a_definition_that_can_be_logged(metric):
    definition, blank = metric.__doc__.split("\n")[:2]
    assert definition.endswith(".")
    assert blank == ""


def test_no_two_metrics_log_the_same_definition():
    definitions = {metric.__doc__.split("\n")[0] for metric in METRICS}
    assert len(definitions) == len(METRICS)


# --- what every metric is -----------------------------------------------------------------------


def test_the_definition_is_the_first_line_of_the_docstring() -> None:
    for name, metric in ALL.items():
        first = (type(metric).__doc__ or "").splitlines()[0]
        assert metric.definition == first, name
        assert first.endswith("."), name


def test_of_these_metrics_only_those_of_the_catalogue_need_it() -> None:
    for name, metric in ALL.items():
        assert isinstance(metric, UserMetric | CatalogMetric)
        is_of_items = name in {"arp", "long_tail", "novelty"}
        assert metric.is_better_if_larger is (name not in {"arp", "gini"}), name
        assert metric.needs_catalog is (is_of_items or isinstance(metric, CatalogMetric)), name
