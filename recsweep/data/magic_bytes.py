"""Detects by its first bytes how a file is compressed and encoded, or what other kind it is."""

import re

N_BYTES = 4096
"""How much of a file is inspected."""

PACKERS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}
"""Single compressed files, decompressed while reading."""

COLUMNAR = {b"PAR1": "parquet", b"ARROW1": "ipc", b"ORC": "orc"}
"""Columnar formats, by their names in `pyarrow.dataset`."""

_BYTE_ORDER_MARKS = {  # UTF-32 first: its mark starts like UTF-16's
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_ARCHIVES = {
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "an empty zip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"LZIP": "packed by lzip",
    b"\x1f\x9d": "packed by compress",
}
_OTHERS = {
    b"SQLite format 3\0": "an SQLite database",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Excel workbook",
    b"%PDF-": "a PDF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x93NUMPY": "a NumPy array",
    b"FEA1": "a Feather file of version 1",
    b"Obj\x01": "an Avro file",
    b"\x80\x03": "a pickled object",
    b"\x80\x04": "a pickled object",
    b"\x80\x05": "a pickled object",
}
_SAVE = "save the table as CSV or Parquet"
_JSON = re.compile(rb'\s*(\[\s*)?\{\s*("([^"\\]|\\.)*"\s*:|\}|$)|\s*\[\s*[\[{]')
_MARKUP = re.compile(rb"\s*<(!doctype html|html|\?xml|!--)", re.IGNORECASE)


def packer(head: bytes) -> str | None:
    """The compression of the file, or None."""
    return _of(PACKERS, head)


def columnar(head: bytes) -> str | None:
    """The columnar format of the file, or None."""
    return _of(COLUMNAR, head)


def encoding(head: bytes) -> str | None:
    """The encoding that its byte order mark names, or None: UTF-8."""
    return _of(_BYTE_ORDER_MARKS, head)


def foreign(head: bytes) -> tuple[str, str] | None:
    """The unsupported kind of the file, and what to do about it; None = none recognised.

    Args:
        head: Its first bytes, decompressed.
    """
    if found := _office(head) or _of(_OTHERS, head):
        return found, _SAVE
    if archive := "a tar archive" if head[257:262] == b"ustar" else _of(_ARCHIVES, head):
        return archive, "unpack it and give the file with the interactions"
    text = head.removeprefix(b"\xef\xbb\xbf")
    if _MARKUP.match(text):
        return "a page of HTML or XML", f"{_SAVE}, or download the file itself"
    if _JSON.match(text):
        return "JSON", f"{_SAVE} (pandas.read_json reads it, JSON lines with lines=True)"
    if encoding(head) is None and head.count(0) > len(head) / 10:
        binary = "binary, or UTF-16 text without a byte order mark"
        return f"full of NUL bytes ({binary})", f"convert text to UTF-8, or {_SAVE}"
    return None


def _office(head: bytes) -> str | None:
    """An office table in a zip archive, detected by the first name in it."""
    first_name = head[30:] if head.startswith(b"PK\x03\x04") else b""
    if first_name.startswith((b"[Content_Types].xml", b"xl/", b"docProps/", b"_rels/")):
        return "an Excel workbook"
    is_open = first_name.startswith(b"mimetypeapplication/vnd.oasis.opendocument")
    return "an OpenDocument file" if is_open else None


def _of(signatures: dict[bytes, str], head: bytes) -> str | None:
    return next((name for start, name in signatures.items() if head.startswith(start)), None)
