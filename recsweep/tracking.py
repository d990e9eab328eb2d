"""Where runs are kept: MLflow, or nowhere. The one place that imports MLflow.

Beside a database comes `mlartifacts/` with the runs' files, and in it the lock that lets one
process make the tables while others wait.
"""

import getpass
import json
import logging
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, NoReturn, Self

from filelock import FileLock
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.errors import InputError
from recsweep.interfaces import STRICT

SQLITE = "sqlite:///"
PARAMS_PER_CALL = 100
PARAM_CHARACTERS = 6000
TAG_CHARACTERS = 5000
LATEST = "latest"
"""Stands for the id of the newest finished run."""
MODEL = "model"
"""The folder among a run's files that holds its model."""
ERROR_CHARACTERS = 200


def mlflow_name(name: str) -> str:
    """A name that MLflow accepts: `ndcg@100` becomes `ndcg_at_100`."""
    return re.sub(r"[^\w.\- /]", "_", name.replace("@", "_at_"))


def without_passwords(node: Any) -> Any:
    """A copy of a configuration whose addresses have lost what stands between `user:` and `@`."""
    if isinstance(node, Mapping):
        return {key: without_passwords(value) for key, value in node.items()}
    if isinstance(node, list):
        return [without_passwords(entry) for entry in node]
    return re.sub(r"(://[^:/@\s]*:)[^/\s]+@", r"\1***@", node) if isinstance(node, str) else node


