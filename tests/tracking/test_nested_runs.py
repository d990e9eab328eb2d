"""A sweep in MLflow: one parent that is adopted, children that say whose they are."""

from pathlib import Path
from typing import Any

import pytest
from mlflow_runs import run_of, start, tracker

from recsweep.interfaces import Part
from recsweep.tracking import MLflowTracker, nested_runs, trial_name, write_buffer
from recsweep.tracking.nested_runs import running_children, sweep_tags

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy


def opened(uri: str, study: str, **changes: Any) -> MLflowTracker:
    """The parent run of a study."""
    one = tracker(uri, **changes)
    one.open_sweep(study, f"sweep {study}", {"sweep.n_trials": 30}, {"git.commit": "abc"})
    return one


def children(parent: MLflowTracker, *parts: Part, study: str = "s") -> list[str]:
    """Ids of children that were begun and never ended."""
    begun = []
    for part in parts:
        with parent.nested(parent.run_id, study, part, f"{part}") as child:
            child._is_ended = True  # as if its process died
        begun.append(str(child.run_id))
    return begun


# --- names --------------------------------------------------------------------------------------


def test_a_trial_is_named_by_what_was_searched() -> None:
    settings = {
        "model.beta": 0.2134, "model.dropout_rate": 0.5, "model.latent_dim": 200,
        "model.l2": 1e-5, "optimizer.learning_rate_decay": 0.97,
    }  # fmt: skip
    assert trial_name("#12", settings) == "#12 β=.213 d=.5 z=200 l2=1e-05 decay=.97"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("optimizer", "sgd", "optimizer=sgd"),
        ("optimizer.learning_rate", 0.00123456, "learning_rate=.00123"),
        ("model.hidden_dims", [600, 0.25], "hidden_dims=[600,.25]"),
        ("model.alpha", -0.25, "alpha=-.25"),
        ("model.beta", 1.0, "β=1"),
        ("model.beta", 0.0, "β=0"),
        ("model.n_neighbors", 123456, "n_neighbors=123456"),
        ("refit", True, "refit=true"),
        ("model.latent_dim", None, "z=null"),
    ],
)
def test_a_value_is_short(key: str, value: object, expected: str) -> None:
    assert trial_name("m", {key: value}) == f"m {expected}"


def test_a_name_is_no_longer_than_mlflow_takes(store: str) -> None:
    long = trial_name("m", {f"group.setting_{i}": i for i in range(90)})
    assert (len(long), long[-1]) == (250, "…")
    with tracker(store, run_name=long) as one:
        pass
    assert run_of(one).info.run_name == long


# --- the parent ---------------------------------------------------------------------------------


def test_a_new_sweep_has_its_parameters_and_tags(store: str) -> None:
    one = opened(store, "new")
    run = run_of(one)
    assert (run.info.status, run.info.run_name) == ("RUNNING", "sweep new")
    assert run.data.params == {"sweep.n_trials": "30"}
    assert {"git.commit": "abc", **sweep_tags("new")}.items() <= run.data.tags.items()
    assert run.data.tags["mlflow.source.name"].startswith("recsweep")
    assert str(one.run_id) in one.ui_command


@pytest.mark.parametrize("reason", ["", "stopped by Ctrl-C"])
def test_the_same_study_goes_on_in_the_same_run(store: str, reason: str) -> None:
    study = f'it\'s the "{reason}" one'
    first = opened(store, study)
    first.close_sweep("KILLED" if reason else "FINISHED", reason)
    closed = run_of(first)
    assert closed.info.status == ("KILLED" if reason else "FINISHED")
    assert closed.data.tags.get("reason", "") == reason
    again = tracker(store)
    again.open_sweep(study, "another name", {"sweep.n_trials": 50, "new": 1}, {"git.commit": "def"})
    run = run_of(again)
    assert again.run_id == first.run_id
    assert (run.info.status, run.info.run_name) == ("RUNNING", f"sweep {study}")
    assert "reason" not in run.data.tags
    assert run.data.params == {"sweep.n_trials": "30", "new": "1"}, "what was missing is added"
    assert run.data.tags["git.commit"] == "abc"
    assert opened(store, "another").run_id != first.run_id


