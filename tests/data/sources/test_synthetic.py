"""Made-up clicks: the planted structure is there, and the same everywhere."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from recsweep.data.sources.synthetic import Synthetic


def synthetic(**changes: Any) -> Synthetic:
    settings = {
        "name": "synthetic",
        "path": None,
        "min_rating": None,
        "min_user_interactions": 1,
        "n_heldout_users": None,
        "n_users": 300,
        "n_items": 120,
        "n_groups": 4,
        "mean_clicks": 10,
        "affinity": 20,
        "popularity_exponent": 0.8,
        "seed": 1,
    }
    return Synthetic(**settings | changes)


def table(**changes: Any) -> pd.DataFrame:
    return synthetic(**changes).table([])


def test_there_is_nothing_to_fetch(tmp_path: Path):
    assert synthetic().files(tmp_path) == []


def test_a_path_is_refused_rather_than_ignored(refused, tmp_path: Path):
    with refused("data=synthetic is made up", f"data.path is {tmp_path}", "data=csv"):
        synthetic(path=tmp_path).files(tmp_path)


def test_every_user_clicks_on_different_items_about_as_often_as_asked():
    clicks = table()
    n_clicks = clicks.groupby("user").size()
    assert not clicks.duplicated(["user", "item"]).any()
    assert n_clicks.index.tolist() == list(range(300))
    # a Poisson mean of 10 over 300 users has a standard error of √(10 / 300) = 0.18
    assert abs(n_clicks.mean() - 10) < 5 * 0.18
    assert set(clicks["value"]) == {1.0}


def test_items_of_a_user_ascend_whatever_order_the_processor_sorts_them_in():
    for _, items in table().groupby("user")["item"]:
        assert items.is_monotonic_increasing


def test_nobody_clicks_on_more_than_half_of_the_items():
    assert table(mean_clicks=500).groupby("user").size().unique().tolist() == [60]
    assert table(n_items=2, n_groups=1, mean_clicks=9).groupby("user").size().unique() == [1]


def test_a_low_rank_is_popular():
    clicks = table(affinity=1, mean_clicks=5)["item"]
    assert (clicks < 12).sum() > 2 * (clicks >= 108).sum()  # the first tenth against the last


def test_without_popularity_and_groups_all_items_are_alike():
    counts = np.bincount(table(affinity=1, popularity_exponent=0)["item"], minlength=120)
    # 3,000 clicks on 120 items: 25 each, standard deviation below 5
    assert counts.min() > 0
    assert counts.max() < 25 + 5 * 5


def test_users_of_a_group_share_their_items():
    data = synthetic(popularity_exponent=0).load([])
    shared = (data.matrix @ data.matrix.T).toarray()
    np.fill_diagonal(shared, 0)
    # A click is of the own group with probability 20 / 23: of 10 clicks 8.7 on its 30 items, so
    # two users of one group share 8.7² / 30 = 2.5 and two others 4 × 8.7 × 0.43 / 30 = 0.5.
    close, far = (shared >= 2).mean(), (shared == 0).mean()
    assert 0.1 < close < 0.3  # a quarter of the pairs is of one group
    assert far > 0.35


def test_the_same_seed_gives_the_same_clicks_and_another_seed_others():
    assert synthetic().load([]).fingerprint == synthetic().load([]).fingerprint
    assert synthetic().load([]).fingerprint != synthetic(seed=2).load([]).fingerprint


@pytest.mark.filterwarnings("error")
def test_a_popularity_that_falls_off_a_cliff_still_draws():
    clicks = table(popularity_exponent=1000, affinity=1, mean_clicks=3)
    assert len(clicks) == len(clicks.drop_duplicates(["user", "item"]))
    assert (clicks["item"] == 0).sum() == 300  # rank 1 is 2^1000 times likelier than rank 2


@pytest.mark.parametrize(
    "change",
    [
        {"n_users": 0}, {"n_items": 1}, {"n_groups": 0}, {"mean_clicks": 0}, {"affinity": 0.5},
        {"popularity_exponent": -1}, {"seed": -1},
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_refused(change: dict[str, Any]):
    with pytest.raises(ValidationError, match=next(iter(change))):
        synthetic(**change)
