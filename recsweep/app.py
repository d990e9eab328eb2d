"""The composition root: configuration -> objects -> one run."""

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep import environment
from recsweep.build import build, validated
from recsweep.errors import InputError
from recsweep.interfaces import STRICT

# The rest is imported where it is used: --help must not wait for pandas, MLflow or a backend.

Config = dict[str, Any]


@dataclass(kw_only=True, config=STRICT)
class Settings:
    """The top of the configuration; groups and metrics are checked where they are built.

    Args:
        seed: Of initial weights, order of users and noise.
        backend: What trains and ranks.
        threads: CPU threads of the backend; None = all cores.
        patience: Epochs without gain after which training stops; None = never.
        cache_dir: Downloads and prepared splits; None = the user's cache folder.
        debug: Show tracebacks.
        evaluation_batch_size: Users who are scored at a time.
    """

    seed: Annotated[int, Field(ge=0)]
    backend: Literal["jax", "tensorflow"]
    threads: Annotated[int, Field(ge=1, le=1024)] | None
    patience: Annotated[int, Field(ge=1)] | None
    cache_dir: Annotated[Path, Field(strict=False)] | None
    debug: bool
    k: Any
    metrics: Any
    objective: Any
    evaluation_batch_size: Annotated[int, Field(ge=1)]
    task: Config
    data: Config
    split: Config
    optimizer: Config
    model: Config
    search: Config
    tracking: Config

    @property
    def cache(self) -> Path:
        """Folder for downloads and prepared splits."""
        import platformdirs

        return (self.cache_dir or Path(platformdirs.user_cache_dir("recsweep"))).expanduser()


class Job(NamedTuple):
    """What a task is given.

    Args:
        settings: The checked top of the configuration.
        config: All of it, resolved, to be written down: without passwords.
        overrides: What the command line changed, without passwords.
        results: The folder that the task may make.
    """

    settings: Settings
    config: Config
    overrides: list[str]
    results: Path


def run(config: Config, folder: Path, overrides: list[str]) -> None:
    """Do what `task=` says.

    Args:
        config: Resolved; see `conf/config.yaml`.
        folder: For what the run writes.
        overrides: What the command line changed.

    Raises:
        InputError: Something in the configuration or the data cannot be used.
    """
    from recsweep.tracking import without_passwords

    settings = validated(Settings, config, "")
    config, overrides = without_passwords([config, overrides])
    _made(settings, "task", "run").run(Job(settings, config, overrides, folder / "results"))


@dataclass(kw_only=True, config=STRICT)
class Download:
    """Fetch the data set into the cache and prepare its split."""

    def run(self, job: Job) -> None:
        """Print how large the split is."""
        print(_sizes(job.settings, _prepared(job.settings)))  # noqa: T201


@dataclass(kw_only=True, config=STRICT)
class Export:
    """Write the prepared split as Liang et al.'s CSV files.

    Args:
        folder: A new or empty one.
    """

    folder: Annotated[Path, Field(strict=False)]

    def run(self, job: Job) -> None:
        """Print what was written."""
        from recsweep.data.liang import write_liang
        from recsweep.persistence import refuse_folder, whole_folder

        folder = self.folder.expanduser()
        refuse_folder(folder, "task.folder")
        split = _prepared(job.settings)
        with whole_folder(folder, "task.folder") as unfinished:
            files = write_liang(split, unfinished)
        for file in files:
            print(folder / file.name)  # noqa: T201


@dataclass(kw_only=True, config=STRICT)
class Train:
    """Fit a model, choose its epoch on validation, score test once, report."""

    def run(self, job: Job) -> None:
        """Print the table of metrics and where everything is."""
        from recsweep.experiment import Patience, run_trial
        from recsweep.report import Progress
        from recsweep.seeds import Seeds

        settings = job.settings
        evaluator, tracker, model = _checked(job)
        split = _prepared(settings)
        evaluator.refuse_large_k(split.train.shape[1])
        print(_sizes(settings, split), file=sys.stderr, flush=True)  # noqa: T201 - where progress goes

        with ExitStack() as at_the_end, tracker:
            tracker.log_settings(parameters(job.config), _tags(settings, split))
            tracker.log_data(_name(settings), split.data_fingerprint, split.profile())
            patience = Patience(settings.patience, evaluator.objective)
            with Progress(getattr(model, "n_epochs", 1), evaluator.objective) as progress:
                trial = run_trial(
                    model, split.train, split.valid, evaluator, Seeds(settings.seed),
                    [partial(_track, tracker), patience, progress],
                )  # fmt: skip
            test = evaluator.evaluate(model.score, split.test)
            _write(job, model, split, trial, test)
            at_the_end.callback(_tell, job, trial, test, tracker)  # even if the store is gone
            tracker.log_metrics(_final_metrics(trial, test), step=trial.best_epoch + 1)
            tracker.log_artifacts(job.results)