def test_a_sweep_that_another_terminal_broke_off_can_still_finish(store: str) -> None:
    one, other = opened(store, "shared"), opened(store, "shared")
    assert one.run_id == other.run_id
    other.close_sweep("KILLED", "stopped by Ctrl-C")
    one.close_sweep("FINISHED")
    run = run_of(one)
    assert (run.info.status, run.data.tags.get("reason")) == ("FINISHED", None)


def test_workers_without_a_parent_leave_its_run_as_it_is(store: str) -> None:
    alone = tracker(store)
    alone.join_sweep("workers first", "sweep workers first", {"git.commit": "abc"})
    assert run_of(alone).info.status == "SCHEDULED"
    assert run_of(alone).data.params == {}
    parent = opened(store, "workers first")
    assert parent.run_id == alone.run_id
    assert run_of(parent).info.status == "RUNNING"
    assert run_of(parent).data.params == {"sweep.n_trials": "30"}
    alone.join_sweep("workers first", "sweep workers first", {})
    assert run_of(parent).info.status == "RUNNING"
    parent.close_sweep("KILLED", "stopped by Ctrl-C")
    alone.join_sweep("workers first", "sweep workers first", {})
    closed = run_of(parent)
    assert (closed.info.status, closed.data.tags["reason"]) == ("KILLED", "stopped by Ctrl-C")


def test_the_run_that_a_study_names_is_taken_unless_it_is_gone(store: str) -> None:
    first, second = opened(store, "one"), opened(store, "two")
    again = tracker(store)
    again.open_sweep("two", "sweep two", {}, {}, first.run_id)
    assert again.run_id == first.run_id
    first.store.client.delete_run(first.run_id)
    again.open_sweep("two", "sweep two", {}, {}, first.run_id)
    assert again.run_id == second.run_id
    again.open_sweep("two", "sweep two", {}, {}, "0" * 32)
    assert again.run_id == second.run_id
    elsewhere = tracker(store, experiment="elsewhere")
    elsewhere.open_sweep("two", "sweep two", {}, {}, second.run_id)
    assert elsewhere.run_id != second.run_id
    elsewhere.join_sweep("two", "sweep two", {}, second.run_id)
    assert elsewhere.run_id == second.run_id, "workers go where the parent is"


def test_a_deleted_parent_and_those_of_other_experiments_are_not_adopted(store: str) -> None:
    first = opened(store, "deleted")
    first.store.client.delete_run(first.run_id)
    second = opened(store, "deleted")
    assert second.run_id != first.run_id
    assert opened(store, "deleted", experiment="elsewhere").run_id != second.run_id


