"""LightGCN's two files, read and broken in every part."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from commands import run_command

from recsweep.data.prepare import prepare
from recsweep.data.sources.lightgcn import LightGCN, LightGCNDownload
from recsweep.data.split import Split
from recsweep.data.splits.presplit import Presplit
from recsweep.data.transform import Binary
from recsweep.defaults import conf_folder
from recsweep.files import file_sha256

# user 3 has nothing to rank, user 9 two lines; item 8 is in test alone
TRAIN = "0 0 1 2 5\n7 2 1\n3 5 0\n9 1\n9 7\n"
TEST = "0 7\n3\n7 8 5\n\n9 2 0 \n"


def load(folder: Path, **changes: float) -> Split:
    settings = {"valid_fraction": 0.5, "seed": 1} | changes
    source = LightGCN(name="lightgcn", path=folder, **settings)
    return source.load(source.files(folder / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.txt").write_text(TRAIN)
    (tmp_path / "test.txt").write_text(TEST)
    return tmp_path


# --- what is read ---------------------------------------------------------------------------------


def test_items_of_test_are_ranked_after_all_of_a_users_line_in_train(folder: Path) -> None:
    split = load(folder)
    assert split.item_ids.tolist() == [0, 1, 2, 5, 7, 8]
    assert split.train_user_ids.tolist() == [0, 3, 7, 9]
    assert split.test.user_ids.tolist() == [0, 7, 9]
    assert split.test.history.toarray().tolist() == [
        [1, 1, 1, 1, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 1, 0, 0, 1, 0],
    ]
    assert split.test.target.toarray().tolist() == [
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 1, 0, 1],
        [1, 0, 1, 0, 0, 0],
    ]


def test_a_share_of_each_users_line_is_for_validation(folder: Path) -> None:
    split = load(folder)
    assert split.valid.user_ids.tolist() == [0, 3, 7, 9]
    assert np.diff(split.valid.target.indptr).tolist() == [2, 1, 1, 1]  # half of 4, 2, 2 and 2
    np.testing.assert_array_equal(split.valid.history.toarray(), split.train.toarray())
    both = split.train + split.valid.target
    assert both.toarray().tolist() == [
        [1, 1, 1, 1, 0, 0],
        [1, 0, 0, 1, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 1, 0, 0, 1, 0],
    ]
    # a quarter of 4 items is one of them, a quarter of 2 is none
    quarter = load(folder, valid_fraction=0.25)
    assert quarter.valid.user_ids.tolist() == [0]
    assert quarter.valid.target.nnz == 1


def test_a_refit_trains_on_all_of_train(folder: Path) -> None:
    split = load(folder)
    users, rows = split.without_test()
    assert users.tolist() == [0, 3, 7, 9]
    np.testing.assert_array_equal(rows.toarray()[[0, 2, 3]], split.test.history.toarray())


def test_the_seed_draws_validation_and_the_data_stay_the_same(folder: Path) -> None:
    splits = [load(folder, seed=seed) for seed in range(6)]
    assert len({split.data_fingerprint for split in splits}) == 1
    assert len({split.fingerprint for split in splits}) > 1
    assert load(folder, seed=3).fingerprint == splits[3].fingerprint
    (folder / "test.txt").write_text(TEST.replace("0 7", "0 8"))
    assert load(folder).data_fingerprint != splits[0].data_fingerprint


def test_windows_line_ends_and_tabs_are_read(folder: Path) -> None:
    expected = load(folder).fingerprint
    (folder / "train.txt").write_bytes(TRAIN.replace("\n", "\r\n").replace(" ", "\t").encode())
    assert load(folder).fingerprint == expected


def test_a_test_user_without_training_items_is_ranked_with_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "test.txt").write_text(TEST + "4 1\n")
    with caplog.at_level(logging.WARNING):
        split = load(folder)
    assert split.test.user_ids.tolist() == [0, 4, 7, 9]
    assert split.test.history[1].nnz == 0
    assert "1 of 4 users" in caplog.text
    assert "such as user 4" in caplog.text


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["train.txt", "test.txt"])
@pytest.mark.parametrize(
    "field", ["x", "-1", "1.0", "1,2", "\u0661", "\ufeff1", "1234567890123456789"]
)
def test_what_is_no_number_is_named_with_its_line(
    refused, folder: Path, name: str, field: str
) -> None:
    text = (folder / name).read_text()
    (folder / name).write_text(f"{text}11 1 {field} 2\n", encoding="utf-8")
    with refused(f"line {len(text.splitlines()) + 1} of {folder / name} has {field!r}"):
        load(folder)


def test_a_pair_in_train_and_test_is_refused(refused, folder: Path) -> None:
    (folder / "test.txt").write_text("0 1 7 5\n9 2 1\n")
    source = LightGCN(name="lightgcn", path=folder, valid_fraction=0.5, seed=1)
    with refused("3 of test's targets are in test's histories too (first: user 0, item 1)"):
        prepare(source, Binary(), Presplit(), folder / "cache")


@pytest.mark.parametrize(
    ("name", "line", "pair"),
    [("train.txt", "9 7\n", "user 9, item 7"), ("test.txt", "7 4 8\n", "user 7, item 8")],
)
def test_a_pair_that_occurs_twice_is_refused(
    refused, folder: Path, name: str, line: str, pair: str
) -> None:
    (folder / name).write_text((folder / name).read_text() + line)
    with refused(f"every pair in {folder / name} must occur once, but 1 occur", pair):
        load(folder)


@pytest.mark.parametrize("name", ["train.txt", "test.txt"])
@pytest.mark.parametrize("content", ["", "\n", "1\n2\n"])
def test_a_file_without_pairs_is_refused(refused, folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    with refused(f"{folder / name} must hold at least one user with an item"):
        load(folder)


def test_a_missing_file_no_path_or_a_file_is_refused(refused, folder: Path, tmp_path: Path) -> None:
    with refused("data=lightgcn needs the folder", "data.path=FOLDER"):
        LightGCN(name="lightgcn", path=None, valid_fraction=0.1, seed=1).files(tmp_path)
    with refused("train.txt not found in", "give the folder"):
        load(folder / "train.txt")
    (folder / "test.txt").unlink()
    with refused(f"test.txt not found in {folder}"):
        load(folder)
    (folder / "test.txt").mkdir()
    with refused(f"test.txt in {folder} is a folder"):
        load(folder)


# --- downloads ------------------------------------------------------------------------------------


def release(url: str, **changes: object) -> LightGCNDownload:
    settings = {"valid_fraction": 0.5, "seed": 1, "sha256": None, "counts": [4, 6, 15]}
    return LightGCNDownload(name="tiny", url=url, **({"path": None} | settings | changes))


def test_both_files_are_downloaded_once_and_checked(
    refused, server: tuple[str, list[str]], folder: Path
) -> None:
    url, requests = server
    files = [(folder / name).rename(folder / "site" / name) for name in ("train.txt", "test.txt")]
    sums = [file_sha256(file) for file in files]
    for _ in range(2):
        source = release(url, sha256=sums)
        split = source.load(source.files(folder / "cache"))
        assert split.fingerprint == load(folder / "site").fingerprint
    assert requests == ["/train.txt", "/test.txt"]
    with refused(f"test.txt must have sha256 {sums[0]}", sums[1]):
        release(url, sha256=sums[:1] * 2).files(folder / "cache")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_folder_with_other_counts_is_refused(refused, folder: Path, place: int) -> None:
    counts = [4, 6, 15]  # users 0, 3, 7 and 9; items 0, 1, 2, 5, 7 and 8; 10 + 5 pairs
    source = release("http://127.0.0.1:9", path=folder, counts=counts)
    assert source.load(source.files(folder)).fingerprint == load(folder).fingerprint
    counts[place] += 1
    source = release("http://127.0.0.1:9", path=folder, counts=counts)
    with refused("but the files have 4 users, 6 items and 15 interactions", "data.counts=null"):
        source.load(source.files(folder))
    source = release("http://127.0.0.1:9", path=folder, counts=None)
    assert source.load(source.files(folder)).fingerprint == load(folder).fingerprint


@pytest.mark.parametrize("name", ["yelp2018", "gowalla", "amazon-book"])
def test_without_network_the_command_names_the_path(tmp_path: Path, name: str) -> None:
    ended = run_command(tmp_path, f"task=download data={name} data.url=http://127.0.0.1:9/{name}")
    assert ended.code == 1
    (line,) = ended.err.splitlines()
    assert "train.txt must be reachable" in line
    assert "or point data.path to a local copy" in line


@pytest.mark.realdata
def test_yelp2018_is_as_large_as_published(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "yelp2018"
    preset = (conf_folder() / "data" / "yelp2018.yaml").read_text()
    assert file_sha256(folder / "train.txt") in preset
    assert file_sha256(folder / "test.txt") in preset
    ended = run_command(tmp_path, f"task=download data=yelp2018 data.path='{folder}'")
    assert ended.code == 0, ended.err
    assert "users on 38,048 items; " in ended.out


# --- from the command line ------------------------------------------------------------------------


def test_it_is_trained_on_and_comes_from_the_cache(folder: Path, tmp_path: Path) -> None:
    line = f"data=lightgcn data.path='{folder}' data.valid_fraction=.5 k=1 tracking=off"
    for number in range(2):
        ended = run_command(tmp_path / f"run{number}", f"model=popularity refit=true {line}")
        assert ended.code == 0, ended.err
        sizes = "5 training interactions of 4 users on 6 items; 4 users to validate, 3 to test"
        assert sizes in ended.err
    assert len(list((tmp_path / "cache" / "splits").glob("*.npz"))) == 1
    ended = run_command(tmp_path / "run3", f"model=popularity split=weak {line}")
    assert ended.code == 1
    assert "use split=presplit" in ended.err


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize(
    ("settings", "recall", "ndcg", "tolerance"),
    [
        # BARS, to six digits. Two inverses of 38,048 × 38,048: minutes, and 6 GiB of memory
        ("model=ease model.l2=300", 0.065707, 0.055216, 2e-5),
        # the papers, to four digits: half of the last, and what ties and float32 change
        ("model=gf_cf", 0.0697, 0.0571, 1e-4),
        ("model=turbo_cf model.alpha=0.6 model.filter_order=2", 0.0693, 0.0574, 1e-4),
    ],
)
def test_the_figures_published_for_yelp2018(
    settings: str, recall: float, ndcg: float, tolerance: float, shared_data: Path, tmp_path: Path
) -> None:
    ended = run_command(
        tmp_path / "run",
        f"{settings} refit=true data=lightgcn data.path='{shared_data / 'yelp2018'}' "
        "k=20 metrics=[recall_all,ndcg] tracking=off",
    )
    assert ended.code == 0, ended.err
    (file,) = (tmp_path / "run").rglob("metrics.json")
    means = json.loads(file.read_text())["test"]["mean"]
    assert means["recall_all@20"] == pytest.approx(recall, abs=tolerance)
    assert means["ndcg@20"] == pytest.approx(ndcg, abs=tolerance)
