"""The composition root: configuration -> objects -> one run."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep import environment
from recsweep.build import build, validated
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
    """

    seed: Annotated[int, Field(ge=0)]
    backend: Literal["jax", "tensorflow"]
    threads: Annotated[int, Field(ge=1)] | None
    patience: Annotated[int, Field(ge=1)] | None
    cache_dir: Path | None
    debug: bool
    k: Any
    metrics: Any
    objective: Any
    evaluation_batch_size: Any
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


def run(config: Config, folder: Path, overrides: Sequence[str]) -> None:
    """Do what `task=` says.

    Args:
        config: Resolved; see `conf/config.yaml`.
        folder: For what the run writes.
        overrides: What the command line changed.

    Raises:
        InputError: Something in the configuration or the data cannot be used.
    """
    settings = validated(Settings, config, "")
    task = settings.task["name"]
    if task == "train":
        train(settings, config, folder, overrides)
    elif task == "download":
        print(_sizes(prepared_split(settings).profile()))  # noqa: T201
    elif task == "export":
        export(settings)


def export(settings: Settings) -> None:
    """Write the prepared split as Liang et al.'s CSV files."""
    from recsweep.data.liang import write_liang

    split = prepared_split(settings)
    for file in write_liang(split, Path(settings.task["folder"]).expanduser()):
        print(file)  # noqa: T201


def prepared_split(settings: Settings) -> Any:
    """The split that `data` and `split` describe, from the cache if it is there."""
    source, splitter = build(settings.data, "data"), build(settings.split, "split")
    from recsweep.data.cache import prepare

    return prepare(source, splitter, settings.cache)


def train(settings: Settings, config: Config, folder: Path, overrides: Sequence[str]) -> None:
    """Fit a model, choose its epoch on validation, score test once, report."""
    environment.choose_backend(settings.backend, settings.threads)
    from recsweep.evaluation import Evaluator
    from recsweep.experiment import run_trial
    from recsweep.persistence import save_model
    from recsweep.report import Progress, metric_table, write_results
    from recsweep.seeds import Seeds

    evaluator = validated(
        Evaluator,
        {
            "k": settings.k,
            "metrics": settings.metrics,
            "objective": settings.objective,
            "batch_size": settings.evaluation_batch_size,
        },
        "",
    )
    build(settings.optimizer, "optimizer")  # so that a bad value is reported under its own name
    tracker = build(settings.tracking, "tracking")
    model = build(settings.model, "model")
    split = prepared_split(settings)
    evaluator.refuse_large_k(split.train.shape[1])
    _say(f"{settings.data['name']}: {_sizes(split.profile())}")

    progress = Progress(settings.model.get("n_epochs", 1), evaluator.objective)
    with tracker:
        tracker.log_settings(_parameters(config), _tags(settings, split))
        tracker.log_data(settings.data["name"], split.data_fingerprint, split.profile())

        def track(epoch: int, metrics: Mapping[str, float]) -> bool:
            tracker.log_metrics(metrics, step=epoch + 1)
            return True

        with progress:
            trial = run_trial(
                model, split.train, split.valid, evaluator,
                patience=settings.patience, seeds=Seeds(settings.seed), listeners=[track, progress],
            )  # fmt: skip
        test = evaluator.evaluate(model.score, split.test)
        results = folder / "results"
        write_results(results, config, overrides, trial, test)
        save_model(model, settings.model, split.item_ids, results / "model")
        tracker.log_metrics(_final_metrics(trial, test), step=trial.best_epoch + 1)
        tracker.log_artifacts(results)
    print(f"\n{metric_table(trial.valid, test)}\n")  # noqa: T201
    print(_where(settings, trial, results, tracker))  # noqa: T201


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - remarks go where progress goes


def _sizes(profile: Mapping[str, int]) -> str:
    return (
        f"{profile['n_train_interactions']:,} interactions of {profile['n_train_users']:,} users with "
        f"{profile['n_items']:,} items to train on, {profile['n_valid_users']:,} users to validate, "
        f"{profile['n_test_users']:,} to test"
    )


def _parameters(node: Any, prefix: str = "") -> dict[str, Any]:
    """Every leaf of the configuration under its dotted name."""
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    parameters = {}
    for key, value in node.items():
        parameters.update(_parameters(value, f"{prefix}.{key}" if prefix else key))
    return parameters


def _tags(settings: Settings, split: Any) -> dict[str, str]:
    """What a run needs to be told from others and replayed."""
    return {
        **environment.git_state(),
        **{f"version.{name}": number for name, number in environment.versions().items()},
        "backend": settings.backend,
        "device": environment.device(),
        "threads": str(settings.threads or environment.n_cores()),
        "data": settings.data["name"],
        "data.fingerprint": split.data_fingerprint,
        "split.fingerprint": split.fingerprint,
    }


def _final_metrics(trial: Any, test: Any) -> dict[str, float]:
    return {
        **{f"best_valid/{name}": value for name, value in trial.valid.means.items()},
        **{f"test/{name}": value for name, value in test.means.items()},
        **{f"test_se/{name}": value for name, value in test.standard_errors.items()},
        "best_epoch": trial.best_epoch + 1,
        "time/train_s": trial.train_s,
    }


def _where(settings: Settings, trial: Any, results: Path, tracker: Any) -> str:
    """The last lines: best epoch, files, run and how to look at it."""
    n_epochs = len(trial.curves)
    lines = [
        f"best epoch {trial.best_epoch + 1} of {n_epochs}, {trial.train_s:.1f} s of training "
        f"({settings.backend})",
        f"files     {results}",
    ]
    if tracker.run_id is not None:
        lines += [f"run       {tracker.run_id}", f"open UI   {tracker.ui_command}"]
    return "\n".join(lines)
