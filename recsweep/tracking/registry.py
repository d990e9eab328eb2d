"""A run's model in MLflow's registry: it loads as a pyfunc that takes users' histories.

    import mlflow
    model = mlflow.pyfunc.load_model("models:/NAME/1")
    model.predict(histories, params={"k": 5})

The loaded code is `recsweep/serving.py`.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsweep.environment import versions
from recsweep.errors import InputError
from recsweep.files import read_errors_in_one_line, refuse_links
from recsweep.persistence import CHECKSUMS, MODEL_FILES, read_item_ids
from recsweep.run_files import CONFIG, MODEL, read_config, read_metrics
from recsweep.tracking.nested_runs import STUDY
from recsweep.tracking.store import Store, patience

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.models import ModelSignature

RUN_FILES = "run"
"""Name of a served model's folder with the run's files."""
PARAMS = {"k": 10, "unknown_items": "ignore"}
"""Parameters of a prediction and their defaults."""
COPIED_TAGS = (STUDY, "split.fingerprint", "git.commit")
"""Tags of a run that are copied to its registered version."""
DESCRIPTION = """\
Recommends items to users by their histories.

Input: a table with a row per interaction and the columns `user`, `item` (original ids) and, if
there are any, `value`. Output: `user`, `rank`, `item`, `score`, best first, without what a user
has. Parameters: `k`, items per user (10), and `unknown_items`, `ignore` or `refuse` (ignore).
"""


class Registered(NamedTuple):
    """A version of a registered model.

    Args:
        name: Name of the model.
        version: Version number.
        is_new: Whether it was created just now.
    """

    name: str
    version: str
    is_new: bool

    @property
    def uri(self) -> str:
        """The URI that MLflow loads it by."""
        return f"models:/{self.name}/{self.version}"

    def usage(self, store: Store) -> str:
        """Two lines of Python that load and use it; `histories` has a row per interaction.

        Args:
            store: The store with the registry.
        """
        uri = store.shown
        return (
            f"import mlflow; mlflow.set_tracking_uri({json.dumps(uri)})\n"
            f'mlflow.pyfunc.load_model("{self.uri}").predict(histories, params={{"k": 10}})'
        )


def refuse_name(name: str | None, setting: str) -> str:
    """Return the name if MLflow accepts it and its filters can find it.

    Args:
        name: The name given by the user.
        setting: The setting that it was given in.

    Raises:
        InputError: It is missing or has invalid characters.
    """
    if name and re.fullmatch(r"\w[\w.\- ]{0,199}", name.strip()) and name == name.strip():
        return name
    raise InputError(
        f"{setting} must start with a letter or digit and contain only letters, digits, spaces "
        f"and _-., but is {name!r}; set {setting}=NAME"
    )


def register(store: Store, run_id: str, name: str, results: Path, objective: str) -> Registered:
    """Log a run's model as a pyfunc and make it a version of a registered model, once.

    Args:
        store: The store with the run.
        run_id: The run's id.
        name: Name of the registered model; created if it is new. See `refuse_name`.
        results: Folder with the run's configuration, metrics and model.
        objective: The selection metric, such as `ndcg@100`.

    Returns:
        The new version, or the one that the run's model already had.

    Raises:
        InputError: The store has no such run, no registry, or does not respond, or the folder has
            links.
    """
    refuse_links(results)
    with store.errors_in_one_line("name an MLflow store with a model registry"), patience(3, 10):
        client = store.client
        there = client.search_model_versions(f"name = '{name}' AND run_id = '{run_id}'")
        if there:
            return Registered(name, str(min(int(each.version) for each in there)), is_new=False)
        run = client.get_run(run_id)
        tags = {"run_id": run_id, **_valid(results, objective)}
        tags |= {tag: run.data.tags[tag] for tag in COPIED_TAGS if tag in run.data.tags}
        with _new_model(client, run, name) as model_id:
            _log(client, results, run_id, model_id)
            _ensure_registered(client, name)
            with _meant_by_default(store.uri):
                version = client.create_model_version(
                    name, f"models:/{model_id}", run_id, tags,
                    model_id=model_id, description=DESCRIPTION,
                )  # fmt: skip
        return Registered(name, str(version.version), is_new=True)


def _valid(results: Path, objective: str) -> dict[str, str]:
    valid = read_metrics(results)["valid"]["mean"]
    return {"objective": objective, "valid": f"{valid[objective]:.6f}"}


def _ensure_registered(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


@contextmanager
def _meant_by_default(uri: str) -> Iterator[None]:
    """A registry in a database looks for models in the process's default tracking store."""
    from mlflow.tracking._tracking_service.utils import _use_tracking_uri

    variable = "MLFLOW_TRACKING_URI"
    before = os.environ.get(variable)
    try:
        with _use_tracking_uri(uri):
            yield
    finally:
        os.environ.pop(variable, None)
        if before is not None:
            os.environ[variable] = before