ONE_OF_TWO = """
import sys
from contextlib import nullcontext
from filelock import FileLock
from recsweep.tracking import MLflowTracker
one = MLflowTracker(uri=sys.argv[1], experiment="race", run_name=None)
one.refuse_unusable()
print("ready", flush=True)
mutex = FileLock("mutex") if sys.argv[1].startswith("http") else nullcontext()
for line in sys.stdin:
    with mutex:  # of the study
        one.open_sweep(line, "a sweep", {f"p{i}": i for i in range(150)}, {})
    print(one.run_id, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("place", ["store", "server"])
def test_two_terminals_that_begin_at_once_have_one_parent(
    place: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    uri = request.getfixturevalue(place)
    with start(tmp_path, ONE_OF_TWO, uri) as one, start(tmp_path, ONE_OF_TWO, uri) as other:
        for line in ["", *(f"{study}\n" for study in range(10))]:
            for terminal in (one, other):
                assert terminal.stdin is not None
                terminal.stdin.write(line)
                terminal.stdin.flush()
            assert one.stdout is not None
            assert other.stdout is not None
            chosen = one.stdout.readline(), other.stdout.readline()
            if chosen[0] != chosen[1]:
                break
        said = [terminal.communicate(timeout=300)[1] for terminal in (one, other)]
    assert chosen[0] == chosen[1], said
    client = tracker(uri).store.client
    found = client.search_runs([client.get_experiment_by_name("race").experiment_id])
    assert len(found) == 10
    assert {len(run.data.params) for run in found} == {150}


def test_of_two_parents_made_at_once_the_older_stays(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between one terminal's look and its creating, another one creates."""
    late, look, faster = tracker(store), nested_runs.oldest, []

    def too_early(*arguments: Any) -> Any:
        found = look(*arguments)
        if not faster:
            tags = sweep_tags("race")
            faster.append(late.store.client.create_run(arguments[1], start_time=1, tags=tags))
        return found

    monkeypatch.setattr(nested_runs, "oldest", too_early)
    late.open_sweep("race", "a sweep", {"a": 1}, {})
    assert late.run_id == faster[0].info.run_id
    runs = late.store.client.search_runs(
        [late._experiment_id], f"tags.`{nested_runs.STUDY}` = 'race'"
    )
    assert [run.info.run_id for run in runs] == [late.run_id]
    assert run_of(late).data.params == {"a": "1"}


# --- trials -------------------------------------------------------------------------------------


def test_a_trial_is_a_child_from_its_first_moment(store: str, tmp_path: Path) -> None:
    parent = opened(store, "children", experiment="of children")
    worker = tracker(store)  # in another process, of any experiment
    child = worker.nested(parent.run_id, "children", Part(7), "multivae β=.2")
    assert child.run_id is None
    with child:
        run = run_of(child)
        child.log_settings({"model.beta": 0.2}, {"backend": "jax"})
        child.log_metrics({"valid/ndcg@100": 0.5}, step=1)
        (tmp_path / "a.txt").write_text("a", encoding="utf-8")
        child.log_artifacts(tmp_path)
    assert (run.info.status, run.info.run_name) == ("RUNNING", "multivae β=.2")
    assert run.data.tags["mlflow.parentRunId"] == parent.run_id
    assert run.data.tags["recsweep.study"] == "children"
    assert (run.data.tags["recsweep.kind"], run.data.tags["recsweep.trial"]) == ("trial", "7")
    assert run.info.experiment_id == run_of(parent).info.experiment_id
    assert run_of(child).info.status == "FINISHED"
    assert f"{run.info.experiment_id}/runs/{child.run_id}?" in child.link(child.run_id)
    assert worker.run_id is None
    assert run_of(parent).info.status == "RUNNING"


def test_a_child_names_the_command_of_its_sweep_not_that_of_its_worker(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["recsweep", "-m", "model=ease", "a=x://ann:secret@host"])
    parent = opened(store, "command")
    monkeypatch.setattr("sys.argv", ["-m", "--process-name", "LokyProcess-1"])
    with parent.nested(parent.run_id, "command", Part(0), "a") as child:
        pass
    told = run_of(child).data.tags["recsweep.command"]
    assert told == "recsweep -m model=ease 'a=x://***@host'"


def test_a_pruned_trial_is_killed_and_stays_so(store: str) -> None:
    parent = opened(store, "pruned")
    with parent.nested(parent.run_id, "pruned", Part(0), "a") as child:
        child.end("PRUNED", "pruned at epoch 7: ndcg@100 0.1000")
        assert run_of(child).info.status == "KILLED"
    assert run_of(child).info.status == "KILLED"
    assert run_of(child).data.tags["reason"] == "pruned at epoch 7: ndcg@100 0.1000"


