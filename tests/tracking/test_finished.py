"""Which run is meant when a finished one is to be used again."""

from pathlib import Path
from typing import Any

import pytest
from mlflow_runs import run_of, tracker, with_model

from recsweep.errors import InputError
from recsweep.interfaces import Part

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
        assert tracker(store, **named).download(run, folder) == expected
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


def test_a_deleted_run_is_as_good_as_absent(store: str, tmp_path: Path) -> None:
    named = {"experiment": "deleted"}
    kept, run = (with_model(store, tmp_path / "files", **named) for _ in range(2))
    one = tracker(store, **named)
    one.store.client.delete_run(run)
    assert run_of(one, run).info.lifecycle_stage == "deleted", "MLflow still gives it back"
    with pytest.raises(InputError, match=f"but {run} is none of them"):
        one.download(run, tmp_path)
    (tmp_path / "fetched").mkdir()
    assert one.download("latest", tmp_path / "fetched") == kept


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
        latest = tracker(store, **named).download("latest", folder)
        assert latest == (one.run_id if expected == "winner" else single)
    parent.close_sweep("FINISHED")


@pytest.mark.slow
def test_a_run_is_fetched_from_a_server(server: str, tmp_path: Path) -> None:
    run = with_model(server, tmp_path / "files")
    (tmp_path / "fetched").mkdir()
    assert tracker(server).download("latest", tmp_path / "fetched") == run
    assert (tmp_path / "fetched" / "model" / "model.yaml").read_text("utf-8") == run
    with pytest.raises(InputError, match="is none of them"):
        tracker(server).download("0" * 32, tmp_path)
