"""The five files of Liang et al. 2018, written, read back, and broken in every part."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsweep.data.interactions import Interactions
from recsweep.data.sources.liang import Liang, write_liang
from recsweep.data.split import Split
from recsweep.data.splits.strong import Strong
from recsweep.data.splits.weak import Weak

# users 0 and 1 train, 2 validates, 3 and 4 test; rows are not sorted on purpose
FILES = {
    "train.csv": "uid,sid\n1,3\n0,0\n0,1\n1,0\n1,2\n",
    "validation_tr.csv": "uid,sid\n2,3\n2,1\n",
    "validation_te.csv": "uid,sid\n2,0\n",
    "test_tr.csv": "uid,sid\n4,1\n3,0\n3,2\n",
    "test_te.csv": "uid,sid\n3,3\n",
}


def load(folder: Path) -> Split:
    source = Liang(name="liang", path=folder)
    return source.load(source.files(folder / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    return tmp_path


def shuffled_clicks(item_name: str = "{}") -> Interactions:
    random = np.random.default_rng(0)
    rows = [
        (user, item_name.format(item), 1.0)
        for user in random.permutation(60)
        for item in random.choice(25, size=random.integers(5, 12), replace=False)
    ]
    return Interactions.from_table(pd.DataFrame(rows, columns=["user", "item", "value"]))


def strong_split(data: Interactions) -> Split:
    return Strong(n_heldout_users=8, target_fraction=0.2, seed=1).split(data)


# --- what is read ---------------------------------------------------------------------------------


def test_rows_are_users_and_columns_are_sids(folder: Path):
    split = load(folder)
    assert [matrix.toarray().tolist() for matrix in split.matrices] == [
        [[1, 1, 0, 0], [1, 0, 1, 1]],
        [[0, 1, 0, 1]],
        [[1, 0, 0, 0]],
        [[1, 0, 1, 0], [0, 1, 0, 0]],
        [[0, 0, 0, 1], [0, 0, 0, 0]],
    ]
    assert split.train_user_ids.tolist() == [0, 1]
    assert split.valid.user_ids.tolist() == [2]
    assert split.test.user_ids.tolist() == [3, 4]
    assert split.item_ids.tolist() == [0, 1, 2, 3]


def test_a_users_items_keep_the_order_of_the_file(folder: Path):
    assert load(folder).train[1].indices.tolist() == [3, 0, 2]


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        ("30\n7\n100\n2\n", [30, 7, 100, 2]),
        ("30.0\n 7\n100 \r\n2.00\n", [30, 7, 100, 2]),
        ("007\nA 1\n\u00e9\nx\n", ["007", "A 1", "\u00e9", "x"]),
        ("1\r\n2\r\n3\r\n4\r\n5", [1, 2, 3, 4, 5]),
    ],
)
def test_line_k_of_unique_sid_is_the_id_of_sid_k(folder: Path, names: str, ids: list[object]):
    (folder / "unique_sid.txt").write_bytes(names.encode())
    split = load(folder)
    assert split.item_ids.tolist() == ids
    assert split.train.shape == (2, len(ids))


def test_item_names_and_order_are_part_of_what_the_data_is(folder: Path):
    plain = load(folder).data_fingerprint
    (folder / "unique_sid.txt").write_text("5\n6\n7\n8\n")
    named = load(folder).data_fingerprint
    (folder / "train.csv").write_text("uid,sid\n1,0\n0,0\n0,1\n1,3\n1,2\n")
    assert len({plain, named, load(folder).data_fingerprint}) == 3


# --- there and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("item_name", ["{}", "item {}", "00{}", "{}.0", "\u00e9{}"])
def test_what_is_written_is_read_back(tmp_path: Path, item_name: str):
    split = strong_split(shuffled_clicks(item_name))
    write_liang(split, tmp_path / "new" / "folder")
    again = load(tmp_path / "new" / "folder")
    for matrix, other in zip(split.matrices, again.matrices, strict=True):
        assert matrix.shape == other.shape
        assert (matrix != other).nnz == 0
    assert again.item_ids.tolist() == split.item_ids.tolist()
    assert again.fingerprint == split.fingerprint, "users included"
    # uids number the users of all parts through
    (tmp_path / "new" / "folder" / "user_ids.txt").unlink()
    again = load(tmp_path / "new" / "folder")
    n_users = np.cumsum([0, *(len(ids) for ids in (split.train_user_ids, split.valid.user_ids))])
    assert again.train_user_ids[0] == n_users[0]
    assert again.valid.user_ids[0] == n_users[1]
    assert again.test.user_ids[0] == n_users[2]


def test_users_in_several_parts_keep_their_ids(tmp_path: Path):
    weak = Weak(
        per="all", valid_fraction=0.3, test_fraction=0.3, unknown_items="drop", valid_items=True,
        seed=1,
    )  # fmt: skip
    split = weak.split(shuffled_clicks())
    write_liang(split, tmp_path)
    again = load(tmp_path)
    assert again.valid.user_ids.tolist() == split.valid.user_ids.tolist()
    assert again.test.user_ids.tolist() == split.test.user_ids.tolist()
    ids, rows = split.without_test()
    ids_again, rows_again = again.without_test()
    assert ids_again.tolist() == ids.tolist()
    assert (rows_again != rows).nnz == 0, "a refit learns the same"
    assert Liang(name="liang", path=tmp_path).has_shared_users


def test_users_that_are_named_need_no_history(folder: Path):
    (folder / "test_te.csv").write_text("uid,sid\n3,3\n5,1\n")
    (folder / "user_ids.txt").write_text("a\nb\nc\nd\ne\nf\n")
    assert not Liang(name="liang", path=folder.parent).has_shared_users
    split = load(folder)
    assert split.train_user_ids.tolist() == ["a", "b"]
    assert split.test.user_ids.tolist() == ["d", "e", "f"]
    assert split.test.history.toarray().tolist() == [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]


def test_writing_twice_gives_the_same_bytes(tmp_path: Path):
    split = strong_split(shuffled_clicks())
    first, second = (write_liang(split, tmp_path / name) for name in ("first", "second"))
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


def test_a_folder_that_cannot_be_made_is_refused(refused, tmp_path: Path):
    (tmp_path / "file").touch()
    with refused(str(tmp_path / "file"), "permissions"):
        write_liang(strong_split(shuffled_clicks()), tmp_path / "file" / "inside")


@pytest.mark.realdata
def test_the_papers_files_are_what_movielens_1m_is_cut_into(shared_data: Path, ml_1m: Interactions):
    strong = Strong(n_heldout_users=600, target_fraction=0.2, seed=98765)
    cut = strong.split(ml_1m)
    read = load(shared_data / "ml-1m-pro_sg")
    assert read.profile() == {
        "n_items": 3_497,
        "n_train_users": 4_834,
        "n_train_interactions": 462_827,
        "n_valid_users": 600,
        "n_valid_targets": 11_228,
        "n_test_users": 600,
        "n_test_targets": 10_761,
    }
    assert read.item_ids.tolist() == cut.item_ids.tolist()
    for matrix, other in zip(cut.matrices, read.matrices, strict=True):
        assert (matrix != other).nnz == 0


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_with_all_that_are_needed(refused, folder: Path, name: str):
    (folder / name).unlink()
    with refused(f"{name} not found in {folder}", *FILES, "give the folder"):
        load(folder)


@pytest.mark.parametrize("name", [*FILES, "unique_sid.txt"])
def test_a_folder_or_a_broken_link_for_a_file_is_refused(refused, folder: Path, name: str):
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(folder / "gone")
    with refused(name, str(folder), "is a link to nothing"):
        load(folder)
    (folder / "gone").mkdir()
    with refused(name, str(folder), "is a folder"):
        load(folder)


def test_no_path_a_file_or_a_missing_folder_is_refused(refused, folder: Path, tmp_path: Path):
    with refused("data=liang needs the folder", "data.path=FOLDER"):
        Liang(name="liang", path=None).files(tmp_path)
    for path in (folder / "train.csv", folder / "absent"):
        with refused(f"train.csv not found in {path}"):
            load(path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("entry", ["-1", "1.5", "x", "1e3", "99999999999999999999", "\u0661"])
@pytest.mark.parametrize("line", ["{},0", "0,{}"])
def test_an_id_that_is_no_number_from_0_on_is_refused(
    refused, folder: Path, name: str, entry: str, line: str
):
    with (folder / name).open("a", encoding="utf-8") as file:
        file.write(line.format(entry) + "\n")
    with refused("must be whole numbers from 0", f"{name} has '{entry}'"):
        load(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "must hold at least one interaction"),
        ("uid,sid\n", "must hold at least one interaction"),
        ("user,item\n0,1\n", "must have one column 'uid'"),
        ("uid,sid\n0,1\n0\n", "line 3 is not (1 fields instead of 2"),
        ("uid,sid\n0,\n", "line 2 has ''"),
    ],
)
def test_a_file_that_is_no_table_of_pairs_is_refused(
    refused, folder: Path, name: str, content: str, complaint: str
):
    (folder / name).write_text(content)
    with refused(name, complaint):
        load(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_pair_that_occurs_twice_is_refused(refused, folder: Path, name: str):
    pair = FILES[name].split()[-1]
    (folder / name).write_text(FILES[name] + pair + "\n")
    uid, sid = pair.split(",")
    with refused(f"every pair in {folder / name} must occur once", f"uid {uid}, sid {sid}"):
        load(folder)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_stranger_among_the_targets_is_refused(refused, folder: Path, part: str):
    (folder / f"{part}_te.csv").write_text(FILES[f"{part}_te.csv"] + "77,1\n0,1\n")
    with refused(f"have a history in {part}_tr.csv", "2 have none (first: uid 0)", str(folder)):
        load(folder)


def test_sids_that_do_not_count_the_items_are_refused(refused, folder: Path):
    (folder / "train.csv").write_text(FILES["train.csv"] + "0,999999999\n")
    with refused("the highest sid", "is 999,999,999 in only 13 lines", "without gaps"):
        load(folder)


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (b"1\n2\n3\n", "3 lines with 3 different ids stand for sids up to 3"),
        (b"1\n2\n3\n3\n", "4 lines with 3 different ids"),
        (b"", "line 1 is blank"),
        (b"1\r\n\r\n3\r\n4\r\n", "line 2 is blank"),
        (b"1\n2\n3\n4\n4\n", "5 lines with 4 different ids"),
        (b"1\n2\n3\n\xff\n", "must be UTF-8 text"),
    ],
)
def test_names_that_are_no_name_for_each_item_are_refused(
    refused, folder: Path, names: bytes, complaint: str
):
    (folder / "unique_sid.txt").write_bytes(names)
    with refused(str(folder / "unique_sid.txt"), complaint):
        load(folder)


def test_names_that_are_no_name_for_each_user_are_refused(refused, folder: Path):
    (folder / "user_ids.txt").write_text("a\nb\nc\nd\n")
    with refused(str(folder / "user_ids.txt"), "4 lines with 4 different ids", "uids up to 4"):
        load(folder)


@pytest.mark.parametrize("names", [b"\xef\xbb\xbf7\r\n8\r\n9\r\n10\r\n", b"sid\n7\n8\n9\n10\n"])
def test_neither_a_byte_order_mark_nor_a_header_is_part_of_an_id(folder: Path, names: bytes):
    (folder / "unique_sid.txt").write_bytes(names)
    assert load(folder).item_ids.tolist() == [7, 8, 9, 10]
