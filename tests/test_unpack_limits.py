"""Limits on unpacked sizes: by default 4 GiB, and 200 : 1 beyond 256 MiB."""

from pathlib import Path

import pytest
from contracts import composed

from recsweep.app import LIMITS, Settings
from recsweep.errors import InputError
from recsweep.unpack_limits import FREE_BYTES, Limits, UnpackedSize, choose_limits, read_limits

GIB = 1 << 30


def test_the_defaults_are_those_of_the_configuration() -> None:
    config = composed("model=popularity")
    assert Limits(*(config[name] for name in LIMITS)) == Limits() == read_limits() == (4, 200)
    assert [Settings.__pydantic_fields__[name].default for name in LIMITS] == [4, 200]


@pytest.mark.parametrize(
    ("packed_bytes", "unpacked_bytes", "is_allowed"),
    [
        (1, FREE_BYTES, True),
        (1, FREE_BYTES + 1, False),
        (1 << 24, 200 << 24, True),
        (1 << 24, (200 << 24) + 1, False),
        (GIB, 4 * GIB, True),
        (GIB, 4 * GIB + 1, False),
    ],
)
def test_the_ratio_counts_beyond_256_mib_and_the_size_always(
    packed_bytes: int, unpacked_bytes: int, is_allowed: bool
) -> None:
    counted = UnpackedSize(Path("a.zip"), packed_bytes)
    counted.add(unpacked_bytes - 1)
    if is_allowed:
        counted.add(1)
    else:
        with pytest.raises(InputError, match=r"^a\.zip must unpack to at most"):
            counted.add(1)


def test_chosen_limits_hold_and_are_named() -> None:
    choose_limits(Limits(0.5, 1000))
    with pytest.raises(InputError, match=r"at most 0\.5 GiB, .* set max_unpacked_gib=5$"):
        UnpackedSize(Path("a.zip"), GIB).add(GIB)
    with pytest.raises(InputError, match=r"at most 1000 times .* set max_compression_ratio=10000$"):
        UnpackedSize(Path("a.zip"), 1).add(GIB // 2)


def test_the_packed_size_is_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(b"0" * 10)
    with pytest.raises(InputError, match="its compressed 10 bytes"):
        UnpackedSize(tmp_path / "a.gz").add(FREE_BYTES + 1)
