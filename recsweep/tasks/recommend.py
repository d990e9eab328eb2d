"""Recommends items with the model of a finished run, in batches, and writes them to a file."""

import logging
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep import environment
from recsweep.app import PLACES, Job, Settings, build_group, load_split
from recsweep.build import validate
from recsweep.errors import InputError, error_context
from recsweep.files import expand_user
from recsweep.interfaces import STRICT, HomePath
from recsweep.messages import print_to_stdout
from recsweep.recommendations.fitted_model import FittedModel, rank_items

if TYPE_CHECKING:
    from recsweep.data.user_histories import RequestedUsers
    from recsweep.evaluation import Evaluator
    from recsweep.runs.past_run import PastRun

# The rest is imported where it is used, once the backend is chosen.

log = logging.getLogger(__name__)

OF_THE_RUN = ("data", "split", "transform", "model", "optimizer", "backend")


@dataclass(kw_only=True, config=STRICT)
class Recommend:
    """Write the best unseen items of each user.

    Args:
        run: Id of an MLflow run, `latest`, or a run's results folder.
        users: File with one user id per line; None = every user of the data set.
        histories: File of `user item [value]` lines of users outside the data set.
        unknown_users: How to treat users that are not in the data set.
        output: File to write.
        format: The file's format; None = by the suffix of `output`.
        overwrite: Whether `output` may already exist.
    """

    from_run: Annotated[str, Field(alias="run", min_length=1)]
    users: HomePath | None
    histories: HomePath | None
    unknown_users: Literal["refuse", "skip"]
    output: HomePath
    format: Literal["txt", "csv", "jsonl"] | None
    overwrite: bool

    def __post_init__(self) -> None:
        if self.users and self.histories:
            raise ValueError(
                "task.users and task.histories must not both be given: the first names users of "
                "the data set, the second brings its own; give one of them"
            )

    def run(self, job: Job) -> None:
        """Print the number of users, items per user and the file."""
        from recsweep.files import disk_errors_in_one_line, refuse_file, whole_file
        from recsweep.recommendations.files import encode_rankings, format_of, refuse_spaces
        from recsweep.runs.lookup import find_run

        setting = "task.output"
        output = refuse_file(self.output, setting, self.overwrite)
        file_format = self.format or format_of(output)
        _warn_of_unused(job.overrides)
        with TemporaryDirectory(prefix="recsweep-") as folder:
            run = find_run(self.from_run, job.settings, Path(folder))
            if run.tracker is not None:
                print_to_stdout(f"run       {run.name}")
            fitted = _fitted(run, job)
        data = [fitted.settings.data.get("path"), fitted.settings.split.get("path")]
        inputs = [self.users, self.histories, *(expand_user(path) for path in data if path)]
        refuse_file(output, setting, self.overwrite, inputs)
        evaluator = _evaluator(job.settings)
        evaluator.refuse_large_k(len(fitted.item_ids))
        requested = self._requested(fitted)
        if file_format == "txt":
            refuse_spaces(requested.user_ids, "task.format")
            refuse_spaces(fitted.item_ids, "task.format")
        rankings = rank_items(fitted, requested, evaluator.k[-1], evaluator.batch_size)
        with disk_errors_in_one_line(output, setting), whole_file(output) as file:
            file.writelines(encode_rankings(rankings, file_format))
        n_users = len(requested.user_ids)
        print_to_stdout(
            f"{n_users:,} users, up to {evaluator.k[-1]:,} items each", f"file      {output}"
        )

    def _requested(self, fitted: FittedModel) -> "RequestedUsers":
        """The users to recommend to, and their histories."""
        from recsweep.data.download import downloads
        from recsweep.data.plain_text import read_users
        from recsweep.data.user_histories import RequestedUsers, read_histories

        if self.histories:
            transform = build_group(fitted.settings, "transform", "apply")
            min_rating = fitted.settings.data.get("min_rating")
            with error_context("task.histories"):
                return read_histories(self.histories, fitted.item_ids, min_rating, transform)
        with error_context("task.users"):
            names = read_users(self.users) if self.users else None
        with downloads(are_allowed=fitted.settings.fetch):
            split = load_split(fitted.settings)
        if split.fingerprint != fitted.split_fingerprint:
            raise InputError(
                "the data must be what the run was trained on, split "
                f"{fitted.split_fingerprint[:12]}…, but is now split {split.fingerprint[:12]}…; "
                "restore the original data, or give task.histories=FILE"
            )
        everybody = RequestedUsers(*split.known_histories())
        return everybody if names is None else everybody.select(names, self.unknown_users == "skip")


def _fitted(run: "PastRun", job: Job) -> FittedModel:
    """Read a run's results; paths of files and cache and the threads are the current ones."""
    from recsweep.persistence import load_model
    from recsweep.run_files import MODEL, read_split
    from recsweep.runs.consistency import refuse_other_model
    from recsweep.runs.past_run import with_files

    config = run.config(job.trusted, job.config)
    config |= {"threads": job.settings.threads, "device": job.settings.device}
    config = with_files(config, job)
    of_run = run.settings(config)
    environment.choose_backend(of_run.backend, of_run.threads, of_run.device, of_run.precision)
    environment.load_backend()
    fingerprint, _ = read_split(run.results)
    model, item_ids = load_model(run.results / MODEL, job.trusted)
    refuse_other_model(run.results, item_ids)
    return FittedModel(of_run, fingerprint, model, item_ids)


def _evaluator(settings: Settings) -> "Evaluator":
    """An evaluator, only to check k and the batch size."""
    from recsweep.evaluation import Evaluator

    batch_size = settings.evaluation_batch_size
    values = {"k": settings.k, "metrics": "ndcg", "objective": None, "batch_size": batch_size}
    return validate(Evaluator, values, "")


def _warn_of_unused(overrides: list[str]) -> None:
    keys = {text: re.split(r"[@=]", text.lstrip("+~"))[0] for text in overrides}
    unused = [
        text
        for text, key in keys.items()
        if key.partition(".")[0] in OF_THE_RUN and key not in PLACES
    ]
    if unused:
        log.warning("task=recommend uses the run's own settings: ignoring %s", ", ".join(unused))
