"""Files known by their first bytes."""

import bz2
import gzip
import io
import lzma
import pickle
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsweep.data.magic_bytes import N_BYTES, columnar, encoding, foreign, packer

TEXT = b"user,item,value\nu,i,1\n"


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("clicks.csv"), io.BytesIO(b""))
    return out.getvalue()


def zipped(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, "application/vnd.oasis.opendocument.spreadsheet")
    return out.getvalue()


def database(tmp_path: Path) -> bytes:
    with sqlite3.connect(tmp_path / "clicks.db") as connection:
        connection.execute("create table clicks (user, item)")
    connection.close()
    return (tmp_path / "clicks.db").read_bytes()


def array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.zeros(3))
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        pytest.param(gzip.compress(TEXT, mtime=0), "gzip", id="gzip"),
        pytest.param(bz2.compress(TEXT), "bz2", id="bz2"),
        pytest.param(lzma.compress(TEXT), "xz", id="xz"),
        pytest.param(TEXT, None, id="text"),
        pytest.param(tar(), None, id="tar"),
    ],
)
def test_packers_are_known(content: bytes, name: str | None):
    assert packer(content) == name


def test_formats_by_column_are_known(tmp_path: Path):
    table, found = pd.DataFrame({"user": [1]}), {}
    for name in ("parquet", "feather", "orc"):
        getattr(table, f"to_{name}")(tmp_path / name)
        found[name] = columnar((tmp_path / name).read_bytes())
    assert found == {"parquet": "parquet", "feather": "ipc", "orc": "orc"}
    assert columnar(TEXT) is None


@pytest.mark.parametrize(
    ("written", "found"),
    [("utf-16", "utf-16"), ("utf-32", "utf-32"), ("utf-8-sig", None), ("utf-8", None)],
)
def test_byte_order_marks_are_known(written: str, found: str | None):
    assert encoding("user,item".encode(written)) == found


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (tar(), "a tar archive"),
        (zipped("clicks.csv"), "a zip archive"),
        (zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook"),
        (zipped("mimetype"), "an OpenDocument file"),
        (array(), "a NumPy array"),
        (b"\x89PNG\r\n\x1a\n", "a picture"),
        (pickle.dumps(TEXT), "a pickled object"),
        (b'{"user": "u", "items": ["i"]}\n', "JSON"),
        (b'\xef\xbb\xbf [\n  {\n"user": 1}]', "JSON"),
        (b"[[1, 2], [3, 4]]", "JSON"),
        (b"\n<!DOCTYPE html><html>", "a page of HTML or XML"),
        (b'<?xml version="1.0"?>', "a page of HTML or XML"),
        (TEXT.decode().encode("utf-16-le"), "UTF-16 text without a byte order mark"),
    ],
)
def test_what_is_no_table_is_named(content: bytes, what: str):
    found = foreign(content[:N_BYTES])
    assert found is not None
    assert what in found[0]


def test_a_database_is_named(tmp_path: Path):
    found = foreign(database(tmp_path)[:N_BYTES])
    assert found is not None
    assert found[0] == "an SQLite database"


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        b"",
        b"{u},i,1\n",
        b"[u],i,1\n",
        b"<u>,i,1\n",
        TEXT.decode().encode("utf-16"),
        b"PK,i\n",
    ],
)
def test_text_is_nothing_else(content: bytes):
    assert foreign(content) is None
