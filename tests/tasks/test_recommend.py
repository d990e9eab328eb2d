"""From a finished run to a file of recommendations, and from there to the run's own numbers."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from small_runs import SMALL, SMALL_DATA, metrics

from recsweep.app import Settings, load_split, run
from recsweep.build import validate
from recsweep.errors import InputError
from recsweep.persistence import write_checksums

POPULARITY = ("model=popularity", *SMALL_DATA)


@pytest.fixture
def results(config: Any, tmp_path: Path) -> Path:
    """What a run of popularity left: 50 items."""
    run(config(*POPULARITY), tmp_path / "trained", [])
    return tmp_path / "trained" / "results"


@pytest.fixture
def recommend(config: Any, tmp_path: Path, results: Path) -> Any:
    """Recommends from that run and gives the file's lines."""

    def lines(name: str, *overrides: str, k: int = 5) -> list[str]:
        output = tmp_path / name
        run(
            config("task=recommend", f"task.run='{results}'", f"task.output='{output}'", f"k={k}",
                   *overrides),
            tmp_path / "out", [],
        )  # fmt: skip
        return output.read_text("utf-8").splitlines()

    return lines


def split_of(results: Path, cache: Path) -> Any:
    settings = yaml.safe_load((results / "config.yaml").read_text("utf-8"))
    return load_split(validate(Settings, {**settings, "cache_dir": cache}, ""))


def file(folder: Path, text: str) -> Path:
    path = folder / "given.txt"
    path.write_text(text, encoding="utf-8")
    return path


# --- what is recommended ------------------------------------------------------------------------


def test_every_user_gets_the_most_popular_items_that_they_do_not_have(
    recommend: Any, results: Path, tmp_path: Path
) -> None:
    split = split_of(results, tmp_path / "cache")
    totals = np.asarray(split.train.sum(axis=0)).ravel()
    user_ids, histories = split.known_histories()
    lines = recommend("rec.txt")
    assert len(lines) == len(user_ids) == 120
    for line, user, row in zip(lines, user_ids, histories, strict=True):
        unseen = [item for item in range(50) if item not in row.indices]
        best = sorted(unseen, key=lambda item: (-totals[item], item))[:5]
        assert line == " ".join(map(str, [user, *split.item_ids[best]]))


def test_the_file_does_not_depend_on_the_batch_size(recommend: Any) -> None:
    assert recommend("a.txt") == recommend("b.txt", "evaluation_batch_size=7")


def test_chosen_users_come_in_the_order_they_were_asked_for(recommend: Any, tmp_path: Path) -> None:
    everybody = {line.split()[0]: line for line in recommend("all.txt")}
    users = file(tmp_path, "17\n3\n\n17\n5\n")
    lines = recommend("rec.txt", f"task.users='{users}'")
    assert lines == [everybody[user] for user in ("17", "3", "5")]


