"""Splits that came with the data and show what must be ranked: each way in, with its counts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from pydantic.dataclasses import dataclass

from recsweep.data.interactions import Interactions
from recsweep.data.leaks import refuse_leaks
from recsweep.data.prepare import prepare
from recsweep.data.sources.liang import Liang
from recsweep.data.sources.source import Source
from recsweep.data.split import Fold, Split
from recsweep.data.splits.heldout import Heldout
from recsweep.data.splits.presplit import Presplit
from recsweep.data.splits.strong import Strong
from recsweep.data.splits.weak import Weak
from recsweep.data.transform import Binary
from recsweep.interfaces import STRICT


def csr(*rows: list[float]) -> sp.csr_matrix:
    return sp.csr_matrix(np.array(rows, np.float32))


def of_strangers() -> Split:
    """Users 0 and 1 train, 2 validates, 3 tests."""
    return Split(
        train=csr([1, 1, 0, 0], [0, 1, 1, 0]),
        train_user_ids=np.array([0, 1]),
        valid=Fold(csr([1, 0, 0, 0]), csr([0, 1, 0, 0]), np.array([2])),
        test=Fold(csr([0, 0, 1, 0]), csr([1, 0, 0, 1]), np.array([3])),
        item_ids=np.array(["a", "b", "c", "d"], object),
        data_fingerprint="of the table",
    )


def of_known_users() -> Split:
    """User 0 trains, validates and tests, with an item in each."""
    return Split(
        train=csr([1, 0, 0, 0], [0, 1, 1, 0]),
        train_user_ids=np.array([0, 1]),
        valid=Fold(csr([1, 0, 0, 0]), csr([0, 1, 0, 0]), np.array([0])),
        test=Fold(csr([1, 1, 0, 0]), csr([0, 0, 1, 0]), np.array([0])),
        item_ids=np.array(["a", "b", "c", "d"], object),
        data_fingerprint="of the table",
    )


def clicks() -> Interactions:
    rows = [(user, item, 1.0) for user in range(40) for item in range(user % 7, 20)]
    return Interactions.from_table(pd.DataFrame(rows, columns=["user", "item", "value"]))


# --- nothing is wrong -----------------------------------------------------------------------------


def test_users_of_one_part_each_may_click_the_same_items():
    refuse_leaks(of_strangers(), has_shared_users=False)


def test_splits_that_are_cut_here_show_nothing(tmp_path: Path):
    strong = Strong(n_heldout_users=4, target_fraction=0.2, seed=0)
    refuse_leaks(strong.split(clicks()), has_shared_users=False)
    weak = Weak(
        per="all",
        valid_fraction=0.2,
        test_fraction=0.2,
        unknown_items="drop",
        valid_items=False,
        seed=0,
    )
    refuse_leaks(weak.split(clicks()), has_shared_users=True)
    (tmp_path / "truth.txt").write_text("6 0\n13 5\n")  # these begin with item 6
    heldout = Heldout(path=tmp_path / "truth.txt", valid_fraction=0.1, seed=0)
    refuse_leaks(heldout.split(clicks()), has_shared_users=True)


# --- users in two parts ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of_valid", "of_test", "parts"),
    [
        (1, 3, "but train and validation share 1 (first: user 1);"),
        (2, 0, "but train and test share 1 (first: user 0);"),
        (2, 2, "but validation and test share 1 (first: user 2);"),
        (0, 1, "train and validation share 1 (first: user 0); train and test share 1 (first: u"),
    ],
)
def test_a_user_of_two_parts_is_refused(refused, of_valid: int, of_test: int, parts: str):
    split = of_strangers()
    shared = replace(
        split,
        valid=replace(split.valid, user_ids=np.array([of_valid])),
        test=replace(split.test, user_ids=np.array([of_test])),
    )
    with refused(parts, "give every user a different number"):
        refuse_leaks(shared, has_shared_users=False)


def test_a_user_is_the_same_where_one_part_has_numbers_and_another_names(refused):
    split = of_strangers()
    test = replace(split.test, user_ids=np.array(["1"], object))
    with refused("train and test share 1 (first: user 1)"):
        refuse_leaks(replace(split, test=test), has_shared_users=False)


def test_users_may_be_in_several_parts_where_the_protocol_says_so(refused):
    refuse_leaks(of_known_users(), has_shared_users=True)
    with refused("train and test share 1 (first: user 0)"):
        refuse_leaks(of_known_users(), has_shared_users=False)


# --- pairs that are known -------------------------------------------------------------------------


def test_each_place_that_knows_a_target_is_named_with_counts_and_the_first(refused):
    split = of_known_users()
    train, valid, test = split.train, split.valid, split.test
    leaks = {
        "1 of validation's targets are in train too (first: user 0, item 'b')": replace(
            split, train=csr([1, 1, 0, 0], [0, 1, 1, 0])
        ),
        "1 of validation's targets are in validation's histories too (first: user 0, item 'b')": (
            replace(split, valid=replace(valid, history=csr([1, 1, 0, 0])))
        ),
        "2 of test's targets are in train too (first: user 0, item 'c')": replace(
            split, train=csr([1, 0, 1, 1], [0, 1, 1, 0]),
            test=replace(test, target=csr([0, 0, 1, 1])),
        ),
        "1 of test's targets are in validation's histories too (first: user 0, item 'c')": replace(
            split, valid=replace(valid, history=csr([1, 0, 1, 0]))
        ),
        "1 of test's targets are in validation's targets too (first: user 0, item 'c')": replace(
            split, valid=replace(valid, target=csr([0, 1, 1, 0]))
        ),
        "1 of test's targets are in test's histories too (first: user 0, item 'c')": replace(
            split, test=replace(test, history=csr([1, 0, 1, 0]))
        ),
    }  # fmt: skip
    for line, leak in leaks.items():
        with refused(f"in training or history, but {line};", "remove them from one of the two"):
            refuse_leaks(leak, has_shared_users=True)
    assert train.nnz == 3, "the split itself stays as it is"


def test_an_interaction_worth_nothing_is_known_all_the_same(refused):
    train = csr([1, 0, 7, 0], [0, 1, 1, 0])
    train.data[train.data == 7] = 0
    with refused("1 of test's targets are in train too (first: user 0, item 'c')"):
        refuse_leaks(replace(of_known_users(), train=train), has_shared_users=True)


def test_a_user_or_an_item_that_is_there_twice_is_refused(refused):
    split = of_strangers()
    with refused("ids of train's users must be different", "1 are repeated (first: 5)"):
        refuse_leaks(replace(split, train_user_ids=np.array([5, 5])), has_shared_users=True)
    items = np.array(["a", "b", "a", "b"], object)
    with refused("ids of the items must be different", "2 are repeated (first: 'a')"):
        refuse_leaks(replace(split, item_ids=items), has_shared_users=True)


# --- every source passes through ------------------------------------------------------------------


@dataclass(kw_only=True, config=STRICT)
class Own(Source):
    """A user's own source, whose split tells of users in several parts."""

    def files(self, cache: Path) -> list[Path]:  # noqa: ARG002 - nothing to read
        return []

    def load(self, files: list[Path]) -> Split:  # noqa: ARG002 - nothing to read
        return of_known_users()


