"""Scores become ranks, ranks become hits, hits become metrics; held to naive code, user by user."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from metric_names import OF_CATALOG, PER_USER, definitions
from pydantic.dataclasses import dataclass

from recsweep import accelerator
from recsweep.build import validate
from recsweep.data.split import Fold
from recsweep.errors import InputError
from recsweep.evaluation import (
    Evaluator,
    _rank_on_host,
    is_hit,
    objective_of,
    top_k,
    training_popularity,
)
from recsweep.interfaces import STRICT, Ranking
from recsweep.metrics.metric import CatalogMetric, UserMetric
from recsweep.metrics.ndcg import NDCG
from recsweep.metrics.ranked_lists import RankedLists, TrainingCounts


def rows(*items: Sequence[int], n_items: int) -> sp.csr_matrix:
    """One user per list of items."""
    dense = np.zeros((len(items), n_items), np.float32)
    for row, chosen in zip(dense, items, strict=True):
        row[list(chosen)] = 1
    return sp.csr_matrix(dense)


POPULARITY = TrainingCounts(40, np.arange(20))


def evaluator(**changes: Any) -> Evaluator:
    settings = {
        "k": [3, 5],
        "metrics": [*PER_USER, *OF_CATALOG],
        "batch_size": 4,
        "objective": None,
    }
    return Evaluator(**{**settings, **changes})


def random_fold(n_users: int = 30, n_items: int = 20) -> Fold:
    """Histories and targets that share no item; a few users have no target."""
    dice = np.random.default_rng(0).random((n_users, n_items))
    history, target = dice < 0.3, dice > 0.8
    target[[3, 17]] = False
    ids = np.array([f"user {number}" for number in range(n_users)], dtype=object)
    return Fold(
        sp.csr_matrix(history.astype(np.float32)), sp.csr_matrix(target.astype(np.float32)), ids
    )


def naive_ranking(scores: np.ndarray, seen: np.ndarray) -> list[int]:
    """Unseen items by falling score; a stable sort leaves equals in the order of their index."""
    return [int(i) for i in np.argsort(-scores, kind="stable") if not seen[i]]


def test_equal_scores_go_by_item_index_as_in_a_stable_sort() -> None:
    random = np.random.default_rng(1)
    scores = random.integers(0, 3, (50, 40)).astype(np.float32)
    seen = random.random((50, 40)) < 0.2
    ranked = top_k(scores, sp.csr_matrix(seen), 20)
    expected = [naive_ranking(*user)[:20] for user in zip(scores, seen, strict=True)]
    np.testing.assert_array_equal(ranked, expected)


def test_minus_zero_and_zero_are_equal() -> None:
    scores = np.array([[0.0, -0.0, 0.0, -1.0]], np.float32)
    np.testing.assert_array_equal(top_k(scores, rows([], n_items=4), 3), [[0, 1, 2]])


def test_seen_items_are_never_recommended() -> None:
    random = np.random.default_rng(2)
    seen = random.random((80, 25)) < 0.6
    seen[:, 0] = False  # everyone has something left
    scores = np.where(seen, 1e30, -1e30).astype(np.float32)  # the model prefers what was seen
    ranked = top_k(scores, sp.csr_matrix(seen), 25)
    assert not np.take_along_axis(seen, ranked, axis=1).any()


def test_the_largest_negative_scores_still_outrank_seen_items() -> None:
    scores = np.array([[0.0, -3e38, -2e38]], np.float32)
    np.testing.assert_array_equal(top_k(scores, rows([0], n_items=3), 2), [[2, 1]])


def test_with_fewer_than_k_unseen_items_the_rest_of_the_list_earns_nothing() -> None:
    history, target = rows([0, 1, 2], n_items=5), rows([3], n_items=5)
    scores = np.array([[9, 8, 7, 6, 5]], np.float32)
    ranked = top_k(scores, history, 5)
    np.testing.assert_array_equal(ranked, [[3, 4, 3, 3, 3]])
    np.testing.assert_array_equal(is_hit(ranked, target), [[True, False, False, False, False]])
    result = evaluator(metrics=["precision", "recall", "coverage"], k=[5]).evaluate(
        lambda _: scores, Fold(history, target, np.array([7]))
    )
    assert result.means["precision@5"] == pytest.approx(1 / 5)
    assert result.means["recall@5"] == 1.0
    assert result.means["coverage@5"] == pytest.approx(2 / 5)


def tied_scores(n_users: int, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a few levels, zeros of both signs among them, and cells that were seen."""
    random = np.random.default_rng(7)
    scores = random.integers(-2, 3, (n_users, n_items)).astype(np.float32)
    scores[random.random(scores.shape) < 0.2] = -0.0
    seen = random.random(scores.shape) < 0.3
    seen[0], seen[1], seen[2, 3:] = True, False, True
    return scores, seen


