"""Listening counts: read from the file or its folder, refused by line, as large as stated."""

from pathlib import Path
from typing import Any

import pytest
from contracts import composed

from recsweep.app import Settings, load_split
from recsweep.build import validate
from recsweep.data.sources.jukebox import Jukebox


def jukebox(path: Path | None) -> Jukebox:
    return Jukebox(
        name="jukebox", path=path, min_rating=None, min_user_interactions=1, n_heldout_users=None
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "listen_count.txt").write_text("7 30 3\n5 20 1\n7 20 12\n5 10 0\n")
    return tmp_path


def test_the_folder_and_the_file_give_the_same_counts(folder: Path):
    for path in (folder, folder / "listen_count.txt"):
        source = jukebox(path)
        data = source.load(source.files(folder / "cache"))
        assert data.user_ids.tolist() == [5, 7]
        assert data.item_ids.tolist() == [20, 30], "nobody played song 10"
        assert data.matrix.toarray().tolist() == [[1, 0], [12, 3]]


def test_without_a_path_it_says_that_there_is_no_download(refused, tmp_path: Path):
    with refused("cannot be downloaded", "data.path=FOLDER", "listen_count.txt"):
        jukebox(None).files(tmp_path)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("7 40", "line 5 is not (2 fields instead of 3 in '7 40')"),
        ("7 40 2 9", "line 5 is not (4 fields instead of 3 in '7 40 2 9')"),
        ("7 40 often", "a finite number of at least 0 in column 'count', but line 5 has 'often'"),
        ("7 40 -1", "line 5 has '-1'"),
        ("7 40 nan", "line 5 has 'nan'"),
        ("7  2", "an id on one line in column 'song', but line 5 has ''"),
        ("7 20 2", "user-item pair must occur once, but 1 occur more than once"),
    ],
)
def test_a_bad_line_is_named(refused, folder: Path, line: str, complaint: str):
    file = folder / "listen_count.txt"
    file.write_text(file.read_text() + line + "\n8 20 1\n")
    with refused(complaint):
        jukebox(folder).load([file])


def test_another_folder_is_refused(refused, config: Any, tmp_path: Path):
    settings = validate(Settings, config("data=jukebox", f"data.path={tmp_path}"), "")
    with refused("data.path must name a file", "listen_count.txt is not there"):
        load_split(settings)


def test_the_command_line_wins_over_what_the_data_set_chooses():
    assert composed("data=jukebox")["split"]["_target_"].endswith(".Weak")
    assert composed("data=jukebox", "split=strong")["split"]["_target_"].endswith(".Strong")
    assert composed("split=heldout", "data=jukebox")["split"]["_target_"].endswith(".Heldout")


@pytest.mark.realdata
def test_the_exercises_file_has_the_stated_counts(shared_data: Path):
    source = jukebox(shared_data / "jukebox")
    data = source.load(source.files(shared_data))
    assert (data.matrix.nnz, *data.matrix.shape) == (337_880, 20_278, 8_262)
