"""A truth file is the test set, everything else is for training; ids are the data set's."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsweep.data.interactions import Interactions
from recsweep.data.sources.jukebox import Jukebox
from recsweep.data.split import Split
from recsweep.data.splits.heldout import Heldout
from recsweep.data.transform import Log1p, apply_transform

Cut = Callable[..., Split]


def data(item: str = "{}") -> Interactions:
    """User u of 1 … 8 played songs 1 … u, u times each."""
    rows = [(u, item.format(s), float(u)) for u in range(1, 9) for s in range(1, u + 1)]
    return Interactions.from_table(pd.DataFrame(rows, columns=["user", "item", "value"]))


@pytest.fixture
def cut(tmp_path: Path) -> Cut:
    """Cuts `data` by a truth file with the given lines."""

    def split(lines: str, interactions: Interactions | None = None, seed: int = 1) -> Split:
        (tmp_path / "truth.txt").write_text(lines, encoding="utf-8")
        heldout = Heldout(path=tmp_path / "truth.txt", valid_fraction=0.25, seed=seed)
        return heldout.split(interactions or data())

    return split


def test_test_is_the_file_and_its_history_is_the_whole_data_set(cut: Cut):
    split = cut("5 8 3\n2 7 1\n5 6 1\n")
    assert split.test.user_ids.tolist() == [2, 5]
    assert split.test.target.toarray().tolist() == [
        [0, 0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1, 0, 1],
    ]
    assert split.test.history.toarray().tolist() == [
        [2, 2, 0, 0, 0, 0, 0, 0],
        [5, 5, 5, 5, 5, 0, 0, 0],
    ]
    assert split.item_ids.tolist() == list(range(1, 9))


@pytest.fixture
def in_words() -> Interactions:
    """Users and items without a digit, which a header could be."""
    rows = [
        ("ann", "bread", 1.0),
        ("ben", "bread", 1.0),
        ("cid", "apple", 1.0),
        ("cid", "corn", 1.0),
    ]
    return Interactions.from_table(pd.DataFrame(rows, columns=["user", "item", "value"]))


def test_the_first_pair_may_be_the_first_user_and_the_first_item_of_the_data_set(
    cut: Cut, in_words: Interactions
):
    split = cut("ann apple\nben corn\n", in_words)
    assert split.test.user_ids.tolist() == ["ann", "ben"]
    assert split.test.target.toarray().tolist() == [[1, 0, 0], [0, 0, 1]]


def test_a_first_line_with_one_known_id_is_no_header(refused, cut: Cut, in_words: Interactions):
    assert cut("ann dill\nben corn\n", in_words).test.n_relevant.tolist() == [1, 1]
    assert cut("dan corn\nben apple\n", in_words).test.user_ids.tolist() == ["ben"]
    with refused("'dan dill' is a user and an item that occur nowhere else"):
        cut("dan dill\nben corn\n", in_words)


def test_validation_is_a_share_and_with_training_it_is_everything(cut: Cut):
    split = cut("5 8\n")
    assert split.valid.target.nnz == 9  # a quarter of 36
    assert split.train.nnz == 27
    for user_ids, rows in (split.without_test(), split.known_histories()):
        assert user_ids.tolist() == data().user_ids.tolist()
        assert rows.toarray().tolist() == data().matrix.toarray().tolist()


def test_an_item_that_only_validation_has_is_a_column_too(cut: Cut):
    splits = [cut("5 8\n", seed=seed) for seed in range(20)]
    moved = [split for split in splits if 7 in split.valid.target.indices]
    assert moved, "user 8 alone played song 8: a quarter of the draws takes it for validation"
    for split in moved:
        assert split.train.shape[1] == 8
        assert 7 not in split.train.indices


def test_an_unknown_song_is_relevant_all_the_same_and_a_count_of_0_is_not(cut: Cut):
    split = cut("5 99 1\n5 8 2\n5 98 1\n2 8 4\n2 7 0\n")
    assert split.test.user_ids.tolist() == [2, 5]
    assert np.diff(split.test.target.indptr).tolist() == [1, 1]
    assert split.test.n_unknown.tolist() == [0, 2]
    assert split.test.n_relevant.tolist() == [1, 3]


def test_unknown_users_are_left_out_with_a_warning(cut: Cut, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, logger="recsweep"):
        split = cut("5 8\n77 1\n77 2\n78 1\n")
    assert split.test.user_ids.tolist() == [5]
    (message,) = caplog.messages
    assert message.startswith("2 of 3 users of ")
    assert message.endswith("truth.txt are not in the data set ('77', '78'): left out")


def test_unknown_items_are_told_with_how_many_and_examples(
    cut: Cut, caplog: pytest.LogCaptureFixture
):
    split = cut("".join(f"5 {item}\n" for item in (8, 91, 92, 93, 94)))
    assert split.test.n_relevant.tolist() == [5]
    (message,) = caplog.messages
    assert message.startswith("4 of 5 items of ")
    assert message.endswith(
        "truth.txt are not in the data set ('91', '92', '93', …): they cannot be recommended"
    )


def test_an_id_is_found_however_a_number_or_white_space_writes_it(
    cut: Cut, caplog: pytest.LogCaptureFixture
):
    expected = cut("5 8\n5 7\n2 6\n")
    found = cut("movieId,rating,user_id:token\n 8.0,5,5\n7.00 ,5,5.0\n6,1, 2\n")
    assert found.fingerprint == expected.fingerprint
    columns, written = caplog.messages
    assert columns.endswith("truth.txt: user = user_id:token, item = movieId, value = rating")
    assert written.startswith("1 of 2 user ids are spelled in several ways (such as '5' and '5.0')")


def test_ids_may_be_text_and_columns_commas(cut: Cut):
    split = cut("user,item\n5,song 8\n", data("song {}"))
    assert split.item_ids[split.test.target.indices].tolist() == ["song 8"]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("77 1\n78 2\n", "users of the data set, such as 1, 2, 3, …, but 2 of 2 users of"),
        ("5 8 0\n", "must name users of the data set, such as 1, 2, 3, …, but every value is 0"),
        ("5 8\n5 2\n5 3\n", "but 2 are (first: user 5, item 2)"),
        ("8 8\n8 7\n5 8\n5 2\n", "but 3 are (first: user 5, item 2)"),
        ("5 8\n5 8\n", "hold each pair of user and item once"),
        ("5 8 1\n6 8 x\n", "line 2 has 'x'"),
        ("kunde ware\nx y\n5 8\n", "name the columns user and item"),
        ("5 99\n", "must name items of the data set, such as 1, 2, 3, …, but 1 of 1 items of"),
        ("", "must hold at least one"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(refused, cut: Cut, lines: str, complaint: str):
    with refused(complaint):
        cut(lines)


def test_a_missing_file_is_refused(refused, tmp_path: Path):
    heldout = Heldout(path=None, valid_fraction=0.1, seed=1)
    with refused("split=heldout needs the file", "split.path is missing", "split.path=FILE"):
        heldout.files()
    with refused(f"{tmp_path / 'absent'} is not there"):
        replace(heldout, path=tmp_path / "absent").files()


def test_data_that_comes_split_is_refused(refused, cut: Cut):
    with refused("split=heldout cuts interactions itself", "use split=presplit"):
        cut("5 8\n", cut("5 8\n"))


@pytest.mark.realdata
def test_jukeboxes_official_hold_out(shared_data: Path):
    folder = shared_data / "jukebox"
    source = Jukebox(
        name="jukebox", path=folder, min_rating=None, min_user_interactions=1, n_heldout_users=None
    )
    heldout = Heldout(path=folder / "validation_data.txt", valid_fraction=0.01, seed=1)
    split = heldout.split(apply_transform(source.load(source.files(shared_data)), Log1p()))
    assert (split.test.target.shape, split.test.target.nnz) == ((500, 8_262), 2_876)
    assert split.test.n_unknown.sum() == 0
    assert split.valid.target.nnz == 3_378  # of 337,880
    assert split.known_histories()[1].nnz == 337_880
