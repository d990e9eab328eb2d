"""What comes split stays as it is."""

import pandas as pd

from recsweep.data.interactions import Interactions
from recsweep.data.splits.presplit import Presplit
from recsweep.data.splits.strong import Strong


def interactions() -> Interactions:
    rows = [(user, item, 1.0) for user in range(4) for item in range(5)]
    return Interactions.from_table(pd.DataFrame(rows, columns=["user", "item", "value"]))


def test_a_split_passes_untouched():
    split = Strong(n_heldout_users=1, target_fraction=0.2, seed=0).split(interactions())
    assert Presplit().split(split) is split


def test_one_table_of_interactions_is_refused(refused):
    with refused("already split (data=liang or lightgcn)", "use split=strong or split=weak"):
        Presplit().split(interactions())
