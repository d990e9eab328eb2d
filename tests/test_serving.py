"""A registered model, loaded by MLflow, recommends what `task=recommend` recommends."""

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from contracts import composed
from small_runs import SMALL, SMALL_DATA

from recsweep.app import run
from recsweep.errors import InputError
from recsweep.tracking.registry import register
from recsweep.tracking.store import Store

ROOT = Path(__file__).resolve().parent.parent

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's, of SQLAlchemy
    pytest.mark.filterwarnings("ignore:.*inferred as AnyType"),  # MLflow's, of its own import
]

COUNTS = (
    "data=csv", "data.min_user_interactions=5", "data.min_rating=2", "transform=log1p",
    "model=ease", "model.l2=10.0", "k=[5]",
)  # fmt: skip
LINES = {
    "ease": ("model=ease", *SMALL_DATA),
    "multivae": SMALL,
    "tensorflow": (*SMALL, "backend=tensorflow"),
}


class Kept:
    """A tracked run whose model is registered as `shop`."""

    def __init__(self, folder: Path, *line: str) -> None:
        self.folder, self.results = folder, folder / "run" / "results"
        self.store = Store(f"sqlite:///{folder / 'mlflow.db'}")
        tracking = {
            "_target_": "recsweep.tracking.MLflowTracker", "experiment": "e", "run_name": "r",
            "uri": self.store.uri,
        }  # fmt: skip
        with redirect_stdout(StringIO()):
            run({**self.composed(*line), "tracking": tracking}, folder / "run", [])
        environment = yaml.safe_load((self.results / "environment.yaml").read_text("utf-8"))
        self.run_id = environment["run_id"]
        register(self.store, self.run_id, "shop", self.results, "ndcg@5")

    def composed(self, *line: str) -> dict[str, Any]:
        return dict(composed(f"cache_dir='{self.folder}/cache'", *line))

    def loaded(self) -> Any:
        import mlflow
        from mlflow.tracking._tracking_service.utils import _use_tracking_uri

        with _use_tracking_uri(self.store.uri):
            return mlflow.pyfunc.load_model("models:/shop/1", suppress_warnings=True)

    def recommended(self, histories: pd.DataFrame, k: int) -> list[list[str]]:
        """Rows of the file that `task=recommend` writes."""
        given, output = self.folder / "histories.csv", self.folder / "recommended.csv"
        histories.to_csv(given, index=False)
        line = (
            "task=recommend", f"task.run='{self.results}'", f"task.histories='{given}'",
            f"task.output='{output}'", "task.overwrite=true", f"k={k}",
        )  # fmt: skip
        with redirect_stdout(StringIO()):
            run(self.composed(*line), self.folder / "out", [])
        return list(csv.reader(output.read_text("utf-8").splitlines()))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    before = dict(os.environ)
    yield tmp_path_factory.mktemp("kept")
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def ease(place: Path) -> Kept:
    return Kept(place / "ease", *LINES["ease"])


@pytest.fixture(scope="module")
def model(ease: Kept) -> Any:
    return ease.loaded()


def histories(n_users: int = 30, n_items: int = 50, seed: int = 3) -> pd.DataFrame:
    """Made-up ones; users are numbers, and their rows are mixed."""
    random = np.random.default_rng(seed)
    pairs = [(user + 1000, item) for user in range(n_users) for item in range(n_items)]
    chosen = random.choice(len(pairs), n_users * 6, replace=False)
    return pd.DataFrame([pairs[place] for place in chosen], columns=["user", "item"])


def as_rows(table: pd.DataFrame) -> list[list[str]]:
    """As a CSV file has them."""
    lines = zip(*(table[name].tolist() for name in ("user", "rank", "item")), strict=True)
    scores = [str(score) for score in table["score"].to_numpy()]
    return [
        ["user", "rank", "item", "score"],
        *([*map(str, line), score] for line, score in zip(lines, scores, strict=True)),
    ]


# --- what is recommended ------------------------------------------------------------------------


def test_ease_gives_the_lists_of_task_recommend(ease: Kept, model: Any) -> None:
    given = histories()
    found = model.predict(given, params={"k": 7})
    assert as_rows(found) == ease.recommended(given, 7)
    assert len(found) == 7 * given["user"].nunique()