def _checked(job: Job) -> tuple[Any, Any, Any]:
    """Evaluator, tracker and model of a configuration in which nothing is wrong."""
    settings = job.settings
    environment.choose_backend(settings.backend, settings.threads)
    from recsweep.evaluation import Evaluator
    from recsweep.persistence import refuse_folder

    refuse_folder(job.results, "hydra.run.dir")
    values = {name: getattr(settings, name) for name in ("k", "metrics", "objective")}
    batch_size = settings.evaluation_batch_size
    evaluator = validated(Evaluator, {**values, "batch_size": batch_size}, "")
    for group, method in (("data", "load"), ("split", "split"), ("optimizer", "build")):
        _made(settings, group, method)
    tracker = _made(settings, "tracking", "log_metrics")
    tracker.refuse_unusable()
    environment.load_backend()  # last, since it takes seconds
    return evaluator, tracker, _made(settings, "model", "fit")


def _made(settings: Settings, group: str, method: str) -> Any:
    """What a group of the configuration describes.

    Args:
        settings: The top of the configuration.
        group: One of its groups, such as `model`.
        method: What the object must be able to do.
    """
    made = build(getattr(settings, group), group)
    if not callable(getattr(made, method, None)):
        raise InputError(
            f"{group}._target_ must name a class with a method {method}, but {type(made).__name__} "
            f"has none; choose one with {group}=CHOICE"
        )
    return made


def _prepared(settings: Settings) -> Any:
    """The split that `data` and `split` describe, from the cache if it is there."""
    source, splitter = _made(settings, "data", "load"), _made(settings, "split", "split")
    from recsweep.data.cache import prepare

    return prepare(source, splitter, settings.cache)


def _track(tracker: Any, epoch: int, metrics: Mapping[str, float]) -> bool:
    tracker.log_metrics(metrics, step=epoch + 1)
    return True


def _write(job: Job, model: Any, split: Any, trial: Any, test: Any) -> None:
    """All files of a run, or none."""
    from recsweep.persistence import save_model, whole_folder
    from recsweep.report import write_results

    with whole_folder(job.results, "hydra.run.dir") as unfinished:
        write_results(unfinished, job.config, job.overrides, trial, test)
        save_model(model, job.settings.model, split.item_ids, unfinished / "model")


def _name(settings: Settings) -> str:
    return str(settings.data.get("name", "data"))


def _sizes(settings: Settings, split: Any) -> str:
    n = split.profile()
    return (
        f"{_name(settings)}: {n['n_train_interactions']:,} interactions of "
        f"{n['n_train_users']:,} users on {n['n_items']:,} items; {n['n_valid_users']:,} users to "
        f"validate, {n['n_test_users']:,} to test"
    )


def parameters(node: Any, prefix: str = "") -> dict[str, Any]:
    """Every leaf of the configuration under its dotted name."""
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    leaves = {}
    for key, value in node.items():
        leaves.update(parameters(value, f"{prefix}.{key}".strip(".")))
    return leaves


def _tags(settings: Settings, split: Any) -> dict[str, str]:
    """What a run needs to be told from others and replayed."""
    return {
        **environment.git_state(),
        **{f"version.{name}": number for name, number in environment.versions().items()},
        "backend": settings.backend,
        "device": environment.device(),
        "threads": str(settings.threads or environment.n_cores()),
        "data": _name(settings),
        "data.fingerprint": split.data_fingerprint,
        "split.fingerprint": split.fingerprint,
    }


def _final_metrics(trial: Any, test: Any) -> dict[str, float]:
    return {
        **{f"valid_best/{name}": value for name, value in trial.valid.means.items()},
        **{f"test/{name}": value for name, value in test.means.items()},
        **{f"test_se/{name}": value for name, value in test.standard_errors.items()},
        "best_epoch": trial.best_epoch + 1,
        "time/train_s": trial.train_s,
    }


def _tell(job: Job, trial: Any, test: Any, tracker: Any) -> None:
    """Print the table, the best epoch, where the files are and how to look at the run."""
    from recsweep.report import metric_table

    lines = [
        f"\n{metric_table(trial.valid, test)}\n",
        f"best epoch {trial.best_epoch + 1} of {len(trial.curves)}, {trial.train_s:.1f} s of "
        f"training ({job.settings.backend})",
        f"files     {job.results}",
    ]
    if tracker.run_id is not None:
        lines += [f"run       {tracker.run_id}", f"open UI   {tracker.ui_command}"]
    print("\n".join(lines))  # noqa: T201