def test_users_who_bring_their_history_get_what_they_do_not_have(
    recommend: Any, results: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    split = split_of(results, tmp_path / "cache")
    by_popularity = np.argsort(-np.asarray(split.train.sum(axis=0)).ravel(), kind="stable")
    first, second, third = map(str, split.item_ids[by_popularity[:3]])
    histories = file(tmp_path, f"new {first}\nnew unheard\nother {second} 3\n".replace(" 3", ""))
    lines = recommend("rec.txt", f"task.histories='{histories}'", k=2)
    assert lines == [f"new {second} {third}", f"other {first} {third}"]
    assert "1 of 3 items of" in caplog.text


def test_the_three_formats_say_the_same(recommend: Any) -> None:
    in_txt = [line.split() for line in recommend("rec.txt")]
    in_csv = [line.split(",") for line in recommend("rec.csv")]
    in_jsonl = [json.loads(line) for line in recommend("given.away", "task.format=jsonl")]
    assert [[str(entry["user"]), *map(str, entry["items"])] for entry in in_jsonl] == in_txt
    assert in_csv[0] == ["user", "rank", "item", "score"]
    assert in_csv[1:] == [
        [str(entry["user"]), str(rank), str(item), str(score)]
        for entry in in_jsonl
        for rank, (item, score) in enumerate(zip(entry["items"], entry["scores"], strict=True), 1)
    ]


def test_a_user_with_fewer_unseen_items_than_k_gets_fewer(recommend: Any, results: Path) -> None:
    lines = recommend("rec.txt", k=50)
    split = split_of(results, results.parent.parent / "cache")
    lengths = np.diff(split.known_histories()[1].indptr)
    assert [len(line.split()) - 1 for line in lines] == list(50 - lengths)
    assert all(len(set(line.split()[1:])) == len(line.split()[1:]) for line in lines)


# --- where the model comes from -----------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy
def test_a_tracked_run_recommends_by_its_id_by_latest_and_by_folder_what_it_was_measured_by(
    config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = {
        "_target_": "recsweep.tracking.MLflowTracker", "experiment": "e", "run_name": "r",
        "uri": f"sqlite:///{tmp_path / 'mlflow.db'}",
    }  # fmt: skip
    run({**config(*POPULARITY), "tracking": store}, tmp_path / "trained", [])
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("run ")]
    split = split_of(tmp_path / "trained" / "results", tmp_path / "cache")
    users = file(tmp_path, "\n".join(map(str, split.test.user_ids)))
    contents = set()
    for place in (line.split()[1], "latest", str(tmp_path / "trained" / "results")):
        settings = config(
            "task=recommend", f"task.run='{place}'", f"task.users='{users}'", "k=10",
            f"task.output='{tmp_path / 'rec.txt'}'", "task.overwrite=true",
        )  # fmt: skip
        run({**settings, "tracking": store}, tmp_path / "out", [])
        contents.add((tmp_path / "rec.txt").read_text("utf-8"))
    assert len(contents) == 1
    rows, items = split.test.target.nonzero()
    truth = zip(split.test.user_ids[rows], split.item_ids[items], strict=True)
    (tmp_path / "truth.txt").write_text("".join(f"{u} {i}\n" for u, i in truth), encoding="utf-8")
    files = {"recommendations": "rec.txt", "truth": "truth.txt", "output": "measured.json"}
    run(
        config("task=evaluate", "k=[5,10]",
               *(f"task.{name}='{tmp_path / path}'" for name, path in files.items())),
        tmp_path / "out", [],
    )  # fmt: skip
    measured = json.loads((tmp_path / "measured.json").read_text("utf-8"))["mean"]
    told = metrics(tmp_path / "trained")["test"]["mean"]
    assert {name for name in told if not name.startswith("coverage")} == set(measured)
    for name, value in measured.items():
        assert value == pytest.approx(told[name], abs=1e-12)  # sums in another order of users


def test_a_network_recommends_as_well(config: Any, tmp_path: Path) -> None:
    run(config(*SMALL), tmp_path / "trained", [])
    line = ["task=recommend", f"task.run='{tmp_path}/trained/results'", "k=3"]
    run(config(*line, f"task.output='{tmp_path / 'rec.txt'}'"), tmp_path / "out", [])
    lists = [text.split()[1:] for text in (tmp_path / "rec.txt").read_text("utf-8").splitlines()]
    assert [len(items) for items in lists] == [3] * 120
    assert len(set(map(tuple, lists))) > 60, "to each their own"


def test_what_the_command_line_says_of_the_runs_own_groups_is_told_to_be_unused(
    config: Any, tmp_path: Path, results: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = config("task=recommend", f"task.run='{results}'", "k=3",
                      f"task.output='{tmp_path / 'rec.txt'}'")  # fmt: skip
    run(settings, tmp_path / "out", ["k=3", "model=ease", "data.min_rating=4"])
    assert [r.message for r in caplog.records if r.levelno == logging.WARNING] == [
        "task=recommend uses the run's own settings: ignoring model=ease, data.min_rating=4"
    ]


@pytest.mark.extended
@pytest.mark.realdata
@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("model=popularity", 0.1119),
        pytest.param("model=ease model.l2=300.0", 0.3142, marks=pytest.mark.slow),
    ],
)
def test_the_official_hold_out_of_jukebox_through_files(
    config: Any, tmp_path: Path, shared_data: Path, model: str, expected: float
) -> None:
    """Figures of shared/data/README.md; all of listen_count.txt is trained on."""
    folder = shared_data / "jukebox"
    data = ["data=jukebox", f"data.path='{folder}'", "split=heldout", "refit=true", "k=100"]
    truth = folder / "validation_data.txt"
    run(config(*data, f"split.path='{truth}'", *model.split()), tmp_path / "trained", [])
    run(
        config("task=recommend", f"task.run='{tmp_path}/trained/results'", "k=100",
               f"task.users='{folder / 'user_id.txt'}'", f"task.output='{tmp_path / 'rec.txt'}'"),
        tmp_path / "out", [],
    )  # fmt: skip
    run(
        config("task=evaluate", f"task.recommendations='{tmp_path / 'rec.txt'}'", "k=100",
               f"task.truth='{truth}'", f"task.output='{tmp_path / 'measured.json'}'"),
        tmp_path / "out", [],
    )  # fmt: skip
    measured = json.loads((tmp_path / "measured.json").read_text("utf-8"))
    assert (measured["n_users"], measured["n_without_recommendations"]) == (500, 0)
    assert measured["mean"]["ndcg@100"] == pytest.approx(expected, abs=0.0005)
    told = metrics(tmp_path / "trained")["test"]["mean"]["ndcg@100"]
    assert measured["mean"]["ndcg@100"] == pytest.approx(told, abs=1e-12)