@pytest.mark.extended
def test_values_become_what_they_became_in_training(place: Path) -> None:
    random = np.random.default_rng(0)
    data = histories(90, 20).assign(value=lambda table: random.integers(1, 40, len(table)))
    place = place / "counts"
    place.mkdir()
    data.to_csv(place / "data.csv", index=False)
    kept = Kept(place, *COUNTS, f"data.path='{place / 'data.csv'}'")
    loaded, given = kept.loaded(), data.head(200)
    found = loaded.predict(given, params={"k": 3})
    assert as_rows(found) == kept.recommended(given, 3)
    clicks = loaded.predict(given[["user", "item"]], params={"k": 3})
    assert as_rows(clicks) == kept.recommended(given[["user", "item"]], 3)
    assert not np.array_equal(found["score"], clicks["score"])


def test_users_keep_their_order_and_type_and_get_ten_unseen_items(model: Any) -> None:
    given = pd.DataFrame({"user": ["z", "a", "z"], "item": ["7", 3, 9]})
    found = model.predict(given)
    assert found["user"].tolist() == ["z"] * 10 + ["a"] * 10
    assert found["rank"].tolist() == [*range(1, 11)] * 2
    assert not {7, 9} & set(found["item"][:10])
    assert 3 not in set(found["item"][10:])
    numbers = model.predict(given.assign(user=[5, 4, 5]).astype({"user": "category"}))
    assert numbers["user"].tolist() == [5] * 10 + [4] * 10
    assert numbers.drop(columns="user").equals(found.drop(columns="user"))


def test_a_user_who_has_almost_all_gets_the_rest(model: Any) -> None:
    ids = model.unwrap_python_model().fitted.item_ids
    found = model.predict(pd.DataFrame({"user": "u", "item": ids[2:]}), params={"k": 5})
    assert sorted(found["item"]) == sorted(ids[:2])
    assert model.predict(pd.DataFrame({"user": "u", "item": ids})).empty


def test_no_histories_give_no_recommendations(model: Any) -> None:
    found = model.predict(histories()[:0])
    assert found.empty
    assert list(found) == ["user", "rank", "item", "score"]