@dataclass(kw_only=True, config=STRICT)
class OwnWeak(Own):
    """The same, which says so."""

    has_shared_users = True


def test_a_source_of_ones_own_is_looked_through_and_may_share_its_users(refused, tmp_path: Path):
    with refused("train and test share 1 (first: user 0)"):
        prepare(Own(name="own", path=None), Binary(), Presplit(), tmp_path)
    assert not list(tmp_path.rglob("*.npz")), "nothing is cached of it"
    split = prepare(OwnWeak(name="own", path=None), Binary(), Presplit(), tmp_path)
    assert split.fingerprint == of_known_users().fingerprint


LIANG = {
    "train.csv": "0,0\n0,1\n1,1\n1,2\n",
    "validation_tr.csv": "2,0\n",
    "validation_te.csv": "2,1\n",
    "test_tr.csv": "3,1\n",
    "test_te.csv": "3,0\n3,2\n",
}


def prepared(folder: Path, **changed: str) -> Split:
    for name, lines in {**LIANG, **{f"{k}.csv": v for k, v in changed.items()}}.items():
        (folder / name).write_text(f"uid,sid\n{lines}")
    source = Liang(name="liang", path=folder)
    return prepare(source, Binary(), Presplit(), folder / "cache")


def test_test_rows_in_liangs_train_are_refused(refused, tmp_path: Path):
    assert prepared(tmp_path).test.target.nnz == 2
    tested = LIANG["test_tr.csv"] + LIANG["test_te.csv"]
    with refused(
        "train and test share 1 (first: user 3)",
        "2 of test's targets are in train too (first: user 3, item 0)",
        "remove each user from all parts but one",
    ):
        prepared(tmp_path, train=LIANG["train.csv"] + tested)
    with refused("train and test share 1 (first: user 3); remove each user"):
        prepared(tmp_path, train=LIANG["train.csv"] + LIANG["test_tr.csv"])


def test_liangs_parts_that_each_number_their_users_from_0_are_refused(refused, tmp_path: Path):
    with refused(
        "train and validation share 1 (first: user 0)",
        "train and test share 1 (first: user 0)",
        "validation and test share 1 (first: user 0)",
        "if every part numbers its users from 0, give every user a different number",
    ):
        prepared(
            tmp_path, validation_tr="0,0\n", validation_te="0,1\n", test_tr="0,1\n",
            test_te="0,0\n0,2\n",
        )  # fmt: skip


@pytest.mark.parametrize(("part", "pair"), [("validation", "2,0"), ("test", "3,1")])
def test_an_item_in_liangs_history_and_target_is_refused(
    refused, tmp_path: Path, part: str, pair: str
):
    target = LIANG[f"{part}_te.csv"] + f"{pair}\n"
    with refused(f"1 of {part}'s targets are in {part}'s histories too (first: user {pair[0]}"):
        prepared(tmp_path, **{f"{part}_te": target})


@pytest.mark.realdata
def test_test_rows_in_the_train_file_of_movielens_1m_are_refused(
    refused, shared_data: Path, tmp_path: Path
):
    real = shared_data / "ml-1m-pro_sg"
    parts = {file.stem: file.read_text().partition("\n")[2] for file in real.glob("*.csv")}
    n_users, n_targets = 600, 10_761
    assert len(set(parts["test_te"].split("\n"))) - 1 == n_targets
    with refused(
        f"train and test share {n_users} (first: user ",
        f"{n_targets:,} of test's targets are in train too",
    ):
        prepared(
            tmp_path, **{**parts, "train": parts["train"] + parts["test_tr"] + parts["test_te"]}
        )
    assert prepared(tmp_path, **parts).test.target.nnz == n_targets
