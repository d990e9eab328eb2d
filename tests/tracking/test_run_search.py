"""Which runs of a store are meant when several are to be compared."""

from pathlib import Path
from typing import Any

import pytest
from mlflow_runs import tracker

from recsweep.errors import InputError
from recsweep.interfaces import Part
from recsweep.tracking.run_search import CONFIGURATIONS, FoundRun, RunFinder

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy


def finder(uri: str, experiment: str, *elsewhere: str) -> RunFinder:
    return RunFinder(tracker(uri).store, experiment, "task.of", elsewhere)


def run(uri: str, experiment: str, name: str = "a run", **tags: str) -> str:
    """Id of a finished run."""
    with tracker(uri, experiment=experiment, run_name=name) as one:
        one.log_settings({"model.l2": 1.0, "seed": 3}, tags)
    return str(one.run_id)


def sweep(uri: str, experiment: str, study: str, trial: int, **tags: str) -> tuple[str, list[str]]:
    """Ids of a sweep's run and of its winner's two replicates; one trial comes before."""
    parent = tracker(uri, experiment=experiment, run_name=f"sweep {study}")
    parent.open_sweep(study, f"sweep {study}", {}, {})
    winners = []
    for part in (Part(trial), Part(trial, 0), Part(trial, 1)):
        with parent.nested(parent.run_id, study, part, "a child") as child:
            pass
        winners += [str(child.run_id)] * (part.replicate is not None)
    for key, value in tags.items():
        parent.store.client.set_tag(parent.run_id, key.replace("__", "."), value)
    parent.close_sweep("FINISHED")
    return str(parent.run_id), winners


def ids(found: list[FoundRun]) -> list[str]:
    return [one.run_id for one in found]


def test_a_run_is_found_by_its_id_and_runs_by_their_name(store: str) -> None:
    first, second = (run(store, "names", "twins") for _ in range(2))
    here = finder(store, "names")
    assert here.find(first) == [FoundRun(first, None, 1)]
    assert ids(here.find("twins")) == [first, second]
    assert ids(finder(store, "another experiment").find(first)) == [first]


def test_a_study_is_its_winners_replicates_however_it_is_named(store: str) -> None:
    parent, winners = sweep(store, "studies", "o'hara", 4)
    here = finder(store, "studies")
    for name in ("o'hara", parent, "sweep o'hara"):
        assert here.find(name) == [FoundRun(run_id, "o'hara", 1) for run_id in winners]
    assert here.find(winners[1]) == [FoundRun(winners[1], "o'hara", 1)]


def test_a_study_that_scored_another_trial_is_known_by_the_last_one(store: str) -> None:
    sweep(store, "twice", "s", 4)
    _, later = sweep(store, "twice", "s", 7, **{CONFIGURATIONS.replace(".", "__"): "2"})
    assert finder(store, "twice").find("s") == [FoundRun(one, "s", 2) for one in later]


def test_a_filter_and_a_tag_leave_trials_out_and_take_winners_once(store: str) -> None:
    _, winners = sweep(store, "filters", "s", 0)
    single = run(store, "filters", paper='it\'s "yes"')
    here = finder(store, "filters")
    assert ids(here.find_by_filter("attributes.status = 'FINISHED'")) == [*winners, single]
    assert ids(here.find_by_filter("params.`model.l2` = '1.0'")) == [single]
    assert ids(here.find_by_tag('paper=it\'s "yes"')) == [single]
    assert ids(here.find_by_tag("recsweep.study:s")) == winners


def test_what_is_not_there_or_not_finished_is_one_line(store: str) -> None:
    def refusal(ask: str, text: str, experiment: str = "refused") -> str:
        with pytest.raises(InputError) as caught:
            getattr(finder(store, experiment, "multivae-liang-1"), ask)(text)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    run(store, "refused", "ease-liang")
    assert "but eas-liang is none; did you mean ease-liang?" in refusal("find", "eas-liang")
    assert "did you mean multivae-liang-1?" in refusal("find", "multivae-liang")
    assert "see task=studies and task=ui" in refusal("find", "x", "never made")
    assert "task.filter must be a filter of MLflow, but is l2 ==" in refusal(
        "find_by_filter", "l2 =="
    )
    assert "matches no run in experiment refused; change it" in refusal(
        "find_by_filter", "params.seed = '9'"
    )
    assert "task.tag must be KEY:VALUE, but is paper" in refusal("find_by_tag", "paper")
    assert "task.tag=paper=no matches no run in experiment " in refusal("find_by_tag", "paper=no")
    parent = tracker(store, experiment="refused")
    parent.open_sweep("begun", "sweep begun", {}, {})
    with parent.nested(parent.run_id, "begun", Part(0), "a trial") as trial:
        pass
    assert "a sweep without a scored winner (RUNNING)" in refusal("find", "begun")
    assert "a trial of a sweep (FINISHED); wait" in refusal("find", str(trial.run_id))
    with tracker(store, experiment="refused") as one:
        assert "scored on test, only a run (RUNNING);" in refusal("find", str(one.run_id))
    one.store.client.delete_run(one.run_id)
    assert f"not deleted, but {one.run_id} was; restore it" in refusal("find", str(one.run_id))


