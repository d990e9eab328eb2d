"""CiteULike's libraries, from a server and from copies."""

from pathlib import Path
from typing import Any

import pytest
from commands import run_command

from recsweep.data.interactions import Interactions
from recsweep.data.sources.citeulike import CiteULike

TEXT = "3 10 2 7\n1 2\n2 0 10 \n"
"""Users 0, 1 and 2, and four articles in six pairs."""


def citeulike(path: Path | None = None, **changes: Any) -> CiteULike:
    settings = {
        "name": "citeulike",
        "path": path,
        "min_rating": None,
        "min_user_interactions": 1,
        "n_heldout_users": None,
        "url": "http://127.0.0.1:9/users.dat",  # the port where nobody answers
        "sha256": None,
        "member": "users.dat",
        "counts": [3, 4, 6],
    }
    return CiteULike(**settings | changes)


def load(source: CiteULike, cache: Path) -> Interactions:
    return source.load(source.files(cache))


def test_each_line_is_a_user_whose_first_number_is_a_count(
    server: tuple[str, list[str]], tmp_path: Path
) -> None:
    url, requests = server
    (tmp_path / "site" / "users.dat").write_text(TEXT)
    for _ in range(2):
        data = load(citeulike(url=f"{url}/users.dat"), tmp_path / "cache")
        assert data.user_ids.tolist() == [0, 1, 2]
        assert data.item_ids.tolist() == [0, 2, 7, 10]
        assert data.matrix.toarray().tolist() == [[0, 1, 1, 1], [0, 1, 0, 0], [1, 0, 0, 1]]
    assert requests == ["/users.dat"]


def test_a_copy_is_the_file_or_its_folder(tmp_path: Path) -> None:
    (tmp_path / "users.dat").write_text(TEXT)
    for path in (tmp_path, tmp_path / "users.dat"):
        assert load(citeulike(path), tmp_path / "cache").matrix.nnz == 6


def test_a_number_that_sources_differ_on_is_not_checked(refused, tmp_path: Path) -> None:
    (tmp_path / "users.dat").write_text(TEXT)
    assert load(citeulike(tmp_path, counts=[3, 4, None]), tmp_path).matrix.nnz == 6
    with refused("must have 3 users and 5 items, but the files have 3 users and 4 items"):
        load(citeulike(tmp_path, counts=[3, 5, None]), tmp_path)
    with refused("must have 7 items, but the files have 4 items"):
        load(citeulike(tmp_path, counts=[None, 7, None]), tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 1 2\n3 1 2\n", "that of user 1 has 3 and then 2"),
        ("2 1 2\n1 x\n", "line 2 of"),
        (
            "2 1 2\n1 1\n",
            "must have 3 users, 4 items and 6 interactions, but the files have 2 users",
        ),
    ],
)
def test_a_damaged_file_is_refused(refused, tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "users.dat").write_text(text)
    with refused(expected):
        load(citeulike(tmp_path), tmp_path)


def test_without_network_the_command_names_the_path(tmp_path: Path) -> None:
    ended = run_command(
        tmp_path / "run", "task=download data=citeulike data.url=http://127.0.0.1:9/users.dat"
    )
    assert ended.code == 1
    (line,) = ended.err.splitlines()
    assert "must be reachable" in line
    assert "or point data.path to a local copy" in line
