"""Readers of data, histories, truths and recommendations, given damaged files."""

import gzip
import logging
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from fuzz.cases import PLAIN, all_of, damaged, hold
from hypothesis import strategies as st

from recsweep.data.archive import extract_member
from recsweep.data.formats import Layout
from recsweep.data.ids import id_text
from recsweep.data.plain_text import read_pairs, read_users
from recsweep.data.sources.citeulike import CiteULike
from recsweep.data.sources.delimited import Delimited
from recsweep.data.sources.jukebox import Jukebox
from recsweep.data.sources.lastfm import LastFM
from recsweep.data.sources.liang import Liang
from recsweep.data.sources.lightgcn import LightGCN
from recsweep.data.sources.movielens import MovieLens
from recsweep.data.split import Split
from recsweep.data.splits.heldout import Heldout
from recsweep.data.splits.temporal import Temporal
from recsweep.data.splits.weak import Weak
from recsweep.data.table import read_table
from recsweep.data.timestamps import instant
from recsweep.data.transform import Raw
from recsweep.data.user_histories import read_histories
from recsweep.recommendations.files import read_recommendations
from recsweep.tasks import evaluate

pytestmark = pytest.mark.fuzz

ROWS = [(1, 10, 5.0, 100), (1, 20, 3.5, 101), (2, 10, 1.0, 102), (2, 30, 4.0, 90), (3, 20, 2.0, 7)]
TABLE = pd.DataFrame(ROWS, columns=["user", "item", "value", "timestamp"])
CSV = TABLE.to_csv(index=False).encode()
MANY = b"user,item,value,timestamp\n" + b"".join(
    b"%d,%d,%d,%d\n" % (user, item, 1 + item % 4, (7 * item + 11 * user) % 30)
    for user in range(6) for item in range(5) if (user + item) % 4
)  # fmt: skip
DATED = (
    b"user,item,value,timestamp\n1,2,3,2024-05-31\n2,2,3,2024-05-31T10:00:00\n1,3,1,2024-01-01\n"
)
QUOTED = b'user,item,value,timestamp\n"a,b","x ""y""",1,1\n"c",d,0.5,2\n'
PAIRS = b"user item value\n1 10 5\n1 20 3.5\n2 10 1\n"
COLUMNS = Layout(",", None, "user", "item", "value", "timestamp")
ITEMS = np.array(["10", "20", "30"], dtype=object)
OWN = {"path": None, "min_rating": None, "min_user_interactions": 1, "n_heldout_users": None}
HOSTED = {**OWN, "url": "http://127.0.0.1:9/x.zip", "sha256": None, "counts": None}
LISTS = {
    "txt": b"user item item\n1 10 20\n2 30 10\n",
    "csv": b"user,rank,item,score\n1,1,10,0.5\n1,2,20,0.25\n2,1,30,0.75\n",
    "tsv": b"user\titem\tscore\n1\t10\t0.5\n2\t30\t0.75\n",
    "jsonl": b'{"user": 1, "items": [10, 20], "scores": [0.5, 0.25]}\n{"user": "b", "items": []}\n',
}


def columnar(write: str) -> bytes:
    out = BytesIO()
    getattr(TABLE, write)(out)
    return out.getvalue()


def zipped(**members: bytes) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def load(source: Any, folder: Path) -> Any:
    return source.load(source.files(folder.parent / "cache"))


def delimited(file: Path, **changes: Any) -> Any:
    own = {"delimiter": ",", "quoting": None, "header": True, "duplicates": "error"}
    columns = {f"{name}_column": name for name in ("user", "item", "value", "timestamp")}
    return load(Delimited(name="csv", **{**OWN, **own, **columns, **changes, "path": file}), file)


def temporal(file: Path) -> Split:
    data = delimited(file, duplicates="last")
    return Temporal(
        test_fraction=0.4, valid_fraction=0.3, valid_from=None, test_from=None, window=0,
        unknown_items="drop",
    ).split(data)  # fmt: skip


def weak(file: Path) -> Split:
    of = {"per": "all", "valid_fraction": 0.3, "test_fraction": 0.3, "seed": 1}
    weak = Weak(**of, unknown_items="count", valid_items=False)
    return weak.split(delimited(file, duplicates="max"))


def heldout(file: Path) -> Split:
    own = file.with_name("own.csv")
    own.write_bytes(CSV)
    return Heldout(path=file, valid_fraction=0.5, seed=1).split(delimited(own))