@pytest.mark.parametrize("k", [1, 3, 8, 50])
@pytest.mark.parametrize("n_items", [50, 203])
def test_a_device_ranks_as_a_cpu_does(n_items: int, k: int) -> None:
    scores, is_seen = tied_scores(40, n_items)
    for seen in (sp.csr_matrix(is_seen), sp.csr_matrix(is_seen.shape, dtype=bool)):
        found, expected = (rank(scores, seen, k) for rank in (accelerator.rank, _rank_on_host))
        assert found[0] is expected[0] is True
        assert found[1].dtype == expected[1].dtype == np.int64
        np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize(
    ("n_items", "k"), [(1, 1), (7, 7), (40, 10), (41, 3), (399, 100), (900, 1)]
)
@pytest.mark.parametrize("n_levels", [1, 3, 10_000])
def test_lists_of_any_length_are_those_of_a_stable_sort(
    n_items: int, k: int, n_levels: int
) -> None:
    random = np.random.default_rng(n_items)
    scores = random.integers(-n_levels, n_levels, (30, n_items)).astype(np.float32)
    seen = random.random(scores.shape) < 0.3
    ranked = top_k(scores, sp.csr_matrix(seen), k)
    for user, found in enumerate(ranked):
        expected = naive_ranking(scores[user], seen[user])[:k]
        assert found[: len(expected)].tolist() == expected
        assert set(found[len(expected) :]) <= {found[0]}, "the best one again"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("cells", [np.s_[39, 5], np.s_[20], np.s_[:, 5:9], np.s_[:]])
def test_scores_that_are_not_finite_are_refused_wherever_they_are(cells: Any, value: float) -> None:
    scores, is_seen = tied_scores(40, 203)
    is_seen[39, 5] = True
    scores[cells] = value
    with pytest.raises(InputError, match="finite"):
        top_k(scores, sp.csr_matrix(is_seen), 8)


def test_scores_beyond_float32_are_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        top_k(np.array([[1e300, 1, 2]]), rows([], n_items=3), 2)


def test_a_device_ranks_distinct_scores_as_a_sort_does() -> None:
    scores = np.random.default_rng(9).permutation(30 * 1000).reshape(30, 1000).astype(np.float32)
    seen = sp.csr_matrix(np.random.default_rng(8).random(scores.shape) < 0.5)
    expected = [naive_ranking(*user)[:20] for user in zip(scores, seen.toarray(), strict=True)]
    np.testing.assert_array_equal(accelerator.rank(scores, seen, 20)[1], expected)


def test_lists_are_ranked_on_the_device_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "is_available", lambda: True)
    scores, is_seen = tied_scores(40, 50)
    seen = sp.csr_matrix(is_seen)
    expected = _rank_on_host(scores, seen, 5)[1]
    monkeypatch.setattr("recsweep.evaluation._rank_on_host", None)
    np.testing.assert_array_equal(top_k(scores.astype(np.float64), seen, 5), expected)


