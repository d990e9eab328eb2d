"""Last.fm's play counts, from a server and from copies."""

from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from commands import run_command

from recsweep.data.interactions import Interactions
from recsweep.data.sources.lastfm import LastFM

TEXT = "userID\tartistID\tweight\n2\t51\t13883\n2\t52\t11690\n10\t51\t1\n"
"""Two users, two artists and three pairs."""


def lastfm(path: Path | None = None, **changes: Any) -> LastFM:
    settings = {
        "name": "lastfm",
        "path": path,
        "min_rating": None,
        "min_user_interactions": 1,
        "n_heldout_users": None,
        "url": "http://127.0.0.1:9/lastfm.zip",  # the port where nobody answers
        "sha256": None,
        "member": "user_artists.dat",
        "counts": [2, 2, 3],
    }
    return LastFM(**settings | changes)


def load(source: LastFM, cache: Path) -> Interactions:
    return source.load(source.files(cache))


def archive_of(path: Path) -> Path:
    with ZipFile(path, "w") as bundle:
        bundle.writestr("artists.dat", "id\tname\n")
        bundle.writestr("user_artists.dat", TEXT)
    return path


def test_counts_are_read_from_the_official_archive(
    server: tuple[str, list[str]], tmp_path: Path
) -> None:
    url, requests = server
    archive_of(tmp_path / "site" / "lastfm.zip")
    for _ in range(2):
        data = load(lastfm(url=f"{url}/lastfm.zip"), tmp_path / "cache")
        assert data.user_ids.tolist() == [2, 10]
        assert data.item_ids.tolist() == [51, 52]
        assert data.matrix.toarray().tolist() == [[13883, 11690], [1, 0]]
    assert requests == ["/lastfm.zip"]


def test_a_copy_is_the_file_its_folder_or_the_archive(tmp_path: Path) -> None:
    (tmp_path / "user_artists.dat").write_text(TEXT)
    copies = [tmp_path, tmp_path / "user_artists.dat", archive_of(tmp_path / "copy.zip")]
    assert [load(lastfm(path), tmp_path / "cache").matrix.nnz for path in copies] == [3, 3, 3]


@pytest.mark.parametrize("counts", [[3, 2, 3], [2, 3, 3], [2, 2, 4]])
def test_other_counts_are_refused_unless_they_are_not_checked(
    refused, tmp_path: Path, counts: list[int]
) -> None:
    (tmp_path / "user_artists.dat").write_text(TEXT)
    users, items, pairs = counts
    with refused(
        f"lastfm must have {users} users, {items} items and {pairs} interactions, but the files "
        "have 2 users, 2 items and 3 interactions",
        "data.counts=null",
    ):
        load(lastfm(tmp_path, counts=counts), tmp_path)
    assert load(lastfm(tmp_path, counts=None), tmp_path).matrix.nnz == 3


def test_without_network_the_command_names_the_path(tmp_path: Path) -> None:
    ended = run_command(
        tmp_path / "run", "task=download data=lastfm data.url=http://127.0.0.1:9/lastfm.zip"
    )
    assert ended.code == 1
    (line,) = ended.err.splitlines()
    assert "must be reachable" in line
    assert "or point data.path to a local copy" in line