def movielens(file: Path) -> Any:
    own = {**HOSTED, "path": file, "sha256": "0" * 64, "n_ratings": 2}
    del own["counts"]
    return load(MovieLens(name="x", **own, member="x/u.data", wheel=None), file)


class Reader(NamedTuple):
    """A reader of one file.

    Args:
        name: The file's name.
        originals: Valid files.
        read: Reads it.
    """

    name: str
    originals: tuple[bytes, ...]
    read: Callable[[Path], object]


READERS = {
    "csv": Reader("x.csv", (CSV, QUOTED, DATED), lambda file: read_table(file, COLUMNS)),
    "csv without header": Reader(
        "x.csv", (CSV.partition(b"\n")[2],), lambda f: read_table(f, Layout(",", (), 0, 1, 2, 3))
    ),
    "tsv": Reader(
        "x.tsv", (CSV.replace(b",", b"\t"),),
        lambda f: read_table(f, Layout("\t", None, "user", "item", "value", "timestamp")),
    ),
    "colons": Reader(
        "x.dat", (b"1::10::5::100\n2::20::3::101\n",),
        lambda f: read_table(f, Layout("::", ("u", "i", "v", "t"), "u", "i", "v", "t")),
    ),
    "utf-16": Reader(
        "x.csv", (CSV.decode().encode("utf-16"),), lambda file: read_table(file, COLUMNS)
    ),
    "gzip": Reader(
        "x.csv.gz", (gzip.compress(CSV, mtime=0),), lambda file: read_table(file, COLUMNS)
    ),
    "parquet": Reader(
        "x.parquet", (columnar("to_parquet"),), lambda file: read_table(file, COLUMNS)
    ),
    "feather": Reader(
        "x.feather", (columnar("to_feather"),), lambda file: read_table(file, COLUMNS)
    ),
    "orc": Reader("x.orc", (columnar("to_orc"),), lambda file: read_table(file, COLUMNS)),
    "users": Reader("users.txt", (b"user_id\nanna\n7\n",), read_users),
    "pairs": Reader("pairs.txt", (PAIRS, CSV, QUOTED), read_pairs),
    "histories": Reader(
        "h.csv", (PAIRS, CSV), lambda file: read_histories(file, ITEMS, 2.0, Raw())
    ),
    "truth": Reader(
        "truth.csv", (PAIRS, CSV), lambda file: evaluate._wanted(read_pairs(file), file)
    ),
    **{
        f"lists in {ending}": Reader(f"lists.{ending}", (content,), read_recommendations)
        for ending, content in LISTS.items()
    },
    "data=csv": Reader("x.csv", (CSV, DATED), delimited),
    "split=temporal": Reader("x.csv", (MANY,), temporal),
    "split=weak": Reader("x.csv", (MANY,), weak),
    "split=heldout": Reader("truth.txt", (b"user item\n1 30\n3 10\n",), heldout),
    "movielens": Reader(
        "u.data", (b"1\t10\t5\t100\n1\t20\t3\t101\n",),
        movielens,
    ),
    "movielens in an archive": Reader(
        "ml.zip", (zipped(**{"x/u.data": b"1\t10\t5\t100\n1\t20\t3\t101\n"}),),
        movielens,
    ),
    "citeulike": Reader(
        "users.dat", (b"3 10 2 7\n1 2\n2 0 10 \n",),
        lambda f: load(CiteULike(name="x", **{**HOSTED, "path": f}, member="users.dat"), f),
    ),
    "lastfm": Reader(
        "user_artists.dat", (b"userID\tartistID\tweight\n2\t51\t13883\n2\t52\t1\n",),
        lambda f: load(LastFM(name="x", **{**HOSTED, "path": f}, member="user_artists.dat"), f),
    ),
    "jukebox": Reader(
        "listen_count.txt", (b"7 30 3\n5 20 1\n7 20 12\n5 10 0\n",),
        lambda f: load(Jukebox(name="jukebox", **{**OWN, "path": f}), f),
    ),
    "archive": Reader(
        "x.zip", (zipped(**{"x/a.csv": CSV, "b": b""}),),
        lambda f: extract_member(f, "x/a.csv", f.with_name("extracted") / "a.csv"),
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of warnings about odd files would hide the one that matters."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("kind", READERS)
def test_a_damaged_file_is_read_or_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    reader = READERS[kind]
    file = tmp_path / reader.name

    def read(content: bytes) -> None:
        for left in (tmp_path / "extracted").glob("*"):
            left.unlink()
        file.write_bytes(content)
        reader.read(file)

    for original in reader.originals:
        read(original)
    hold(damaged(*reader.originals), read, 100, tmp_path)


FOLDERS = {
    "liang": {
        "train.csv": b"uid,sid\n1,3\n0,0\n0,1\n1,0\n1,2\n",
        "validation_tr.csv": b"uid,sid\n2,3\n2,1\n", "validation_te.csv": b"uid,sid\n2,0\n",
        "test_tr.csv": b"uid,sid\n4,1\n3,0\n3,2\n", "test_te.csv": b"uid,sid\n3,3\n",
    },
    "lightgcn": {"train.txt": b"0 0 1 2\n1 1 2 4\n2 0 1 3 4\n", "test.txt": b"0 3\n1 0\n"},
}  # fmt: skip


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_split_in_a_folder_with_a_damaged_file_is_read_or_refused(
    kind: str, tmp_path: Path
) -> None:
    names = list(FOLDERS[kind])

    def read(case: tuple[str, bytes]) -> None:
        for name, content in FOLDERS[kind].items():
            (tmp_path / name).write_bytes(content)
        (tmp_path / case[0]).write_bytes(case[1])
        more = {"valid_fraction": 0.4, "seed": 1} if kind == "lightgcn" else {}
        source = {"liang": Liang, "lightgcn": LightGCN}[kind]
        load(source(name=kind, path=tmp_path, **more), tmp_path)

    read((names[0], FOLDERS[kind][names[0]]))
    hold(
        st.sampled_from(names).flatmap(
            lambda name: st.tuples(st.just(name), damaged(FOLDERS[kind][name]))
        ),
        read, 150, tmp_path,
    )  # fmt: skip


IDS = st.one_of(
    PLAIN, st.binary(max_size=20), st.decimals(), st.datetimes(), st.dates(), st.timedeltas(),
    st.floats(width=32).map(np.float32),
)  # fmt: skip


def test_every_value_is_an_id_or_none(tmp_path: Path) -> None:
    def read(entry: Any) -> None:
        text = id_text(entry)
        assert text is None or (text.strip() == text != "" and "\n" not in text)
        if text is not None:
            assert id_text(text) == text, "the same id, however often it is written and read"

    hold(IDS, read, 300, tmp_path)


def test_every_value_is_a_time_or_none(tmp_path: Path) -> None:
    dates = st.datetimes(timezones=st.none() | st.timezones()).map(str)
    text = st.text("0123456789-+.:eETZ /_", max_size=24)
    hold(IDS | text | dates, instant, 300, tmp_path)


TYPES = [
    pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.string(), pa.large_string(), pa.binary(),
    pa.bool_(), pa.date32(), pa.timestamp("ns", "UTC"), pa.decimal128(20, 3), pa.null(),
    pa.dictionary(pa.int8(), pa.string()), pa.list_(pa.int8()), pa.struct([("a", pa.int8())]),
    pa.duration("s"), pa.time32("s"), pa.string_view(), pa.uuid(),
]  # fmt: skip
VALUES = [None, 0, 1, -1, 1.5, float("nan"), "a", "7", "", " 8 ", b"b", True, [1], {"a": 1}]


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """A table whose columns have any types that their values allow."""
    n_rows = draw(st.integers(0, 4))
    columns = {}
    for name in draw(st.lists(st.sampled_from(COLUMN_NAMES), min_size=1, max_size=5)):
        kind = draw(st.sampled_from(TYPES))
        values = draw(st.lists(st.sampled_from(VALUES), min_size=n_rows, max_size=n_rows))
        try:
            columns[name] = pa.array(values, kind)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            columns[name] = pa.nulls(n_rows, pa.string())
    return pa.table(columns)


COLUMN_NAMES = ["user", "item", "value", "timestamp", "", "User ID"]


def test_a_table_with_columns_of_any_type_is_read_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.arrow"

    def read(table: pa.Table) -> None:
        with pa.ipc.new_file(file, table.schema) as out:
            out.write_table(table)
        columns = Layout(",", None, "user", "item", *(
            name if name in table.column_names else None for name in ("value", "timestamp")
        ))  # fmt: skip
        all_of([lambda: read_table(file, columns), lambda: read_pairs(file)])

    hold(tables(), read, 300, tmp_path)
