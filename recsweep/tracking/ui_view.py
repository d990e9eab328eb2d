"""How MLflow's UI displays a sweep: trials best first, with searched values and metrics.

The UI reads a view of an experiment's runs from a tag of the experiment, whose key is part of the
link, and lists it by name. This is the format of MLflow 3.17; other versions may show all runs.
"""

import base64
import hashlib
import json
import time
import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recsweep.tracking.nested_runs import KIND, STATE, STUDY, TRIAL
from recsweep.tracking.store import mlflow_name

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

VIEW = "mlflow.sharedViewState."
"""Prefix of the tag that holds a view, followed by the view's key."""
NAME, STARTED, DURATION = "attributes.`Run Name`", "runDateAndNestInfo", "duration"
"""Columns that every table of runs has."""
RUNS = "workflowType=machine_learning"
"""The query without which MLflow 3.17 opens its pages for traces."""
WIDTHS = {
    "name": 140, "icon": 50, "number": 50, "state": 80, "objective": 143, "value": 72,
    "exponent": 170,
}  # fmt: skip
"""Column widths in pixels: number, objective, five searched values and state fit side by side."""


def share_view(
    client: "MlflowClient",
    experiment_id: str,
    study: str,
    params: Mapping[str, Sequence[Any]],
    metrics: Sequence[str],
    logarithms: Collection[str] = (),
) -> str:
    """Create or update a view that shows the trials of a study in a table and in charts.

    A study's key never changes; the tag is only written if the view has changed.

    Args:
        client: MLflow's client.
        experiment_id: Experiment of the runs.
        study: Name of the study and of the view; a valid study name.
        params: Searched key -> the values tried so far; columns are wide enough to show an
            exponent, which comes last.
        metrics: Columns, such as `valid_best_ndcg@100`; the first is the objective, largest first.
        logarithms: Searched keys whose decimal logarithms are parameters, too, by `log10_name`:
            MLflow's parallel coordinates have no logarithmic axes.

    Returns:
        The query that opens it, for `view_link`.
    """
    key = _key(study)
    charted = [log10_name(key) if key in logarithms else key for key in params]
    state = _deflated(json.dumps(_state(study, params, charted, list(map(mlflow_name, metrics)))))
    known = json.loads(client.get_experiment(experiment_id).tags.get(f"{VIEW}{key}", "{}"))
    if known.get("state") != state:
        now = int(time.time() * 1000)
        view = {"name": study, "createdAt": known.get("createdAt", now), "updatedAt": now}
        client.set_experiment_tag(
            experiment_id, f"{VIEW}{key}", json.dumps({**view, "state": state})
        )
    return f"viewStateShareKey={key}"


def log10_name(key: str) -> str:
    """Name of the parameter with the decimal logarithm of a searched key's value."""
    return f"log10 {key}"


def _key(study: str) -> str:
    return hashlib.sha256(study.encode()).hexdigest()[:16]


def page_link(client: "MlflowClient", run: "Run") -> str:
    """The part after the UI's address in the URL of a run's page, or of a sweep's table.

    Args:
        client: MLflow's client.
        run: A run.
    """
    experiment_id, tags = run.info.experiment_id, run.data.tags
    key = _key(tags.get(STUDY, ""))
    if tags.get(KIND) == "sweep" and f"{VIEW}{key}" in client.get_experiment(experiment_id).tags:
        return view_link(experiment_id, f"viewStateShareKey={key}")
    return f"#/experiments/{experiment_id}/runs/{run.info.run_id}?{RUNS}"


def view_link(experiment_id: str, query: str = "", is_charts: bool = False) -> str:
    """The part after the UI's address in the URL of a view.

    Args:
        experiment_id: Experiment of the view.
        query: The query returned by `share_view`; empty = all runs.
        is_charts: Show curves by epoch and parallel coordinates instead of the table.
    """
    parts = [query, RUNS, "compareRunsMode=CHART" if is_charts else ""]
    return f"#/experiments/{experiment_id}/runs?{'&'.join(filter(None, parts))}"


def _state(
    study: str, params: Mapping[str, Sequence[Any]], charted: list[str], metrics: list[str]
) -> dict[str, Any]:
    """The UI's state of a page: columns, order and charts."""
    objective, *others = [f"metrics.`{name}`" for name in metrics]
    searched = {f"params.`{mlflow_name(key)}`": _width(tried) for key, tried in params.items()}
    shown = {
        f"tags.`{TRIAL}`": WIDTHS["number"],
        f"tags.`{STATE}`": WIDTHS["state"],
        objective: WIDTHS["objective"],
        **searched,
        **dict.fromkeys(others, WIDTHS["value"]),
    }
    widths = {NAME: WIDTHS["name"], STARTED: WIDTHS["icon"], **shown, DURATION: WIDTHS["value"]}
    return {
        "searchFilter": f"tags.{STUDY} = '{study}' AND tags.{KIND} = 'trial'",
        "orderByKey": objective,
        "orderByAsc": False,
        "selectedColumns": list(shown),
        "columnOrder": list(widths),
        "columnWidths": widths,
        "compareRunCharts": _charts(charted, metrics[0]),
        "compareRunSections": [{"uuid": "sweep", "name": "sweep", "display": True, "columns": 2}],
        "isAccordionReordered": True,  # keeps these charts above those added by the UI
    }


def _width(tried: Sequence[Any]) -> int:
    has_exponent = any(isinstance(value, float) and "e" in str(value) for value in tried)
    return WIDTHS["exponent" if has_exponent else "value"]


def _charts(keys: list[str], objective: str) -> list[dict[str, Any]]:
    """Curves of the best trials by epoch, and parallel coordinates of values and objective."""
    names = [f"valid/{objective.removeprefix('valid_best_')}", "valid/loss", "train/loss"]
    common = {"metricSectionId": "sweep", "useGlobalXaxisKey": True, "useGlobalLineSmoothing": True}
    curves = [
        {"type": "LINE", "uuid": name, "metricKey": name, "selectedMetricKeys": [name], **common}
        for name in names
    ]
    parallel = {
        "type": "PARALLEL", "uuid": "parallel", "metricSectionId": "sweep", "showAllRuns": True,
        "selectedParams": list(map(mlflow_name, keys)), "selectedMetrics": [objective],
    }  # fmt: skip
    return [*curves, parallel]


def _deflated(text: str) -> str:
    """Compressed like the UI does it, so that long texts stay below the limit of a tag."""
    return f"deflate;{base64.b64encode(zlib.compress(text.encode())).decode()}"
