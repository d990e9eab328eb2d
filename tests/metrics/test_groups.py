"""Terciles by popularity and by history, with what follows from them on paper."""

from math import log2

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from recsweep.data.split import Fold
from recsweep.errors import InputError
from recsweep.evaluation import Evaluator, training_popularity
from recsweep.metrics.groups import GROUPS, history_terciles, popularity_terciles
from recsweep.metrics.metric import UserMetric
from recsweep.metrics.ranked_lists import RankedLists, TrainingCounts


def matrix(*items: list[int], n_items: int = 6) -> sp.csr_matrix:
    dense = np.zeros((len(items), n_items), np.float32)
    for row, chosen in zip(dense, items, strict=True):
        row[chosen] = 1
    return sp.csr_matrix(dense)


@pytest.mark.parametrize(
    ("n_interactions", "terciles"),
    [
        # 12 in all: an item is in the head with fewer than 4 before it, in the tail from 8 on
        ([1, 4, 1, 3, 3], [2, 0, 2, 1, 1]),
        ([3, 3, 3, 3], [0, 0, 0, 0]),  # equals stay together, whatever their numbers
        ([5, 2, 2, 2, 1], [0, 1, 1, 1, 2]),  # 5 before the twos, 11 before the last
        ([10, 1, 1], [0, 2, 2]),  # one item has two thirds: nothing is in the middle
        ([4, 4, 4], [0, 0, 0]),
        ([6, 3, 0], [0, 2, 2]),  # 6 of 9 are just two thirds; without interactions: tail
        ([2, 1, 3], [1, 2, 0]),  # of 6: 0, 3 and 5 before; a third is 2, two thirds are 4
        ([0, 0], [0, 0]),
    ],
)
def test_terciles_of_training_interactions(n_interactions: list[int], terciles: list[int]) -> None:
    assert popularity_terciles(np.array(n_interactions)).tolist() == terciles


@pytest.mark.parametrize(
    ("lengths", "terciles"),
    [
        ([9, 2, 5], [2, 0, 1]),
        ([1, 2, 3, 4, 5, 6, 7], [0, 0, 0, 1, 1, 2, 2]),  # 7/3 and 14/3 users are shorter
        ([3, 3, 3, 3, 8, 9], [0, 0, 0, 0, 2, 2]),  # the threes take the second third too
        ([1, 1, 2, 2, 2, 2, 9], [0, 0, 0, 0, 0, 0, 2]),  # 2 of 7 are less than a third
        ([1, 1, 1, 2, 2, 9], [0, 0, 0, 1, 1, 2]),
        ([4, 4, 4, 4], [0, 0, 0, 0]),
        ([9, 2], [1, 0]),
        ([7], [0]),
    ],
)
def test_terciles_of_users_by_length_of_history(lengths: list[int], terciles: list[int]) -> None:
    assert history_terciles(np.array(lengths)).tolist() == terciles


def test_the_order_of_items_and_users_changes_no_group() -> None:
    counts = np.random.default_rng(0).integers(0, 9, 200)
    order = np.random.default_rng(1).permutation(200)
    for terciles in (popularity_terciles, history_terciles):
        np.testing.assert_array_equal(terciles(counts[order]), terciles(counts)[order])


HISTORY = matrix([0], [4, 5], [1, 2, 3])
TARGET = matrix([1, 5], [0, 1, 2], [5])
COUNTS = np.array([6, 3, 3, 3, 2, 1])
"""Of 18: item 0 head (0 before), 1 to 3 mid (6), 4 and 5 tail (15, 17)."""
LISTS = [[1, 2, 5], [3, 1, 0], [0, 5, 4]]
"""The three best unseen items of each user."""


def scores(history: sp.csr_matrix) -> np.ndarray:
    found = np.full((3, 6), -1.0)
    for row, items in zip(found, LISTS, strict=True):
        row[items] = [3, 2, 1]
    return found[: history.shape[0]]


def measured(counts: np.ndarray = COUNTS, n_unknown: np.ndarray | None = None, **changes: object):
    settings = {"k": [2, 3], "metrics": ["ndcg", "recall"], "objective": None, "batch_size": 9}
    evaluator = Evaluator(**{**settings, **changes})  # type: ignore[arg-type]
    fold = Fold(HISTORY, TARGET, np.array(["a", "b", "c"]), n_unknown)
    return evaluator.evaluate(scores, fold, TrainingCounts(9, counts), by_group=True)