@dataclass(kw_only=True, config=STRICT)
class MLflowTracker:
    """One MLflow run, written through a client; no global state.

    Args:
        uri: Tracking store; None = MLFLOW_TRACKING_URI, else mlflow.db in the current folder.
        experiment: Its experiment's name.
        run_name: Its name.
    """

    uri: str | None
    experiment: Annotated[str, Field(min_length=1)]
    run_name: Annotated[str, Field(min_length=1)]

    def __post_init__(self) -> None:
        elsewhere = os.environ.get("MLFLOW_TRACKING_URI")
        uri = self.uri or elsewhere or f"{SQLITE}mlflow.db"
        self._setting = "MLFLOW_TRACKING_URI" if elsewhere and not self.uri else "tracking.uri"
        self._database: Path | None = None
        if uri.startswith(SQLITE):
            self._database = Path(uri.removeprefix(SQLITE)).absolute()
            uri = f"{SQLITE}{self._database}"
        self.store = uri
        self.run_id: str | None = None
        self._experiment_id = ""
        self._client: Any = None

    @property
    def ui_command(self) -> str:
        """What to type to look at the run, and where it is then."""
        run = f"#/experiments/{self._experiment_id}/runs/{self.run_id}"
        path = f"{run}?workflowType=machine_learning"
        store = without_passwords(self.store)
        if store.startswith(("http://", "https://")):
            return f"{store.rstrip('/')}/{path}"
        # without its job runner the UI starts 2 processes instead of 15
        command = [sys.executable, "-m", "mlflow", "ui", "--workers", "1"]
        return (
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false "
            f"{shlex.join([*command, '--backend-store-uri', store])}\n"
            f"          then http://127.0.0.1:5000/{path}"
        )

    def refuse_unusable(self) -> None:
        """Find out whether the store can be used before long work; a database is not made yet.

        Raises:
            InputError: It cannot be opened, or the server does not answer within seconds.
        """
        with self._one_line("name an MLflow store that can be used"):
            if self._database is not None:
                _refuse_database(self._database)
            else:
                with _quickly():
                    _make_client(self.store).search_experiments(max_results=1)

    def __enter__(self) -> Self:
        with self._one_line("name an MLflow store that can be used"), ExitStack() as stack:
            location = None
            if self._database is not None:
                folder = self._database.parent / "mlartifacts"
                folder.mkdir(parents=True, exist_ok=True)
                location = folder.as_uri()
                stack.enter_context(FileLock(folder / f"{self._database.name}.lock"))
                _make_tables(self._database, folder)
            self._client = _make_client(self.store)
            self._experiment_id = _experiment(self._client, self.experiment, location)
            run = self._client.create_run(
                self._experiment_id, run_name=self.run_name, tags=_origin()
            )
            self.run_id = run.info.run_id
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self._call("set_terminated", "FINISHED")
            return
        status, reason = _ending(error)
        with suppress(InputError), _quickly():  # a store that is gone must not hide the error
            self._call("set_tag", "reason", reason[:TAG_CHARACTERS])
            self._call("set_terminated", status)

    def log_settings(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Parameters and tags, once; what is too long for MLflow is cut and ends with …."""
        from mlflow.entities import Param, RunTag

        entries = [
            Param(mlflow_name(name), _cut(str(value), PARAM_CHARACTERS))
            for name, value in params.items()
        ]
        for start in range(0, len(entries), PARAMS_PER_CALL):
            self._call("log_batch", params=entries[start : start + PARAMS_PER_CALL])
        self._call("log_batch", tags=[RunTag(n, _cut(v, TAG_CHARACTERS)) for n, v in tags.items()])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """All metrics of an epoch in one call."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [Metric(mlflow_name(name), value, now, step) for name, value in metrics.items()]
        self._call("log_batch", metrics=entries)

    def log_data(self, name: str, digest: str, profile: Mapping[str, int]) -> None:
        """The data set as an input of the run."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        data = Dataset(
            name=name,
            digest=digest[:36],
            source_type="local",
            source=json.dumps({"name": name, "fingerprint": digest}),
            profile=json.dumps(dict(profile)),
        )
        tags = [InputTag("mlflow.data.context", "training")]
        self._call("log_inputs", [DatasetInput(data, tags)])

    def log_artifacts(self, folder: Path) -> None:
        """Every file below `folder`."""
        self._call("log_artifacts", str(folder))

    def download(self, run: str, folder: Path) -> str:
        """Fetch the files of a finished run.

        Args:
            run: Its id, or `latest`: of this experiment, the one with a model that ended last.
            folder: An existing one.

        Returns:
            The run's id.

        Raises:
            InputError: There is no such run, it did not finish, or it has no model.
        """
        if self._database is not None and not self._database.exists():
            raise InputError(
                f"{self._setting} must name the store that has the run, but there is no "
                f"{self._database}; go to the folder of mlflow.db, set {self._setting}, or give "
                "task.run=FOLDER"
            )
        self.refuse_unusable()
        with self._one_line("name an MLflow store whose runs and their files can be read"):
            client = _make_client(self.store)
            run_id = _latest(client, self.experiment) if run == LATEST else _finished(client, run)
            client.download_artifacts(run_id, "", str(folder))
        return run_id

    def _call(self, method: str, *values: Any, **named: Any) -> None:
        """Tell the store something about this run; MLflow itself waits minutes for a server."""
        with self._one_line("name a store that answers during the whole run"):
            getattr(self._client, method)(self.run_id, *values, **named)

    @contextmanager
    def _one_line(self, must: str) -> Iterator[None]:
        """Whatever MLflow, SQLAlchemy or the disk says becomes one line."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            found = without_passwords(f"{self.store} ({_reason(error)})")
            raise InputError(
                f"{self._setting} must {must}, but is {found}; check it, set "
                f"tracking.uri={SQLITE}PATH/mlflow.db, or tracking=off"
            ) from error


@dataclass(kw_only=True, config=STRICT)
class SilentTracker:
    """Keeps nothing; the run's files stay in its output folder."""

    def __post_init__(self) -> None:
        self.run_id: str | None = None

    @property
    def ui_command(self) -> str:
        """None to type."""
        return ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to close."""

    def refuse_unusable(self) -> None:
        """Nothing can be wrong."""

    def log_settings(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Nothing."""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Nothing."""

    def log_data(self, name: str, digest: str, profile: Mapping[str, int]) -> None:
        """Nothing."""

    def log_artifacts(self, folder: Path) -> None:
        """Nothing."""

    def download(self, run: str, folder: Path) -> NoReturn:  # noqa: ARG002 - nothing is kept
        """Refuse: there are no runs.

        Raises:
            InputError: Always.
        """
        raise InputError(
            f"tracking=off keeps no runs, but task.run={run} names one; give the run's results "
            "folder, task.run=FOLDER, or set tracking=mlflow"
        )


def _make_client(store: str) -> Any:
    """A client that is quiet and alone: no telemetry, no chatter, no run of somebody else's."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.pop("MLFLOW_RUN_ID", None)
    import mlflow  # takes 2 s, so only when something is tracked

    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow.MlflowClient(tracking_uri=store, registry_uri=store)


def _make_tables(database: Path, folder: Path) -> None:
    """Let a new database appear whole: MLflow takes seconds and cannot mend a half-made one."""
    if database.exists() and database.stat().st_size:
        return
    unfinished = folder / f"{database.name}.unfinished"
    unfinished.unlink(missing_ok=True)
    try:
        _make_client(f"{SQLITE}{unfinished}").search_experiments(max_results=1)
        unfinished.replace(database)
    finally:
        unfinished.unlink(missing_ok=True)


def _experiment(client: Any, name: str, location: str | None) -> str:
    """Id of the experiment called `name`; made when it is new."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _finished(client: Any, run_id: str) -> str:
    """The id, if it is that of a finished run with a model."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise InputError(
            f"task.run must be the id of a run in the tracking store, {LATEST}, or a results "
            f"folder, but {run_id} is none of them; see mlflow ui, or set tracking.uri"
        ) from error
    if run.info.status != "FINISHED":
        raise InputError(
            f"task.run must be a finished run, but {run_id} is {run.info.status}; wait for it or "
            "give another one"
        )
    if not client.list_artifacts(run_id, MODEL):
        raise InputError(f"task.run must have a model, but run {run_id} has none; give another one")
    return run_id


