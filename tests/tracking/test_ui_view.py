"""Saved views: what the UI will read from the experiment's tags; tests/browser looks at the UI."""

import base64
import json
import zlib
from typing import Any

import pytest
from mlflow_runs import tracker

from recsweep.tracking.ui_view import VIEW, share_view, view_link

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy

METRICS = ["valid_best_ndcg@100", "best_epoch"]


class Views:
    """Those of a new experiment."""

    def __init__(self, store: str, experiment: str) -> None:
        with tracker(store, experiment=experiment) as one:
            self.client, self.experiment_id = one.store.client, one._experiment_id

    def share(self, study: str, params: dict[str, Any]) -> str:
        return share_view(self.client, self.experiment_id, study, params, METRICS)

    def tags(self) -> dict[str, dict[str, Any]]:
        found = self.client.get_experiment(self.experiment_id).tags
        return {name: json.loads(value) for name, value in found.items() if name.startswith(VIEW)}


def state(view: dict[str, Any]) -> dict[str, Any]:
    """What the UI makes of a view."""
    how, _, packed = view["state"].partition(";")
    assert how == "deflate"
    read: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return read


def test_a_view_shows_a_studys_trials_best_first(store: str) -> None:
    views = Views(store, "a view")
    query = views.share("multivae-1", {"model.beta": [0.2, 1e-07], "model.latent_dim": [200]})
    ((name, view),) = views.tags().items()
    assert query == f"viewStateShareKey={name.removeprefix(VIEW)}"
    assert view["name"] == "multivae-1"
    shown = state(view)
    assert shown["searchFilter"] == (
        "tags.recsweep.study = 'multivae-1' AND tags.recsweep.kind = 'trial'"
    )
    objective = "metrics.`valid_best_ndcg_at_100`"
    assert (shown["orderByKey"], shown["orderByAsc"]) == (objective, False)
    columns = [
        "tags.`recsweep.trial`",
        "tags.`recsweep.state`",
        objective,
        "params.`model.beta`",
        "params.`model.latent_dim`",
        "metrics.`best_epoch`",
    ]
    assert shown["selectedColumns"] == columns
    assert [c for c in shown["columnOrder"] if c in columns] == columns
    widths = shown["columnWidths"]
    assert widths[columns[3]] > widths[columns[4]], "the exponent of 1e-07 is seen"
    curves = [c["metricKey"] for c in shown["compareRunCharts"] if c["type"] == "LINE"]
    assert curves == ["valid/ndcg_at_100", "valid/loss", "train/loss"]
    parallel = shown["compareRunCharts"][-1]
    assert parallel["selectedParams"] == ["model.beta", "model.latent_dim"]


def test_a_logarithmic_axis_is_one_of_logarithms(store: str) -> None:
    views = Views(store, "logarithms")
    tried = {"model.l2": [1e-07], "model.beta": [0.2]}
    share_view(views.client, views.experiment_id, "logs", tried, METRICS, {"model.l2"})
    shown = state(next(iter(views.tags().values())))
    assert "params.`model.l2`" in shown["selectedColumns"]
    parallel = shown["compareRunCharts"][-1]
    assert parallel["selectedParams"] == ["log10 model.l2", "model.beta"]


def test_the_filter_of_a_view_is_one_that_mlflow_reads(store: str) -> None:
    views, names = Views(store, "filtered"), ["a b.c,d=e+f-1", "another"]
    for study in names:
        parent = tracker(store, experiment="filtered")
        parent.open_sweep(study, study, {}, {})
        views.client.create_run(
            views.experiment_id,
            tags={"recsweep.study": study, "recsweep.kind": "trial"},
        )
        views.share(study, {})
    for view in views.tags().values():
        read = state(view)
        order = [f"{read['orderByKey']} DESC"]
        (run,) = views.client.search_runs(
            [views.experiment_id], read["searchFilter"], order_by=order
        )
        assert run.data.tags["recsweep.study"] == view["name"]


def test_the_same_study_has_one_view_however_often_it_is_shared(store: str) -> None:
    views = Views(store, "once")
    first = views.share("s", {"model.beta": [0.5]})
    before = views.tags()
    assert views.share("s", {"model.beta": [0.5, 0.25]}) == first
    assert views.tags() == before, "nothing changed"
    assert views.share("s", {"model.beta": [0.5, 1e-07]}) == first
    ((_, old),), ((_, new),) = before.items(), views.tags().items()
    assert old["state"] != new["state"]
    assert old["createdAt"] == new["createdAt"] <= new["updatedAt"]
    assert views.share("t", {"model.beta": [0.5]}) != first
    assert len(views.tags()) == 2


def test_a_large_space_fits_into_a_tag_of_any_mlflow(store: str) -> None:
    views = Views(store, "large")
    views.share("s" * 200, {f"model.setting_number_{i}": [1e-07] for i in range(100)})
    ((_, view),) = views.tags().items()
    assert len(json.dumps(view)) < 5000
    assert len(state(view)["selectedColumns"]) == 104


def test_a_link_opens_the_table_or_the_charts() -> None:
    link = view_link("7", "viewStateShareKey=abc")
    assert link == "#/experiments/7/runs?viewStateShareKey=abc&workflowType=machine_learning"
    assert (
        view_link("7", "viewStateShareKey=abc", is_charts=True) == f"{link}&compareRunsMode=CHART"
    )
