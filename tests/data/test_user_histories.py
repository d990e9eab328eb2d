"""Whom to recommend for: users of a data set, and users with a history of their own."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from recsweep.data.transform import Binary, Log1p, Raw
from recsweep.data.user_histories import RequestedUsers, places, read_histories
from recsweep.errors import InputError

ITEMS = np.array([10, 20, 30])
PEOPLE = RequestedUsers(np.array([5, 7, 9]), sp.csr_matrix(np.diag([1, 2, 3]).astype(np.float32)))


def file(folder: Path, text: str) -> Path:
    path = folder / "histories.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_ids_are_found_as_text() -> None:
    assert places(["30", "030", "10", ""], ITEMS).tolist() == [2, -1, 0, -1]
    assert places(["b"], np.array(["a", "b"], object)).tolist() == [1]
    assert places(pd.Series([30.0, 20.5, np.nan, 10.0]), ITEMS).tolist() == [2, -1, -1, 0]
    assert places([" 30", "10.0"], np.array(["10.0", "30", "10"], object)).tolist() == [1, 0]


def test_chosen_users_keep_their_rows() -> None:
    some = PEOPLE.select(["9", "5"], skip_unknown=False)
    assert some.user_ids.tolist() == [9, 5]
    np.testing.assert_array_equal(some.history.toarray(), [[0, 0, 3], [1, 0, 0]])


def test_who_is_not_here_is_skipped_or_refused(caplog: pytest.LogCaptureFixture) -> None:
    assert PEOPLE.select(["8", "9"], skip_unknown=True).user_ids.tolist() == [9]
    assert "1 of 2 requested users are not in the run's data set ('8'): skipped" in caplog.text
    for names, skip in ((["8", "9"], False), (["8"], True)):
        with pytest.raises(InputError, match=r"task\.unknown_users=skip"):
            PEOPLE.select(names, skip)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("C07", "which writes 'c7' for 'C07'; remove"),
        ("user 12", "which writes 'User_12' for 'user 12'; remove"),
        ("70", "whose ids look like 'c7' and which lacks users with fewer interactions than"),
        ("-", "whose ids look like 'c7' and which lacks users with fewer interactions than"),
    ],
)
def test_a_user_spelled_differently_is_told_how_the_data_spells_it(typed: str, said: str) -> None:
    people = RequestedUsers(np.array(["c7", "User_12"], object), PEOPLE.history[:2])
    with pytest.raises(InputError) as caught:
        people.select(["c7", typed], skip_unknown=False)
    assert said in str(caught.value)


def test_values_become_what_they_became_in_training(tmp_path: Path) -> None:
    path = file(tmp_path, "b 20 1\nb 10 3\na 30 0\na 10 2\n")
    users, history = read_histories(path, ITEMS, None, Raw())
    assert users.tolist() == ["b", "a"]
    np.testing.assert_array_equal(history.toarray(), [[3, 1, 0], [2, 0, 0]])
    assert history.nnz == 3, "an item with value 0 was not clicked"
    history = read_histories(path, ITEMS, 2.0, Binary()).history
    np.testing.assert_array_equal(history.toarray(), [[1, 0, 0], [1, 0, 0]])
    history = read_histories(path, ITEMS, None, Log1p()).history
    expected = [[1 + np.log(4), 1 + np.log(2), 0], [1 + np.log(3), 0, 0]]
    np.testing.assert_allclose(history.toarray(), expected, rtol=1e-7)  # float32
    assert history.dtype == np.float32


def test_a_pair_without_a_value_is_a_click_whatever_ratings_must_be(tmp_path: Path) -> None:
    history = read_histories(file(tmp_path, "a 10\na 30\n"), ITEMS, 3.5, Binary()).history
    np.testing.assert_array_equal(history.toarray(), [[1, 0, 1]])


def test_items_that_the_model_does_not_know_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = file(tmp_path, "a 10\nb 11\na 11\nb 12\n")
    users, history = read_histories(path, ITEMS, None, Binary())
    assert users.tolist() == ["a", "b"]
    np.testing.assert_array_equal(history.toarray(), [[1, 0, 0], [0, 0, 0]])
    assert [record.message for record in caplog.records] == [
        f"2 of 3 items of {path} are not in the model's catalogue ('11', '12'): ignored",
        f"1 of 2 users of {path} have no item that counts ('b'): scored as new",
    ]


def test_a_file_none_of_whose_items_the_model_knows_is_refused(tmp_path: Path) -> None:
    path = file(tmp_path, "a i10\nb i20\n")
    with pytest.raises(InputError, match=r"such as 10, 20, 30, but 2 of 2 items of .*'i10', 'i20'"):
        read_histories(path, ITEMS, None, Binary())