@pytest.mark.parametrize(("setting", "ask"), [("task.of", "find"), ("task.run", "page")])
def test_an_error_names_the_setting_that_was_typed(store: str, setting: str, ask: str) -> None:
    here = RunFinder(tracker(store).store, f"for {ask}", setting)

    def refusal(name: str) -> str:
        with pytest.raises(InputError) as caught:
            getattr(here, ask)(name)
        return str(caught.value)

    with tracker(store, experiment=f"for {ask}") as one:
        pass
    one.store.client.delete_run(one.run_id)
    assert refusal(str(one.run_id)).startswith(f"{setting} must be a run that was not deleted")
    assert refusal("nobody").startswith(f"{setting} must name ")
    assert refusal("latest").startswith(f"{setting}=latest needs a finished run")


def test_only_the_files_that_are_asked_for_and_there_are_fetched(
    store: str, tmp_path: Path
) -> None:
    for place in ("files/model", "fetched"):
        (tmp_path / place).mkdir(parents=True)
    for name in ("metrics.json", "curves.csv", "model/weights.npz"):
        (tmp_path / "files" / name).write_text(name, encoding="utf-8")
    with tracker(store, experiment="files") as one:
        one.log_artifacts(tmp_path / "files")
    wanted = ["metrics.json", "environment.yaml"]
    finder(store, "files").fetch(str(one.run_id), wanted, tmp_path / "fetched")
    (only,) = (tmp_path / "fetched").iterdir()
    assert only.read_text("utf-8") == "metrics.json"


def test_a_store_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    here = finder(f"sqlite:///{tmp_path}/x.db", "any")
    assert here.is_absent
    with pytest.raises(InputError, match="give results folders"):
        here.find("ease")
    (tmp_path / "x.db").write_text("no database", encoding="utf-8")
    with pytest.raises(InputError, match="it is not an SQLite database"):
        here.find("ease")
    assert [path.name for path in tmp_path.iterdir()] == ["x.db"]


@pytest.mark.slow
def test_runs_are_found_at_a_server(server: str) -> None:
    found: Any = finder(server, "at a server")
    one = run(server, "at a server", "twins", paper="yes")
    assert ids(found.find("twins")) == ids(found.find_by_tag("paper=yes")) == [one]
    with pytest.raises(InputError, match="is none; did you mean twins"):
        found.find("twin")


def test_a_page_is_that_of_a_run_of_a_study_or_of_all_runs(store: str) -> None:
    first = run(store, "pages", "one")
    experiment = tracker(store).store.client.get_experiment_by_name("pages")
    assert experiment is not None
    start, here = f"#/experiments/{experiment.experiment_id}/runs", finder(store, "pages")
    assert here.page(None) == f"{start}?workflowType=machine_learning"
    for name in (first, "one"):
        assert here.page(name) == f"{start}/{first}?workflowType=machine_learning"
    parent, _ = sweep(store, "pages", "looked-at", 0)
    assert here.page("looked-at") == f"{start}/{parent}?workflowType=machine_learning"
    again = tracker(store, experiment="pages")
    again.open_sweep("looked-at", "sweep looked-at", {}, {})
    again.share_view("looked-at", {"model.l2": [1.0]}, ["valid_best_ndcg@10"])
    again.close_sweep("FINISHED")
    assert again.views["trials, best first"] == here.page("looked-at")
    with pytest.raises(InputError, match="did you mean looked-at"):
        here.page("looked-ad")
    with pytest.raises(InputError, match=r"tracking\.experiment must be .* no none yet"):
        finder(store, "none yet").page(None)
