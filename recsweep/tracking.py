"""Where runs are kept: MLflow, or nowhere. The one place that imports MLflow."""

import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock
from pydantic.dataclasses import dataclass

from recsweep.errors import InputError
from recsweep.interfaces import STRICT

log = logging.getLogger(__name__)

PARAMS_PER_CALL = 100
PARAM_CHARACTERS = 6000


def mlflow_name(metric: str) -> str:
    """MLflow refuses `@`: `ndcg@100` becomes `ndcg_at_100`."""
    return metric.replace("@", "_at_")


@dataclass(kw_only=True, config=STRICT)
class MLflowTracker:
    """One MLflow run, written through a client; no global state.

    Args:
        uri: Tracking store; None = MLFLOW_TRACKING_URI, else mlflow.db in the current folder.
        experiment: Its experiment's name.
        run_name: Its name.
    """

    uri: str | None
    experiment: str
    run_name: str

    def __post_init__(self) -> None:
        self.uri = self.uri or os.environ.get("MLFLOW_TRACKING_URI") or _default_uri()
        self.run_id: str | None = None
        self.experiment_id = ""
        self._client: Any = None

    @property
    def ui_command(self) -> str:
        """What to type to look at the run, and where it is then."""
        uri = str(self.uri)
        path = f"#/experiments/{self.experiment_id}/runs/{self.run_id}?workflowType=machine_learning"
        if uri.startswith(("http://", "https://")):
            return f"{uri.rstrip('/')}/{path}"
        # without its job runner the UI starts 2 processes instead of 15
        server = f"{sys.executable} -m mlflow ui --workers 1 --backend-store-uri {uri}"
        return (
            f"MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false {server}\n"
            f"          then http://127.0.0.1:5000/{path}"
        )

    def __enter__(self) -> Self:
        self._client = _client(str(self.uri))
        self.experiment_id = _experiment(self._client, self.experiment, str(self.uri))
        run = self._client.create_run(self.experiment_id, run_name=self.run_name)
        self.run_id = run.info.run_id
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            status, reason = "FINISHED", ""
        elif isinstance(error, KeyboardInterrupt):
            status, reason = "KILLED", "stopped by the user"
        else:
            status, reason = "FAILED", f"{type(error).__name__}: {error}"
        if reason:
            self._client.set_tag(self.run_id, "reason", reason[:5000])
        self._client.set_terminated(self.run_id, status)

    def log_settings(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Parameters and tags, once."""
        from mlflow.entities import Param, RunTag

        entries = [Param(name, str(value)[:PARAM_CHARACTERS]) for name, value in params.items()]
        for start in range(0, len(entries), PARAMS_PER_CALL):
            self._client.log_batch(self.run_id, params=entries[start : start + PARAMS_PER_CALL])
        self._client.log_batch(self.run_id, tags=[RunTag(*tag) for tag in tags.items()])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """All metrics of an epoch in one call."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [Metric(mlflow_name(name), value, now, step) for name, value in metrics.items()]
        self._client.log_batch(self.run_id, metrics=entries)

    def log_data(self, name: str, digest: str, profile: Mapping[str, int]) -> None:
        """The data set as an input of the run."""
        import json

        from mlflow.entities import Dataset, DatasetInput, InputTag

        data = Dataset(
            name=name,
            digest=digest[:36],
            source_type="local",
            source=json.dumps({"name": name, "fingerprint": digest}),
            profile=json.dumps(dict(profile)),
        )
        tags = [InputTag("mlflow.data.context", "training")]
        self._client.log_inputs(self.run_id, [DatasetInput(data, tags)])

    def log_artifacts(self, folder: Path) -> None:
        """Every file below `folder`."""
        self._client.log_artifacts(self.run_id, str(folder))


@dataclass(kw_only=True, config=STRICT)
class SilentTracker:
    """Keeps nothing; the run's files stay in its output folder."""

    def __post_init__(self) -> None:
        self.run_id: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to close."""

    def log_settings(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Nothing."""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Nothing."""

    def log_data(self, name: str, digest: str, profile: Mapping[str, int]) -> None:
        """Nothing."""

    def log_artifacts(self, folder: Path) -> None:
        """Nothing."""


def _default_uri() -> str:
    return f"sqlite:///{Path('mlflow.db').resolve()}"


def _client(uri: str) -> Any:
    """A client whose store is there: a database is made by one process while others wait.

    Raises:
        InputError: The store cannot be opened or the server does not answer.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.pop("MLFLOW_RUN_ID", None)  # a run that is not ours
    if uri.startswith("sqlite:///"):
        _refuse_unwritable(Path(uri.removeprefix("sqlite:///")))
    import mlflow  # takes 2 s, so only when something is tracked
    from mlflow.exceptions import MlflowException

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        if not uri.startswith("sqlite:///"):
            client.search_experiments(max_results=1)
            return client
        with FileLock(f"{uri.removeprefix('sqlite:///')}.lock"):
            client.search_experiments(max_results=1)  # makes the tables
        return client
    except (MlflowException, OSError, ImportError) as error:
        raise InputError(
            f"tracking.uri must name an MLflow store that answers, but {uri} does not: "
            f"{' '.join(str(error).split())[:300]}; start the server, change tracking.uri or set "
            "tracking=off"
        ) from error


def _refuse_unwritable(database: Path) -> None:
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{database}.lock"), database.open("ab"):
            pass
    except OSError as error:
        raise InputError(
            f"the tracking database must be in a folder that can be written, but {database} cannot "
            f"({error.strerror or error}); set tracking.uri=sqlite:///PATH/mlflow.db or tracking=off"
        ) from error


def _experiment(client: Any, name: str, uri: str) -> str:
    """Id of the experiment called `name`; made when it is new, artifacts beside the database."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    location = None
    if uri.startswith("sqlite:///"):
        folder = Path(uri.removeprefix("sqlite:///")).parent / "mlartifacts"
        location = folder.resolve().as_uri()
    try:
        return str(client.create_experiment(name, artifact_location=location))
    except MlflowException:  # another process was faster
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)