@pytest.mark.parametrize("is_on_device", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_an_error_and_not_a_rank(
    bad: float, is_on_device: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerator, "is_available", lambda: is_on_device)
    scores = np.zeros((2, 4), np.float32)
    scores[1, 3] = bad
    with pytest.raises(InputError, match="finite"):
        top_k(scores, rows([3], [3], n_items=4), 2)  # even where it would be masked


def test_scores_of_another_shape_are_not_stretched() -> None:
    with pytest.raises(ValueError, match=r"2 users × 4 items, but gave an array of shape \(1, 4\)"):
        top_k(np.zeros((1, 4), np.float32), rows([0], [1], n_items=4), 2)


def test_every_metric_equals_naive_evaluation_user_by_user() -> None:
    fold = random_fold()
    scores = np.random.default_rng(5).integers(0, 6, fold.history.shape).astype(np.float32)
    by_row = {fold.history[[row]].indices.tobytes(): row for row in range(len(scores))}
    assert len(by_row) == len(scores), "histories must differ for the lookup below"

    def score(history: sp.csr_matrix) -> np.ndarray:
        return np.stack([scores[by_row[row.indices.tobytes()]] for row in history])

    result = evaluator().evaluate(score, fold, POPULARITY)
    shown: set[int] = set()
    kept = [row for row in range(len(scores)) if fold.target[[row]].nnz]
    assert list(result.per_user.index) == [f"user {row}" for row in kept]
    for row in kept:
        ranking = naive_ranking(scores[row], fold.history[[row]].toarray()[0] > 0)
        wanted = set(fold.target[[row]].indices.tolist())
        for name, value in naive_metrics(ranking, wanted, [3, 5]).items():
            found = result.per_user.loc[f"user {row}", name]
            assert found == pytest.approx(value, abs=1e-12), (row, name)
        shown.update(ranking[:5])
    assert result.means["coverage@5"] == pytest.approx(len(shown) / 20)


def naive_metrics(ranking: list[int], wanted: set[int], cutoffs: list[int]) -> dict[str, float]:
    """One user's metrics, written as their definitions read."""
    values = {}
    for k in cutoffs:
        hits = [item in wanted for item in ranking[:k]]
        n_best = min(k, len(wanted))
        dcg = sum(hit / math.log2(rank + 2) for rank, hit in enumerate(hits))
        ideal = sum(1 / math.log2(rank + 2) for rank in range(n_best))
        full_ideal = sum(1 / math.log2(rank + 2) for rank in range(len(wanted)))
        precisions = [sum(hits[: r + 1]) / (r + 1) for r, hit in enumerate(hits) if hit]
        values |= {
            f"ndcg@{k}": dcg / ideal,
            f"ndcg_full_ideal@{k}": dcg / full_ideal,
            f"recall@{k}": sum(hits) / n_best,
            f"recall_all@{k}": sum(hits) / len(wanted),
            f"precision@{k}": sum(hits) / k,
            f"map@{k}": sum(precisions) / n_best,
            f"mrr@{k}": 1 / (hits.index(True) + 1) if any(hits) else 0.0,
            f"hit_rate@{k}": float(any(hits)),
            # item i has i interactions of 40 users; 11 to 19 have 135 of 190, with 10 and 9 154
            f"arp@{k}": sum(ranking[:k]) / k,
            f"novelty@{k}": sum(1 - item / 40 for item in ranking[:k]) / k,
            f"long_tail@{k}": sum(item < 9 for item in ranking[:k]) / k,
        }
    return values


@pytest.mark.parametrize("batch_size", [1, 7, 30, 1000])
def test_the_batch_size_changes_nothing(batch_size: int) -> None:
    fold = random_fold()
    weights = np.random.default_rng(4).random((20, 20)).astype(np.float32)
    one, other = (
        evaluator(batch_size=size).evaluate(lambda history: history @ weights, fold, POPULARITY)
        for size in (4, batch_size)
    )
    pd.testing.assert_frame_equal(one.per_user, other.per_user)
    assert one.of_catalog == other.of_catalog


def test_users_without_target_are_left_out_and_counted() -> None:
    some = TrainingCounts(40, np.arange(9))
    history, target = rows([0], [1], [2], n_items=9), rows([5], [], [6], n_items=9)
    fold = Fold(history, target, np.array(["ann", "bob", "eve"], dtype=object))
    result = evaluator().evaluate(lambda history: np.zeros(history.shape), fold, some)
    assert list(result.per_user.index) == ["ann", "eve"]
    assert result.n_without_target == 1


def test_an_unknown_item_lowers_what_is_divided_by_what_is_relevant() -> None:
    """The best item is hit; one more item was wanted that no model could recommend."""
    fold = Fold(rows([0], n_items=5), rows([3], n_items=5), np.array(["ann"], object))
    scores = np.array([[0, 0, 0, 1, 0]], np.float32)
    counted = replace(fold, n_unknown=np.array([1]))
    some = TrainingCounts(40, np.arange(5))
    known, full = (
        evaluator().evaluate(lambda _: scores, each, some).means for each in (fold, counted)
    )
    assert (known["ndcg@3"], known["recall_all@3"]) == (1.0, 1.0)
    assert full["ndcg@3"] == pytest.approx(1 / (1 + 1 / math.log2(3)))
    assert (full["recall@3"], full["recall_all@3"]) == (0.5, 0.5)
    assert (full["precision@3"], known["precision@3"]) == (pytest.approx(1 / 3),) * 2
    assert full["mrr@3"] == 1.0


def test_a_user_who_wants_only_unknown_items_counts_as_zero() -> None:
    history, target = rows([0], [1], n_items=4), rows([2], [], n_items=4)
    fold = Fold(history, target, np.array([7, 8]), n_unknown=np.array([0, 2]))
    result = evaluator(k=[1], metrics=["ndcg_full_ideal"]).evaluate(
        lambda part: np.tile(np.array([0, 0, 1, 0], np.float32), (part.shape[0], 1)), fold
    )
    assert result.per_user["ndcg_full_ideal@1"].tolist() == [1.0, 0.0]
    assert result.n_without_target == 0


def ranked(scores: np.ndarray, fold: Fold, k: int) -> Ranking:
    """What a model says of a fold that it has ranked by itself, users without a target included."""
    items = top_k(scores, fold.history, k)
    return Ranking(items.astype(np.int32), is_hit(items, fold.target), {}, True, 0.0)


@pytest.mark.parametrize("objective", ["ndcg@5", "coverage@5"])
def test_lists_of_a_model_are_measured_as_the_evaluators_own(objective: str) -> None:
    fold = replace(random_fold(), n_unknown=(np.arange(30) == 17).astype(int))
    scores = np.random.default_rng(9).random(fold.history.shape).astype(np.float32)
    own = evaluator(metrics=["ndcg", "recall", "map", "coverage"], objective=objective)
    popularity = POPULARITY
    expected = own.evaluate(lambda rows: scores_of(scores, fold, rows), fold, popularity)
    given = (ranked(scores, fold, own.k[-1]), fold, popularity)
    found = own.of_ranking(*given)
    pd.testing.assert_frame_equal(found.per_user, expected.per_user)
    assert found.means == expected.means
    assert found.n_without_target == expected.n_without_target
    assert found.n_without_target == 2  # user 17 wants an unknown item, two have no wish
    of_objective = {name: value for name, value in found.means.items() if name[:4] == objective[:4]}
    assert own.objective_means(*given) == of_objective


def test_lists_from_scores_that_are_no_numbers_are_refused() -> None:
    fold = random_fold()
    ranking = ranked(np.zeros(fold.history.shape, np.float32), fold, 5)
    for measure in (evaluator().of_ranking, evaluator().objective_means):
        with pytest.raises(InputError, match="finite"):
            measure(ranking._replace(is_finite=False), fold, None)


def scores_of(scores: np.ndarray, fold: Fold, rows: sp.csr_matrix) -> np.ndarray:
    """The scores of some rows of a fold's history, which are all different."""
    whole = fold.history.toarray()
    numbers = [int(np.flatnonzero((whole == row).all(axis=1))[0]) for row in rows.toarray()]
    return scores[numbers]


def test_nobody_with_a_target_is_an_error() -> None:
    nothing = rows([], [], n_items=4)
    with pytest.raises(InputError, match="at least one user must have a held-out item"):
        evaluator().evaluate(lambda h: np.zeros(h.shape), Fold(nothing, nothing, np.arange(2)))


def test_means_and_standard_errors_are_over_users() -> None:
    history, target = rows([0], [0], [0], n_items=3), rows([1], [1], [2], n_items=3)
    scores = np.array([[0, 2, 1]] * 3, np.float32)
    only = evaluator(metrics=["precision"], k=[1], batch_size=3)
    result = only.evaluate(lambda _: scores, Fold(history, target, np.arange(3)))
    assert result.means == {"precision@1": pytest.approx(2 / 3)}
    # sample variance of (1, 1, 0) is 1/3; over 3 users: √(1/9)
    assert result.standard_errors == {"precision@1": pytest.approx(1 / 3)}


def test_a_single_user_has_no_standard_error() -> None:
    only = evaluator(metrics=["ndcg"], k=[1])
    fold = Fold(rows([0], n_items=3), rows([1], n_items=3), np.arange(1))
    assert math.isnan(only.evaluate(lambda h: np.zeros(h.shape), fold).standard_errors["ndcg@1"])


def test_one_cutoff_or_metric_need_not_be_a_list() -> None:
    one = evaluator(k=10, metrics="recall")
    assert (one.k, list(one.metrics), one.objective) == ([10], ["recall"], "recall@10")


def test_cutoffs_are_sorted_and_said_once() -> None:
    several = evaluator(k=[50, 10, 10], metrics=["ndcg", "recall", "ndcg"])
    assert (several.k, list(several.metrics)) == ([10, 50], ["ndcg", "recall"])
    assert several.objective == "ndcg@50"


def test_a_configuration_says_its_objective_as_the_evaluator_does() -> None:
    for k, metrics, objective in (
        ([10, 50], ["recall", "ndcg"], None), (10, "mrr", None), ([5], ["ndcg"], "ndcg@5"),
    ):  # fmt: skip
        settings = {"k": k, "metrics": metrics, "objective": objective}
        found = validate(Evaluator, {**settings, "batch_size": 1}, "").objective
        assert objective_of(settings) == found
    assert objective_of({"k": [50, 10], "metrics": ["recall", "ndcg"]}) == "recall@50"
    assert objective_of({"seed": 1}) is None


def test_an_objective_must_be_computed() -> None:
    settings = {"k": [10], "metrics": ["ndcg"], "batch_size": 1, "objective": "ndcg@7"}
    with pytest.raises(InputError, match=r"^objective must be .* such as ndcg@10, but is ndcg@7"):
        validate(Evaluator, settings, "")


def test_what_is_not_better_if_larger_is_no_objective() -> None:
    of_both = evaluator(metrics=["gini", "recall"], k=[5, 10])
    assert of_both.may_choose_by("recall@10")
    assert not of_both.may_choose_by("gini@5")
    with pytest.raises(InputError, match=r"but is gini@10; set objective=recall@10$"):
        of_both.refuse_objective()
    with pytest.raises(InputError, match=r"arp@5; set objective=ndcg@10, and add ndcg to metrics$"):
        evaluator(metrics=["gini", "arp"], k=[5, 10], objective="arp@5").refuse_objective()
    evaluator(metrics=["gini", "ndcg"], k=[5, 10], objective="ndcg@5").refuse_objective()


def test_a_cutoff_beyond_the_catalogue_is_refused_with_those_that_fit() -> None:
    evaluator(k=[10]).refuse_large_k(10)
    with pytest.raises(InputError, match=r"the 20 items .* is 50; set 'k=\[10\]'"):
        evaluator(k=[10, 50]).refuse_large_k(20)
    with pytest.raises(InputError, match=r"set 'k=\[5\]'"):
        evaluator(k=[10, 50]).refuse_large_k(5)


@pytest.mark.parametrize(("k", "n_items", "advice"), [([5, 10], 10, "[5]"), ([40], 40, "[4]")])
def test_a_list_of_the_whole_catalogue_gets_a_warning(
    caplog: pytest.LogCaptureFixture, k: list[int], n_items: int, advice: str
) -> None:
    evaluator(k=k).warn_of_full_lists(n_items + 1)
    assert not caplog.records
    evaluator(k=k).warn_of_full_lists(n_items)
    assert caplog.messages == [
        f"k={n_items} is the size of the catalogue, so every list contains all items and recall "
        f"is 1 for every user; set a smaller one, such as 'k={advice}'"
    ]


def test_every_metric_says_in_a_sentence_what_it_is() -> None:
    assert set(definitions()) == {*PER_USER, *OF_CATALOG}
    assert all(sentence.endswith(".") for sentence in definitions().values())


# --- metrics of one's own -------------------------------------------------------------------------


@dataclass(kw_only=True, config=STRICT)
class MeanPopularity(UserMetric):
    """Mean number of training interactions of the items in the top k."""

    needs_catalog = True

    def per_user(self, lists: RankedLists, k: int) -> np.ndarray:
        return lists.training_popularity()[lists.top_items(k)].mean(axis=1)


@dataclass(kw_only=True, config=STRICT)
class OneForAll(UserMetric):
    """A single number where one per user is due."""

    def per_user(self, lists: RankedLists, k: int) -> np.ndarray:  # noqa: ARG002
        return np.zeros(1)


def three_users() -> Fold:
    history = rows([0], [1], [2], n_items=4)
    return Fold(history, rows([3], [3], [3], n_items=4), np.array(["a", "b", "c"], dtype=object))


def test_a_metric_sees_which_items_are_ranked_and_how_popular_they_are() -> None:
    own = evaluator(k=[1, 2], metrics={"ndcg": NDCG(), "popularity": MeanPopularity()})
    popularity = training_popularity(rows([0, 1, 2], [0, 1], [0], n_items=4))
    assert (popularity.n_users, popularity.of_items.tolist()) == (3, [3, 2, 1, 0])
    scores = np.tile(np.array([4, 3, 2, 1], np.float32), (3, 1))
    found = own.evaluate(lambda _: scores, three_users(), popularity)
    # without their own item: 1 2 3, 0 2 3, 0 1 3
    assert found.per_user["popularity@1"].to_dict() == {"a": 2, "b": 3, "c": 3}
    assert found.per_user["popularity@2"].to_dict() == {"a": 1.5, "b": 2, "c": 2.5}
    assert found.definitions["popularity"] == (
        "Mean number of training interactions of the items in the top k."
    )


def test_a_metric_that_asks_for_more_than_is_known_says_so() -> None:
    own = evaluator(k=[1], metrics={"popularity": MeanPopularity()})
    with pytest.raises(ValueError, match="this metric must know the training data"):
        own.evaluate(lambda history: np.zeros(history.shape, np.float32), three_users())


def test_a_metric_must_give_one_value_per_user() -> None:
    own = evaluator(k=[1], metrics={"one": OneForAll()})
    with pytest.raises(
        InputError, match=r"metrics\.one must give one value per user, 3, but gives"
    ):
        own.evaluate(lambda history: np.zeros(history.shape, np.float32), three_users())


def test_metrics_are_named_described_or_given() -> None:
    spec = {"_target_": "recsweep.metrics.ndcg.NDCG"}
    for metrics in ("ndcg", ["ndcg"], {"ndcg": spec}, {"ndcg": NDCG()}):
        assert evaluator(metrics=metrics).metrics == {"ndcg": NDCG()}
    settings = {"k": [3], "batch_size": 4, "objective": None}
    with pytest.raises(
        InputError, match=r"^metrics must be among .*, but is ndgc; did you mean ndcg"
    ):
        validate(Evaluator, {**settings, "metrics": ["ndgc"]}, "")
    with pytest.raises(InputError, match=r"^metrics\.mine must be an instance of Metric"):
        validate(Evaluator, {**settings, "metrics": {"mine": 3}}, "")


class Broken(UserMetric):
    """A value that is no number for one user."""

    def per_user(self, lists: RankedLists, k: int) -> np.ndarray:  # noqa: ARG002 - the same for all
        return np.where(np.arange(len(lists.hits)) == 4, np.inf, 0.5)


class BrokenCatalog(CatalogMetric):
    """A value that is no number."""

    def of_catalog(self, lists: RankedLists, k: int) -> float:  # noqa: ARG002 - the same for all
        return float("nan")


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        # user 3 has no target, so that the user in row 4 is user 5
        (Broken(), r"metrics.mine must give finite values, but gives inf for user user 5; fix its"),
        (BrokenCatalog(), "metrics.mine must give a finite value, but gives nan; fix its"),
    ],
)
@pytest.mark.parametrize("is_ranked_in_training", [False, True])
def test_a_metric_without_a_finite_value_is_refused_by_name_and_user(
    metric: Any, expected: str, is_ranked_in_training: bool
) -> None:
    fold, found = random_fold(), evaluator(metrics={"mine": metric}, objective="mine@5")
    items = np.tile(np.arange(5), (len(fold.user_ids), 1))
    ranking = Ranking(items, is_hit(items, fold.target), {}, is_finite=True, seconds=0)
    evaluate = {
        True: lambda: found.objective_means(ranking, fold, POPULARITY),
        False: lambda: found.evaluate(lambda some: np.zeros(some.shape), fold, POPULARITY),
    }
    with pytest.raises(InputError, match=expected):
        evaluate[is_ranked_in_training]()