@pytest.mark.parametrize(
    ("status", "state", "in_mlflow"),
    [
        ("FINISHED", "complete", "FINISHED"),
        ("PRUNED", "pruned", "KILLED"),
        ("KILLED", "interrupted", "KILLED"),
        ("FAILED", "failed", "FAILED"),
    ],
)
def test_the_state_of_a_trial_is_a_tag(store: str, status: Any, state: str, in_mlflow: str) -> None:
    parent = opened(store, "states")
    with parent.nested(parent.run_id, "states", Part(0), "a") as child:
        assert run_of(child).data.tags["recsweep.state"] == "running"
        child.end(status, "a reason")
    run = run_of(child)
    assert (run.data.tags["recsweep.state"], run.info.status) == (state, in_mlflow)
    parent.close_sweep("FINISHED")
    assert "recsweep.state" not in run_of(parent).data.tags


def test_a_trial_that_begins_again_has_one_run_that_counts(store: str) -> None:
    parent = opened(store, "s", experiment="again")
    other = opened(store, "another", experiment="again")
    kept = [
        *children(parent, Part(1), Part(10), Part(0, 0), Part(0, 1)),
        *children(other, Part(0), study="another"),
    ]  # of other trials, other trainings and another study
    (died,) = children(parent, Part(0))
    with parent.nested(parent.run_id, "s", Part(0), "a") as stopped:
        stopped.end("KILLED", "stopped on request; the trial will restart in another run")
    with parent.nested(parent.run_id, "s", Part(0), "a") as child:
        pass
    tags = [run_of(parent, run_id).data.tags for run_id in (died, stopped.run_id)]
    assert [each["recsweep.kind"] for each in tags] == ["superseded", "superseded"]
    assert [each["recsweep.state"] for each in tags] == ["superseded", "superseded"]
    assert [each["recsweep.superseded_by"] for each in tags] == [stopped.run_id, child.run_id]
    for run_id in (*kept, child.run_id):
        assert "recsweep.superseded_by" not in run_of(parent, str(run_id)).data.tags
    (replicate,) = children(parent, Part(0, 1))
    assert run_of(parent, kept[3]).data.tags["recsweep.superseded_by"] == replicate

    def verdict(_part: Part, run_id: str) -> tuple[Any, str] | None:
        return ("KILLED", "its process died") if run_id == died else None

    assert parent.tidy("s", verdict) == 1
    run = run_of(parent, died)
    assert (run.info.status, run.data.tags["recsweep.state"]) == ("KILLED", "superseded")


def test_a_run_whose_process_was_away_does_not_supersede_the_one_that_replaced_it(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_buffer, "FLUSH_S", 3600.0)
    parent = opened(store, "s", experiment="away")
    with parent.nested(parent.run_id, "s", Part(0), "a") as away:
        with parent.nested(parent.run_id, "s", Part(0), "a") as child:
            child.flush()
        away.flush()  # its first write
        away.end("KILLED", "another worker restarted the trial after an outage")
    tags = run_of(away).data.tags
    assert tags["recsweep.kind"] == tags["recsweep.state"] == "superseded"
    assert tags["recsweep.superseded_by"] == child.run_id
    own = run_of(child).data.tags
    assert (own["recsweep.kind"], own["recsweep.state"]) == ("trial", "complete")


def test_of_attempts_that_died_before_their_first_write_the_last_one_counts(store: str) -> None:
    parent = opened(store, "s", experiment="deaths")
    (kept,) = children(parent, Part(1))
    died = []
    for _ in range(3):  # created, and no more
        child = parent.nested(parent.run_id, "s", Part(0), "a")
        child._join_sweep()
        child._buffer.forget()
        died.append(str(child.run_id))

    def verdict(_part: Part, run_id: str) -> tuple[Any, str] | None:
        return ("KILLED", "its process died") if run_id in died else None

    assert parent.tidy("s", verdict) == 3
    tags = [run_of(parent, run_id).data.tags for run_id in (*died, kept)]
    assert [each["recsweep.kind"] for each in tags] == ["superseded"] * 2 + ["trial"] * 2
    assert [each.get("recsweep.superseded_by") for each in tags] == [died[2]] * 2 + [None] * 2


