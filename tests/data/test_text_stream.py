"""Text that is packed or encoded in every way, and how many lines it has."""

import bz2
import gzip
import io
import lzma
import tarfile
from collections import deque
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from recsweep import unpack_limits
from recsweep.data.formats import Layout
from recsweep.data.plain_text import text_lines
from recsweep.data.table import read_table
from recsweep.data.text_stream import CountedLines, open_text, refuse_other_formats
from recsweep.unpack_limits import Limits, choose_limits

PACKERS = ("gzip", "bz2", "xz", "zstd", "lz4")
TEXT = "who,what\nü,\u2028\n" * 9


def by_arrow(content: bytes, codec: str) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, codec) as stream:
        stream.write(content)
    return out.getvalue().to_pybytes()


def tar_gz() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("clicks.csv"), io.BytesIO(b""))
    return out.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
@pytest.mark.parametrize("packer", ["none", "gzip", "bz2", "xz", "zstd", "lz4"])
def test_text_is_the_same_however_it_is_packed_and_encoded(
    tmp_path: Path, packer: str, encoding: str
):
    content = TEXT.encode(encoding)
    pack = {"none": bytes, "gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}.get(
        packer, lambda content: by_arrow(content, packer)
    )
    path = tmp_path / "clicks.csv"
    path.write_bytes(pack(content))
    refuse_other_formats(path)
    with open_text(path) as stream:
        assert stream.read().decode() == TEXT


def packed(content: bytes, packer: str) -> bytes:
    pack = {"gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}.get(packer)
    return pack(content) if pack else by_arrow(content, packer)


LINES = b"user,item\n" + b"1,2\n" * (1 << 20)


@pytest.mark.parametrize("packer", PACKERS)
def test_a_file_that_unpacks_to_far_more_than_its_size_is_refused_by_every_reader(
    tmp_path: Path, packer: str, refused, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(unpack_limits, "FREE_BYTES", 1 << 20)  # 256 MiB take seconds to unpack
    choose_limits(Limits(max_compression_ratio=100))  # Snappy's kin packs 250 : 1 at best
    path = tmp_path / "clicks.csv"
    path.write_bytes(packed(LINES, packer))
    expected = (str(path), "at most 100 times its compressed", "max_compression_ratio=1000")
    for quoting in ("minimal", "none"):
        with refused(*expected):
            read_table(path, Layout(",", None, "user", "item", None, quoting=quoting))
    with refused(*expected):
        deque(text_lines(path), maxlen=0)
    choose_limits(Limits(max_compression_ratio=1e9))
    with open_text(path) as stream:
        assert sum(map(len, iter(lambda: stream.read(1 << 20), b""))) == len(LINES)


@pytest.mark.parametrize("packer", PACKERS)
def test_a_small_file_of_equal_lines_is_read(tmp_path: Path, packer: str):
    path = tmp_path / "clicks.csv"
    path.write_bytes(packed(LINES, packer))
    with open_text(path) as stream:
        assert stream.read() == LINES


def test_plain_text_of_any_size_is_read(tmp_path: Path):
    path = tmp_path / "clicks.csv"
    path.write_bytes(LINES[: 1 << 20])
    choose_limits(Limits(max_unpacked_gib=1e-6))
    with open_text(path) as stream:
        assert stream.read() == LINES[: 1 << 20]


def test_what_is_packed_and_no_text_is_named(refused, tmp_path: Path):
    path = tmp_path / "clicks.csv"
    path.write_bytes(tar_gz())
    with refused("is a tar archive, packed by gzip", "unpack it"):
        refuse_other_formats(path)
    pd.DataFrame({"user": [1]}).to_parquet(tmp_path / "table")
    path.write_bytes(bz2.compress((tmp_path / "table").read_bytes()))
    with refused("is parquet, packed by bz2", "unpack it"):
        refuse_other_formats(path)


def outcome(path: Path, content: bytes) -> bytes | None:
    """The text of a packed file; None = it is refused."""
    path.write_bytes(content)
    try:
        with open_text(path) as stream:
            return bytes(stream.read())
    except (OSError, EOFError, lzma.LZMAError):
        return None


@pytest.mark.parametrize("packer", PACKERS)
def test_the_streams_of_a_file_follow_one_another(tmp_path: Path, packer: str):
    one, two = packed(b"1,2\n", packer), packed(b"3,4\n", packer)
    assert outcome(tmp_path / "clicks.csv", one + two + one) == b"1,2\n3,4\n1,2\n"


@pytest.mark.parametrize("packer", PACKERS)
def test_what_follows_a_stream_is_another_whole_one_or_refused(tmp_path: Path, packer: str):
    first, second = packed(b"1,2\n", packer), packed(b"3,4\n" * 99, packer)
    for rest in (*(second[:n] for n in range(1, len(second))), b"1,2\n" * 9, b"x", second + b"x"):
        assert outcome(tmp_path / "clicks.csv", first + rest) is None, rest


@pytest.mark.parametrize("n_bytes", [4, 12, 1 << 17])
def test_padding_after_a_stream_of_xz_is_skipped(tmp_path: Path, n_bytes: int):
    content = lzma.compress(b"1,2\n") + bytes(n_bytes)
    assert outcome(tmp_path / "clicks.csv", content) == b"1,2\n"
    assert outcome(tmp_path / "clicks.csv", content * 2) == b"1,2\n1,2\n"
    assert outcome(tmp_path / "clicks.csv", content + b"1,2\n") is None


def test_a_damaged_byte_in_any_stream_of_xz_is_refused(tmp_path: Path):
    first, second = lzma.compress(b"1,2\n"), lzma.compress(b"3,4\n")
    for place in range(len(first + second)):
        content = bytearray(first + second)
        content[place] ^= 1
        if place >= 6:  # or it is no xz
            assert outcome(tmp_path / "clicks.csv", bytes(content)) is None, place


def read_in_pieces(text: bytes, size: int, has_colons: bool = False) -> tuple[bytes, int]:
    lines = CountedLines(pa.BufferReader(text), has_colons)
    pieces = []
    while piece := lines.read(size):
        assert len(piece) <= size
        pieces.append(piece)
    return b"".join(pieces), lines.n_lines


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("text", "n_lines"),
    [
        ("", 0), ("\n\r\n", 0), ("a", 1), ("a\n", 1), ("a\r\nb", 2), ("a\rb\r", 2),
        ("\n\na\n\n\nb\r\n\r\n", 2), ("a\u2028\x85b\n", 1), ('"a\nb"\n', 2), (" \n", 1),
    ],
)  # fmt: skip
def test_lines_that_are_not_blank_are_counted(text: str, n_lines: int, size: int):
    assert read_in_pieces(text.encode(), size) == (text.encode(), n_lines)


def test_a_byte_order_mark_is_no_line():
    assert read_in_pieces(b"\xef\xbb\xbf\na", 100) == (b"\na", 1)


@pytest.mark.parametrize("size", [2, 3, 4, 100])
@pytest.mark.parametrize("text", ["a::b:::c::::d:", ":", "::", "::::", ":::", "a:b\n::c:\n:d"])
def test_two_colons_become_one_character_wherever_a_block_ends(text: str, size: int):
    found, _ = read_in_pieces(text.encode(), size, has_colons=True)
    assert found.decode() == text.replace("::", "\x1f")