def test_unknown_items_are_ignored_and_counted_or_refused(
    model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    given = pd.DataFrame({"user": ["a", "a", "b"], "item": [3, "new", "newer"]})
    found = model.predict(given, params={"k": 4})
    assert [record.message for record in caplog.records] == [
        "2 of 3 items of the histories are not in the model's catalogue ('new', 'newer'): ignored",
        "1 of 2 users of the histories have no item that counts ('b'): scored as new",
    ]
    known = model.predict(given[:1], params={"k": 4})
    assert found[:4].equals(known)
    assert found["user"][4:].tolist() == ["b"] * 4
    strict = {"unknown_items": "refuse"}
    with pytest.raises(InputError, match=r"2 of 3 items of the histories are not in the mod"):
        model.predict(given, params=strict)
    assert not model.predict(given[:1], params=strict).empty


def test_ids_are_found_however_they_are_written(model: Any) -> None:
    given = pd.DataFrame({"user": ["a", "a", "b"], "item": ["3", "7", "9"]})
    expected = model.predict(given)
    for items in (
        [3.0, 7.0, 9.0],
        [" 3", "7.0", b"9"],
        [Decimal("3.0"), np.float32(7), np.int8(9)],
    ):
        assert model.predict(given.assign(item=pd.Series(items))).equals(expected)
    numbers = model.predict(given.assign(user=[5.0, 5.0, 6.0]))
    assert numbers["user"].tolist() == [5.0] * 10 + [6.0] * 10, "users come back as they went in"
    assert numbers.drop(columns="user").equals(expected.drop(columns="user"))


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "params", "expected"),
    [
        (
            [["a", 3]],
            {},
            "must be a pandas DataFrame with a row per interaction, but are of type l",
        ),
        ({"user": ["a"], "itm": [3]}, {}, "have the columns user, item and, if there are any, val"),
        ({"user": ["a"], "item": [3], "rating": [1]}, {}, "but have user, item, rating; rename or"),
        ({"user": ["a", "b"], "item": [3, None]}, {}, r"1 rows do not \(first: user 'b', item nan"),
        ({"user": ["a"] * 2, "item": [3, "3"]}, {}, r"occurs once, but 1 rows do not \(first: us"),
        ({"user": ["a", "a "], "item": [3, 3.0]}, {}, r"occurs once, but 1 rows do not \(first: u"),
        ({"user": ["a"], "item": [np.inf]}, {}, r"1 rows do not \(first: user 'a', item inf"),
        ({"user": ["a"], "item": [[3]]}, {}, r"every item id must be text or a number"),
        ({"user": ["a"], "item": [3], "value": [-1]}, {}, "have a number from 0 to 3.4028"),
        ({"user": ["a"], "item": [3], "value": ["x"]}, {}, "have a number from 0 to 3.4028"),
        ({"user": ["a"], "item": [3], "value": [np.inf]}, {}, "have a number from 0 to 3.4028"),
        (
            {"user": ["a"], "item": [3]},
            {"k": 51},
            "k must be from 1 to the catalogue's 50 items, b",
        ),
        ({"user": ["a"], "item": [3]}, {"k": 0}, "but is 0"),
        ({"user": ["a"], "item": [3]}, {"unknown_items": "no"}, "ignore or refuse, but is 'no'"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    model: Any, given: Any, params: dict[str, Any], expected: str
) -> None:
    table = pd.DataFrame(given) if isinstance(given, dict) else given
    with pytest.raises(InputError, match=expected) as caught:
        model.predict(table, params=params)
    assert "\n" not in str(caught.value)


def test_another_backend_than_the_one_that_runs_is_one_line(ease: Kept) -> None:
    config = ease.results / "config.yaml"
    before = config.read_text("utf-8")
    config.write_text(before.replace("backend: jax", "backend: tensorflow"), encoding="utf-8")
    try:
        register(ease.store, ease.run_id, "other", ease.results, "ndcg@5")
    finally:
        config.write_text(before, encoding="utf-8")
    import mlflow
    from mlflow.tracking._tracking_service.utils import _use_tracking_uri

    with (
        _use_tracking_uri(ease.store.uri),
        pytest.raises(
            InputError, match="a process can use only one backend, but backend=tensorflow was"
        ),
    ):
        mlflow.pyfunc.load_model("models:/other/1", suppress_warnings=True)


def test_a_class_of_others_is_imported_only_if_the_environment_trusts_it(
    ease: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "was here"
    (tmp_path / "own_part.py").write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()")
    monkeypatch.syspath_prepend(tmp_path)
    from mlflow.pyfunc import PythonModelContext

    from recsweep.serving import ServedModel

    shutil.copytree(ease.results, tmp_path / "run")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text("utf-8"))
    config["transform"] = {"_target_": "own_part.Part"}
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    context = PythonModelContext({"run": str(tmp_path / "run")}, None)
    with pytest.raises(InputError, match=r"set RECSWEEP_TRUST=own_part$"):
        ServedModel().load_context(context)
    monkeypatch.setenv("RECSWEEP_TRUST", "own_part")
    model = ServedModel()
    model.load_context(context)
    assert not mark.exists()
    with pytest.raises(InputError, match=r"'own_part\.Part' is not \(module"):
        model.predict(pd.DataFrame({"user": ["a"], "item": [1]}))
    assert mark.exists()


# --- in a process of its own --------------------------------------------------------------------

FRESH = """
import sys, mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/shop/1")
model.predict(pd.read_csv(sys.argv[2]), params={"k": 5}).to_csv(sys.argv[3], index=False)
import keras
assert keras.config.backend() == sys.argv[4]
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "backend"), [("ease", "jax"), ("multivae", "jax"), ("tensorflow", "tensorflow")]
)
def test_it_loads_in_a_fresh_process_with_the_runs_backend(
    tmp_path: Path, name: str, backend: str
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for variable in ("KERAS_BACKEND", "MLFLOW_TRACKING_URI"):
        environment.pop(variable, None)

    def python(*arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, text=True,
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    cache = f"cache_dir={tmp_path}/cache"
    python("-m", "recsweep", *LINES[name], cache)
    python("-m", "recsweep", "task=register", "task.name=shop", cache)
    given, found, told = (tmp_path / f"{each}.csv" for each in ("given", "found", "told"))
    histories().to_csv(given, index=False)
    python("-c", FRESH, f"sqlite:///{tmp_path}/mlflow.db", str(given), str(found), backend)
    python("-m", "recsweep", "task=recommend", f"task.histories={given}", f"task.output={told}",
           "k=5", cache)  # fmt: skip
    mine, theirs = pd.read_csv(found), pd.read_csv(told)
    assert mine.drop(columns="score").equals(theirs.drop(columns="score"))
    np.testing.assert_array_equal(mine["score"].astype("f4"), theirs["score"].astype("f4"))