def test_only_relevant_items_of_the_group_count_and_lists_stay_whole() -> None:
    found = measured().groups
    assert found is not None
    # a ranks 1 (hit, mid), 2, 5 (hit, tail); wants 1 and 5
    # b ranks 3, 1 (hit, mid), 0 (hit, head); wants 0 (head), 1 and 2 (mid)
    # c ranks 0, 5 (hit, tail), 4; wants 5
    gain = [1, 1 / log2(3), 1 / 2]
    expected = {
        "head": [np.nan, gain[2], np.nan],
        "mid": [1.0, gain[1] / (gain[0] + gain[1]), np.nan],
        "tail": [gain[2], np.nan, gain[1]],
    }
    for group, values in expected.items():
        np.testing.assert_allclose(found.per_user[f"ndcg@3 {group}"], values, rtol=1e-15)
    table = found.table
    assert table["n_users"].tolist() == [1, 2, 2, 1, 1, 1]
    assert table.loc["tail", "ndcg@3"] == pytest.approx((gain[2] + gain[1]) / 2)
    assert table.loc["tail", "se ndcg@3"] == pytest.approx((gain[1] - gain[2]) / 2)
    assert table[["n_items", "least", "most"]][:3].to_numpy().tolist() == [
        [1, 6, 6], [3, 3, 3], [2, 1, 2],
    ]  # fmt: skip


def test_users_are_grouped_by_history_with_their_usual_values() -> None:
    evaluation = measured()
    found = evaluation.groups
    assert found is not None
    # histories of 1, 2 and 3 items
    usual = evaluation.per_user["ndcg@3"].to_numpy()
    for row, group in enumerate(("short", "medium", "long")):
        expected = np.where(np.arange(3) == row, usual, np.nan)
        np.testing.assert_array_equal(found.per_user[f"ndcg@3 {group}"], expected)
    assert found.table[["least", "most"]][3:].to_numpy().tolist() == [[1, 1], [2, 2], [3, 3]]


def test_an_empty_group_has_no_users_and_no_mean() -> None:
    found = measured(np.array([5, 5, 2, 1, 0, 0])).groups  # 10 of 13 before the third item
    assert found is not None
    row = found.table.loc["mid"]
    assert (row["n_items"], row["n_users"]) == (0, 0)
    assert row[["least", "most", "ndcg@3", "se ndcg@3"]].isna().all()
    assert found.per_user["ndcg@3 mid"].isna().all()


def test_held_out_items_that_training_does_not_know_are_in_the_tail() -> None:
    found = measured(n_unknown=np.array([0, 1, 1])).groups
    assert found is not None
    gain = 1 / log2(3)
    expected = [1 / 2, 0.0, gain / (1 + gain)]  # b wants one that nobody ranks, c one more
    np.testing.assert_allclose(found.per_user["ndcg@3 tail"], expected, rtol=1e-15)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ["ndcg@3"]),
        ({"objective": "recall@2"}, ["recall@2", "ndcg@3"]),
        ({"metrics": ["novelty", "map"]}, ["map@3"]),  # novelty is no accuracy
        ({"metrics": ["recall_all", "coverage"]}, ["recall_all@3"]),
    ],
)
def test_groups_are_of_the_objective_and_of_what_a_comparison_shows(
    settings: dict[str, object], names: list[str]
) -> None:
    found = measured(**settings).groups
    assert found is not None
    assert list(found.per_user) == [f"{name} {group}" for name in names for group in GROUPS]


def test_a_metric_that_is_no_number_in_a_group_is_refused() -> None:
    class OfAllOnly(UserMetric):
        """A value that is no number where users are left out."""

        def per_user(self, lists: RankedLists, k: int) -> np.ndarray:  # noqa: ARG002
            return np.full(len(lists.hits), 0.5 if len(lists.hits) == 3 else np.nan)

    with pytest.raises(InputError, match=r"metrics.mine must give finite values, .* for user b"):
        measured(metrics={"mine": OfAllOnly()})


def test_without_metrics_of_hits_there_are_no_groups() -> None:
    assert measured(metrics=["novelty", "coverage"]).groups is None


def test_groups_are_held_to_naive_code() -> None:
    random = np.random.default_rng(3)
    dice, given = random.random((60, 40)), random.random((60, 40)).astype(np.float32)
    train = sp.csr_matrix((random.random((80, 40)) < np.linspace(0.05, 0.9, 40)).astype(np.float32))
    history, target = (sp.csr_matrix(part.astype(np.float32)) for part in (dice < 0.3, dice > 0.8))
    users = pd.Index([f"u{n}" for n in range(60)])
    counts = training_popularity(train)
    evaluator = Evaluator(k=[5], metrics=["recall_all"], objective=None, batch_size=100)
    found = evaluator.evaluate(
        lambda _: given, Fold(history, target, users.to_numpy()), counts, by_group=True
    )
    of_item = popularity_terciles(counts.of_items)
    assert found.groups is not None
    for number, group in enumerate(("head", "mid", "tail")):
        values = found.groups.per_user[f"recall_all@5 {group}"]
        for row, user in enumerate(found.per_user.index):
            unseen = np.flatnonzero(history[row].toarray()[0] == 0)
            top = set(unseen[np.argsort(-given[row, unseen], kind="stable")][:5].tolist())
            wanted = {int(i) for i in target[row].indices if of_item[i] == number}
            expected = len(top & wanted) / len(wanted) if wanted else np.nan
            assert values[user] == pytest.approx(expected, nan_ok=True)
