"""Runs brought to MLflow afterwards, as if it had heard of them while they went on."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow_runs import history, tracker

from recsweep.errors import InputError
from recsweep.interfaces import Part
from recsweep.tracking import MLflowTracker
from recsweep.tracking.backfill import Record, Uploader
from recsweep.tracking.nested_runs import child_tags, sweep_tags

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy

CURVES = [
    (step, {"epoch_s": 10.0, "evaluate_s": 2.0, "valid/ndcg@100": step / 4}) for step in (1, 2, 3)
]
PARAMS = {f"p{i}": i for i in range(150)}
FINAL = {"valid_best_ndcg@100": 0.75, "best_epoch": 3, "test_se_x": math.nan, "y": math.inf}


@pytest.fixture
def record(tmp_path: Path) -> Record:
    files = tmp_path / "results"
    (files / "model").mkdir(parents=True)
    (files / "metrics.json").write_text("{}", encoding="utf-8")
    (files / "model" / "weights.npz").write_bytes(b"123")
    return Record(
        name=tmp_path.name, run_id=None, status="FINISHED", reason="", began=1000.0, ended=1100.5,
        params={"of": tmp_path.name, **PARAMS}, tags={"git.commit": "abc"}, marks={},
        data=("ml-100k", "f" * 64, {"n_items": 7}), curves=CURVES, final=(3, FINAL),
        files={"": files}, note="a note", command="recsweep model=ease",
    )  # fmt: skip


def run_named(store: str, name: str) -> Any:
    """The only run of this name that was not deleted."""
    client = tracker(store).store.client
    experiment = client.get_experiment_by_name("tests").experiment_id
    (found,) = client.search_runs([experiment], f"attributes.run_name = '{name}'")
    return found


def read(store: str, run_id: str) -> MLflowTracker:
    one = tracker(store)
    one.run_id = run_id
    return one


def assert_all_is_there(store: str, record: Record) -> None:
    run = run_named(store, record.name)
    info, data, tags = run.info, run.data, run.data.tags
    assert (info.status, info.end_time) == ("FINISHED", 1_100_500)
    assert data.params == {name: str(value) for name, value in record.params.items()}
    assert tags["git.commit"] == "abc"
    assert len(tags["recsweep.uploaded"]) == len("2026-01-01")
    assert tags["mlflow.note.content"] == "a note"
    assert "reason" not in tags
    assert data.metrics["valid_best_ndcg_at_100"] == 0.75
    assert math.isnan(data.metrics["test_se_x"])
    one = read(store, info.run_id)
    assert sorted(history(one, "valid/ndcg_at_100")) == [(1, 0.25), (2, 0.5), (3, 0.75)]
    assert history(one, "best_epoch") == [(3, 3)]
    client = one.store.client
    assert {file.path for file in client.list_artifacts(info.run_id)} == {"metrics.json", "model"}
    assert [f.path for f in client.list_artifacts(info.run_id, "model")] == ["model/weights.npz"]
    assert [each.dataset.name for each in run.inputs.dataset_inputs] == ["ml-100k"]


def test_a_run_that_was_not_tracked_is_new_and_then_it_is_there(store: str, record: Record) -> None:
    assert Uploader(tracker(store)).upload(record) == "new"
    assert_all_is_there(store, record)
    run = run_named(store, record.name)
    assert run.info.start_time == 1_000_000
    assert run.data.tags["recsweep.command"] == "recsweep model=ease"
    points = tracker(store).store.client.get_metric_history(run.info.run_id, "valid/ndcg_at_100")
    assert [point.timestamp for point in points] == [1_012_000, 1_024_000, 1_036_000]
    uploader = Uploader(tracker(store))
    assert uploader.upload(record) == "there"
    assert str(run_named(store, record.name).to_dictionary()) == str(run.to_dictionary())
    assert run.info.run_id in uploader.page(record)


@pytest.mark.parametrize("n_epochs", [0, 1, 3])
def test_a_run_that_was_tracked_in_part_is_completed(
    store: str, record: Record, n_epochs: int
) -> None:
    one = tracker(store, run_name=record.name).__enter__()
    if n_epochs:
        one.log_settings(record.params, record.tags)
        one.log_data("ml-100k", "f" * 64, {"n_items": 7})
    for step, metrics in CURVES[:n_epochs]:
        one.log_metrics(metrics, step)
    if n_epochs == 3:
        one.log_metrics(FINAL, 3)
        one.end("KILLED", "its process died")
    partial = replace(record, run_id=one.run_id)
    assert Uploader(tracker(store)).upload(partial) == "completed"
    assert_all_is_there(store, partial)
    assert run_named(store, record.name).info.run_id == one.run_id
    assert Uploader(tracker(store)).upload(partial) == "there"


def test_a_run_of_which_only_the_files_are_missing_is_completed(store: str, record: Record) -> None:
    assert Uploader(tracker(store)).upload(replace(record, files={})) == "new"
    assert Uploader(tracker(store)).upload(record) == "completed"
    assert_all_is_there(store, record)


def test_an_upload_that_broke_off_goes_on(store: str, record: Record) -> None:
    unreadable = record.files[""] / "model" / "unreadable"
    unreadable.symlink_to("nowhere")
    with pytest.raises(InputError, match=r"unreadable.*; check it and re-run the same command"):
        Uploader(tracker(store)).upload(record)
    unreadable.unlink()
    assert run_named(store, record.name).info.status == "RUNNING"
    assert Uploader(tracker(store)).upload(record) == "completed"
    assert_all_is_there(store, record)


def test_a_run_that_was_deleted_is_uploaded_anew(store: str, record: Record) -> None:
    with tracker(store, run_name=record.name) as one:
        pass
    one.store.client.delete_run(one.run_id)
    assert Uploader(tracker(store)).upload(replace(record, run_id=one.run_id)) == "new"
    assert_all_is_there(store, record)


def test_a_run_of_another_store_is_new_here(store: str, record: Record) -> None:
    for run_id in ("0" * 32, "no id"):
        name = f"{record.name} {run_id}"
        other = replace(record, run_id=run_id, params={"of": name}, name=name)
        assert Uploader(tracker(store)).upload(other) == "new"


def test_a_sweep_that_went_on_is_completed_in_its_run(store: str, record: Record) -> None:
    study = record.name
    name = f"sweep {study}"
    first = replace(
        record, name=name, marks=sweep_tags(study), status="KILLED", reason="1 of 2 trials",
        curves=[], final=(0, {"n_complete": 1.0}),
    )  # fmt: skip
    uploader = Uploader(tracker(store))
    parent = uploader.begin(first)
    trial = replace(record, marks=child_tags(parent, study, Part(0)), data=None, note=None)
    assert [uploader.upload(each) for each in (trial, first)] == ["new", "new"]
    run = run_named(store, name)
    assert (run.info.status, run.data.tags["reason"]) == ("KILLED", "1 of 2 trials")
    assert run_named(store, study).data.tags["mlflow.parentRunId"] == run.info.run_id
    second = replace(first, status="FINISHED", reason="", final=(0, {"n_complete": 2.0}))
    again = Uploader(tracker(store))
    assert again.begin(second) == parent
    assert [again.upload(each) for each in (trial, second)] == ["there", "completed"]
    run = run_named(store, name)
    assert (run.info.status, run.data.metrics["n_complete"]) == ("FINISHED", 2.0)
    assert "reason" not in run.data.tags


def test_an_uploaded_trial_takes_the_place_of_a_run_that_was_lost(
    store: str, record: Record
) -> None:
    parent = tracker(store)
    parent.open_sweep(record.name, "a sweep", {}, {})
    with parent.nested(parent.run_id, record.name, Part(0), "lost") as lost:
        lost.end("KILLED", "its process died")
    marks = child_tags(str(parent.run_id), record.name, Part(0))
    trial = replace(record, marks=marks, status="PRUNED", reason="pruned at epoch 3: …")
    assert Uploader(tracker(store)).upload(trial) == "new"
    run = run_named(store, record.name)
    assert (run.info.status, run.data.tags["recsweep.state"]) == ("KILLED", "pruned")
    tags = read(store, str(lost.run_id)).store.client.get_run(lost.run_id).data.tags
    assert (tags["recsweep.kind"], tags["recsweep.superseded_by"]) == (
        "superseded", run.info.run_id,
    )  # fmt: skip
    assert Uploader(tracker(store)).upload(trial) == "there"


def test_a_store_that_cannot_be_used_is_one_line() -> None:
    with pytest.raises(InputError, match=r"refused.; check it and re-run the same command$"):
        Uploader(tracker("http://127.0.0.1:1"))


def test_a_later_replicates_epochs_are_completed_where_the_first_ones_are_there(
    store: str, record: Record
) -> None:
    later = [(step, {"replicate_1/valid/ndcg@100": step / 8, "replicate_1/epoch_s": 2.0})
             for step in (1, 2)]  # fmt: skip
    one = tracker(store, run_name=record.name).__enter__()
    for step, metrics in [*CURVES, later[0]]:
        one.log_metrics(metrics, step)
    one.flush()
    partial = replace(record, run_id=one.run_id, curves=[*CURVES, *later])
    assert Uploader(tracker(store)).upload(partial) == "completed"
    one = read(store, str(one.run_id))
    assert sorted(history(one, "replicate_1/valid/ndcg_at_100")) == [(1, 0.125), (2, 0.25)]
    assert len(history(one, "valid/ndcg_at_100")) == len(CURVES)
    assert Uploader(tracker(store)).upload(partial) == "there"


# --- a folder that names another run as its own -------------------------------------------------

OTHERS: dict[str, dict[str, Any]] = {
    "parameter": {"params": {**PARAMS, "p7": 8}},
    "data": {"tags": {"data.fingerprint": "e" * 64}},
    "score": {"final": (3, {**FINAL, "valid_best_ndcg@100": 0.99})},
    "epoch": {"curves": [(step, {**each, "epoch_s": 9.0}) for step, each in CURVES]},
    "study": {"marks": {"recsweep.study": "another"}},
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_run_that_holds_other_values_is_left_alone(
    store: str, record: Record, other: str
) -> None:
    marks = {"recsweep.study": "mine"}
    mine = replace(record, tags={"data.fingerprint": "d" * 64}, marks=marks)
    assert Uploader(tracker(store)).upload(mine) == "new"
    before = run_named(store, record.name)
    files = record.files[""].parent / "theirs"
    files.mkdir()
    (files / "metrics.json").write_text("forged")
    (files / "more.txt").write_text("forged")
    forged = replace(
        mine, **OTHERS[other], name=f"forged {record.name}", run_id=before.info.run_id,
        files={"": files}, note="forged",
    )  # fmt: skip
    assert Uploader(tracker(store)).upload(forged) == "new"
    assert str(run_named(store, record.name).to_dictionary()) == str(before.to_dictionary())
    assert content(store, before.info.run_id, "metrics.json") == "{}"
    assert Uploader(tracker(store)).upload(forged) == "there"


def test_hosts_of_one_sweep_may_have_other_folders_and_addresses(
    store: str, record: Record
) -> None:
    of_host = {
        "data.path": "/a/ml",
        "tracking.uri": "http://a:5000",
        "cache_dir": "/a",
        "threads": 4,
    }
    mine = replace(record, params={**record.params, **of_host})
    assert Uploader(tracker(store)).upload(mine) == "new"
    run_id = run_named(store, record.name).info.run_id
    others = {"data.path": "/b/ml", "tracking.uri": "http://b", "cache_dir": "/b", "threads": 2}
    again = replace(mine, params={**record.params, **others}, run_id=run_id)
    assert Uploader(tracker(store)).upload(again) == "there"


def test_a_folder_with_a_dot_keeps_its_name(store: str, record: Record) -> None:
    (record.files[""] / ".kept").mkdir()
    (record.files[""] / ".kept" / "a.txt").write_text("1")
    assert Uploader(tracker(store)).upload(record) == "new"
    run_id = run_named(store, record.name).info.run_id
    assert content(store, run_id, ".kept/a.txt") == "1"
    again = replace(record, run_id=run_id)
    assert Uploader(tracker(store)).upload(again) == "there"


def content(store: str, run_id: str, file: str) -> str:
    client = tracker(store).store.client
    return Path(client.download_artifacts(run_id, file)).read_text("utf-8")


def test_what_a_run_has_is_never_replaced(store: str, record: Record) -> None:
    mine = replace(record, tags={"git.commit": "abc"})
    assert Uploader(tracker(store)).upload(mine) == "new"
    run = run_named(store, record.name)
    (record.files[""] / "metrics.json").write_text("other")
    (record.files[""] / "model" / "more.txt").write_text("more")
    later = replace(mine, run_id=run.info.run_id, tags={"git.commit": "def", "host": "a"})
    assert Uploader(tracker(store)).upload(later) == "completed"
    assert content(store, run.info.run_id, "metrics.json") == "{}"
    assert content(store, run.info.run_id, "model/more.txt") == "more"
    tags = run_named(store, record.name).data.tags
    assert (tags["git.commit"], tags["host"]) == ("abc", "a")
    assert Uploader(tracker(store)).upload(later) == "there"


def test_another_sweep_of_the_same_name_is_a_run_of_its_own(store: str, record: Record) -> None:
    study = record.name
    mine = replace(
        record, name="mine", marks=sweep_tags(study), curves=[], final=(0, {"n_complete": 1.0}),
        params={"config.model.l2": 1.0, "config.data.path": "/a", "n_trials": 4},
    )  # fmt: skip
    uploader = Uploader(tracker(store))
    parent = uploader.begin(mine)
    trial = replace(record, marks=child_tags(parent, study, Part(0)))
    assert [uploader.upload(each) for each in (trial, mine)] == ["new", "new"]
    moved = replace(mine, params={**mine.params, "config.data.path": "/b", "n_trials": 9})
    assert Uploader(tracker(store)).begin(moved) == parent
    theirs = replace(mine, name="theirs", params={**mine.params, "config.model.l2": 2.0})
    uploader = Uploader(tracker(store))
    other = uploader.begin(theirs)
    assert other != parent
    forged = replace(trial, name="forged", marks=child_tags(other, study, Part(0)))
    assert [uploader.upload(each) for each in (forged, theirs)] == ["new", "new"]
    assert Uploader(tracker(store)).begin(theirs) == other
    tags = run_named(store, record.name).data.tags
    assert (tags["recsweep.kind"], tags["mlflow.parentRunId"]) == ("trial", parent)