def _latest(client: Any, experiment: str) -> str:
    """Id of the run with a model that finished last."""
    found = client.get_experiment_by_name(experiment)
    token = None if found else ""
    while token != "":
        page = client.search_runs(
            [found.experiment_id], "attributes.status = 'FINISHED'", max_results=50,
            order_by=["attributes.end_time DESC"], page_token=token,
        )  # fmt: skip
        for run in page:
            if client.list_artifacts(run.info.run_id, MODEL):
                return str(run.info.run_id)
        token = page.token or ""
    raise InputError(
        f"task.run={LATEST} needs a finished run with a model in experiment {experiment}, but "
        "there is none; train one, or set tracking.experiment or tracking.uri"
    )


def _origin() -> dict[str, str]:
    """Who started the run and how, under the names that MLflow's UI shows."""
    command = shlex.join(["recsweep", *without_passwords(sys.argv[1:])])
    origin = {
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": _cut(command, TAG_CHARACTERS),
    }
    with suppress(KeyError, OSError, ImportError):  # a container without a user database
        origin["mlflow.user"] = getpass.getuser()
    return origin


def _cut(text: str, n_characters: int) -> str:
    return text if len(text) <= n_characters else f"{text[: n_characters - 1]}…"


def _ending(error: BaseException) -> tuple[str, str]:
    """How MLflow shall call the end of a run, and why it came."""
    if isinstance(error, KeyboardInterrupt):
        return "KILLED", f"stopped by {str(error) or 'Ctrl-C'}"
    if isinstance(error, BrokenPipeError):
        return "KILLED", "stopped because nobody reads the output any more"
    return "FAILED", f"{type(error).__name__}: {error}"


# --- a store that cannot be used -----------------------------------------------------------------


def _reason(error: BaseException) -> str:
    """What the network or the disk said, if it is one of them, else the error itself."""
    chain = [error]
    while inner := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(inner)
    deepest = next((each for each in reversed(chain) if isinstance(each, OSError)), error)
    return _cut(" ".join(str(deepest).split()), ERROR_CHARACTERS)


@contextmanager
def _quickly() -> Iterator[None]:
    """One request, a few seconds: MLflow's own patience with a server is minutes."""
    quick = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
    before = {name: os.environ.get(name) for name in quick}
    os.environ.update(quick)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _refuse_database(database: Path) -> None:
    """Look at a database without changing it; one that is not there must be possible to make."""
    place = next(path for path in (database, *database.parents) if path.exists())
    folder = place.parent if place == database else place
    if place == database and not _is_sqlite(place):
        raise OSError("it is no SQLite database")
    if not folder.is_dir():
        raise OSError(f"{folder} is no folder")
    if not (os.access(place, os.W_OK) and os.access(folder, os.W_OK)):
        raise OSError(f"{place} cannot be written")


def _is_sqlite(file: Path) -> bool:
    """Whether a file is an SQLite database, or still empty."""
    with file.open("rb") as opened:
        return opened.read(16) in (b"", b"SQLite format 3\x00")