# --- what is refused, without a trace -----------------------------------------------------------


def refused(recommend: Any, tmp_path: Path, *overrides: str, k: int = 5) -> str:
    """The one line; no file is left."""
    before = sorted(path for path in tmp_path.rglob("*") if "cache" not in path.parts)
    with pytest.raises(InputError) as caught:
        recommend("refused.txt", *overrides, k=k)
    after = sorted(path for path in tmp_path.rglob("*") if "cache" not in path.parts)
    assert before == after
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_unknown_users_are_named_and_counted_or_skipped(
    recommend: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    strangers = [f"stranger {i}" for i in range(7)]
    users = file(tmp_path, "\n".join([*strangers, "17"]))
    text = refused(recommend, tmp_path, f"task.users='{users}'")
    found = "7 of 8 requested users are not in"
    assert found in text
    assert "('stranger 0', 'stranger 1', 'stranger 2', …)" in text
    skipping = (f"task.users='{users}'", "task.unknown_users=skip")
    assert [line.split()[0] for line in recommend("some.txt", *skipping)] == ["17"]
    assert found in caplog.text
    users = file(tmp_path, "\n".join(strangers))
    assert "7 of 7 requested" in refused(recommend, tmp_path, *skipping)


def test_a_list_longer_than_the_catalogue_is_refused(recommend: Any, tmp_path: Path) -> None:
    assert "k must not exceed the 50 items" in refused(recommend, tmp_path, k=51)


def test_a_request_that_cannot_be_read_is_refused(recommend: Any, tmp_path: Path) -> None:
    assert "must name at least one user" in refused(
        recommend, tmp_path, f"task.users='{file(tmp_path, ' ')}'"
    )
    assert "cannot read " in refused(recommend, tmp_path, f"task.users='{tmp_path / 'absent'}'")
    assert "line 2 has '-1'" in refused(
        recommend, tmp_path, f"task.histories='{file(tmp_path, '1 2 3' + chr(10) + '1 3 -1')}'"
    )
    both = (f"task.users='{tmp_path}'", f"task.histories='{tmp_path}'")
    assert "must not both be given" in refused(recommend, tmp_path, *both)


def test_an_output_that_is_there_is_kept_unless_it_may_go(recommend: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(InputError, match=r"already there; set task\.overwrite=true"):
        recommend("mine.txt")
    assert (tmp_path / "mine.txt").read_text("utf-8") == "precious"
    assert len(recommend("mine.txt", "task.overwrite=true")) == 120
    whole = (tmp_path / "mine.txt").read_bytes()
    with pytest.raises(InputError, match=r"mine\.txt is read by this command"):
        recommend("mine.txt", "task.overwrite=true", f"task.users='{tmp_path / 'mine.txt'}'")
    assert (tmp_path / "mine.txt").read_bytes() == whole
    with pytest.raises(InputError, match=r"must end in one of \.txt, \.csv, \.jsonl"):
        recommend("mine.parquet")


def test_a_changed_model_and_changed_data_are_refused(
    recommend: Any, tmp_path: Path, results: Path
) -> None:
    of_then = (results / "split.yaml").read_text("utf-8")
    fingerprint = yaml.safe_load(of_then)["fingerprint"]
    other = of_then.replace(fingerprint, f"'{'0' * 64}'")
    (results / "split.yaml").write_text(other, encoding="utf-8")
    text = refused(recommend, tmp_path)
    assert f"split 000000000000…, but is now split {fingerprint[:12]}…" in text
    (results / "split.yaml").unlink()
    assert "must have a readable split.yaml" in refused(recommend, tmp_path)
    (results / "split.yaml").write_text(of_then, encoding="utf-8")
    weights = results / "model" / "weights.npz"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert f"{weights} must be the file that was saved" in refused(recommend, tmp_path)
    (results / "config.yaml").write_text("seed: 1", encoding="utf-8")
    assert "config.yaml cannot be used by this version" in refused(recommend, tmp_path)


def test_a_run_that_is_not_there_is_refused(recommend: Any, tmp_path: Path) -> None:
    absent = f"task.run='{tmp_path / 'absent'}'"
    assert "has no folder model" in refused(recommend, tmp_path, absent)
    assert "tracking=off keeps no runs" in refused(recommend, tmp_path, "task.run=latest")
    assert "tracking=off keeps no runs" in refused(recommend, tmp_path, "task.run=abc")


def test_a_model_that_scores_nan_leaves_no_file(
    recommend: Any, tmp_path: Path, results: Path
) -> None:
    too_large = np.full(50, 1e300)  # finite, but infinite as a score, which is float32
    for totals, expected in (
        (np.full(50, np.nan, np.float32), "totals must hold finite numbers, but has NaN"),
        (too_large, "every score must be a finite number"),
    ):
        np.savez(results / "model" / "weights.npz", totals=totals)
        write_checksums(results / "model")
        assert expected in refused(recommend, tmp_path)


def test_a_model_of_another_run_is_refused(
    recommend: Any, config: Any, tmp_path: Path, results: Path
) -> None:
    run(config("model=item_knn", *SMALL_DATA), tmp_path / "other", [])
    model = results / "model"
    shutil.move(model, tmp_path / "own")
    shutil.copytree(tmp_path / "other" / "results" / "model", model)
    text = refused(recommend, tmp_path)
    assert "config.yaml and model/model.yaml must be of the same run" in text
    shutil.rmtree(model)
    shutil.move(tmp_path / "own", model)
    items = pd.read_parquet(model / "items.parquet")["item"].astype(str)
    ids = pd.DataFrame({"item": [*items, "one more"]})
    ids.to_parquet(model / "items.parquet", index=False)
    totals = np.ones(51, np.float32)
    np.savez(model / "weights.npz", totals=totals)
    write_checksums(model)
    text = refused(recommend, tmp_path)
    assert "split.yaml and model/items.parquet must be of the same run, but in" in text
    assert "the number of items is 50 in the first and 51 in the second" in text