@contextmanager
def _new_model(client: "MlflowClient", run: "Run", name: str) -> Iterator[str]:
    """Id of a new logged model of a run, which is deleted if the block fails."""
    model = client.create_logged_model(run.info.experiment_id, name, run.info.run_id)
    try:
        yield str(model.model_id)
    except BaseException:
        with suppress(Exception):  # it must not hide the error
            client.delete_logged_model(model.model_id)
        raise


def _log(client: "MlflowClient", results: Path, run_id: str, model_id: str) -> None:
    """Upload the files of a new model and link it to its run."""
    from mlflow.entities import LoggedModelOutput

    with TemporaryDirectory(prefix="recsweep-") as folder:
        _save(Path(folder) / MODEL, results, run_id, model_id)
        client.log_model_artifacts(model_id, f"{folder}/{MODEL}")
    client.finalize_logged_model(model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])


def _save(folder: Path, results: Path, run_id: str, model_id: str) -> None:
    """Save a folder that MLflow can load: the run's files and the code that reads them."""
    import pandas as pd
    from mlflow.models import Model
    from mlflow.pyfunc import save_model

    item_ids = read_item_ids(results / MODEL)
    code = find_spec("recsweep.serving")
    with TemporaryDirectory(prefix="recsweep-") as staging:
        files = Path(staging) / RUN_FILES
        (files / MODEL).mkdir(parents=True)
        with read_errors_in_one_line(results):
            for name in (CONFIG, *(f"{MODEL}/{each}" for each in (*MODEL_FILES, CHECKSUMS))):
                shutil.copyfile(results / name, files / name)
        save_model(
            folder,
            python_model=str(code and code.origin),
            artifacts={RUN_FILES: str(files)},
            mlflow_model=Model(run_id=run_id, model_id=model_id, model_uuid=model_id),
            signature=_signature(item_ids),
            input_example=pd.DataFrame({"user": "a", "item": item_ids[:2]}),
            pip_requirements=_requirements(results),
        )


def _signature(item_ids: np.ndarray) -> "ModelSignature":
    """Parameters and output columns; `serving.py` itself checks the input.

    MLflow would drop unknown columns and refuse ids that are numbers in one place and text in
    another. Users are returned as given, which no MLflow type expresses without warnings.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, ParamSchema, ParamSpec, Schema

    item = "string" if item_ids.dtype == object else "long"
    columns = {"user": "string", "rank": "long", "item": item, "score": "float"}
    kinds = {int: "long", str: "string"}
    return ModelSignature(
        outputs=Schema([ColSpec(kind, column) for column, kind in columns.items()]),
        params=ParamSchema([ParamSpec(n, kinds[type(v)], v) for n, v in PARAMS.items()]),
    )


def _requirements(results: Path) -> list[str]:
    """This recsweep and the run's backend, given explicitly since inference takes seconds."""
    backend, found = read_config(results)["backend"], versions()
    return [f"{package}=={found[package]}" for package in ("recsweep", "keras", backend)]
