"""Which run is meant when a finished one is to be used again."""

from pathlib import Path
from typing import Any

import pytest
from mlflow_runs import run_of, tracker, with_model

from recsweep.errors import InputError
from recsweep.interfaces import Part
from recsweep.tracking.run_by_name import NamedRun, find_finished

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy


def test_a_run_is_fetched_by_its_id_and_the_latest_is_the_one_that_finished_last(
    store: str, tmp_path: Path
) -> None:
    named = {"experiment": "fetched"}
    first, second = (with_model(store, tmp_path / "files", **named) for _ in range(2))
    with tracker(store, **named):
        pass  # no model
    with_model(store, tmp_path / "files", experiment="another")
    for run, expected in ((first, first), ("latest", second)):
        folder = tmp_path / f"fetched {run}"
        folder.mkdir()
        assert tracker(store, **named).download(run, folder).run_id == expected
        assert (folder / "model" / "model.yaml").read_text("utf-8") == expected


def test_a_run_that_cannot_be_fetched_is_one_line(store: str, tmp_path: Path) -> None:
    def refusal(run: str, **changes: Any) -> str:
        with pytest.raises(InputError) as caught:
            tracker(changes.pop("uri", store), **changes).download(run, tmp_path)
        assert list(tmp_path.iterdir()) == []
        assert "\n" not in str(caught.value)
        return str(caught.value)

    with tracker(store, experiment="nothing kept") as empty:
        assert f"{empty.run_id} is RUNNING; wait for it" in refusal(str(empty.run_id))
        assert "there is none; train one" in refusal("latest", experiment="nothing kept")
    assert f"run {empty.run_id} has none" in refusal(str(empty.run_id))
    assert "there is none; train one" in refusal("latest", experiment="nothing kept")
    assert "there is none; train one" in refusal("latest", experiment="never made")
    for absent in ("0" * 32, "not an id"):
        assert f"but {absent} is none of them" in refusal(absent)
    with pytest.raises(ZeroDivisionError), tracker(store) as failed:
        raise ZeroDivisionError
    assert f"{failed.run_id} is FAILED" in refusal(str(failed.run_id))
    nowhere = f"sqlite:///{tmp_path}/x.db"
    assert f"there is no {tmp_path}/x.db" in refusal("latest", uri=nowhere)


def test_a_deleted_run_is_refused_and_can_be_brought_back(store: str, tmp_path: Path) -> None:
    named = {"experiment": "deleted"}
    kept, run = (with_model(store, tmp_path / "files", **named) for _ in range(2))
    one = tracker(store, **named)
    one.store.client.delete_run(run)
    assert run_of(one, run).info.lifecycle_stage == "deleted", "MLflow still gives it back"
    with pytest.raises(InputError) as caught:
        one.download(run, tmp_path)
    assert str(caught.value) == (
        f"task.run must be a run that was not deleted, but {run} was; restore it with "
        f"MLFLOW_TRACKING_URI='{store}' mlflow runs restore --run-id {run}, or give another run"
    )
    (tmp_path / "fetched").mkdir()
    assert one.download("latest", tmp_path / "fetched").run_id == kept
    one.store.client.restore_run(run)  # as that command does
    assert one.download(run, tmp_path / "fetched").run_id == run


def test_the_trials_of_a_sweep_are_not_the_latest_run_but_its_winner_is(
    store: str, tmp_path: Path
) -> None:
    named = {"experiment": "of a sweep"}
    single = with_model(store, tmp_path / "files", **named)
    parent = tracker(store, **named)
    parent.open_sweep("s", "a sweep", {}, {})
    for part, expected in ((Part(0), single), (Part(0, 0), "winner")):
        with parent.nested(parent.run_id, "s", part, "a child") as one:
            one.log_artifacts(tmp_path / "files")
        folder = tmp_path / f"fetched {expected}"
        folder.mkdir()
        latest = tracker(store, **named).download("latest", folder).run_id
        assert latest == (one.run_id if expected == "winner" else single)
    parent.close_sweep("FINISHED")


def winners(store: str, files: Path, study: str, *scores: float, **tags: str) -> list[str]:
    """Ids of the trainings of a sweep's winner; `experiment`, `command` and `split` are tags."""
    parent = tracker(store, experiment=tags["experiment"])
    parent.open_sweep(study, f"sweep {study}", {"objectives": ["ndcg@10"]}, {})
    parent.store.client.set_tag(parent.run_id, "recsweep.command", tags["command"])
    (files / "model").mkdir(parents=True, exist_ok=True)
    (files / "model" / "model.yaml").write_text("a model", encoding="utf-8")
    ids = []
    for number, score in enumerate(scores):
        with parent.nested(parent.run_id, study, Part(3, number), f"{study} anew") as one:
            one.log_settings({}, {"split.fingerprint": tags.get("split", "s")})
            one.log_metrics({"valid_best_ndcg@10": score, "valid_best_recall@10": -score})
            one.log_artifacts(files)
        ids.append(str(one.run_id))
    parent.close_sweep("FINISHED")
    return ids


def test_after_a_comparison_the_latest_is_its_best_winner(store: str, tmp_path: Path) -> None:
    files, client = tmp_path / "files", tracker(store).store.client

    def latest() -> NamedRun:
        return find_finished(client, "compared", "latest")

    def swept(study: str, *scores: float, command: str = "-m model=a,b", **tags: str) -> list[str]:
        return winners(store, files, study, *scores, experiment="compared", command=command, **tags)

    swept("before", 0.99, command="-m model=before")
    first = swept("ease", 0.4, 0.5)  # mean .45
    assert latest() == (first[0], "winner of study ease")
    best = swept("vae", 0.30, 0.70)  # mean .5
    swept("other data", 0.98, split="t")
    swept("popularity", 0.1, 0.69)  # mean .395
    among = "the best on validation of the 3 of its command"
    assert latest() == (best[0], f"winner of study vae, {among}")
    assert find_finished(client, "compared", "ease") == (first[0], "winner of study ease")
    single = with_model(store, files, experiment="compared", run_name="a single run")
    assert latest() == (single, "the run that finished last")
    again = with_model(store, files, experiment="compared", run_name="a single run")
    newest = find_finished(client, "compared", "a single run")
    assert newest == (again, "the newest run called a single run")
    assert find_finished(client, "compared", first[1]) == (first[1], "")


@pytest.mark.slow
def test_a_run_is_fetched_from_a_server(server: str, tmp_path: Path) -> None:
    run = with_model(server, tmp_path / "files")
    (tmp_path / "fetched").mkdir()
    assert tracker(server).download("latest", tmp_path / "fetched").run_id == run
    assert (tmp_path / "fetched" / "model" / "model.yaml").read_text("utf-8") == run
    with pytest.raises(InputError, match="is none of them"):
        tracker(server).download("0" * 32, tmp_path)