# --- runs that a death has left -------------------------------------------------------------------


def test_runs_that_a_death_has_left_are_put_right(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nested_runs, "PAGE", 2)
    parent = opened(store, "s", experiment="tidied")
    parts = [Part(0), Part(1), Part(1, 0), *map(Part, (2, 3, 4, 5))]
    complete, dead, winner, alive, *_ = children(parent, *parts)
    other = opened(store, "another", experiment="tidied")
    heard = []

    def verdict(part: Part, run_id: str) -> tuple[Any, str] | None:
        heard.append((part, run_id))
        known = {Part(0): ("FINISHED", ""), Part(1, 0): ("KILLED", "it died"), Part(2): None}
        return known.get(part, ("KILLED", "its process died"))

    assert tracker(store, experiment="tidied").tidy("s", verdict) == 6
    assert heard[:4] == list(zip(parts, (complete, dead, winner, alive), strict=False))
    assert len(heard) == 7
    ended = [run_of(parent, run_id) for run_id in (complete, dead, winner, alive)]
    assert [run.info.status for run in ended] == ["FINISHED", "KILLED", "KILLED", "RUNNING"]
    assert [run.data.tags.get("reason") for run in ended] == [
        None, "its process died", "it died", None,
    ]  # fmt: skip
    assert [run.data.tags["recsweep.state"] for run in ended] == [
        "complete", "interrupted", "interrupted", "running",
    ]  # fmt: skip
    assert ended[1].info.end_time >= ended[1].info.start_time
    assert [run_of(one).info.status for one in (parent, other)] == ["RUNNING"] * 2
    del heard[:]
    assert parent.tidy("s", verdict) == 0
    assert heard == [(Part(2), alive)]  # the only one that still runs


def test_nothing_is_to_be_put_right_where_nothing_ran(store: str) -> None:
    assert tracker(store, experiment="never made").tidy("s", lambda *_: ("KILLED", "")) == 0


@pytest.mark.slow
def test_more_than_a_page_of_runs_is_put_right(store: str) -> None:
    parent = opened(store, "s", experiment="large")
    client, n_trials = parent.store.client, 2 * nested_runs.PAGE + 3
    for trial in range(n_trials):
        tags = nested_runs.child_tags(str(parent.run_id), "s", Part(trial))
        client.create_run(parent._experiment_id, tags=tags)
    heard = set()

    def verdict(part: Part, _run_id: str) -> tuple[Any, str]:
        heard.add(part.trial)
        return "KILLED", "its process died"

    assert parent.tidy("s", verdict) == n_trials
    assert heard == set(range(n_trials))
    assert running_children(client, parent._experiment_id, "s") == []


@pytest.mark.slow
def test_a_server_keeps_a_sweep(server: str) -> None:
    parent = opened(server, "s")
    with parent.nested(parent.run_id, "s", Part(3), "a trial") as child:
        child.log_metrics({"a": 1.0}, step=1)
        child.end("PRUNED", "pruned at epoch 1: a 1.0000")
    (left,) = children(parent, Part(4))
    assert parent.tidy("s", lambda *_: ("KILLED", "its process died")) == 1
    assert run_of(parent, left).info.status == run_of(child).info.status == "KILLED"
    assert run_of(child).data.tags["mlflow.parentRunId"] == parent.run_id
    parent.set_note("**best** trial 3")
    parent.close_sweep("KILLED", "stopped by Ctrl-C")
    again = opened(server, "s")
    assert again.run_id == parent.run_id
    assert "reason" not in run_of(again).data.tags
    assert run_of(again).info.status == "RUNNING"
    again.close_sweep("FINISHED")
    assert run_of(again).data.tags["mlflow.note.content"] == "**best** trial 3"
    assert again.ui_command == f"{server}/{again.link(str(again.run_id))}"
